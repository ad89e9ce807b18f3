import { expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { SERVICE } from "../../src/audit/audit-entry.ts";
import { Secret } from "../../src/secret.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { createClient } from "../support/access-harness.ts";
import { ManagingHarness } from "../support/managing-harness.ts";
import { CORP, Harness, WECOM_FOREIGN, WX, WX_FOREIGN } from "../support/harness.ts";

const APPS = "/v1/apps";
const SHOP = `${APPS}/${WX_FOREIGN.appId}`;
const TOKEN = `${SHOP}/credentials/access_token`;
const NEW = { platform: "weixin", app_id: WX_FOREIGN.appId, title: "Shop", secret: WX_FOREIGN.secret };
const AGENT = `${APPS}/${CORP}_${WECOM_FOREIGN.agent}`;
const NEW_AGENT = {
  platform: "wecom",
  app_id: CORP,
  agent: WECOM_FOREIGN.agent,
  secret: WECOM_FOREIGN.secret,
};
const WRONG = "f".repeat(32);
const [STABLE, CLASSIC, WECOM_TOKEN] = ["/cgi-bin/stable_token", "/cgi-bin/token", "/cgi-bin/gettoken"];
const NONE = { state: "none", generation: 0 };

/** A world in which an administrator can register an app that WeChat knows and the service does not. */
async function setup(registered?: object) {
  const at = await ManagingHarness.create();
  if (registered) expect((await at.ask("POST", APPS, registered)).status).toBe(201);
  return {
    at,
    world: at.world,
    sandbox: at.world.sandbox,
    shown: async (path = SHOP) => (await at.ask("GET", path)).data,
    stateOfToken: async (path = SHOP) =>
      (await at.ask("GET", path)).data["credentials"].access_token.state as string,
    /** The token with the administrator's key. */
    token: (path = TOKEN) => at.ask("GET", path),
    [Symbol.asyncDispose]: () => at[Symbol.asyncDispose](),
  };
}

test("P7: a new app is 201 with its ETag, the very same again 200, and another of that name 409", async () => {
  await using t = await setup();
  const made = await t.at.ask("POST", APPS, NEW);
  const shown = {
    app: WX_FOREIGN.appId,
    platform: "weixin",
    app_id: WX_FOREIGN.appId,
    mode: "stable",
    title: "Shop",
    source: "managed",
    state: "none",
    disabled: false,
    version: 1,
    credentials: { access_token: NONE, jsapi_ticket: NONE, wx_card_ticket: NONE },
    calls_today: { [STABLE]: { calls: 0, limit: 500_000 } },
    forced_refreshes_today: { calls: 0, limit: 20 },
  };
  expect<object>([made.status, made.data, made.headers.get("etag")]).toEqual([201, shown, '"1"']);
  expect<object[]>(await t.at.audited()).toEqual([
    {
      by: "admin",
      address: "127.0.0.1",
      action: "app.created",
      app: WX_FOREIGN.appId,
      outcome: "ok",
      detail: { mode: "stable", title: "Shop", is_verified: false },
    },
  ]);
  const count = t.at.auditCount();
  const again = await t.at.ask("POST", APPS, { ...NEW, mode: "stable" });
  expect<object>([again.status, again.data, again.headers.get("etag")]).toEqual([200, shown, '"1"']);
  for (const other of [{ title: "Another" }, { title: undefined }, { mode: "classic" }, { secret: WRONG }]) {
    const { status, code } = await t.at.ask("POST", APPS, { ...NEW, ...other });
    expect([other, status, code]).toEqual([other, 409, 409]);
  }
  expect(t.at.auditCount()).toBe(count);
  expect([await t.shown(), t.sandbox.calls()]).toEqual([shown, 0]);
  expect((await t.token()).status).toBe(200);
});

test("a title that would deceive the eye, or a program that reads lines, is escaped in an export", async () => {
  await using t = await setup();
  const title = "a\u2028b\u202ec\u0085d";
  expect((await t.at.ask("POST", APPS, { ...NEW, title })).data["title"]).toBe(title);
  const response = await t.world.service.handle(new Request("http://localhost/v1/audit/export"));
  const text = await response.text();
  expect(text).toContain("a\\u2028b\\u202ec\\u0085d");
  expect(text).not.toMatch(/[\u0080-\u009f\u2028\u202e]/);
  const lines = text.trim().split("\n");
  expect(lines.map((line) => (JSON.parse(line) as { detail?: object }).detail)).toContainEqual(
    expect.objectContaining({ title }),
  );
});

test("of the same registration five times at once one is new, and the others are the very same", async () => {
  await using t = await setup();
  const count = t.at.auditCount();
  const body = { ...NEW, verify: true };
  const made = await Promise.all(Array.from({ length: 5 }, () => t.at.ask("POST", APPS, body)));
  expect(made.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 200, 200, 200, 201]);
  expect(t.at.auditCount()).toBe(count + 1);
});

