import { createHmac } from "node:crypto";
import { expect, test } from "bun:test";
import type { CallbackSettings } from "../../src/callbacks/callback-settings.ts";
import { generatePushKey, type PushKey } from "../../src/callbacks/push-crypto.ts";
import { readPushFields } from "../../src/callbacks/push-fields.ts";
import { checkQuery, encryptReply } from "../../src/callbacks/push-reply.ts";
import { PushReceiver, type PushReceiverDeps } from "../../src/callbacks/push-receiver.ts";
import { verifyPush } from "../../src/callbacks/verify-push.ts";
import { EventBus } from "../../src/events.ts";
import { WX, WX_FOREIGN } from "../support/harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import {
  type Arrived,
  contentOf,
  keptText,
  KEY,
  PushWorld,
  Receiver,
  setCallbacks,
  textReply,
} from "./push-world.ts";

/** A push as its target's program verifies it. */
function verified({ url, body }: Arrived, key: PushKey, now: number) {
  const settings = { platform: "weixin", mode: "secure", keys: [key], receiveIds: [WX.appId] } as const;
  const push = verifyPush(
    settings,
    { method: "POST", query: url.search.slice(1), body: Buffer.from(body) },
    now,
  );
  if (push.kind !== "push") throw new Error("no push");
  return push;
}

/** A primary with a URL that behaves so, and a world in which it has `answerMs`. */
async function setup(behave?: Receiver["behave"], answerMs?: number) {
  const prod = new Receiver(behave);
  const it = await PushWorld.create(
    { targets: [{ name: "prod", url: prod.url }] },
    answerMs === undefined ? {} : { pushAnswerMs: answerMs },
  );
  const queue = async () => {
    const { deliveries } = await it.store();
    return (await deliveries.list({ app: WX.appId }, { limit: 50 })).map(
      ({ target, state, error }) => `${target} ${state}${error === undefined ? "" : ` ${error}`}`,
    );
  };
  const outcomes = () =>
    it.world.events.flatMap((event) =>
      event.type === "push.answered" && !["check", "refused"].includes(event.outcome) ? [event.outcome] : [],
    );
  const dispose = async () => {
    await it[Symbol.asyncDispose]();
    await prod[Symbol.asyncDispose]();
  };
  return { prod, it, queue, outcomes, [Symbol.asyncDispose]: dispose };
}

test("P9: a push is verified, goes to its primary as it came, and WeChat gets the primary's reply", async () => {
  await using t = await setup(() => textReply("welcome"));
  const push = t.it.text({ content: "hello", msgId: "24000000000000001" });
  const { status, text } = await t.it.send(push);
  expect([status, contentOf(text)]).toEqual([200, "welcome"]);
  const [arrived, another] = t.prod.arrived;
  expect(arrived?.body).toBe(push.body);
  expect(arrived?.url.search).toBe(`?${push.query}`);
  expect(arrived?.headers.get("content-type")).toBe(push.contentType);
  expect(arrived?.headers.get("x-accesstoken-delivery")).toBe("24000000000000001");
  expect(another).toBeUndefined();
  await t.it.until(async () => (await t.queue())[0] === "prod delivered");
});

test("P9: trap 17: of many attempts at one push one is delivered, and all have the one answer, in this process and after a restart", async () => {
  let n = 0;
  await using t = await setup(async () => {
    n += 1;
    await Bun.sleep(50);
    return textReply(`answer ${n}`);
  });
  const push = t.it.text();
  const joined = await Promise.all([t.it.send(push), t.it.send(push), t.it.send(push)]);
  expect(joined.map(({ text }) => contentOf(text))).toEqual(["answer 1", "answer 1", "answer 1"]);
  await t.it.until(async () => (await t.queue())[0] === "prod delivered");
  const before = joined[0]?.text ?? "";
  expect((await t.it.send(push)).text).toBe(before);
  await t.it.world.stop();
  await t.it.world.start();
  await t.it.until(async () => (await t.it.check("x")).status === 200);
  expect((await t.it.send(push)).text).toBe(before);
  expect(t.prod.arrived).toHaveLength(1);
});

const WRONG: Record<string, () => Response> = {
  "an error": () => new Response("no", { status: 500 }),
  "a redirect": () => new Response(null, { status: 302, headers: { location: "http://127.0.0.1:1/" } }),
  "a page": () => new Response("<html>sign in</html>"),
  "another program's JSON": () => Response.json({ code: 0 }),
  "an answer that is too large": () => new Response("x".repeat(65 * 1024)),
};

