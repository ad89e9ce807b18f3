import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import { type Answer, CORP, Harness, WX } from "../support/harness.ts";

const STABLE_TOKEN = "/cgi-bin/stable_token";
const WECOM_APP = `/v1/apps/${CORP}_1000002`;
const APP = `/v1/apps/${WX.appId}`;
const TOKEN = `${APP}/credentials/access_token`;
const CLASSIC = { environment: { [`WEIXIN_TOKEN_MODE_${WX.appId}`]: "classic" } };

/** The fields of a failure beside those that every answer has. */
function failureOf({ text, status, headers }: Answer) {
  const { code, retry_after, hint } = JSON.parse(text) as {
    code: number;
    retry_after?: number;
    hint?: string;
  };
  return { status, code, retry_after, hint, header: headers.get("retry-after") };
}

test("each kind is a credential of its own, with the life that is left", async () => {
  await using world = await Harness.create();
  const values = new Set<string>();
  for (const kind of ["access_token", "jsapi_ticket", "wx_card_ticket"]) {
    for (const app of [APP, WECOM_APP]) {
      const { status, data } = await world.get(`${app}/credentials/${kind}`);
      const now = world.clock.now();
      expect<object>({ status, ...data }).toEqual({
        status: 200,
        value: expect.any(String),
        expires_in: 7200,
        expires_at: now + 7_200_000,
        issued_at: now,
      });
      values.add(data["value"]);
    }
  }
  values.add((await world.get(`${WECOM_APP}/credentials/agent_config_ticket`)).data["value"]);
  expect(values.size).toBe(7);
});

test("/v1 and the documented protocol hand out the very same token", async () => {
  await using world = await Harness.create();
  const { value } = (await world.get(TOKEN)).data;
  expect((await world.get("/AccessToken/getXcx", { appid: WX.appId })).data["access_token"]).toBe(value);
  expect(world.sandbox.calls(STABLE_TOKEN)).toBe(1);
});

test.each([
  ["/v1", TOKEN, {}],
  ["getXcx", "/AccessToken/getXcx", { appid: WX.appId }],
])(
  "min_ttl waits for a longer life where less is left, else nobody asks WeChat: %s",
  async (_, path, query) => {
    await using world = await Harness.create();
    await world.get(path, query);
    world.clock.advance(7_200_000 - 230_000);
    expect((await world.get(path, { ...query, min_ttl: "230" })).code).toBe(0);
    expect(world.sandbox.calls(STABLE_TOKEN)).toBe(1);
    const longer = await world.get(path, { ...query, min_ttl: "240" });
    expect(longer.data["expires_in"]).toBeGreaterThan(7000);
    expect(world.sandbox.calls(STABLE_TOKEN)).toBe(2);
  },
);

test.each(["241", "-1", "1.5", "1e2", "0x10", "abc", "007"])(
  "min_ttl is 0 to 240, so %p is code 1",
  async (text) => {
    await using world = await Harness.create();
    const query = { min_ttl: text };
    expect(failureOf(await world.get(TOKEN, query))).toMatchObject({ status: 400, code: 1 });
    for (const [path, app] of [
      ["/AccessToken/getXcx", { appid: WX.appId }],
      ["/AccessToken/getQyapi", { corpid: CORP, agentid: "1000002" }],
    ] as const) {
      const { status, code, msg } = await world.get(path, { ...app, ...query });
      expect([status, code]).toEqual([200, 1]);
      expect(msg).toContain("min_ttl");
    }
    expect(world.sandbox.calls()).toBe(0);
  },
);

test("what WeChat refuses is HTTP 502 with its errcode, a hint and how long to wait; the documented protocol stays 200", async () => {
  await using world = await Harness.create();
  world.sandbox.changeWeixinApp(WX.appId, { secret: "another-secret-000000000000000000" });
  await world.get(TOKEN);
  const failure = failureOf(await world.get(TOKEN));
  expect(failure).toMatchObject({ status: 502, code: 40125, retry_after: 600, header: "600" });
  expect(failure.hint).toContain("secret");
  const documented = failureOf(await world.get("/AccessToken/getXcx", { appid: WX.appId }));
  expect(documented).toEqual({ ...failure, status: 200 });
});

test("an upstream that can't be reached is HTTP 502, a silent one 504, with how long to wait", async () => {
  await using world = await Harness.create();
  world.sandbox.inject({ kind: "http", host: "weixin", times: 3 });
  expect(failureOf(await world.get(TOKEN))).toMatchObject({ status: 502, code: 502 });
  expect(failureOf(await world.get(TOKEN))).toMatchObject({ status: 502, code: 502, retry_after: 1 });
  await using hasty = await Harness.create({ upstreamMs: { attempt: 100, total: 300 } });
  hasty.sandbox.inject({ kind: "gate_before", gate: new Gate(), host: "wecom", times: Infinity });
  const silent = await hasty.get(`${WECOM_APP}/credentials/access_token`);
  expect(failureOf(silent)).toMatchObject({ status: 504, code: 504 });
});