test("an application of WeCom is registered with its agent, and is known by both", async () => {
  await using t = await setup();
  const made = await t.at.ask("POST", APPS, NEW_AGENT);
  const { app, platform, agent, mode, source } = made.data;
  expect([made.status, app, platform, agent, mode, source]).toEqual([
    201,
    `${CORP}_1000009`,
    "wecom",
    "1000009",
    undefined,
    "managed",
  ]);
  expect((await t.at.ask("POST", APPS, NEW_AGENT)).status).toBe(200);
  expect((await t.token(`${AGENT}/credentials/access_token`)).status).toBe(200);
  expect((await t.at.ask("PATCH", AGENT, { mode: "classic" })).status).toBe(400);
});

test("an application of WeCom is 409 where an app of WeChat, registered by an earlier version, has its name and secret", async () => {
  await using t = await setup();
  const path = t.world.databasePath;
  const masterKeyFile = join(dirname(path), "master.key");
  const store = await openSqliteStore({
    path,
    masterKey: undefined,
    masterKeyFile,
    clock: t.world.clock,
    onKeyCreated: () => undefined,
  });
  const managed = { title: undefined, isDisabled: false, version: 0 };
  const secret = new Secret(NEW_AGENT.secret);
  const named = `${CORP}_${NEW_AGENT.agent}`;
  const app = { platform: "weixin", id: named, secret, tokenMode: "stable", managed } as const;
  const entry = { action: "app.created", app: named, outcome: "ok", tokenDigest: "", detail: {} } as const;
  await store.apps.create(app, { ...SERVICE, ...entry });
  store.close();
  expect(await t.at.ask("POST", APPS, NEW_AGENT)).toMatchObject({ status: 409, code: 409 });
  expect(await t.shown(AGENT)).toMatchObject({ platform: "weixin" });
});

test.each([
  [{ ...NEW, agent: "1" }],
  [{ ...NEW_AGENT, agent: undefined }],
  [{ ...NEW_AGENT, agent: "a_b" }],
  [{ ...NEW_AGENT, mode: "stable" }],
  [{ ...NEW, mode: "other" }],
  [{ ...NEW, platform: "alipay" }],
  [{ ...NEW, secret: undefined }],
  [{ ...NEW, secret: "with blank" }],
  [{ ...NEW, secret: "" }],
  [{ ...NEW, title: "" }],
  [{ ...NEW, app_id: "wx/../x" }],
  [{ ...NEW, verify: "yes" }],
])("an app that is described wrongly (%j) is 400, and is not registered", async (body) => {
  await using t = await setup();
  const count = t.at.auditCount();
  const { status, code } = await t.at.ask("POST", APPS, body);
  expect([status, code, t.at.auditCount(), t.sandbox.calls()]).toEqual([400, 1, count, 0]);
});

test("verify asks WeChat by stable token, also for a classic app, whose tokens it does not touch", async () => {
  await using t = await setup();
  const made = await t.at.ask("POST", APPS, { ...NEW, mode: "classic", verify: true });
  expect([made.status, t.sandbox.calls(STABLE), t.sandbox.calls(CLASSIC)]).toEqual([201, 1, 0]);
  expect(await t.at.audited()).toMatchObject([{ detail: { mode: "classic", is_verified: true } }]);
  const { value } = (await t.token()).data;
  expect((await t.at.ask("PATCH", SHOP, { secret: NEW.secret, verify: true })).status).toBe(200);
  expect([t.sandbox.calls(CLASSIC), t.sandbox.accepts(value)]).toEqual([1, true]);
  expect((await t.token()).data["value"]).toBe(value);
});

