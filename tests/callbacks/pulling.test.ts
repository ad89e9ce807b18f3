import { expect, test } from "bun:test";
import type { Action } from "../../src/access/client.ts";
import { generatePushKey } from "../../src/callbacks/push-crypto.ts";
import { PulledDeliveries } from "../../src/callbacks/pulled-deliveries.ts";
import { readPushFields } from "../../src/callbacks/push-fields.ts";
import { createClient } from "../support/access-harness.ts";
import { type Answer, WX } from "../support/harness.ts";
import { contentOf, PushWorld, Receiver, textReply, type WantedCallbacks } from "./push-world.ts";

const PATH = `/v1/apps/${WX.appId}/deliveries`;
const laptop = {
  name: "laptop",
  environment: "dev",
  content: "decrypted",
  hmacKey: generatePushKey().token,
} as const;

/** A world with these callbacks, and clients of two environments. */
async function setup(wanted: WantedCallbacks, pushAnswerMs?: number) {
  const it = await PushWorld.create(wanted, pushAnswerMs === undefined ? {} : { pushAnswerMs });
  const client = async (environment: string, actions: readonly Action[]) => {
    const name = `${environment}-${actions.join("-").replaceAll(":", "-")}`;
    const key = await createClient(it.world, { name, environment, grants: [{ apps: [WX.appId], actions }] });
    return (path = "", method = "GET", body?: object): Promise<Answer> =>
      it.world.request(PATH + path, {
        method,
        headers: { "x-api-key": key, ...(body && { "content-type": "application/json" }) },
        ...(body && { body: JSON.stringify(body) }),
      });
  };
  return {
    ...{ it, client },
    dev: await client("dev", ["callback:receive"]),
    prod: await client("prod", ["callback:receive"]),
    manager: await client("ops", ["callback:manage"]),
    [Symbol.asyncDispose]: () => it[Symbol.asyncDispose](),
  };
}

test("P9: a program that pulls gets a push as it comes, and WeChat its reply", async () => {
  await using t = await setup({ targets: [laptop] });
  const waiting = t.dev("?wait=50");
  // It counts as there from when it asks.
  await t.it.until(
    async () => (await t.it.store()).callbackSettings.lastPullsOf(WX.appId).then((pulls) => pulls.size > 0),
    0,
  );
  const sent = t.it.send(t.it.text({ content: "hello", msgId: "9" }));
  const { data } = await waiting;
  const [delivery] = data["deliveries"];
  expect(delivery).toMatchObject({
    target: "laptop",
    role: "primary",
    type: "text",
    dedupe_key: "9",
    encoding: "text",
  });
  expect(readPushFields(Buffer.from(delivery.body)).fields.get("Content")).toBe("hello");
  expect(delivery.answer_until).toBe(delivery.received_at + 4500);
  const wrong = await t.dev(`/${delivery.id}/ack`, "POST", { reply: '{"code":0}' });
  expect([wrong.status, wrong.code]).toEqual([400, 1]);
  const reply = await textReply("from the laptop").text();
  expect((await t.dev(`/${delivery.id}/ack`, "POST", { reply })).data).toEqual({ answered: true });
  expect(contentOf((await sent).text)).toBe("from the laptop");
  expect((await t.dev(`/${delivery.id}/ack`, "POST", {})).status).toBe(409);
  expect((await t.dev("?wait=0")).data).toEqual({ deliveries: [] });
});

test("P7: who pulls deliveries is counted in the audit", async () => {
  await using t = await setup({ targets: [laptop] });
  await t.dev("?wait=0");
  const { world } = t.it;
  await world.stop();
  await world.start();
  const { data } = await world.administer("/v1/audit/usage?action=callback:receive");
  expect(data["usage"]).toMatchObject([
    { client: "dev-callback-receive", environment: "dev", app: WX.appId, count: 1 },
  ]);
});

test("P9: where nobody pulls, the next primary is asked at once; where there is no other, WeChat is not kept waiting", async () => {
  await using prod = new Receiver(() => textReply("from prod"));
  await using t = await setup({
    targets: [laptop, { name: "prod", url: prod.url }],
    routes: [
      { target: "laptop", role: "primary", rule: { openids: ["oTester"] } },
      { target: "prod", role: "primary", rule: {} },
    ],
  });
  expect(contentOf((await t.it.send(t.it.text({ openid: "oTester" }))).text)).toBe("from prod");
  expect((await t.dev("?wait=0")).data).toEqual({ deliveries: [] });
  await t.it.set({ targets: [laptop], routes: [{ target: "laptop", role: "primary", rule: {} }] });
  t.it.world.clock.advance(6000);
  expect((await t.it.send(t.it.text({ msgId: "10" }))).text).toBe("success");
  const { data } = await t.dev("?wait=0");
  expect(data["deliveries"]).toMatchObject([{ dedupe_key: "10", role: "primary" }]);
  expect((await t.dev(`/${data["deliveries"][0].id}/ack`, "POST", { reply: "success" })).data).toEqual({
    answered: false,
  });
});

test("P9: a program that pulls and does not answer in time: WeChat gets success, and another gets the push later", async () => {
  await using t = await setup({ targets: [laptop] }, 300);
  await t.dev("?wait=0");
  const sent = t.it.send(t.it.text());
  await t.it.until(async () => (await t.dev("?wait=0")).data["deliveries"].length === 1, 10);
  t.it.world.clock.advance(300);
  expect((await sent).text).toBe("success");
  expect((await t.dev("?wait=0")).data).toEqual({ deliveries: [] });
  t.it.world.clock.advance(30_000);
  expect((await t.dev("?wait=0")).data["deliveries"]).toHaveLength(1);
});

