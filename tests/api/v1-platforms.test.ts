import { afterAll, beforeAll, expect, test } from "bun:test";
import { PLATFORMS_MIGRATION } from "../../src/store/sqlite/open-database.ts";
import { createClient } from "../support/access-harness.ts";
import { WX } from "../support/harness.ts";
import { ManagingHarness } from "../support/managing-harness.ts";
import {
  addAuthorized,
  COMPONENT,
  GAME,
  nameWith,
  PROVIDER,
  SHOP,
  SUITE,
  TEMPLATE,
} from "../support/platforms.ts";

const PLATFORMS = "/v1/platforms";
const OF_COMPONENT = `${PLATFORMS}/${COMPONENT.id}`;
const NEW = { kind: "component", ...COMPONENT, title: "Shops" };

let at: ManagingHarness;
beforeAll(async () => {
  at = await ManagingHarness.create();
});
afterAll(async () => {
  await at[Symbol.asyncDispose]();
});

/** Every platform is gone afterwards, so that tests don't see each other's. */
async function withComponent(accounts: readonly string[] = []) {
  expect((await at.ask("POST", PLATFORMS, NEW)).status).toBe(201);
  for (const account of accounts) await addAuthorized(at.world, account, COMPONENT.id);
  return {
    [Symbol.asyncDispose]: async () => {
      await at.ask("DELETE", `${OF_COMPONENT}?with_authorizations=true`);
    },
  };
}

test("a version that knows no platforms is shut out once there is one, and not before", async () => {
  await using it = await ManagingHarness.create();
  const compatibleFrom = () =>
    it.database.query("SELECT number FROM revisions WHERE name = 'compatible_from'").get();
  await it.ask("POST", "/v1/apps", { platform: "weixin", app_id: SHOP, secret: "a".repeat(32) });
  expect(compatibleFrom()).toEqual({ number: 5 });
  expect((await it.ask("POST", PLATFORMS, NEW)).status).toBe(201);
  expect(compatibleFrom()).toEqual({ number: PLATFORMS_MIGRATION });
});

test("P7: a new platform is 201 with its ETag and without its secret, and the very same again 200", async () => {
  const made = await at.ask("POST", PLATFORMS, NEW);
  const shown = {
    platform: COMPONENT.id,
    kind: "component",
    title: "Shops",
    disabled: false,
    version: 1,
    ticket: {},
    token: { state: "none" },
    callback: { is_set: false },
    authorizations: { valid: 0, lost: 0 },
  };
  expect<object>([made.status, made.data, made.headers.get("etag")]).toEqual([201, shown, '"1"']);
  expect(made.text).not.toContain(COMPONENT.secret);
  const detail = { role: "component", title: "Shops", is_verified: false };
  expect(await at.audited()).toMatchObject([{ action: "app.created", app: COMPONENT.id, detail }]);
  expect((await at.ask("POST", PLATFORMS, NEW)).status).toBe(200);
  expect((await at.ask("POST", PLATFORMS, { ...NEW, secret: "f".repeat(32) })).status).toBe(409);
  expect<object>((await at.ask("GET", PLATFORMS)).data).toEqual({ platforms: [shown] });
  expect((await at.ask("DELETE", OF_COMPONENT)).status).toBe(200);
  expect((await at.ask("GET", OF_COMPONENT)).status).toBe(404);
  expect(at.world.sandbox.calls()).toBe(0);
});

test.each([
  ["a gh_ id", { kind: "component", id: "gh_0123456789ab" }, "wx加16位"],
  ["upper case", { kind: "component", id: "WXC000000000000001" }, "wx加16位"],
  ["a suite's id for a component", { kind: "component", id: SUITE.id }, "suite_id或corpid"],
  ["a suite without a provider", { kind: "suite", id: SUITE.id }, "provider"],
  ["a suite as its own provider", { kind: "suite", id: SUITE.id, provider: SUITE.id }, "suite_id"],
  ["an id that is no suite's", { kind: "suite", id: "ab00000000000000e1", provider: PROVIDER.id }, "dk"],
  ["a component with a provider", { kind: "component", id: COMPONENT.id, provider: PROVIDER.id }, "provider"],
  ["a template's id for a provider", { kind: "provider", id: TEMPLATE.id }, "corpid"],
])("a platform with %s is refused with what was wrong", async (_, entry, word) => {
  const { status, msg } = await at.ask("POST", PLATFORMS, { secret: COMPONENT.secret, ...entry });
  expect([status, msg]).toEqual([400, expect.stringContaining(word)]);
});

