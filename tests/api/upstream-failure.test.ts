import { expect, test } from "bun:test";
import { type FaultEffect, Gate } from "../../src/sandbox/fault.ts";
import { type Answer, CORP, WECOM, Harness, WX } from "../support/harness.ts";

/** After so long nobody remembers a failure that passes by itself, and the next caller waits for WeChat. */
const FORGOTTEN_MS = 100_000;
const CIRCUIT_MS = 600_000;

let codes = 0;
/** A user's code that no test has used. */
const freshCode = () => `sandbox-code-${codes++}`;

/** Each way in which the service asks upstream, with the endpoint that it asks. */
const FLOWS: readonly { name: string; endpoint: string; ask: (world: Harness) => Promise<Answer> }[] = [
  {
    name: "getXcx",
    endpoint: "/cgi-bin/stable_token",
    ask: (world) => world.get("/AccessToken/getXcx", { appid: WX.appId }),
  },
  {
    name: "getQyapi",
    endpoint: "/cgi-bin/gettoken",
    ask: (world) => world.get("/AccessToken/getQyapi", { corpid: CORP, agentid: WECOM.agent }),
  },
  {
    name: "getJsApiSign",
    endpoint: "/cgi-bin/ticket/getticket",
    ask: (world) => world.post("/JsSDK/getJsApiSign", { wx_app_id: WX.appId, url: "https://example.com/" }),
  },
  {
    name: "getOauthAccessToken",
    endpoint: "/sns/oauth2/access_token",
    ask: (world) =>
      world.post("/AccessToken/getOauthAccessToken", { wx_app_id: WX.appId, code: freshCode() }),
  },
  {
    name: "jscode2session",
    endpoint: "/sns/jscode2session",
    ask: (world) => world.get("/xcx/jscode2session", { appid: WX.appId, code: freshCode() }),
  },
];

/** Answers that are none. */
const RUBBISH: readonly FaultEffect[] = [
  { kind: "http", status: 502 },
  { kind: "http", status: 404 },
  { kind: "http", status: 204, body: "" },
  { kind: "reset_before" },
  { kind: "reset_after" },
  { kind: "truncated_json" },
  { kind: "truncated_body" },
  { kind: "empty_body" },
  { kind: "gzip_bomb", bytes: 4 * 1024 * 1024 },
  { kind: "oversized", bytes: 128 * 1024 },
  { kind: "redirect", location: "http://127.0.0.1:1/" },
  { kind: "raw", body: "null", contentType: "application/json" },
  { kind: "raw", body: "[]", contentType: "application/json" },
  { kind: "raw", body: "{}", contentType: "application/json" },
  { kind: "raw", body: '{"errcode":"x"}', contentType: "application/json" },
  { kind: "raw", body: '{"errcode":null}', contentType: "application/json" },
  { kind: "raw", body: "\xff\xfe{}", contentType: "application/json" },
  { kind: "raw", body: "<html></html>", contentType: "text/html" },
];

const BAD_FIELDS: Record<string, readonly FaultEffect[]> = {
  getXcx: tokenFields("access_token"),
  getQyapi: tokenFields("access_token"),
  getJsApiSign: tokenFields("ticket"),
  getOauthAccessToken: ["access_token", "refresh_token", "openid"].flatMap(emptyOrOdd),
  jscode2session: ["openid", "session_key"].flatMap(emptyOrOdd),
};

function tokenFields(name: string): FaultEffect[] {
  const lives = [0, -1, 1e9, 7200.5, "7200", null].map((value) => field("expires_in", value));
  return [...emptyOrOdd(name), field(name, "x".repeat(5000)), field(name, "short"), ...lives];
}

function emptyOrOdd(name: string): FaultEffect[] {
  return [undefined, null, "", 5, {}].map((value) => field(name, value));
}

function field(name: string, value: unknown): FaultEffect {
  return { kind: "field", field: name, value };
}