test.each(Object.entries(WRONG))(
  "P9: a primary that answers %s: WeChat gets success, and the push is tried again",
  async (_what, wrong) => {
    let isWrong = true;
    await using t = await setup(() => (isWrong ? wrong() : undefined));
    expect(await t.it.send(t.it.text())).toEqual({ status: 200, text: "success" });
    expect(t.outcomes()).toEqual(["failed"]);
    isWrong = false;
    await t.it.until(async () => (await t.queue())[0] === "prod delivered");
    expect(t.prod.arrived.length).toBeGreaterThan(1);
  },
);

test("P9: a push that comes again after its primary took it, and whose answer was lost, is answered success at once", async () => {
  await using t = await setup();
  const { deliveries } = await t.it.store();
  const now = t.it.world.clock.now();
  const name = { app: WX.appId, dedupeKey: "17" };
  const push = {
    ...name,
    type: "text",
    event: "",
    receivedAt: now,
    request: keptText(now),
    answer: undefined,
  };
  const lent = { sender: "", leasedUntil: now + 5000 };
  const primary = { target: "prod", environment: "prod", role: "primary", ...lent } as const;
  const { ids: [id = 0] = [] } = await deliveries.accept(push, [primary], "killed");
  await deliveries.end({ id, holder: "killed", at: now, failure: undefined });
  // No time passes.
  expect(await t.it.send(t.it.text({ msgId: "17" }))).toEqual({ status: 200, text: "success" });
  expect(t.prod.arrived).toEqual([]);
});

test("P9: a primary that is late: WeChat gets success in time, and what it answers then counts as delivered", async () => {
  const late = Promise.withResolvers<Response>();
  await using t = await setup(() => late.promise, 200);
  const push = t.it.text();
  expect(await t.it.send(push)).toEqual({ status: 200, text: "success" });
  expect(t.outcomes()).toEqual(["late"]);
  late.resolve(textReply("too late"));
  await t.it.until(async () => (await t.queue())[0] === "prod delivered", 10);
  expect(t.prod.arrived).toHaveLength(1);
  expect((await t.it.send(push)).text).toBe("success");
});

test("P9: a primary that is dead: WeChat gets success, and the push is delivered when it is back, also after a restart", async () => {
  await using t = await setup();
  const { port } = t.prod;
  await t.prod[Symbol.asyncDispose]();
  expect((await t.it.send(t.it.text({ msgId: "1" }))).text).toBe("success");
  await t.it.until(async () => (await t.queue())[0] === "prod waiting unreachable");
  await t.it.world.stop();
  await t.it.world.start();
  await using back = new Receiver(undefined, port);
  await t.it.until(() => back.keys.includes("1"));
  await t.it.until(async () => (await t.queue())[0] === "prod delivered");
});

test("P6: what waits for a target of one environment never reaches a target of that name of another", async () => {
  await using dev = new Receiver();
  await using t = await setup(() => new Response(null, { status: 503 }));
  await t.it.send(t.it.text());
  await t.it.set({ targets: [{ name: "prod", url: dev.url, environment: "dev" }] });
  await t.it.until(async () => (await t.queue())[0] === "prod waiting no_such_target");
  expect(dev.arrived).toEqual([]);
});

test("when the wall clock is set back, what waits for another attempt does not wait for the hour to come again", async () => {
  await using t = await setup(() => new Response("busy", { status: 503 }));
  await t.it.send(t.it.text());
  await t.it.until(() => t.prod.arrived.length >= 3);
  t.prod.behave = () => undefined;
  t.it.world.clock.jumpWall(-3_600_000);
  await t.it.until(async () => (await t.queue())[0] === "prod delivered");
});

test("while a target is dead, pushes of one user come in their order, and another user's pass them", async () => {
  let isDead = true;
  await using t = await setup(() => (isDead ? new Response(null, { status: 503 }) : undefined));
  for (const msgId of ["1", "2", "3"]) await t.it.send(t.it.text({ msgId, openid: "oOne" }));
  // The first attempt is never held back.
  expect(t.prod.keys.slice(0, 3)).toEqual(["1", "2", "3"]);
  isDead = false;
  const before = t.prod.arrived.length;
  await t.it.send(t.it.text({ msgId: "4", openid: "oTwo" }));
  expect(t.prod.keys[before]).toBe("4");
  await t.it.until(async () => (await t.queue()).every((each) => each === "prod delivered"), 100);
  const after = t.prod.keys.slice(before).filter((key) => key !== "4");
  expect([...new Set(after)]).toEqual(["1", "2", "3"]);
});