test("an id that an app has already can't be a platform's, nor a platform's an app's", async () => {
  const taken = await at.ask("POST", PLATFORMS, { kind: "component", id: WX.appId, secret: WX.secret });
  expect([taken.status, taken.msg]).toEqual([409, expect.stringContaining("已登记")]);
  await using _ = await withComponent();
  const app = { platform: "weixin", app_id: COMPONENT.id, secret: COMPONENT.secret };
  expect((await at.ask("POST", "/v1/apps", app)).status).toBe(409);
});

test("a suite, its template and their provider are registered, and shown as what they are", async () => {
  for (const [kind, { id, secret }] of [
    ["provider", PROVIDER],
    ["suite", SUITE],
    ["suite", TEMPLATE],
  ] as const) {
    const provider = kind === "suite" ? PROVIDER.id : undefined;
    const made = await at.ask("POST", PLATFORMS, { kind, id, secret, provider });
    expect([made.status, made.data["kind"], made.data["provider"]]).toEqual([201, kind, provider]);
  }
  const shown = (await at.ask("GET", `/v1/apps/${SUITE.id}`)).data;
  expect(shown).toMatchObject({ app: SUITE.id, platform: "wecom", role: "suite" });
  expect(Object.keys(shown["credentials"])).toEqual(["suite_access_token", "suite_ticket"]);
  expect(shown).not.toHaveProperty("agent");
  for (const { id } of [PROVIDER, SUITE, TEMPLATE])
    expect((await at.ask("DELETE", `${PLATFORMS}/${id}`)).status).toBe(200);
});

test("a platform is changed at one version only, and a new secret is audited", async () => {
  await using _ = await withComponent();
  const { version } = (await at.ask("GET", OF_COMPONENT)).data;
  const change = { title: null, secret: "d".repeat(32), disabled: true };
  const ifMatch = `"${String(version)}"`;
  const { status, data } = await at.ask("PATCH", OF_COMPONENT, change, { ifMatch });
  expect([status, data["disabled"], data["title"]]).toEqual([200, true, undefined]);
  expect(await at.audited()).toMatchObject([{ action: "app.secret_changed", app: COMPONENT.id }]);
  expect((await at.ask("PATCH", OF_COMPONENT, change, { ifMatch })).status).toBe(412);
  expect((await at.ask("PATCH", `${PLATFORMS}/${WX.appId}`, change)).status).toBe(404);
});

test("a platform that accounts have authorized is removed only with them", async () => {
  await using _ = await withComponent([SHOP]);
  await addAuthorized(at.world, GAME, COMPONENT.id, { lostAt: at.world.clock.now() });
  expect((await at.ask("GET", OF_COMPONENT)).data["authorizations"]).toEqual({ valid: 1, lost: 1 });
  for (const path of [OF_COMPONENT, `/v1/apps/${COMPONENT.id}`])
    expect((await at.ask("DELETE", path)).status).toBe(409);
  // WeChat's list would bring it back.
  const removed = await at.ask("DELETE", `/v1/apps/${nameWith(SHOP, COMPONENT.id)}`);
  expect([removed.status, removed.msg]).toEqual([409, expect.stringContaining("accesstoken apps disable")]);
  const count = at.auditCount();
  expect((await at.ask("DELETE", `${OF_COMPONENT}?with_authorizations=true`)).status).toBe(200);
  expect(at.auditCount()).toBe(count + 3);
  expect((await at.ask("GET", `/v1/apps/${nameWith(SHOP, COMPONENT.id)}`)).status).toBe(404);
});

test("an account that was stored while its platform was removed can be removed too", async () => {
  const removed = await withComponent();
  await removed[Symbol.asyncDispose]();
  const name = await addAuthorized(at.world, SHOP, COMPONENT.id);
  expect((await at.ask("DELETE", `/v1/apps/${name}`)).status).toBe(200);
});

