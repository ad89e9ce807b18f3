import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import { createAdmin } from "../support/access-harness.ts";
import { ConsolePage } from "../support/console-page.ts";
import { CORP, Harness, WECOM, type WorldOptions, WX } from "../support/harness.ts";
import { addAuthorized, addTicket, COMPONENT, GAME, SHOP } from "../support/platforms.ts";
import { type Exposition, parseExposition } from "./prometheus-text.ts";

const XCX = "/AccessToken/getXcx";
const TOKEN = "/cgi-bin/stable_token";

async function setup(options: WorldOptions = {}) {
  const world = await Harness.create(options);
  const scrape = async () => parseExposition(await (await fetch(`${world.service.url}/metrics`)).text());
  return {
    world,
    scrape,
    getXcx: (query: Record<string, string> = {}) => world.get(XCX, { appid: WX.appId, ...query }),
    /** What is read in the background is there soon. */
    until: async (isThere: (text: Exposition) => boolean) => {
      await Harness.until(async () => isThere(await scrape()));
      return scrape();
    },
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

function states(text: Exposition, platform: string, kind: string): Record<string, number> {
  const series = text.series.filter(
    ({ name, labels }) =>
      name === "accesstoken_credentials" && labels["platform"] === platform && labels["kind"] === kind,
  );
  return Object.fromEntries(series.map(({ labels, value }) => [labels["state"], value]));
}

const NONE = { blocked: 0, failing: 0, expiring: 0, fresh: 0, none: 0, disabled: 0 };

test("credentials are counted by platform, kind and state, from 0 on", async () => {
  await using t = await setup();
  let text = await t.until((each) => states(each, "weixin", "access_token")["none"] === 1);
  expect(states(text, "weixin", "jsapi_ticket")).toEqual({ ...NONE, none: 1 });
  expect(states(text, "wecom", "access_token")).toEqual({ ...NONE, none: 2 });
  await t.getXcx();
  t.world.sandbox.inject({ kind: "error", errcode: 60020, host: "wecom", times: Infinity });
  await t.world.get("/AccessToken/getQyapi", { corpid: CORP, agentid: WECOM.agent });
  text = await t.until((each) => states(each, "wecom", "access_token")["blocked"] === 1);
  expect(states(text, "weixin", "access_token")).toEqual({ ...NONE, fresh: 1 });
  expect(states(text, "wecom", "access_token")).toEqual({ ...NONE, blocked: 1, none: 1 });
});

test("the age of each platform's last ticket is shown, and how many accounts it has, valid and lost", async () => {
  await using t = await setup();
  const [age, accounts] = ["accesstoken_platform_ticket_age_seconds", "accesstoken_authorizations"];
  const shown = async () => {
    const { series } = await t.scrape();
    const of = series.filter(({ name }) => name === age || name === accounts);
    return of.map(({ labels, value }) => [labels["platform"], labels["state"] ?? "age", value]);
  };
  expect(await shown()).toEqual([]);
  const { id, secret } = COMPONENT;
  const added = { kind: "component", id, secret };
  const init = {
    method: "POST",
    body: JSON.stringify(added),
    headers: { "content-type": "application/json" },
  };
  expect((await t.world.administer("/v1/platforms", init)).status).toBe(201);
  await addAuthorized(t.world, SHOP, id);
  await addAuthorized(t.world, GAME, id, { lostAt: 1 });
  const known = async () => (await t.world.administer(`/v1/platforms/${id}`)).data["authorizations"];
  await Harness.until(async () => JSON.stringify(await known()) === `{"valid":1,"lost":1}`);
  const none = [
    [id, "valid", 1],
    [id, "lost", 1],
  ];
  expect(await shown()).toEqual(none);
  await addTicket(t.world, id, t.world.clock.now() - 240_000);
  const all = await shown();
  expect(all).toEqual(expect.arrayContaining([...none, [id, "age", expect.closeTo(240, 0)]]));
  t.world.clock.advance(60_000);
  expect(await shown()).toContainEqual([id, "age", expect.closeTo(300, 0)]);
});

test("the instant at which a credential expires stays the same, however late it is read", async () => {
  await using t = await setup({ environment: { REFRESH_IDLE_AFTER: "600" } });
  await t.getXcx();
  const labels = { platform: "weixin", app: WX.appId, kind: "access_token" };
  const expiry = async () =>
    (await t.scrape()).value("accesstoken_credential_expiry_timestamp_seconds", labels);
  const at = t.world.clock.now() / 1000 + 7200;
  expect(await expiry()).toBe(at);
  t.world.clock.advance(9_000_000);
  expect(await expiry()).toBe(at);
});

test("the used part of a day's quota is shown for each app, and above a thousand apps the fullest alone", async () => {
  const many = Object.fromEntries(
    Array.from({ length: 1000 }, (_, n) => [`WEIXIN_SECRET_wx${String(n).padStart(16, "0")}`, WX.secret]),
  );
  for (const [environment, app] of [[{}, WX.appId] as const, [many, ""] as const]) {
    await using t = await setup({ environment });
    await t.getXcx();
    const ratio = (text: Exposition) => text.value("accesstoken_quota_used_ratio", { app, endpoint: TOKEN });
    // It was counted before it is written.
    const text = await t.until((each) => ratio(each) > 0);
    expect(ratio(text)).toBeLessThan(0.01);
    expect(text.series.filter(({ name }) => name === "accesstoken_quota_used_ratio")).toHaveLength(1);
  }
});

test("refreshes are timed, and so is waiting for another process's", async () => {
  await using t = await setup();
  const before = await t.scrape();
  for (const name of ["refresh_duration", "lease_wait"])
    expect(
      before.series.some((each) => each.name === `accesstoken_${name}_seconds_count` && each.value === 0),
    ).toBe(true);
  const gate = new Gate();
  t.world.sandbox.inject({ kind: "gate", gate, endpoint: TOKEN, times: 1 });
  const asked = t.getXcx();
  await gate.arrived();
  t.world.clock.advance(2000);
  gate.open();
  await asked;
  const text = await t.scrape();
  expect(text.value("accesstoken_refresh_duration_seconds_count")).toBe(1);
  expect(text.value("accesstoken_refresh_duration_seconds_sum")).toBe(2);
});

test("entries of the audit are counted by all processes, and when it was verified is remembered", async () => {
  await using t = await setup();
  const key = await createAdmin(t.world);
  const entries = (text: Exposition) => text.value("accesstoken_audit_entries_total");
  const verifiedAt = (text: Exposition) => text.value("accesstoken_audit_last_verified_timestamp_seconds");
  const before = await t.scrape();
  expect(entries(before)).toBeGreaterThan(0);
  expect(verifiedAt(before)).toBe(0);
  await createAdmin(t.world, "second");
  expect(entries(await t.scrape())).toBeGreaterThan(entries(before));
  const headers = { authorization: `Bearer ${key}` };
  const verified = await t.world.request("/v1/audit/verify", { headers });
  expect(verified.data).toMatchObject({ intact: true });
  expect(verifiedAt(await t.scrape())).toBe(t.world.clock.now() / 1000);
  await t.world.stop();
  await t.world.start();
  expect(verifiedAt(await t.scrape())).toBe(t.world.clock.now() / 1000);
});

test("open streams of events, sessions of the console and the start of the process are shown", async () => {
  await using t = await setup();
  const shown = async () => {
    const text = await t.scrape();
    return ["event_streams", "console_sessions", "event_streams_dropped_total"].map((name) =>
      text.series.filter((each) => each.name === `accesstoken_${name}`).map(({ value }) => value),
    );
  };
  expect(await shown()).toEqual([[0], [0], [0]]);
  const key = await createAdmin(t.world);
  const ending = new AbortController();
  const headers = { authorization: `Bearer ${key}` };
  const stream = await fetch(`${t.world.service.url}/v1/events`, { headers, signal: ending.signal });
  expect(await shown()).toEqual([[1], [0], [0]]);
  expect((await new ConsolePage(t.world).signIn(key)).status).toBe(200);
  expect(await shown()).toEqual([[1], [1], [0]]);
  ending.abort();
  await stream.body?.cancel().catch(() => undefined);
  await Harness.until(async () => (await shown())[0]?.[0] === 0);
  const startedAt = (await t.scrape()).value("accesstoken_process_start_time_seconds", { worker: "1" });
  expect(Math.abs(startedAt - performance.timeOrigin / 1000)).toBeLessThan(1);
});