test("copies go to their targets, and what those answer is dropped", async () => {
  await using dev = new Receiver(() => textReply("from dev"));
  await using t = await setup(() => textReply("from prod"));
  await t.it.set({
    targets: [
      { name: "prod", url: t.prod.url },
      { name: "dev", url: dev.url, environment: "dev" },
    ],
  });
  const { text } = await t.it.send(t.it.text({ msgId: "7" }));
  expect(contentOf(text)).toBe("from prod");
  await t.it.until(async () => (await t.queue()).every((each) => each.endsWith("delivered")));
  expect(dev.keys).toEqual(["7"]);
});

test("a target with a key of its own verifies and answers with that, and WeChat gets its reply under the app's key", async () => {
  const own = generatePushKey();
  await using t = await setup();
  const { token, encodingAesKey: aesKey } = own;
  const replier = {
    name: "prod",
    url: `${t.prod.url}?from=$APPID$`,
    content: "reencrypted",
    token,
    aesKey,
  } as const;
  await t.it.set({ targets: [replier] });
  const now = t.it.world.clock.now();
  t.prod.behave = (arrived) => {
    const push = verified(arrived, own, now);
    const content = readPushFields(push.message).fields.get("Content");
    const clear = `<xml><ToUserName>o</ToUserName><FromUserName>g</FromUserName><CreateTime>1</CreateTime><MsgType>text</MsgType><Content>you said ${content}</Content></xml>`;
    const { body, contentType } = encryptReply(push, clear, now);
    return new Response(body as Uint8Array<ArrayBuffer>, { headers: { "content-type": contentType } });
  };
  const push = t.it.text({ content: "hello" });
  const { text } = await t.it.send(push);
  expect(contentOf(text)).toBe("you said hello");
  const nonce = new URLSearchParams(push.query).get("nonce");
  expect(readPushFields(Buffer.from(text)).fields.get("Nonce")).toBe(nonce!);
  const [arrived] = t.prod.arrived;
  expect(arrived?.url.searchParams.get("from")).toBe(WX.appId);
  expect(arrived?.url.searchParams.get("nonce")).not.toBe(nonce);
});

test("a target gets the message decrypted, with the digest that its key makes of it, and replies in clear", async () => {
  await using t = await setup(() => textReply("seen"));
  const hmacKey = generatePushKey().token;
  await t.it.set({ targets: [{ name: "prod", url: t.prod.url, content: "decrypted", hmacKey }] });
  const { text } = await t.it.send(t.it.text({ content: "你好" }));
  expect(contentOf(text)).toBe("seen");
  const [arrived] = t.prod.arrived;
  const [, time = "", digest] =
    /^t=(\d+),v1=([0-9a-f]{64})$/.exec(arrived?.headers.get("x-accesstoken-signature") ?? "") ?? [];
  const expected = createHmac("sha256", hmacKey.reveal()).update(`${time}.${arrived?.body}`).digest("hex");
  expect(digest).toBe(expected);
  expect(arrived?.url.search).toBe("");
  expect(readPushFields(Buffer.from(arrived?.body ?? "")).fields.get("Content")).toBe("你好");
});

test("P9: what is not verified is answered 403 with nothing, reaches nobody, and is counted as a denial", async () => {
  await using t = await setup();
  const { it } = t;
  const push = it.text();
  const forged = it.text({ key: generatePushKey() });
  const other = { ...push, query: push.query.replace(/msg_signature=./, "msg_signature=x") };
  for (const sent of [forged, other, { ...push, body: "<xml><MsgType>text</MsgType></xml>" }])
    expect(await it.send(sent)).toEqual({ status: 403, text: "" });
  const post = (path: string, body = push.body) =>
    fetch(`${it.world.service.url}${path}?${push.query}`, { method: "POST", body });
  const refused = [
    post("/callback/wx0000000000000bad"),
    post("/callback/"),
    post(`/callback/${WX.appId}/x`),
    post(`/callback/${WX.appId}`, "x".repeat(1024 * 1024 + 1)),
    fetch(`${it.url}?${push.query}`, { method: "DELETE" }),
    it.check("1", generatePushKey()),
  ];
  for (const response of await Promise.all(refused))
    expect([response.status, await response.text()]).toEqual([403, ""]);
  expect(t.prod.arrived).toEqual([]);
  expect(await t.queue()).toEqual([]);
  const denials = async () => {
    const { data } = await it.world.administer("/v1/audit/denials");
    return (data["denials"] as { route: string; count: number }[])
      .filter(({ route }) => route.startsWith("/callback/"))
      .reduce((sum, { count }) => sum + count, 0);
  };
  await it.until(async () => (await denials()) >= 9);
});