test("an account that has authorized a platform is listed by it, and is an app", async () => {
  await using _ = await withComponent();
  const authorizedAt = at.world.clock.now();
  const facts = { title: "Flowers", userName: "gh_000000000001", scopes: [1, 7], authorizedAt };
  const shop = await addAuthorized(at.world, SHOP, COMPONENT.id, facts);
  const game = await addAuthorized(at.world, GAME, COMPONENT.id, { isMiniProgram: true, authorizedAt });
  const first = (await at.ask("GET", `${OF_COMPONENT}/authorizations?limit=1`)).data;
  const common = { authorized_at: authorizedAt, disabled: false };
  const shown = {
    ...{ app: shop, account: SHOP, title: "Flowers", kind: "official", scopes: [1, 7] },
    ...{ user_name: "gh_000000000001", ...common },
  };
  expect<object>(first).toEqual({ authorizations: [shown], next: shop });
  const rest = (await at.ask("GET", `${OF_COMPONENT}/authorizations?after=${shop}`)).data;
  expect<object>(rest).toEqual({
    authorizations: [{ app: game, account: GAME, kind: "miniprogram", scopes: [], ...common }],
  });
  const app = (await at.ask("GET", `/v1/apps/${shop}`)).data;
  expect(app).toMatchObject({ app: shop, app_id: SHOP, authorized_to: COMPONENT.id, title: "Flowers" });
  expect(app).not.toHaveProperty("mode");
});

test("title, domains, public URL and whether it is disabled are set of an account; its secret and mode are not", async () => {
  await using _ = await withComponent([SHOP]);
  const path = `/v1/apps/${nameWith(SHOP, COMPONENT.id)}`;
  const change = { title: "Shop", js_domains: ["www.example.com"], public_url: "https://wx.example.com" };
  const { status, data } = await at.ask("PATCH", path, { ...change, disabled: true });
  expect([status, data]).toMatchObject([200, { ...change, state: "disabled" }]);
  for (const refused of [{ secret: "e".repeat(32) }, { mode: "classic" }])
    expect((await at.ask("PATCH", path, refused)).status).toBe(400);
  expect((await at.ask("PATCH", `/v1/apps/${COMPONENT.id}`, { mode: "classic" })).status).toBe(400);
});

test("an account whose authorization is lost says so, and what helps, and can be removed", async () => {
  await using _ = await withComponent();
  const lostAt = at.world.clock.now();
  const shop = await addAuthorized(at.world, SHOP, COMPONENT.id, { lostAt });
  const shown = (await at.ask("GET", `/v1/apps/${shop}`)).data;
  expect(shown).toMatchObject({ lost_at: lostAt, reason: expect.stringContaining("重新授权") });
  expect((await at.ask("DELETE", `/v1/apps/${shop}`)).status).toBe(200);
  expect(await at.audited()).toMatchObject([{ action: "app.deleted" }]);
});

test("an account may be held directly too, and then its AppID means that app", async () => {
  await using _ = await withComponent([SHOP]);
  const direct = { platform: "weixin", app_id: SHOP, secret: "ab".repeat(16) };
  expect((await at.ask("POST", "/v1/apps", direct)).status).toBe(201);
  expect((await at.ask("GET", `/v1/apps/${SHOP}`)).data).toMatchObject({ app: SHOP, mode: "stable" });
  expect((await at.ask("DELETE", `/v1/apps/${SHOP}`)).status).toBe(200);
  // The AppID alone means the account again.
  expect((await at.ask("GET", `/v1/apps/${SHOP}`)).data["authorized_to"]).toBe(COMPONENT.id);
});

test("an AppID that two platforms have is refused by every route of an app, and the refusal names both", async () => {
  await using _ = await withComponent([SHOP]);
  const other = "wxc000000000000002";
  await at.ask("POST", PLATFORMS, { kind: "component", id: other, secret: "cd".repeat(16) });
  await addAuthorized(at.world, SHOP, other);
  for (const [method, path, body] of [
    ["GET", ""],
    ["PATCH", "", { title: "Shop" }],
    ["GET", "/credentials/access_token"],
    ["PUT", "/callbacks", {}],
  ] as const) {
    const { status, msg } = await at.ask(method, `/v1/apps/${SHOP}${path}`, body);
    expect([path, status]).toEqual([path, 400]);
    for (const each of [COMPONENT.id, other]) expect(msg).toContain(nameWith(SHOP, each));
  }
  await at.ask("DELETE", `${PLATFORMS}/${other}?with_authorizations=true`);
});