test("secrets are verified twenty times a minute by all processes together, also over a restart", async () => {
  await using t = await setup();
  const verify = async () => (await t.at.ask("POST", APPS, { ...NEW, secret: WRONG, verify: true })).status;
  for (let n = 0; n < 20; n++) expect(await verify()).toBe(502);
  await t.world.stop();
  await t.world.start();
  expect([await verify(), t.sandbox.calls(STABLE)]).toEqual([429, 20]);
});

test("an app that another process has just disabled, removed or given a secret is fetched for by none", async () => {
  for (const [method, body] of [
    ["PATCH", { disabled: true }],
    ["PATCH", { secret: WRONG }],
    ["DELETE", undefined],
  ] as const) {
    await using t = await setup(NEW);
    const first = t.world.service;
    await t.world.start();
    expect((await t.at.ask(method, SHOP, body)).status).toBeLessThan(300);
    // The first one's clock stands still, and with it what it knows of the other's changes.
    const headers = { "x-api-key": t.at.adminKey };
    const { status } = await fetch(`${first.url}${TOKEN}`, { headers });
    expect([method, status, t.sandbox.calls(STABLE)]).toEqual([method, 503, 0]);
    await first.stop("test");
  }
});

test("a secret that WeChat refuses is HTTP 502 with its errcode when it is verified, and nothing but an audit entry is stored", async () => {
  await using t = await setup();
  const count = t.at.auditCount();
  const refused = await t.at.ask("POST", APPS, { ...NEW, secret: WRONG, verify: true });
  expect([refused.status, refused.code, refused.text.includes(WRONG)]).toEqual([502, 40125, false]);
  expect((await t.at.ask("GET", SHOP)).status).toBe(404);
  const wecom = await t.at.ask("POST", APPS, { ...NEW_AGENT, secret: WRONG, verify: true });
  expect([wecom.status, wecom.code, t.sandbox.calls(WECOM_TOKEN)]).toEqual([502, 40001, 1]);
  expect((await t.at.ask("GET", AGENT)).status).toBe(404);
  const verified = { by: "admin", action: "app.secret_verified", outcome: "upstream_rejected" };
  expect(await t.at.audited(2)).toMatchObject([
    { ...verified, app: `${CORP}_${NEW_AGENT.agent}`, detail: { errcode: 40001 } },
    { ...verified, app: NEW.app_id, detail: { errcode: 40125 } },
  ]);
  expect(t.at.auditCount()).toBe(count + 2);

  expect((await t.at.ask("POST", APPS, { ...NEW, verify: true })).status).toBe(201);
  const right = await t.at.ask("POST", APPS, { ...NEW_AGENT, verify: true });
  expect([right.status, t.sandbox.calls(WECOM_TOKEN)]).toEqual([201, 2]);
  const { value } = (await t.token()).data;
  const before = t.at.auditCount();
  const change = await t.at.ask("PATCH", SHOP, { title: "New", secret: "e".repeat(32), verify: true });
  expect([change.status, change.code, t.at.auditCount()]).toEqual([502, 40125, before + 1]);
  expect(await t.shown()).toMatchObject({ title: "Shop", version: 1 });
  expect((await t.token()).data["value"]).toBe(value);
});

test("P7: a start that finds another secret, another app or one less in the environment says so in the audit", async () => {
  await using world = await Harness.create();
  const entries = async () =>
    (await world.administer("/v1/audit")).data["entries"] as Record<string, unknown>[];
  expect(await entries()).toEqual([]);
  const restart = async (environment: Record<string, string>) => {
    await world.stop();
    await world.start(environment);
    return (await entries()).map(({ client, action, app, detail }) => ({ client, action, app, detail }));
  };
  expect(await restart({})).toEqual([]);
  const by = { client: "(service)", detail: { source: "environment" } };
  const changed = { ...by, action: "app.secret_changed", app: WX.appId };
  expect(await restart({ [`WEIXIN_SECRET_${WX.appId}`]: WRONG })).toEqual([changed]);
  const another = { [`WEIXIN_SECRET_${WX_FOREIGN.appId}`]: WX_FOREIGN.secret };
  const created = { ...by, action: "app.created", app: WX_FOREIGN.appId };
  expect(await restart({ [`WEIXIN_SECRET_${WX.appId}`]: WRONG, ...another })).toEqual([created, changed]);
  const deleted = { ...by, action: "app.deleted", app: WX_FOREIGN.appId };
  expect(await restart({ [`WEIXIN_SECRET_${WX.appId}`]: WRONG })).toEqual([deleted, created, changed]);
  const { text } = await world.administer("/v1/audit/verify");
  expect(text).toContain('"intact":true');
  expect(text).not.toContain(WRONG);
});