test.each(FLOWS)("$name: an answer that is none is code 502, and nothing of it is kept", async (flow) => {
  await using world = await Harness.create();
  const { sandbox } = world;
  for (const effect of [...RUBBISH, ...(BAD_FIELDS[flow.name] ?? [])]) {
    sandbox.inject({ ...effect, endpoint: flow.endpoint, times: Number.POSITIVE_INFINITY });
    sandbox.resetCalls();
    const answer = await flow.ask(world);
    expect([effect, answer.code, sandbox.calls(flow.endpoint) > 0]).toEqual([effect, 502, true]);
    expect(answer.msg).toMatch(/微信.*请/);
    expect([answer.status, answer.data]).toEqual([200, {}]);
    sandbox.clearFaults();
    world.clock.advance(FORGOTTEN_MS);
  }
  expect((await flow.ask(world)).code).toBe(0);
});

test.each(FLOWS)("$name: a silent upstream is code 504 within the deadline", async (flow) => {
  await using world = await Harness.create({ upstreamMs: { attempt: 100, total: 250 } });
  const gate = new Gate();
  world.sandbox.inject({
    kind: "gate_before",
    gate,
    endpoint: flow.endpoint,
    times: Number.POSITIVE_INFINITY,
  });
  const answer = await flow.ask(world);
  expect([answer.status, answer.code, answer.data]).toEqual([200, 504, {}]);
  expect(answer.msg).toMatch(/微信.*未在规定时间内应答/);
});

test.each(FLOWS)("$name: an upstream that can't be reached is code 502", async (flow) => {
  const nowhere = "http://127.0.0.1:1";
  await using world = await Harness.create({
    environment: { WEIXIN_BASE_URL: nowhere, WECOM_BASE_URL: nowhere },
  });
  const answer = await flow.ask(world);
  expect([answer.status, answer.code, answer.data]).toEqual([200, 502, {}]);
  expect(answer.msg).toMatch(/无法连接(企业)?微信/);
});

test.each(FLOWS)("$name: a refusal is passed on, code and text as they came", async (flow) => {
  await using world = await Harness.create();
  for (const errcode of [48001, 61999, 50002]) {
    const errmsg = `not today ${errcode}`;
    world.sandbox.inject({ kind: "error", errcode, errmsg, endpoint: flow.endpoint, times: 1 });
    const answer = await flow.ask(world);
    expect([answer.status, answer.code, answer.data]).toEqual([200, errcode, {}]);
    expect(answer.msg).toStartWith(errmsg);
    expect(answer.msg).toMatch(flow.name === "getQyapi" ? /hint: \[\d+\]/ : /rid: [0-9a-f-]+/);
    world.clock.advance(CIRCUIT_MS);
  }
  expect((await flow.ask(world)).code).toBe(0);
});

const PACED = FLOWS.filter(({ name }) => !["getOauthAccessToken", "jscode2session"].includes(name));

test.each(PACED)(
  "$name: the same failure is told again, with how long it lasts, and costs nothing",
  async (flow) => {
    for (const [errcode, seconds] of [
      [50002, 600],
      [61999, 1],
    ] as const) {
      await using world = await Harness.create();
      world.sandbox.inject({
        kind: "error",
        errcode,
        errmsg: "not today",
        endpoint: flow.endpoint,
        times: 1,
      });
      const first = await flow.ask(world);
      const calls = world.sandbox.calls();
      for (let n = 0; n < 3; n++) {
        const again = await flow.ask(world);
        expect([again.status, again.code, again.msg, again.data]).toEqual([200, errcode, first.msg, {}]);
        expect(again.headers.get("retry-after")).toBe(String(seconds));
        expect(JSON.parse(again.text)).toMatchObject({ retry_after: seconds });
      }
      expect(world.sandbox.calls()).toBe(calls);
      world.clock.advance(seconds * 1000);
      await Harness.until(async () => (await flow.ask(world)).code === 0);
      expect(world.sandbox.calls(flow.endpoint)).toBe(2);
    }
  },
);

test.each(["getOauthAccessToken", "jscode2session"])(
  "P4: %s: an account that lacks the permission for logins loses no token by it",
  async (name) => {
    await using world = await Harness.create();
    const flow = FLOWS.find((each) => each.name === name);
    world.sandbox.inject({
      kind: "error",
      errcode: 48001,
      errmsg: "no",
      endpoint: flow?.endpoint ?? "",
      times: 1,
    });
    expect((await flow?.ask(world))?.code).toBe(48001);
    expect((await world.get("/AccessToken/getXcx", { appid: WX.appId })).code).toBe(0);
  },
);