test("a kind of credential that a platform does not have is refused by what it has", async () => {
  await using _ = await withComponent();
  const { status, msg } = await at.ask("GET", `/v1/apps/${COMPONENT.id}/credentials/access_token`);
  expect([status, msg]).toEqual([400, expect.stringContaining("only component_access_token")]);
});

test("a grant on the accounts of what is no platform is pointed out", async () => {
  await using _ = await withComponent([SHOP]);
  const apps = [`platform:${nameWith(SHOP, COMPONENT.id)}/*`];
  const client = { client: "mistaken", environment: "dev", grants: [{ apps, actions: ["view"] }] };
  const { status, text } = await at.ask("POST", "/v1/clients", client);
  expect([status, text]).toEqual([
    201,
    expect.stringContaining(`not held; check their names, or add them: ${apps[0]}`),
  ]);
});

test("only administrators see platforms", async () => {
  const key = await createClient(at.world, {
    name: "viewer",
    grants: [{ apps: ["*"], actions: ["view", "callback:manage", "oauth:manage"] }],
  });
  for (const path of [PLATFORMS, OF_COMPONENT, `${OF_COMPONENT}/authorizations`])
    expect((await at.ask("GET", path, undefined, { key })).status).toBe(403);
  for (const path of [
    PLATFORMS,
    ...["links", "ticket", "reconcile"].map((each) => `${OF_COMPONENT}/${each}`),
  ])
    expect((await at.ask("POST", path, undefined, { key })).status).toBe(403);
});

test("a grant on the accounts of a platform is of each that it has, and of no other app", async () => {
  await using _ = await withComponent([SHOP]);
  const [shop, all] = [nameWith(SHOP, COMPONENT.id), `platform:${COMPONENT.id}/*`];
  const key = await createClient(at.world, { name: "many", grants: [{ apps: [all], actions: ["view"] }] });
  const seen = async () => {
    const { apps } = (await at.ask("GET", "/v1/apps", undefined, { key })).data;
    return (apps as { app: string }[]).map(({ app }) => app);
  };
  expect(await seen()).toEqual([shop]);
  const game = await addAuthorized(at.world, GAME, COMPONENT.id);
  expect(await seen()).toEqual([shop, game]);
  const audit = await at.ask("GET", "/v1/audit?limit=1", undefined, { key });
  expect(audit.data["entries"]).toMatchObject([{ app: game, action: "authorization.granted" }]);
  expect((await at.ask("GET", `/v1/apps/${SHOP}`, undefined, { key })).status).toBe(200);
  for (const app of [COMPONENT.id, WX.appId])
    expect((await at.ask("GET", `/v1/apps/${app}`, undefined, { key })).status).toBe(403);
});

test("a grant on a short name of an account is answered with its full name", async () => {
  await using _ = await withComponent([SHOP]);
  const grants = [{ apps: [SHOP], actions: ["view"] }];
  const { text } = await at.ask("POST", "/v1/clients", { client: "short", environment: "dev", grants });
  expect(JSON.parse(text)).toMatchObject({ hint: expect.stringContaining(nameWith(SHOP, COMPONENT.id)) });
  const fine = [{ apps: [`platform:${COMPONENT.id}/*`, `platform:${COMPONENT.id}`], actions: ["view"] }];
  const held = await at.ask("POST", "/v1/clients", { client: "full", environment: "dev", grants: fine });
  expect([held.status, JSON.parse(held.text)["hint"]]).toEqual([201, undefined]);
});

test("WeChat's and WeCom's names for kinds of platforms are taken, and each is shown by one", async () => {
  const suite = { ...SUITE, provider: PROVIDER.id };
  for (const [name, kind, entry] of [
    ["weixin", "component", COMPONENT],
    ["wecom", "suite", suite],
  ] as const) {
    expect((await at.ask("POST", PLATFORMS, { kind: name, ...entry })).data).toMatchObject({ kind });
    expect((await at.ask("POST", PLATFORMS, { kind, ...entry })).status).toBe(200);
    expect((await at.ask("GET", `/v1/apps/${entry.id}`)).data).toMatchObject({ role: kind });
    expect((await at.ask("DELETE", `${PLATFORMS}/${entry.id}`)).status).toBe(200);
  }
});