test("P7: a changed secret forgets what the old one got, everywhere in this process, and is not written down", async () => {
  await using t = await setup(NEW);
  await t.token();
  await t.at.ask("GET", `${SHOP}/credentials/jsapi_ticket`);
  const calls = t.sandbox.calls(STABLE);
  const same = await t.at.ask("PATCH", SHOP, { secret: NEW.secret });
  expect([same.status, await t.stateOfToken()]).toEqual([200, "fresh"]);
  expect(await t.at.audited()).toMatchObject([{ action: "app.updated" }]);

  t.sandbox.changeWeixinApp(WX_FOREIGN.appId, { secret: WRONG });
  const changed = await t.at.ask("PATCH", SHOP, { secret: WRONG });
  expect([changed.status, changed.data["version"], changed.text.includes(WRONG)]).toEqual([200, 3, false]);
  expect(changed.data["credentials"]).toMatchObject({
    access_token: { state: "none" },
    jsapi_ticket: { state: "none" },
  });
  const [entry] = await t.at.audited();
  expect(entry).toMatchObject({ by: "admin", action: "app.secret_changed", app: WX_FOREIGN.appId });
  expect(entry?.["detail"]).toEqual({ secret: "changed" });
  expect((await t.token()).status).toBe(200);
  expect(t.sandbox.calls(STABLE)).toBe(calls + 1);
  const old = await t.world.get("/AccessToken/getXcx", { appid: WX_FOREIGN.appId, secret: NEW.secret });
  expect(old.code).toBe(40125);
});

test("P4: a changed secret removes the backoffs of the wrong one, on WeChat and WeCom", async () => {
  await using t = await setup({ ...NEW, secret: WRONG });
  expect((await t.at.ask("POST", APPS, { ...NEW_AGENT, secret: WRONG })).status).toBe(201);
  for (const [path, secret, code] of [
    [SHOP, NEW.secret, 40125],
    [AGENT, NEW_AGENT.secret, 40001],
  ] as const) {
    const token = `${path}/credentials/access_token`;
    expect([(await t.token(token)).code, (await t.token(token)).code]).toEqual([code, code]);
    expect(await t.stateOfToken(path)).toBe("blocked");
    expect((await t.at.ask("PATCH", path, { secret })).status).toBe(200);
    expect([await t.stateOfToken(path), (await t.token(token)).status]).toEqual(["none", 200]);
  }
});

test("P7: a change of what is given raises the version, null is none, and If-Match keeps to one version", async () => {
  await using t = await setup(NEW);
  expect((await t.token()).status).toBe(200);
  const first = await t.at.ask("PATCH", SHOP, { title: "Store", mode: "classic" }, { ifMatch: '"1"' });
  expect([first.status, first.headers.get("etag")]).toEqual([200, '"2"']);
  expect(first.data).toMatchObject({ title: "Store", mode: "classic", version: 2 });
  expect((await t.at.ask("GET", SHOP)).headers.get("etag")).toBe('"2"');
  expect(await t.at.audited()).toMatchObject([
    { action: "app.updated", app: WX_FOREIGN.appId, detail: { title: "Store", mode: "classic" } },
  ]);
  expect([(await t.token()).status, t.sandbox.calls(CLASSIC)]).toEqual([200, 1]);
  const count = t.at.auditCount();
  for (const ifMatch of ['"1"', '"3"', "2", 'W/"2"', "nonsense"]) {
    for (const method of ["PATCH", "DELETE"]) {
      const missed = await t.at.ask(method, SHOP, method === "PATCH" ? { title: "No" } : undefined, {
        ifMatch,
      });
      expect([method, ifMatch, missed.status, missed.code]).toEqual([method, ifMatch, 412, 412]);
    }
  }
  expect(t.at.auditCount()).toBe(count);
  const none = await t.at.ask("PATCH", SHOP, { title: null }, { ifMatch: "*" });
  expect([none.data["title"], none.data["mode"], none.data["version"]]).toEqual([undefined, "classic", 3]);
  for (const method of ["PATCH", "DELETE"])
    expect((await t.at.ask(method, `${APPS}/nobody`, method === "PATCH" ? {} : undefined)).status).toBe(404);
});

