import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import { CORP, WECOM, WECOM_CONTACTS, Harness, WX } from "../support/harness.ts";

const CLASSIC = { environment: { [`WEIXIN_TOKEN_MODE_${WX.appId}`]: "classic" } };
const STABLE_TOKEN = "/cgi-bin/stable_token";
const TOKEN = `/v1/apps/${WX.appId}/credentials/access_token`;
const HOUR_MS = 3_600_000;

async function appOf(world: Harness, app = WX.appId) {
  const answer = await world.get(`/v1/apps/${app}`);
  expect([answer.status, answer.code]).toEqual([200, 0]);
  return answer.data;
}

async function tokenStateOf(world: Harness, app = WX.appId) {
  return (await appOf(world, app))["credentials"].access_token;
}

test("every app is listed with its platform, mode and kinds of credentials, before anything was asked of WeChat", async () => {
  await using world = await Harness.create();
  const { status, data } = await world.get("/v1/apps");
  expect(status).toBe(200);
  const none = { state: "none", generation: 0 };
  const fixed = { source: "environment", disabled: false, version: 0, state: "none" };
  const tickets = { access_token: none, jsapi_ticket: none, wx_card_ticket: none };
  const wecom = { credentials: { ...tickets, agent_config_ticket: none }, calls_today: {} };
  expect(data).toEqual({
    apps: [
      { app: `${CORP}_1000002`, platform: "wecom", app_id: CORP, agent: "1000002", ...fixed, ...wecom },
      { app: `${CORP}_contacts`, platform: "wecom", app_id: CORP, agent: "contacts", ...fixed, ...wecom },
      {
        app: WX.appId,
        platform: "weixin",
        app_id: WX.appId,
        mode: "stable",
        ...fixed,
        credentials: tickets,
        calls_today: { [STABLE_TOKEN]: { calls: 0, limit: 500_000 } },
        forced_refreshes_today: { calls: 0, limit: 20 },
      },
    ],
  });
  expect(world.sandbox.calls()).toBe(0);
});

test("a long list comes in pages, each app once", async () => {
  await using world = await Harness.create();
  const seen: string[] = [];
  let query: Record<string, string> = { limit: "2" };
  for (;;) {
    const { data } = await world.get("/v1/apps", query);
    seen.push(...data["apps"].map(({ app }: { app: string }) => app));
    if (data["next"] === undefined) break;
    query = { limit: "2", after: data["next"] };
  }
  expect(seen).toEqual([`${CORP}_1000002`, `${CORP}_contacts`, WX.appId]);
});

test("a list is filtered by state and beginning, and sorted, and its pages go on where they ended", async () => {
  await using world = await Harness.create();
  await world.get(`/v1/apps/${CORP}_contacts/credentials/access_token`);
  world.clock.advance(60_000);
  await world.get(TOKEN);
  const names = async (query: Record<string, string>) => {
    const { data } = await world.get("/v1/apps", query);
    return [data["apps"].map(({ app }: { app: string }) => app), data["next"]];
  };
  expect(await names({ state: "none" })).toEqual([[`${CORP}_1000002`], undefined]);
  expect(await names({ q: "WX0" })).toEqual([[WX.appId], undefined]);
  expect(await names({ sort: "-name" })).toEqual([
    [WX.appId, `${CORP}_contacts`, `${CORP}_1000002`],
    undefined,
  ]);
  const [first, next] = await names({ sort: "-expires_at", limit: "1" });
  expect(first).toEqual([WX.appId]);
  expect(await names({ sort: "-expires_at", after: next })).toEqual([
    [`${CORP}_contacts`, `${CORP}_1000002`],
    undefined,
  ]);
  const wrong: Record<string, string>[] = [
    { state: "well" },
    { sort: "title" },
    { sort: "calls", after: "wx1" },
    { limit: "201" },
  ];
  for (const query of wrong)
    expect([query, (await world.get("/v1/apps", query)).status]).toEqual([query, 400]);
});

test("a fresh token shows its age, expiry, use, next attempt and what it cost today", async () => {
  await using world = await Harness.create();
  await world.get(TOKEN);
  const issuedAt = world.clock.now();
  world.clock.advance(100_000);
  const app = await appOf(world);
  expect(app["credentials"].access_token).toEqual({
    state: "fresh",
    generation: expect.any(Number),
    issued_at: issuedAt,
    expires_at: issuedAt + 7_200_000,
    age: 100,
    expires_in: 7100,
    last_used_at: issuedAt,
    next_attempt_at: expect.any(Number),
  });
  expect(issuedAt + 7_200_000 - app["credentials"].access_token.next_attempt_at).toBeWithin(199_999, 285_001);
  expect(app["calls_today"]).toEqual({ [STABLE_TOKEN]: { calls: 1, limit: 500_000 } });
  // Looking is no use.
  expect((await tokenStateOf(world)).last_used_at).toBe(issuedAt);
});

