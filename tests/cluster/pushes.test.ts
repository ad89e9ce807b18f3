import { expect } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { generatePushKey, type PushKey } from "../../src/callbacks/push-crypto.ts";
import { checkQuery } from "../../src/callbacks/push-reply.ts";
import { openPostgresStore } from "../../src/store/postgres/postgres-store.ts";
import {
  contentOf,
  Receiver,
  setCallbacks,
  textPush,
  textReply,
  type WantedCallbacks,
} from "../callbacks/push-world.ts";
import { type Answer, Harness, WX } from "../support/harness.ts";
import { postgresTest as test } from "../support/postgres-server.ts";
import { ask } from "../support/process-harness.ts";
import { ClusterHarness, type ClusterNode } from "./cluster-harness.ts";

const PROD = { name: "prod", environment: "prod" } as const;
const LAPTOP = { name: "laptop", environment: "dev" } as const;

/** Two nodes on one PostgreSQL that know these callbacks of an app, and programs of dev and prod with a key each. */
async function setup(wanted: WantedCallbacks) {
  const cluster = await ClusterHarness.create({ apps: 1 });
  const app = cluster.apps[0] ?? "";
  const nodes = await cluster.start(2, { CALLBACK_NETWORKS: "127.0.0.0/8", ANONYMOUS: "off" });
  const [first, second] = nodes as [ClusterNode, ClusterNode];
  const marker = generatePushKey();
  const store = await openPostgresStore({
    ...{ address: { url: cluster.databaseUrl, password: undefined }, waitMs: 0, clock: systemClock },
    ...{ masterKey: undefined, masterKeyFile: `${cluster.folder}/master.key`, onKeyCreated: () => undefined },
  });
  const previous = { previousToken: marker.token, previousAesKey: marker.encodingAesKey };
  await setCallbacks(store, { ...wanted, settings: previous }, app);
  store.close();
  // A node knows the settings when it takes this key.
  const isKnown = async ({ url }: ClusterNode, key: PushKey) => {
    const query = checkQuery("weixin", { key, receiveId: WX.appId, echo: "1" }, systemClock.now());
    return (await fetch(`${url}/callback/${app}?${query}`)).status === 200;
  };
  for (const node of nodes) await Harness.until(() => isKnown(node, marker));
  const path = `/v1/apps/${app}/deliveries`;
  const keyOf = async (environment: string): Promise<string> => {
    const grants = [{ apps: [app], actions: ["callback:receive"] }];
    const client = `shop-${environment}`;
    await cluster.administer(first, "POST", "/v1/clients", { client, environment, grants });
    const { data } = await cluster.administer(first, "POST", `/v1/clients/${client}/keys`, {});
    return String(data["api_key"]);
  };
  const keys = { dev: await keyOf("dev"), prod: await keyOf("prod") };
  // Both know both by now.
  for (const { url } of nodes)
    for (const key of Object.values(keys))
      await Harness.until(
        async () => (await ask(url, path, {}, { headers: { "x-api-key": key } })).code === 0,
      );
  return {
    ...{ cluster, app, first, second },
    /** Asks a node about deliveries as a program of that environment. */
    ask: (node: ClusterNode, of: keyof typeof keys, rest = "", body?: object): Promise<Answer> =>
      ask(
        node.url,
        path + rest,
        {},
        {
          headers: { "x-api-key": keys[of], "content-type": "application/json" },
          ...(body && { method: "POST", body: JSON.stringify(body) }),
        },
      ),
    /** Sends a push as WeChat does; what it is answered. */
    send: async ({ url }: ClusterNode, { query, body }: ReturnType<typeof textPush>): Promise<string> =>
      (await fetch(`${url}/callback/${app}?${query}`, { method: "POST", body })).text(),
    push: (msgId: string) => textPush({ msgId, now: systemClock.now() }),
    /** The state of each delivery, as the database has it. */
    states: async () => {
      const rows = await cluster.query("SELECT target, state FROM deliveries ORDER BY id");
      return rows.map(({ target, state }) => `${String(target)} ${String(state)}`);
    },
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  };
}

/** When a program counts as one that pulls: another node looks into the database. */
const isPulled = (cluster: ClusterHarness) =>
  Harness.until(async () => {
    const [row] = await cluster.query("SELECT pulled_at FROM callback_targets WHERE name = 'laptop'");
    return Number(row?.["pulled_at"] ?? 0) > 0;
  });