test("P7: nothing is handed out for a disabled app, and what it had is there again when it is enabled", async () => {
  await using t = await setup(NEW);
  const { value } = (await t.token()).data;
  const disabled = await t.at.ask("PATCH", SHOP, { disabled: true });
  expect(disabled.data).toMatchObject({ disabled: true, version: 2 });
  expect(await t.at.audited()).toMatchObject([{ action: "app.updated", detail: { disabled: true } }]);
  const appid = WX_FOREIGN.appId;
  for (const query of ["", `&secret=${NEW.secret}`, `&secret=${t.at.adminKey}`])
    expect((await t.world.get(`/AccessToken/getXcx?appid=${appid}${query}`)).code).toBe(403);
  expect((await t.token()).status).toBe(403);
  expect((await t.at.ask("POST", `${TOKEN}/refresh`, {})).status).toBe(403);
  expect((await t.at.ask("POST", `${SHOP}/signatures/jsapi`, { url: "https://a.example/" })).status).toBe(
    403,
  );
  expect(t.sandbox.calls()).toBe(1);
  expect((await t.at.ask("PATCH", SHOP, { disabled: false })).data["disabled"]).toBe(false);
  expect([(await t.token()).data["value"], t.sandbox.calls()]).toEqual([value, 1]);
});

test("P7: a removed app is gone with its credentials, and a new registration begins anew", async () => {
  await using t = await setup(NEW);
  await t.token();
  const removed = await t.at.ask("DELETE", SHOP, undefined, { ifMatch: '"1"' });
  expect([removed.status, removed.data]).toEqual([200, {}]);
  expect(await t.at.audited()).toMatchObject([{ by: "admin", action: "app.deleted", app: WX_FOREIGN.appId }]);
  expect([(await t.token()).status, (await t.at.ask("DELETE", SHOP)).status]).toEqual([404, 404]);
  expect((await t.world.get("/AccessToken/getXcx", { appid: WX_FOREIGN.appId })).code).toBe(1);
  const names = (await t.at.ask("GET", APPS)).data["apps"].map(({ app }: { app: string }) => app);
  expect(names).not.toContain(WX_FOREIGN.appId);

  const anew = await t.at.ask("POST", APPS, NEW);
  expect([anew.status, anew.data["version"], await t.stateOfToken()]).toEqual([201, 3, "none"]);
  expect((await t.token()).status).toBe(200);
  expect(t.sandbox.calls(STABLE)).toBe(2);
});

test("apps from the environment are 409 to every change, and stay as they are", async () => {
  await using t = await setup();
  const own = `${APPS}/${WX.appId}`;
  const count = t.at.auditCount();
  const before = await t.shown(own);
  for (const [method, path, body] of [
    ["POST", APPS, { platform: "weixin", app_id: WX.appId, secret: WX.secret }],
    ["POST", APPS, { ...NEW_AGENT, agent: "contacts" }],
    ["PATCH", own, { title: "Mine" }],
    ["PATCH", own, { secret: WRONG, verify: true }],
    ["DELETE", own, undefined],
  ] as const) {
    const { status, code, msg } = await t.at.ask(method, path, body);
    expect([method, path, status, code]).toEqual([method, path, 409, 409]);
    expect(msg).toMatch(/环境变量.*environment/);
  }
  expect(before).toMatchObject({ source: "environment", version: 0, disabled: false });
  expect([await t.shown(own), t.at.auditCount(), t.sandbox.calls()]).toEqual([before, count, 0]);
});