test("a credential is refreshing while WeChat is being asked", async () => {
  await using world = await Harness.create();
  const gate = new Gate();
  world.sandbox.inject({ kind: "gate", gate, times: 1 });
  const pending = world.get(TOKEN);
  await gate.arrived();
  expect((await tokenStateOf(world)).state).toBe("refreshing");
  gate.open();
  await pending;
  expect((await tokenStateOf(world)).state).toBe("fresh");
});

test("P4: an allow-list that lacks us blocks the app, names the address to add, and costs no other app anything", async () => {
  await using world = await Harness.create({ sandbox: { switches: { peerIp: "203.0.113.7" } } });
  world.sandbox.changeWeixinApp(WX.appId, { ipList: ["198.51.100.1"] });
  const refused = await world.get(TOKEN);
  const blocked = await tokenStateOf(world);
  expect([refused.status, refused.code]).toEqual([502, 40164]);
  expect(blocked).toEqual({
    state: "blocked",
    generation: 0,
    next_attempt_at: world.clock.now() + 30_000,
    last_failure: {
      code: 40164,
      errcode: 40164,
      msg: expect.stringContaining("203.0.113.7"),
      hint: expect.stringContaining("203.0.113.7"),
      at: world.clock.now(),
      count: 1,
    },
  });
  expect((await world.get(`/v1/apps/${CORP}_1000002/credentials/access_token`)).status).toBe(200);
});

test("an operator's word ends the block at once, without a restart", async () => {
  await using world = await Harness.create();
  world.sandbox.changeWeixinApp(WX.appId, { ipList: ["198.51.100.1"] });
  await world.get(TOKEN);
  world.sandbox.changeWeixinApp(WX.appId, { ipList: undefined });
  expect((await world.get(TOKEN)).code).toBe(40164);
  expect(world.sandbox.calls(STABLE_TOKEN)).toBe(1);

  const unblocked = await world.request(`/v1/apps/${WX.appId}/unblock`, { method: "POST" });
  expect([unblocked.status, unblocked.data["credentials"].access_token.state]).toEqual([200, "none"]);
  expect(world.events).toContainEqual({
    type: "app.unblocked",
    key: `weixin:${WX.appId}:stable`,
    address: "127.0.0.1",
  });
  expect((await world.get(TOKEN)).status).toBe(200);
  expect((await tokenStateOf(world)).state).toBe("fresh");
});

test("a block survives a restart, and a changed secret ends it", async () => {
  const wrong = { [`WECOM_SECRET_${CORP}_${WECOM.agent}`]: "wrong-secret-of-agent-1000002" };
  await using world = await Harness.create({ environment: wrong });
  const path = `/v1/apps/${CORP}_1000002/credentials/access_token`;
  expect([(await world.get(path)).code, (await world.get(path)).code]).toEqual([40001, 40001]);
  await world.stop();
  await world.start();
  expect((await tokenStateOf(world, `${CORP}_1000002`)).state).toBe("blocked");
  expect((await world.get(path)).code).toBe(40001);
  expect(world.sandbox.calls("/cgi-bin/gettoken")).toBe(1);

  await world.stop();
  await world.start({ [`WECOM_SECRET_${CORP}_${WECOM.agent}`]: WECOM.secret });
  expect((await tokenStateOf(world, `${CORP}_1000002`)).state).toBe("none");
  expect((await world.get(path)).status).toBe(200);
});

test("P4: while WeChat fails, the state says since when, why and when it is tried again, and the living token stays", async () => {
  await using world = await Harness.create();
  await world.get(TOKEN);
  world.clock.advance(2 * HOUR_MS - 100_000);
  world.sandbox.inject({ kind: "error", errcode: -1, times: 3 });
  const living = await world.get(TOKEN, { min_ttl: "240" });
  expect([living.status, living.data["expires_in"]]).toEqual([200, 100]);
  const now = world.clock.now();
  expect(await tokenStateOf(world)).toMatchObject({
    state: "failing",
    expires_in: 100,
    next_attempt_at: now + 1000,
    last_failure: { code: -1, errcode: -1, at: now, count: 1 },
  });
  world.clock.advance(16_000);
  expect((await world.get(TOKEN, { min_ttl: "240" })).data["expires_in"]).toBeGreaterThan(240);
  expect(await tokenStateOf(world)).toMatchObject({ state: "fresh" });
  expect(await tokenStateOf(world)).not.toHaveProperty("last_failure");
});