test("an app that is disabled receives nothing, until it is enabled again", async () => {
  await using t = await setup();
  const { appId, secret } = WX_FOREIGN;
  const change = (method: string, path: string, body: object) =>
    t.it.world.administer(path, {
      method,
      headers: { "content-type": "application/json", "if-match": "*" },
      body: JSON.stringify(body),
    });
  expect((await change("POST", "/v1/apps", { platform: "weixin", app_id: appId, secret })).status).toBe(201);
  await setCallbacks(await t.it.store(), { targets: [{ name: "shop", url: t.prod.url }] }, appId);
  const send = async (push = t.it.text()) => {
    const url = `${t.it.world.service.url}/callback/${appId}?${push.query}`;
    const response = await fetch(url, { method: "POST", body: push.body });
    return [response.status, await response.text()];
  };
  await t.it.until(async () => (await send())[0] === 200, 100);
  const received = t.prod.arrived.length;
  expect((await change("PATCH", `/v1/apps/${appId}`, { disabled: true })).code).toBe(0);
  expect(await send()).toEqual([403, ""]);
  expect(t.prod.arrived).toHaveLength(received);
  await change("PATCH", `/v1/apps/${appId}`, { disabled: false });
  expect(await send()).toEqual([200, "success"]);
});

test("WeChat's check of the URL is answered, and noted", async () => {
  await using t = await setup();
  const answer = await t.it.check("4375120948345356249");
  expect([answer.status, await answer.text()]).toEqual([200, "4375120948345356249"]);
  const { callbackSettings } = await t.it.store();
  const now = t.it.world.clock.now();
  await t.it.until(async () => (await callbackSettings.load()).apps[0]?.settings.checkedAt === now, 0);
});

test("WeChat's check of the URL is answered while the store does not, and noted once in five seconds", async () => {
  const clock = new ManualClock();
  const noted: number[] = [];
  const secure = { app: WX.appId, token: KEY.token, aesKey: KEY.encodingAesKey, mode: "secure" } as const;
  let settings: CallbackSettings = { ...secure, format: "xml", receiveIds: [WX.appId], version: 1 };
  const noteCheck = (_app: string, at: number) => {
    noted.push(at);
    settings = { ...settings, checkedAt: at };
    return new Promise<void>(() => undefined);
  };
  const receiver = new PushReceiver({
    clock,
    events: new EventBus(),
    directory: { find: () => ({ platform: "weixin", id: WX.appId }) },
    callbacks: { of: () => ({ settings, targets: [], routes: [] }) },
    settings: { noteCheck },
  } as unknown as PushReceiverDeps);
  const check = async () => {
    const query = checkQuery("weixin", { key: KEY, receiveId: WX.appId, echo: "1" }, clock.now());
    const request = { method: "GET", query, body: new Uint8Array(), contentType: "" } as const;
    const { body } = await receiver.receive(WX.appId, { ...request, arrivedAt: clock.monotonic() });
    return Buffer.from(body).toString();
  };
  const begun = clock.now();
  expect([await check(), await check()]).toEqual(["1", "1"]);
  clock.advance(5001);
  expect(await check()).toBe("1");
  expect(noted).toEqual([begun, begun + 5001]);
});

test("a push whose timestamp is far off is delivered, and told of", async () => {
  await using t = await setup();
  const push = t.it.text();
  t.it.world.clock.advance(600_000);
  expect((await t.it.send(push)).text).toBe("success");
  expect(t.prod.arrived).toHaveLength(1);
  expect(t.it.world.events.filter(({ type }) => type === "push.skewed")).toHaveLength(1);
});

test("of a type that is longer than any of WeChat's the queue has the beginning", async () => {
  await using t = await setup(() => new Response("busy", { status: 503 }));
  expect((await t.it.send(t.it.text({ type: "t".repeat(10_000) }))).text).toBe("success");
  const { deliveries } = await t.it.store();
  const [listed] = await deliveries.list({ app: WX.appId }, { limit: 5 });
  expect(listed?.type).toBe("t".repeat(128));
});