test("of an app in the environment and in the database the environment's is used with a warning, and the other comes back", async () => {
  await using t = await setup(NEW);
  const { value } = (await t.token()).data;
  await t.world.stop();
  const name = `WEIXIN_SECRET_${WX_FOREIGN.appId}`;
  for (const [secret, code] of [
    [WRONG, 40125],
    [NEW.secret, 0],
    [NEW.secret, 0],
  ] as const) {
    await t.world.start({ [name]: secret });
    expect(await t.shown()).toMatchObject({ source: "environment", version: 0 });
    // What was obtained with another secret is not handed out.
    expect((await t.token()).code).toBe(code);
    expect((await t.at.ask("PATCH", SHOP, { title: "x" })).status).toBe(409);
    await t.world.stop();
  }
  const warned = t.world.events.flatMap((event) => (event.type === "config.warning" ? [event.message] : []));
  expect(warned.filter((line) => line.includes("the environment wins"))).toEqual(
    Array.from({ length: 3 }, () => expect.stringMatching(new RegExp(`^${WX_FOREIGN.appId}: .*apps remove`))),
  );
  expect(warned.join()).not.toMatch(new RegExp(`${WRONG}|${NEW.secret}`));
  expect(t.sandbox.calls(STABLE)).toBe(3);
  await t.world.start();
  expect(await t.shown()).toMatchObject({ source: "managed", title: "Shop", version: 1 });
  expect((await t.token()).data["value"]).toBe(value);
});

test("a field that is none is refused with those that there are, before WeChat is asked or anything is done", async () => {
  await using t = await setup(NEW);
  const count = t.at.auditCount();
  for (const [method, path, body, known] of [
    [
      "POST",
      APPS,
      { ...NEW_AGENT, verify: true, name: "typo" },
      "platform, app_id, agent, title, mode, secret, verify, login_only",
    ],
    [
      "PATCH",
      SHOP,
      { secret: WRONG, verify: true, disable: true },
      "title, secret, disabled, mode, verify, public_url, js_domains",
    ],
  ] as const) {
    const { status, code, msg } = await t.at.ask(method, path, body);
    expect([path, status, code]).toEqual([path, 400, 1]);
    expect(msg).toContain(`：${known} (`);
    expect(msg).not.toMatch(/typo|name|disable,/);
  }
  expect([t.at.auditCount(), t.sandbox.calls()]).toEqual([count, 0]);
  expect(await t.shown()).toMatchObject({ version: 1 });
});

test("who is no administrator is refused before anything that was sent is looked at", async () => {
  await using t = await setup(NEW);
  const grants = [{ apps: ["*"], actions: ["token:read", "token:refresh", "token:clear"] as const }];
  const plain = await createClient(t.world, { name: "plain", grants });
  for (const [method, path] of [
    ["POST", APPS],
    ["PATCH", SHOP],
    ["PATCH", `${APPS}/nobody`],
    ["DELETE", SHOP],
    ["DELETE", `${APPS}/nobody`],
  ] as const) {
    for (const key of [plain, ""]) {
      const body = method === "DELETE" ? undefined : { nonsense: true };
      const { status, data } = await t.at.ask(method, path, body, { key, ifMatch: "nonsense" });
      expect([method, path, status, data]).toEqual([method, path, 403, {}]);
    }
  }
  await t.world.stop();
  await t.world.start({ ANONYMOUS: "off" });
  expect((await t.at.ask("PATCH", SHOP, { nonsense: true }, { key: "" })).status).toBe(401);
  expect(await t.shown()).toMatchObject({ version: 1 });
});

test("P7: no change of apps is done while the audit can't be written", async () => {
  await using t = await setup(NEW);
  const { value } = (await t.token()).data;
  const before = await t.shown();
  t.at.breakAudit();
  for (const [method, path, body] of [
    ["POST", APPS, NEW_AGENT],
    ["PATCH", SHOP, { title: "New" }],
    ["PATCH", SHOP, { secret: WRONG }],
    ["PATCH", SHOP, { disabled: true }],
    ["DELETE", SHOP, undefined],
  ] as const) {
    const { status, code } = await t.at.ask(method, path, body);
    expect([method, path, status, code]).toEqual([method, path, 503, 503]);
  }
  expect([await t.shown(), (await t.token()).data["value"]]).toEqual([before, value]);
  expect((await t.at.ask("GET", AGENT)).status).toBe(404);
  await t.world.stop();
  await t.world.start();
  expect([(await t.token()).data["value"], (await t.at.ask("GET", AGENT)).status]).toEqual([value, 404]);
  t.at.mendAudit();
  expect((await t.at.ask("DELETE", SHOP)).status).toBe(200);
});