test("P9: what comes to one node is pulled through another, and that program's reply is WeChat's answer", async () => {
  await using t = await setup({ targets: [LAPTOP] });
  const waiting = t.ask(t.second, "dev", "?wait=30");
  await isPulled(t.cluster);
  const answer = t.send(t.first, t.push("1"));
  const [delivery] = (await waiting).data["deliveries"];
  expect(delivery).toMatchObject({ dedupe_key: "1", role: "primary" });
  const reply = await textReply("from the laptop").text();
  expect((await t.ask(t.second, "dev", `/${delivery.id}/ack`, { reply })).data).toEqual({ answered: true });
  expect(contentOf(await answer)).toBe("from the laptop");
  expect((await t.ask(t.first, "dev", `/${delivery.id}/ack`, {})).status).toBe(409);
  expect(await t.states()).toEqual(["laptop delivered"]);
});

test("P9: a node is killed while a program has its push from another node: WeChat repeats it there, and gets the program's reply", async () => {
  await using t = await setup({ targets: [LAPTOP] });
  const waiting = t.ask(t.second, "dev", "?wait=30");
  await isPulled(t.cluster);
  const push = t.push("1");
  const lost = t.send(t.first, push).catch(() => "cut");
  const [delivery] = (await waiting).data["deliveries"];
  t.first.service.signal("SIGKILL");
  expect(await lost).toBe("cut");
  const again = t.send(t.second, push);
  const reply = await textReply("from the laptop").text();
  expect((await t.ask(t.second, "dev", `/${delivery.id}/ack`, { reply })).data).toEqual({ answered: true });
  expect(contentOf(await again)).toBe("from the laptop");
  expect(await t.states()).toEqual(["laptop delivered"]);
});

test("P9: a push that WeChat sends again to another node joins the first: one delivery, one answer", async () => {
  const reply = Promise.withResolvers<Response>();
  await using prod = new Receiver(() => reply.promise);
  await using t = await setup({ targets: [{ ...PROD, url: prod.url }] });
  const push = t.push("1");
  const first = t.send(t.first, push);
  await Harness.until(() => prod.arrived.length === 1);
  const again = t.send(t.second, push);
  reply.resolve(textReply("the one answer"));
  expect(contentOf(await first)).toBe("the one answer");
  expect(await again).toBe(await first);
  expect([prod.keys, await t.states()]).toEqual([["1"], ["prod delivered"]]);
});

test("P9: what a killed node had begun, and what its targets did not take, the node that is left delivers", async () => {
  const never = Promise.withResolvers<Response>();
  await using prod = new Receiver(() => never.promise);
  await using dev = new Receiver(() => new Response(null, { status: 503 }));
  const quick = { timeoutMs: 1000 };
  await using t = await setup({
    targets: [
      { ...PROD, ...quick, url: prod.url },
      { name: "dev", environment: "dev", ...quick, url: dev.url },
    ],
  });
  const lost = t.send(t.first, t.push("1")).catch(() => "cut");
  await Harness.until(() => prod.arrived.length > 0 && dev.arrived.length > 0);
  t.first.service.signal("SIGKILL");
  expect(await lost).toBe("cut");
  [prod.behave, dev.behave] = [() => undefined, () => undefined];
  await Harness.until(async () => (await t.states()).every((each) => each.endsWith("delivered")));
  expect(new Set([...prod.keys, ...dev.keys])).toEqual(new Set(["1"]));
  never.resolve(new Response());
});

test("P9: a delivery that is dead is seen and replayed through any node, and its message goes once it is delivered", async () => {
  await using prod = new Receiver(() => new Response(null, { status: 503 }));
  await using t = await setup({ targets: [{ ...PROD, url: prod.url }] });
  expect(await t.send(t.first, t.push("1"))).toBe("success");
  // A day has passed.
  await t.cluster.query("UPDATE deliveries SET expires_at = 1, due_at = 1");
  await Harness.until(async () => (await t.states())[0] === "prod dead");
  const listed = (await t.ask(t.second, "prod", "?state=dead")).data["deliveries"];
  expect(listed).toMatchObject([{ dedupe_key: "1", error: "status_503" }]);
  const shown = await t.ask(t.first, "prod", `/${listed[0].id}`);
  expect(String(shown.data["message"])).toContain("hello");
  prod.behave = () => undefined;
  expect((await t.ask(t.second, "prod", "/replay", {})).data).toEqual({ replayed: 1 });
  await Harness.until(async () => (await t.states())[0] === "prod delivered");
  expect(await t.cluster.query("SELECT request FROM pushes")).toEqual([{ request: null }]);
});