test("a program that has gone takes nothing, and does not count as there", async () => {
  await using t = await setup({ targets: [laptop] });
  await t.it.send(t.it.text());
  const { deliveries, callbackSettings } = await t.it.store();
  const pulled = new PulledDeliveries(deliveries, t.it.world.clock);
  const how = { waitMs: 50_000, limit: 10 };
  expect(await pulled.pull(WX.appId, [laptop], { ...how, signal: AbortSignal.abort() })).toEqual([]);
  expect([...(await callbackSettings.lastPullsOf(WX.appId))]).toEqual([]);
  const { signal } = new AbortController();
  expect(await pulled.pull(WX.appId, [laptop], { ...how, signal })).toHaveLength(1);
});

test("P9: what is sent to a URL can't be acknowledged: its primary's reply is the one answer of each attempt", async () => {
  const reply = Promise.withResolvers<Response>();
  await using prod = new Receiver(() => reply.promise);
  await using t = await setup({ targets: [{ name: "prod", url: prod.url }] });
  const push = t.it.text();
  const first = t.it.send(push);
  await t.it.until(() => prod.arrived.length === 1, 0);
  const other = await textReply("from a program").text();
  expect((await t.prod("/1/ack", "POST", { reply: other })).status).toBe(409);
  reply.resolve(textReply("from prod"));
  expect(contentOf((await first).text)).toBe("from prod");
  expect((await t.it.send(push)).text).toBe((await first).text);
});

test("a client sees, pulls, acknowledges, replays and drops deliveries of its own environment alone; whoever manages pushes, all", async () => {
  await using t = await setup({
    targets: [
      { ...laptop, name: "prod-pull", environment: "prod" },
      { ...laptop, name: "dev-pull", environment: "dev" },
    ],
  });
  await t.it.send(t.it.text());
  const listed = (await t.manager()).data["deliveries"] as { id: number; environment: string }[];
  expect(listed.map(({ environment }) => environment).toSorted()).toEqual(["dev", "prod"]);
  const idOf = (of: string) => listed.find(({ environment }) => environment === of)?.id;
  const ids = async (ask: typeof t.dev, query = "") =>
    ((await ask(query)).data["deliveries"] as { id: number }[]).map(({ id }) => id);
  expect(await ids(t.dev)).toEqual([idOf("dev")!]);
  expect(await ids(t.prod)).toEqual([idOf("prod")!]);
  expect(await ids(t.manager, "?environment=prod")).toEqual([idOf("prod")!]);
  expect(await ids(t.dev, "?wait=0")).toEqual([idOf("dev")!]);
  for (const query of [
    "?environment=prod",
    "?target=prod-pull",
    "?wait=0&target=prod-pull",
    "?wait=0&environment=prod",
  ])
    expect([query, (await t.dev(query)).status]).toEqual([query, 403]);
  const other = `/${idOf("prod")}`;
  const verbs = [
    [other, "GET"],
    [`${other}/ack`, "POST", {}],
    [`${other}/replay`, "POST"],
    [other, "DELETE"],
    ["/replay", "POST", { environment: "prod" }],
    ["/replay", "POST", { target: "prod-pull" }],
  ] as const;
  for (const [path, method, body] of verbs)
    expect([path, method, (await t.dev(path, method, body)).status]).toEqual([path, method, 403]);
  const own = `/${idOf("dev")}`;
  const shown = await t.dev(own);
  expect(readPushFields(Buffer.from(String(shown.data["message"]))).fields.get("Content")).toBe("hello");
  expect((await t.dev(`${own}/replay`, "POST")).data).toEqual({ replayed: 1 });
  expect((await t.dev(own, "DELETE")).status).toBe(200);
  expect((await t.dev(own, "DELETE")).status).toBe(409);
  // Of what ended everywhere, nothing is kept; this one still waits for prod.
  expect((await t.dev("/replay", "POST", { state: "dropped" })).data).toEqual({ replayed: 1 });
  expect((await t.prod(`${other}/ack`, "POST", {})).status).toBe(200);
  expect((await t.dev("/17")).status).toBe(404);
  const { data } = await t.it.world.administer("/v1/audit?limit=10");
  const actions = (data["entries"] as { action: string }[]).map(({ action }) => action);
  expect(actions.filter((action) => action.startsWith("delivery."))).toEqual([
    "delivery.replayed",
    "delivery.dropped",
    "delivery.replayed",
    "delivery.shown",
  ]);
});

test("a client without either grant, one of another app and one without a key get no delivery", async () => {
  await using t = await setup({ targets: [laptop] });
  const reader = await t.client("dev", ["token:read"]);
  expect((await reader()).status).toBe(403);
  expect((await t.it.world.request(PATH)).status).toBe(401);
  const { status } = await t.it.world.request("/v1/apps/wx00000000000000ff/deliveries", {
    headers: { "x-api-key": "ats_none" },
  });
  expect(status).toBe(401);
});

test("pages of a list go on where the last one ended", async () => {
  await using prod = new Receiver();
  await using t = await setup({ targets: [{ name: "prod", url: prod.url }] });
  for (let n = 0; n < 5; n++) await t.it.send(t.it.text());
  const seen: number[] = [];
  let after = "";
  do {
    const { data } = await t.manager(`?limit=2${after}`);
    seen.push(...data["deliveries"].map(({ id }: { id: number }) => id));
    after = data["next"] === undefined ? "" : `&after=${data["next"]}`;
  } while (after !== "");
  expect(seen).toEqual([5, 4, 3, 2, 1]);
});