test("a refresh asks WeChat, which repeats a stable token, and not twice in 10 s", async () => {
  await using world = await Harness.create();
  const { value } = (await world.get(TOKEN)).data;
  world.clock.advance(1000);
  const again = await world.post(`${TOKEN}/refresh`, {});
  expect([again.status, again.data["value"], again.data["expires_in"]]).toEqual([200, value, 7199]);
  expect(world.sandbox.calls(STABLE_TOKEN)).toBe(2);
  const soon = failureOf(await world.post(`${TOKEN}/refresh`, { force: false }));
  expect(soon).toEqual({ status: 429, code: 429, retry_after: 10, header: "10", hint: undefined });
  world.clock.advance(10_000);
  expect((await world.post(`${TOKEN}/refresh`, {})).status).toBe(200);
  expect(world.sandbox.calls(STABLE_TOKEN)).toBe(3);
});

/** Seconds until a new day begins in Beijing. */
function secondsToMidnight({ clock }: Harness): number {
  return 86_400 - ((clock.now() / 1000 + 8 * 3600) % 86_400);
}

test("a forced refresh makes a new stable token, 20 a day and 30 s apart, and beyond it what stands goes on", async () => {
  await using world = await Harness.create();
  const values = new Set([(await world.get(TOKEN)).data["value"]]);
  for (let times = 1; times <= 20; times++) {
    const { status, data } = await world.post(`${TOKEN}/refresh`, { force: true });
    expect(status).toBe(200);
    values.add(data["value"]);
    const soon = failureOf(await world.post(`${TOKEN}/refresh`, { force: true }));
    if (times < 20) expect(soon).toMatchObject({ status: 503, code: 503, retry_after: 30 });
    world.clock.advance(30_000);
  }
  expect(values.size).toBe(21);
  const spent = failureOf(await world.post(`${TOKEN}/refresh`, { force: true }));
  expect(spent).toMatchObject({ status: 503, code: 503, retry_after: secondsToMidnight(world) });
  expect(world.sandbox.calls(STABLE_TOKEN)).toBe(21);

  const app = (await world.get(APP)).data;
  expect(app["forced_refreshes_today"]).toEqual({ calls: 20, limit: 20 });
  expect(app["credentials"].access_token.state).toBe("fresh");
  const { data } = await world.get(TOKEN);
  expect(values).toContain(data["value"]);
  expect(world.sandbox.accepts(data["value"])).toBe(true);
});

test("a refresh of a classic token kills one, so it takes from the same budget with or without force", async () => {
  await using world = await Harness.create(CLASSIC);
  const first = (await world.get(TOKEN)).data["value"];
  const second = await world.post(`${TOKEN}/refresh`, {});
  expect(second.data["value"]).not.toBe(first);
  for (const force of [true, false]) {
    const soon = failureOf(await world.post(`${TOKEN}/refresh`, { force }));
    expect(soon).toMatchObject({ status: 503, retry_after: 30 });
  }
  expect(world.sandbox.calls("/cgi-bin/token")).toBe(2);
});

test("P4: an order to a blocked app is told why, and WeChat is left alone", async () => {
  await using world = await Harness.create();
  world.sandbox.changeWeixinApp(WX.appId, { frozenSecret: true });
  await world.get(TOKEN);
  for (const force of [true, false]) {
    expect(failureOf(await world.post(`${TOKEN}/refresh`, { force }))).toMatchObject({
      status: 502,
      code: 40243,
    });
  }
  expect(world.sandbox.calls()).toBe(1);
});

test("a replace of a value that was replaced already costs nothing, and a false complaint gets the same back", async () => {
  await using world = await Harness.create();
  const { value } = (await world.get(TOKEN)).data;
  const stale = await world.post(`${TOKEN}/replace`, { rejected: "70_someOlderToken" });
  expect([stale.status, stale.data["value"]]).toEqual([200, value]);
  expect(world.sandbox.calls()).toBe(1);
  const kept = await world.post(`${TOKEN}/replace`, { rejected: value });
  expect([kept.status, kept.data["value"]]).toEqual([200, value]);
});

test("a replace of a dead value brings one that WeChat accepts", async () => {
  await using world = await Harness.create();
  const { value } = (await world.get(TOKEN)).data;
  world.sandbox.killTokens(WX.appId, { unnoticed: true });
  const { status, data } = await world.post(`${TOKEN}/replace`, { rejected: value });
  expect(status).toBe(200);
  expect(data["value"]).not.toBe(value);
  expect(world.sandbox.accepts(data["value"])).toBe(true);
});

test("a dead value with no other to be had is 503 with how long to wait", async () => {
  await using world = await Harness.create();
  const path = `${WECOM_APP}/credentials/access_token`;
  const { value } = (await world.get(path)).data;
  world.sandbox.killTokens(CORP, { unnoticed: true });
  const failure = failureOf(await world.post(`${path}/replace`, { rejected: value }));
  expect(failure).toMatchObject({ status: 503, code: 503 });
  expect(failure.retry_after).toBeGreaterThan(0);
});

test("a delete forgets the credential, and not twice in 10 s", async () => {
  await using world = await Harness.create();
  await world.get(TOKEN);
  const forgotten = await world.request(TOKEN, { method: "DELETE" });
  expect([forgotten.status, forgotten.data]).toEqual([200, {}]);
  expect((await world.get(APP)).data["credentials"].access_token.state).toBe("none");
  await world.get(TOKEN);
  expect(world.sandbox.calls(STABLE_TOKEN)).toBe(2);
  const soon = failureOf(await world.request(TOKEN, { method: "DELETE" }));
  expect(soon).toMatchObject({ status: 429, code: 429, retry_after: 10 });
});
