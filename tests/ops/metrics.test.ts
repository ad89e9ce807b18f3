import { expect, test } from "bun:test";
import { failed } from "../../src/api/face.ts";
import { ServiceError, unknownToken } from "../../src/errors.ts";
import { loadConfig } from "../../src/config.ts";
import { EventBus } from "../../src/events.ts";
import { Gate } from "../../src/sandbox/fault.ts";
import { startService } from "../../src/service.ts";
import {
  CORP,
  WECOM,
  WECOM_FOREIGN,
  Harness,
  type WorldOptions,
  WX,
  WX_FOREIGN,
} from "../support/harness.ts";
import { type Exposition, parseExposition } from "./prometheus-text.ts";

const XCX = "/AccessToken/getXcx";
const TOKEN = "/cgi-bin/stable_token";
const TICKET = "/cgi-bin/ticket/getticket";

async function setup(options: WorldOptions = {}) {
  const world = await Harness.create(options);
  return {
    world,
    scrape: () => scrapeFrom(world.service.url),
    getXcx: (query: Record<string, string> = { appid: WX.appId }) => world.get(XCX, query),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

async function scrapeFrom(url: string): Promise<Exposition> {
  const response = await fetch(`${url}/metrics`);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  return parseExposition(await response.text());
}

test("requests are counted by route and by how they came by their credential", async () => {
  await using t = await setup();
  const gate = new Gate();
  t.world.sandbox.inject({ kind: "gate", gate, endpoint: TOKEN, times: 1 });
  const first = t.getXcx();
  await gate.arrived();
  const joined = [t.getXcx(), t.getXcx()];
  await Harness.until(() => t.world.events.filter(({ type }) => type === "waiter.added").length === 3);
  gate.open();
  await Promise.all([first, ...joined]);
  await t.getXcx();
  await t.getXcx({ appid: "" });
  await t.world.get("/no-such-page");
  await t.world.get("/livez");
  const sign = { wx_app_id: WX.appId, url: "https://example.com/" };
  await t.world.post("/JsSDK/getJsApiSign", sign);
  await t.world.post("/JsSDK/getJsApiSign", sign);

  const text = await t.scrape();
  const requests = (route: string, result: string) =>
    text.value("accesstoken_requests_total", { route, result });
  expect(requests(XCX, "refresh")).toBe(1);
  expect(requests(XCX, "wait")).toBe(2);
  expect(requests(XCX, "hit")).toBe(1);
  expect(requests(XCX, "caller")).toBe(1);
  expect(requests("(none)", "caller")).toBe(1);
  expect(requests("/livez", "done")).toBe(1);
  expect(requests("/JsSDK/getJsApiSign", "refresh")).toBe(1);
  expect(requests("/JsSDK/getJsApiSign", "hit")).toBe(1);
  expect(text.value("accesstoken_request_duration_seconds_count", { route: XCX })).toBe(5);
});

test("every kind of failure is shown at 0 before its first, so that this one is an increase", async () => {
  await using t = await setup();
  const text = await t.scrape();
  const classes = ["config", "account", "risk", "permission", "quota_day", "quota_minute"];
  for (const [name, label, values, others] of [
    ...[
      ...[XCX, "/cgi-bin/token", "/v1/apps/:app/credentials/:kind", "/gateway/:app/**", "(none)"],
      ...["/cgi-bin/message/**", "/wxa/**", "/cgi-bin/**", "other/**"],
    ].map(
      (route) =>
        ["requests_total", "result", ["caller", "denied", "upstream", "internal"], { route }] as const,
    ),
    ["refresh_failures_total", "class", [...classes, "upstream_unreachable", "unavailable"], {}] as const,
    ["blocked_apps", "class", [...classes, "transient", "token_invalid", "input"], {}] as const,
    ...[
      ["weixin", TOKEN],
      ["weixin", "/sns/jscode2session"],
      ["wecom", "/cgi-bin/auth/getuserinfo"],
    ].map(
      ([platform, endpoint]) =>
        [
          ...(["upstream_calls_total", "outcome"] as const),
          ["ok", "errcode", "upstream_timeout", "upstream_invalid", "upstream_unreachable"],
          { platform, endpoint },
        ] as const,
    ),
  ])
    for (const value of values) {
      const labels = { ...others, [label]: value };
      const shown = text.series.filter(
        (each) => each.name === `accesstoken_${name}` && Bun.deepEquals(each.labels, labels),
      );
      expect([name, labels, shown.map((each) => each.value)]).toEqual([name, labels, [0]]);
    }
});

test("apps that are refused are counted by class until that ends, each once", async () => {
  await using t = await setup();
  const blocked = async () => {
    const text = await t.scrape();
    const classes = ["config", "quota_minute"].map((name) => ({ class: name }));
    return classes.map((labels) => text.value("accesstoken_blocked_apps", labels));
  };
  t.world.sandbox.inject({ kind: "error", errcode: 40164, endpoint: TOKEN, times: 1 });
  await t.getXcx();
  // A secret that is not held makes no app.
  t.world.sandbox.inject({ kind: "error", errcode: 40164, endpoint: TOKEN, times: 1 });
  await t.getXcx({ appid: WX_FOREIGN.appId, secret: WX_FOREIGN.secret });
  // Two of its tickets count once, too.
  t.world.sandbox.inject({ kind: "error", errcode: 40164, endpoint: TICKET, times: Infinity });
  t.world.clock.advance(61_000);
  await t.getXcx();
  for (const kind of ["jsapi_ticket", "wx_card_ticket"])
    await t.world.administer(`/v1/apps/${WX.appId}/credentials/${kind}`);
  expect(await blocked()).toEqual([1, 0]);
  // WeCom's limit is the corp's, which has two applications here.
  t.world.sandbox.inject({ kind: "error", errcode: 45009, host: "wecom", times: 1 });
  await t.world.get("/AccessToken/getQyapi", { corpid: CORP, agentid: WECOM.agent });
  expect(await blocked()).toEqual([1, 2]);
  t.world.clock.advance(11 * 60_000);
  expect(await blocked()).toEqual([0, 0]);
});

const SHAPE = { platform: "weixin", errmsg: "no" } as const;

test.each([
  ["caller", new ServiceError("invalid_parameter", "m")],
  ["caller", unknownToken("weixin")],
  [
    "caller",
    new ServiceError("upstream_rejected", "m", { upstream: { ...SHAPE, errcode: 40029, class: "input" } }),
  ],
  ["denied", new ServiceError("unauthorized", "m", { deniedTo: "" })],
  ["denied", new ServiceError("rate_limited", "m", { deniedTo: "shop" })],
  [
    "upstream",
    new ServiceError("upstream_rejected", "m", { upstream: { ...SHAPE, errcode: 40164, class: "config" } }),
  ],
  ["upstream", new ServiceError("upstream_timeout", "m")],
  ["internal", new ServiceError("store_unusable", "m")],
  ["internal", new ServiceError("unavailable", "m")],
  ["internal", new TypeError("m")],
] as const)("a failure counts once, as %s", (result, error) => {
  expect(failed(1, error).result).toBe(result);
});

test("each request is counted once, whatever came of it", async () => {
  await using t = await setup();
  await t.getXcx();
  await t.getXcx({ appid: "%%%" });
  await t.world.request(XCX, { method: "DELETE" });
  await t.world.request("/xcx/jscode2session?appid=%ff");
  await t.world.request("/", { headers: { "x-forwarded-for": "203.0.113.9" } });
  await (await fetch(`${t.world.service.url}/swagger`)).text();

  const handled = t.world.events.filter(({ type }) => type === "request.handled");
  const text = await t.scrape();
  const counted = text.series.filter(({ name }) => name === "accesstoken_requests_total");
  expect(handled).toHaveLength(6);
  expect(counted.reduce((sum, { value }) => sum + value, 0)).toBe(6);
});

test("a caller that gets the living credential while it is renewed is a hit and no waiter", async () => {
  await using t = await setup();
  await t.getXcx();
  t.world.clock.advance(7_000_000);
  const gate = new Gate();
  t.world.sandbox.inject({ kind: "gate", gate, endpoint: TOKEN, times: 1 });
  await t.getXcx();
  await gate.arrived();
  const text = await t.scrape();
  gate.open();
  expect(text.value("accesstoken_requests_total", { route: XCX, result: "hit" })).toBe(1);
  expect(text.value("accesstoken_refresh_flights")).toBe(1);
  expect(text.value("accesstoken_refresh_waiters")).toBe(0);
});

test("a running flight and the callers that wait for it are shown while it runs, and not afterwards", async () => {
  await using t = await setup();
  expect((await t.scrape()).value("accesstoken_refresh_flights")).toBe(0);
  const gate = new Gate();
  t.world.sandbox.inject({ kind: "gate", gate, endpoint: TOKEN, times: 1 });
  const callers = Promise.all([t.getXcx(), t.getXcx(), t.getXcx()]);
  await gate.arrived();
  await Harness.until(() => t.world.events.filter(({ type }) => type === "waiter.added").length === 3);

  const during = await t.scrape();
  expect(during.value("accesstoken_refresh_flights")).toBe(1);
  expect(during.value("accesstoken_refresh_waiters")).toBe(3);
  gate.open();
  await callers;
  const after = await t.scrape();
  expect(after.value("accesstoken_refresh_flights")).toBe(0);
  expect(after.value("accesstoken_refresh_waiters")).toBe(0);
  expect(after.value("accesstoken_refreshes_total")).toBe(1);
});

test("failed flights leave no flight and no waiter behind, and are counted by class", async () => {
  await using t = await setup();
  t.world.sandbox.inject({ kind: "error", errcode: 40125, endpoint: TOKEN, times: 1 });
  t.world.sandbox.inject({ kind: "empty_body", host: "wecom", times: Infinity });
  await t.getXcx();
  await t.world.get("/AccessToken/getQyapi", { corpid: CORP, agentid: WECOM.agent });

  const text = await t.scrape();
  expect(text.value("accesstoken_refresh_failures_total", { class: "config" })).toBe(1);
  expect(text.value("accesstoken_refresh_failures_total", { class: "upstream_invalid" })).toBe(1);
  expect(text.value("accesstoken_refresh_flights")).toBe(0);
  expect(text.value("accesstoken_refresh_waiters")).toBe(0);
});

test("upstream calls are counted and timed by platform, endpoint and outcome", async () => {
  await using t = await setup();
  t.world.sandbox.inject({ kind: "error", errcode: 40125, endpoint: TOKEN, times: 1 });
  await t.getXcx();
  t.world.clock.advance(11 * 60_000);
  await t.getXcx();
  await t.world.post("/JsSDK/getJsApiSign", { wx_app_id: WX.appId, url: "https://example.com/" });
  await t.world.get("/AccessToken/getQyapi", { corpid: CORP, agentid: WECOM.agent });

  const text = await t.scrape();
  const calls = (platform: string, endpoint: string, outcome: string) => {
    const labels = { platform, endpoint, outcome };
    const count = text.value("accesstoken_upstream_calls_total", labels);
    expect(text.value("accesstoken_upstream_duration_seconds_count", labels)).toBe(count);
    expect(text.value("accesstoken_upstream_duration_seconds_bucket", { ...labels, le: "+Inf" })).toBe(count);
    return count;
  };
  expect(calls("weixin", TOKEN, "errcode")).toBe(1);
  expect(calls("weixin", TOKEN, "ok")).toBe(1);
  expect(calls("weixin", TICKET, "ok")).toBe(1);
  expect(calls("wecom", "/cgi-bin/gettoken", "ok")).toBe(1);
});

test("P5: an answer that a clear has overtaken counts as a fenced write", async () => {
  await using t = await setup();
  const gate = new Gate();
  t.world.sandbox.inject({ kind: "gate", gate, endpoint: TOKEN, times: 1 });
  const caller = t.getXcx();
  await gate.arrived();
  expect((await t.world.get("/AccessToken/clearXcx", { appid: WX.appId })).code).toBe(0);
  expect((await t.scrape()).value("accesstoken_fenced_writes_total")).toBe(0);
  gate.open();
  expect((await caller).code).toBe(0);
  expect((await t.scrape()).value("accesstoken_fenced_writes_total")).toBe(1);
});

test("a token that somebody else's fetch has ended is counted", async () => {
  await using t = await setup();
  const { data } = await t.getXcx();
  t.world.sandbox.killTokens(WX.appId, { unnoticed: true });
  await t.world.get("/AccessToken/clearXcx", { appid: WX.appId, access_token: data["access_token"] });
  const counts = async () => {
    const text = await t.scrape();
    const names = ["accesstoken_revoked_early_tokens_total", "accesstoken_died_early_tokens_total"];
    return names.map((name) => text.value(name));
  };
  expect(await counts()).toEqual([0, 0]);
  await t.getXcx();
  expect(await counts()).toEqual([1, 1]);
});

test("any worker tells the sum over all, and that it waited for another's lease", async () => {
  await using t = await setup();
  const events = new EventBus();
  const seen: string[] = [];
  events.subscribe(({ type }) => seen.push(type));
  const config = loadConfig({
    ENV_FILE: "",
    PORT: "0",
    DATABASE_URL: `file:${t.world.databasePath}`,
    MASTER_KEY_FILE: `${t.world.folder}/data/master.key`,
    WEIXIN_BASE_URL: t.world.sandbox.weixinUrl,
    WECOM_BASE_URL: t.world.sandbox.wecomUrl,
    [`WEIXIN_SECRET_${WX.appId}`]: WX.secret,
  });
  const second = await startService(config, {
    clock: t.world.clock,
    events,
    worker: "2",
    gatherSnapshots: async (own) => [await t.world.service.snapshot(), own],
  });
  try {
    const gate = new Gate();
    t.world.sandbox.inject({ kind: "gate", gate, endpoint: TOKEN, times: 1 });
    const first = t.getXcx();
    await gate.arrived();
    const other = fetch(`${second.url}${XCX}?appid=${WX.appId}`);
    await Harness.until(() => seen.includes("credential.lease_waited"));
    gate.open();
    await Promise.all([first, other]);

    const text = await scrapeFrom(second.url);
    expect(text.value("accesstoken_lease_waits_total")).toBe(1);
    expect(text.value("accesstoken_lease_wait_seconds_count")).toBe(1);
    expect(text.value("accesstoken_requests_total", { route: XCX, result: "refresh" })).toBe(2);
    const token = { platform: "weixin", endpoint: TOKEN, outcome: "ok" };
    expect(text.value("accesstoken_upstream_calls_total", token)).toBe(1);
    // Of all workers the first alone reads them.
    const fresh = { platform: "weixin", kind: "access_token", state: "fresh" };
    await Harness.until(
      async () => (await scrapeFrom(second.url)).value("accesstoken_credentials", fresh) === 1,
    );
    expect(
      (await second.snapshot()).metrics.find(({ name }) => name === "accesstoken_quota_used_ratio"),
    ).toMatchObject({
      samples: [],
    });
    const lags = text.series.filter(({ name }) => name === "accesstoken_event_loop_lag_seconds");
    expect(lags.map(({ labels }) => labels["worker"])).toEqual(["1", "2"]);
    const own = await t.scrape();
    expect(own.value("accesstoken_requests_total", { route: XCX, result: "refresh" })).toBe(1);
  } finally {
    await second.stop("test");
  }
});

test("the life that is left of each credential is shown, also when it is over, until it is cleared", async () => {
  // What nobody uses is not renewed: nothing but the clock changes what is left.
  await using t = await setup({ environment: { REFRESH_IDLE_AFTER: "600" } });
  const life = async () => {
    const text = await t.scrape();
    const series = text.series.filter(({ name }) => name === "accesstoken_credential_expiry_seconds");
    return Object.fromEntries(
      series.map(({ labels, value }) => [`${labels["app"]} ${labels["kind"]}`, value]),
    );
  };
  expect(await life()).toEqual({});
  await t.getXcx();
  await t.getXcx({ appid: WX_FOREIGN.appId, secret: WX_FOREIGN.secret });
  await t.world.get("/AccessToken/getQyapi", { corpid: CORP, agentid: WECOM.agent });
  const wx = `${WX.appId} access_token`;
  const wecom = `${CORP}_${WECOM.agent} access_token`;
  expect(await life()).toEqual({ [wx]: 7200, [wecom]: 7200 });
  t.world.clock.advance(1_000_000);
  expect(await life()).toEqual({ [wx]: 6200, [wecom]: 6200 });
  t.world.clock.advance(10_000_000);
  expect(await life()).toEqual({ [wx]: 0, [wecom]: 0 });
  await t.world.get("/AccessToken/clearXcx", { appid: WX.appId });
  expect(await life()).toEqual({ [wecom]: 0 });
});

test("above a thousand apps there is no series for each of them", async () => {
  const environment: Record<string, string> = {};
  for (let index = 0; index < 1000; index++) {
    environment[`WEIXIN_SECRET_wx${String(index).padStart(16, "0")}`] = WX.secret;
  }
  await using t = await setup({ environment });
  expect((await t.getXcx()).code).toBe(0);
  const text = await t.scrape();
  expect(text.series.filter(({ name }) => name === "accesstoken_credential_expiry_seconds")).toEqual([]);
  expect(text.value("accesstoken_requests_total", { route: XCX, result: "refresh" })).toBe(1);
});

test("a blocked event loop, the memory and the build are shown", async () => {
  await using t = await setup();
  const blockedUntil = performance.now() + 1600;
  while (performance.now() < blockedUntil);
  const text = await t.scrape();
  // The loop is looked at every second, so of 1.6 s at least 0.6 are noticed.
  expect(text.value("accesstoken_event_loop_lag_seconds", { worker: "1" })).toBeGreaterThan(0.55);
  expect(text.value("accesstoken_resident_memory_bytes", { worker: "1" })).toBeGreaterThan(10_000_000);
  const build = text.series.filter(({ name }) => name === "accesstoken_build_info");
  expect(build.map(({ labels, value }) => [Object.keys(labels), value])).toEqual([[["version", "bun"], 1]]);
});

test("every name follows the one pattern", async () => {
  await using t = await setup();
  for (const [name, type] of (await t.scrape()).types) {
    expect(name).toMatch(/^accesstoken(_[a-z]+)+$/);
    expect(name.endsWith("_total")).toBe(type === "counter");
  }
});

test("P6: no secret, token, ticket or code is in the metrics, and no caller can make a series", async () => {
  await using t = await setup();
  const { world } = t;
  const token = (await t.getXcx()).data["access_token"] as string;
  const foreign = { appid: WX_FOREIGN.appId, secret: WX_FOREIGN.secret };
  const foreignToken = (await t.getXcx(foreign)).data["access_token"] as string;
  await t.world.get("/AccessToken/getQyapi", { corpid: CORP, secret: WECOM_FOREIGN.secret });
  await world.post("/JsSDK/getJsApiSign", { wx_app_id: WX.appId, url: "https://example.com/canary-page" });
  const code = "sandbox-code-canary";
  await world.get("/xcx/jscode2session", { appid: WX.appId, code });
  const askOddly = async (canary: string) => {
    await world.get(`/AccessToken/getXcx/${canary}`, { secret: canary });
    await t.getXcx({ appid: canary, secret: canary });
    await world.get("/AccessToken/clearXcx", { appid: canary, access_token: canary });
    await world.request(`/${canary}`, { method: "PURGE" });
  };
  // The 25th is refused for a reason of its own: more unknown secrets are not sent to WeChat.
  for (let index = 0; index < 25; index++) await askOddly(`canary${index}`);
  // A scrape brings the duration of its own route, a line for each bucket, sum and count.
  const withoutOwn = ({ series }: Exposition) =>
    series.filter(({ labels }) => labels["route"] !== "/metrics");
  const before = withoutOwn(await t.scrape()).length;
  for (let index = 25; index < 40; index++) await askOddly(`canary${index}`);
  const response = await fetch(`${world.service.url}/metrics`);
  const text = await response.text();
  for (const secret of [
    WX.secret,
    WX_FOREIGN.secret,
    WECOM_FOREIGN.secret,
    token,
    foreignToken,
    "canary",
    "~",
  ]) {
    expect(text).not.toContain(secret);
  }
  // Each of the fifteen would make its own; a slow machine may make one of a kind that was not there yet.
  expect(withoutOwn(parseExposition(text)).length - before).toBeLessThan(15);
});