test("P9: a push that somebody repeats after its answer is forgotten goes to nobody", async () => {
  await using t = await setup();
  const push = t.it.text();
  await t.it.send(push);
  await t.it.until(async () => (await t.queue())[0] === "prod delivered");
  t.it.world.clock.advance(25 * 3_600_000 + 60_000);
  // What is kept no longer is pruned now.
  await t.it.until(async () => (await t.queue()).length === 0);
  expect(await t.it.send(push)).toEqual({ status: 200, text: "success" });
  expect(t.outcomes()).toEqual(["success", "expired"]);
  expect([t.prod.arrived.length, await t.queue()]).toEqual([1, []]);
});

test("a push that no route is for is answered success, and so is one of an app without targets", async () => {
  await using t = await setup();
  await t.it.set({
    targets: [{ name: "prod", url: t.prod.url }],
    routes: [{ target: "prod", role: "primary", rule: { types: ["image"] } }],
  });
  expect((await t.it.send(t.it.text())).text).toBe("success");
  expect(t.outcomes().at(-1)).toBe("unrouted");
  expect([t.prod.arrived, await t.queue()]).toEqual([[], []]);
});

test("P9: a push that comes while another process writes is stored as soon as that has ended", async () => {
  await using t = await setup();
  const { Database } = await import("bun:sqlite");
  using other = new Database(t.it.world.databasePath);
  other.run("BEGIN IMMEDIATE");
  const sent = t.it.send(t.it.text());
  const isBusy = () =>
    t.it.world.events.some((event) => event.type === "store.queried" && event.failure === "busy");
  await t.it.until(isBusy, 0);
  other.run("ROLLBACK");
  expect(await sent).toEqual({ status: 200, text: "success" });
});

test("P9: while the database can't be written, a push is not answered in time: WeChat sends it again", async () => {
  await using t = await setup();
  const { Database } = await import("bun:sqlite");
  using other = new Database(t.it.world.databasePath);
  other.run("ALTER TABLE pushes RENAME TO moved");
  const push = t.it.text();
  let isAnswered = false;
  const sent = t.it.send(push).finally(() => (isAnswered = true));
  const tries = () =>
    t.it.world.events.filter((event) => event.type === "store.queried" && event.failure === "refused").length;
  await t.it.until(() => tries() > 0, 0);
  t.it.world.clock.advance(5000);
  const before = tries();
  await t.it.until(() => isAnswered || tries() > before + 1, 0);
  expect(isAnswered).toBe(false);
  await t.it.until(() => isAnswered);
  expect(await sent).toEqual({ status: 503, text: "" });
  expect(t.prod.arrived).toEqual([]);
  other.run("ALTER TABLE moved RENAME TO pushes");
  expect((await t.it.send(push)).text).toBe("success");
  expect(t.prod.arrived).toHaveLength(1);
});

test("P6: P7: deliveries are counted by app, target and type, and nothing of a message is in log, metrics or audit", async () => {
  await using t = await setup(() => new Response("canaryAnswer", { status: 500 }));
  await t.it.send(t.it.text({ content: "canaryContent", openid: "canaryOpenid" }));
  t.prod.behave = () => textReply("canaryReply");
  await t.it.until(async () => (await t.queue())[0] === "prod delivered");
  const usage = async () => {
    const { data } = await t.it.world.administer("/v1/audit/usage");
    return (data["usage"] as Record<string, unknown>[]).filter(({ client }) => client === "(target prod)");
  };
  await t.it.until(async () => (await usage()).length === 1);
  expect((await usage())[0]).toMatchObject({
    environment: "prod",
    action: "push text",
    app: WX.appId,
    count: 1,
  });
  const text = await (await t.it.world.service.handle(new Request("http://localhost/metrics"))).text();
  expect(text).toContain('accesstoken_delivery_attempts_total{outcome="delivered"} 1');
  expect(text).toContain('accesstoken_deliveries{state="waiting"} 0');
  const { text: audit } = await t.it.world.administer("/v1/audit");
  const { deliveries } = await t.it.store();
  const listed = await deliveries.list({ app: WX.appId }, { limit: 5 });
  const all = JSON.stringify([t.it.world.events, text, audit, await usage(), listed]);
  expect(all).not.toContain("canary");
});