test.each(["getOauthAccessToken", "jscode2session"])(
  "%s: a frozen account is not asked for again for 10 min",
  async (name) => {
    await using world = await Harness.create();
    const flow = FLOWS.find((each) => each.name === name);
    world.sandbox.inject({
      kind: "error",
      errcode: 50002,
      errmsg: "no",
      endpoint: flow?.endpoint ?? "",
      times: 1,
    });
    expect((await flow?.ask(world))?.code).toBe(50002);
    expect((await flow?.ask(world))?.code).toBe(50002);
    expect(world.sandbox.calls()).toBe(1);
    world.clock.advance(CIRCUIT_MS);
    expect((await flow?.ask(world))?.code).toBe(0);
  },
);

test.each(FLOWS)("$name: an errcode that comes as text is the same errcode", async (flow) => {
  await using world = await Harness.create();
  world.sandbox.inject({ kind: "error", errcode: "50002", errmsg: "no", endpoint: flow.endpoint, times: 1 });
  expect((await flow.ask(world)).code).toBe(50002);
});

test("P4: a failing upstream takes away no token that still lives", async () => {
  await using world = await Harness.create();
  const query = { appid: WX.appId };
  const before = await world.get("/AccessToken/getXcx", query);
  world.sandbox.inject({ kind: "http", status: 502, times: Number.POSITIVE_INFINITY });
  world.clock.advance(7_000_000);
  const after = await world.get("/AccessToken/getXcx", query);
  expect(after.data).toEqual({ access_token: before.data["access_token"], expires_in: 190 });
});

test("P4: an app with a wrong secret costs another app nothing", async () => {
  await using world = await Harness.create();
  world.sandbox.changeWeixinApp(WX.appId, { secret: "rotated-elsewhere" });
  expect((await world.get("/AccessToken/getXcx", { appid: WX.appId })).code).toBe(40125);
  expect((await world.get("/AccessToken/getQyapi", { corpid: CORP, agentid: WECOM.agent })).code).toBe(0);
});

test("a passing fault is asked again within the same call, and the caller sees only the token", async () => {
  await using world = await Harness.create();
  world.sandbox.inject({ kind: "error", errcode: -1, endpoint: "/cgi-bin/stable_token", times: 2 });
  expect((await world.get("/AccessToken/getXcx", { appid: WX.appId })).code).toBe(0);
  expect(world.sandbox.calls("/cgi-bin/stable_token")).toBe(3);
});

test("nothing is stuck after a failure: once WeChat was left alone for a second, the next calls are served", async () => {
  await using world = await Harness.create({ upstreamMs: { attempt: 2000, total: 2000 } });
  const query = { appid: WX.appId };
  const gate = new Gate();
  world.sandbox.inject({ kind: "gate_before", gate, times: Number.POSITIVE_INFINITY });
  expect((await world.get("/AccessToken/getXcx", query)).code).toBe(504);
  world.sandbox.clearFaults();
  world.sandbox.resetCalls();
  const soon = await world.get("/AccessToken/getXcx", query);
  expect([soon.code, soon.headers.get("retry-after"), world.sandbox.calls()]).toEqual([504, "1", 0]);
  world.clock.advance(1000);
  // The caller that comes first is told the failure once more, while one probe looks for recovery.
  expect((await world.get("/AccessToken/getXcx", query)).code).toBe(504);
  await Harness.until(async () => (await world.get("/AccessToken/getXcx", query)).code === 0);
  expect(world.sandbox.calls()).toBe(1);
});

test("WeCom's 40001 is about the secret: it is passed on and never answered with a refresh", async () => {
  await using world = await Harness.create();
  world.sandbox.changeWecomApp(CORP, WECOM.agent, { secret: "rotated-elsewhere" });
  const answer = await world.get("/AccessToken/getQyapi", { corpid: CORP, agentid: WECOM.agent });
  expect(answer.code).toBe(40001);
  expect(answer.msg).toStartWith("invalid credential");
  expect(world.sandbox.calls("/cgi-bin/gettoken")).toBe(1);
});