test("a stable token that somebody killed shows that it died early, and how early", async () => {
  await using world = await Harness.create();
  const { value } = (await world.get(TOKEN)).data;
  world.clock.advance(1000_000);
  world.sandbox.killTokens(WX.appId);
  await world.post(`${TOKEN}/replace`, { rejected: value });
  expect(await tokenStateOf(world)).toMatchObject({
    state: "fresh",
    revoked_early: { at: world.clock.now(), early: 6200 },
    died_early: { at: world.clock.now(), early: 6200 },
  });
});

test("an app has the state of its worst credential and says why, until an operator has fixed it", async () => {
  await using world = await Harness.create();
  const stateOf = async () => {
    const { state, reason } = await appOf(world);
    return [state, reason];
  };
  await world.get(TOKEN);
  expect(await stateOf()).toEqual(["fresh", undefined]);
  world.sandbox.inject({ kind: "error", errcode: 48001, times: 1 });
  await world.get(`/v1/apps/${WX.appId}/credentials/jsapi_ticket`);
  expect(await stateOf()).toEqual([
    "blocked",
    expect.stringMatching(/^jsapi_ticket, 48001: api unauthorized/),
  ]);
  const [listed] = (await world.get("/v1/apps", { limit: "1", after: `${CORP}_contacts` })).data["apps"];
  expect([listed.state, listed.reason]).toEqual(await stateOf());
  await world.request(`/v1/apps/${WX.appId}/unblock`, { method: "POST" });
  expect(await stateOf()).toEqual(["fresh", undefined]);
});

test("where it is known what to do, an app's reason says that in both languages", async () => {
  await using world = await Harness.create();
  world.sandbox.changeWeixinApp(WX.appId, { ipList: ["198.51.100.1"] });
  await world.get(TOKEN);
  expect(await appOf(world)).toMatchObject({
    state: "blocked",
    reason: expect.stringMatching(
      /^access_token, 40164: 请将 .*加入IP白名单 \(add .* to the IP allow-list\)$/,
    ),
  });
});

test("an app whose token is obtained now has the state that it has meanwhile", async () => {
  await using world = await Harness.create();
  const gate = new Gate();
  world.sandbox.inject({ kind: "gate", gate, times: 1 });
  const pending = world.get(TOKEN);
  await gate.arrived();
  const { state, credentials } = await appOf(world);
  gate.open();
  await pending;
  expect([state, credentials.access_token.state]).toEqual(["none", "refreshing"]);
});

test("for a day after a token was revoked early, its app says that another program fetches tokens", async () => {
  await using world = await Harness.create();
  const { value } = (await world.get(TOKEN)).data;
  world.sandbox.killTokens(WX.appId);
  await world.post(`${TOKEN}/replace`, { rejected: value });
  const at = world.clock.now();
  expect((await appOf(world))["foreign_refresh"]).toEqual({ at, early: 7200 });
  world.clock.advance(24 * HOUR_MS);
  expect(await appOf(world)).not.toHaveProperty("foreign_refresh");
  expect(await tokenStateOf(world)).toHaveProperty("revoked_early");
});

test("a classic token that other fetchers pushed out shows that it died early", async () => {
  await using world = await Harness.create(CLASSIC);
  const { value } = (await world.get(TOKEN)).data;
  world.sandbox.rogueFetch(WX.appId);
  world.sandbox.rogueFetch(WX.appId);
  expect((await appOf(world))["mode"]).toBe("classic");
  const replaced = await world.post(`${TOKEN}/replace`, { rejected: value });
  expect(world.sandbox.accepts(replaced.data["value"])).toBe(true);
  expect(await tokenStateOf(world)).toMatchObject({ state: "fresh", revoked_early: { early: 7200 } });
});

test("P6: no answer of /v1/apps has a value, a ticket or a secret in it", async () => {
  await using world = await Harness.create();
  const values: string[] = [];
  for (const app of [WX.appId, `${CORP}_1000002`]) {
    for (const kind of ["access_token", "jsapi_ticket", "wx_card_ticket"]) {
      values.push((await world.get(`/v1/apps/${app}/credentials/${kind}`)).data["value"]);
    }
  }
  const answers = [
    await world.get("/v1/apps"),
    await world.get(`/v1/apps/${WX.appId}`),
    await world.get(`/v1/apps/${CORP}_1000002`),
    await world.request(`/v1/apps/${WX.appId}/unblock`, { method: "POST" }),
  ];
  const text = answers.map((answer) => answer.text).join("\n");
  expect(new Set(values).size).toBe(6);
  for (const secret of [...values, WX.secret, WECOM.secret, WECOM_CONTACTS.secret]) {
    expect(text).not.toContain(secret);
  }
});
