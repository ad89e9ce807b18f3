import { afterAll, expect, test } from "bun:test";
import { type App, nameOfApp } from "../../src/apps/app.ts";
import { Secret } from "../../src/secret.ts";
import { createClient } from "../support/access-harness.ts";
import { entryOf } from "../support/audit-entries.ts";
import { Harness, WX } from "../support/harness.ts";
import {
  COMPONENT,
  CUSTOMER,
  holdPlatforms,
  MINI,
  nameOf,
  OFFICIAL,
  OTHER_CUSTOMER,
  PLATFORM_SANDBOX,
  PROVIDER,
  SUITE,
  TEMPLATE,
  withStoreOf,
} from "../support/platform-world.ts";
import { HOME, LoginHarness } from "./login-harness.ts";

/** A component that is not held here, although the account below is held as one of its. */
const OTHER = "wxc000000000000002";
const AGENT_ID = "1000020";
const EXCHANGE = "/sns/oauth2/component/access_token";

const managed = { title: undefined, isDisabled: false, version: 1 };
const account = (id: string, platformApp: string): App => ({
  ...{ platform: "weixin", id, tokenMode: "stable", secret: new Secret("refreshtoken@@@x"), managed },
  authorization: { platformApp, authorizedAt: 0, scopes: [] },
});
/** MINI is one component's alone, OFFICIAL two components', and WX is held directly, too. */
const HELD: readonly App[] = [
  account(MINI, COMPONENT.appId),
  account(OFFICIAL, COMPONENT.appId),
  account(OFFICIAL, OTHER),
  account(WX.appId, COMPONENT.appId),
];

const [weixin] = PLATFORM_SANDBOX.components ?? [];
if (!weixin) throw new Error("the sandbox has no component");
const direct = { appId: WX.appId, name: "公众号三", userName: "gh_000000000003", kind: "official" } as const;
const authorizers = [...(weixin.authorizers ?? []), { ...direct, funcIds: [1] }];
const at = await LoginHarness.create({
  sandbox: { ...PLATFORM_SANDBOX, components: [{ ...weixin, authorizers }] },
});
afterAll(() => at[Symbol.asyncDispose]());
const { world } = at;
for (const id of [OFFICIAL, MINI, WX.appId])
  await world.sandbox.component(COMPONENT.appId).authorize(id, { send: "neither" });
await withStoreOf(world, async ({ apps }) => {
  for (const app of HELD) await apps.create(app, entryOf({ action: "app.created" }));
});
await holdPlatforms(world);
await Harness.until(async () => {
  const all = await Promise.all(HELD.map((app) => world.administer(`/v1/apps/${nameOfApp(app)}`)));
  return all.every(({ status }) => status === 200);
});

const keys = {
  dev: await keyOf("dev"),
  st: await keyOf("st"),
};

/** A key of a client of that environment; virtual tokens say whose they are. */
function keyOf(environment: string, delivery: "real" | "virtual" = "virtual"): Promise<string> {
  const grants = [{ apps: ["*"], actions: ["login", "token:read"] as const }];
  return createClient(world, { name: `${environment}-${delivery}`, environment, grants, delivery });
}

for (const [id, of] of [
  [SUITE.id, CUSTOMER],
  [SUITE.id, OTHER_CUSTOMER],
  [TEMPLATE.id, CUSTOMER],
] as const) {
  const { authCode: auth_code } = await world.sandbox.suite(id).install(of, { send: "neither" });
  const path = `/cgi-bin/service/get_permanent_code?suite_access_token=${await suiteToken(keys.dev, id)}`;
  await post(path, { auth_code });
}

async function suiteToken(key: string, suite_id: string = SUITE.id): Promise<string> {
  const body = { suite_id, suite_secret: key, suite_ticket: "any" };
  return String((await post("/cgi-bin/service/get_suite_token", body))["suite_access_token"]);
}

/** A link of an environment's; WeChat's parameters in the order in which they are given. */
function link(query: Readonly<Record<string, string>>, environment: keyof typeof HOME = "dev") {
  const redirect = { redirect_uri: `${HOME[environment]}/cb`, response_type: "code", scope: "snsapi_base" };
  return at.open(
    `/connect/oauth2/authorize?${new URLSearchParams({ state: "mine", ...query, ...redirect }).toString()}`,
  );
}

/** The code that an environment receives of a login that its link began. */
async function codeOf(sent: Awaited<ReturnType<typeof link>>, code: string): Promise<string> {
  const back = await at.back(sent.location.searchParams.get("state") ?? "", code);
  return back.location.searchParams.get("code") ?? "";
}

const originsOf = async (app: string) => {
  const { data } = await world.administer(`/v1/apps/${app}/redirect-origins`);
  return [data["app"], JSON.stringify(data["environments"])] as const;
};

async function post(path: string, body: object): Promise<Record<string, unknown>> {
  const response = await fetch(world.service.url + path, { method: "POST", body: JSON.stringify(body) });
  return (await response.json()) as Record<string, unknown>;
}

const get = async (path: string, query: Readonly<Record<string, string>>, headers = {}) => {
  const url = `${world.service.url}${path}?${new URLSearchParams(query).toString()}`;
  return (await (await fetch(url, { headers })).json()) as Record<string, unknown>;
};

/** Changes an app, as an administrator does. */
async function patch(app: string, change: object): Promise<void> {
  const { status, text } = await at.change("PATCH", `/v1/apps/${app}`, change);
  if (status !== 200) throw new Error(text);
}

/** What the component's endpoint answers to the code of an account, by that key. */
async function exchange(code: string, appid: string, key: string, headers = {}) {
  const token = await post("/cgi-bin/component/api_component_token", {
    ...{ component_appid: COMPONENT.appId, component_appsecret: key, component_verify_ticket: "any" },
  });
  const query = { appid, code, grant_type: "authorization_code", component_appid: COMPONENT.appId };
  const component_access_token = String(token["component_access_token"]);
  return get(EXCHANGE, { ...query, component_access_token }, headers);
}

test("an account logs in by its AppID or its whole name, whichever its origins were listed under", async () => {
  await at.allow(MINI, "dev", [HOME.dev]);
  await at.allow(nameOf(MINI), "st", [HOME.st]);
  for (const name of [MINI, nameOf(MINI)]) {
    const [app, environments] = await originsOf(name);
    expect(app).toBe(nameOf(MINI));
    expect(environments).toContain(HOME.dev);
    expect(environments).toContain(HOME.st);
  }
  const component = { component_appid: COMPONENT.appId };
  const queries = [
    { appid: MINI },
    { appid: nameOf(MINI) },
    { ...component, appid: MINI },
    { ...component, appid: nameOf(MINI) },
  ];
  for (const query of queries)
    for (const environment of ["dev", "st"] as const) {
      const { status, location } = await link(query, environment);
      expect(status).toBe(302);
      const { state, ...sent } = Object.fromEntries(location.searchParams);
      expect(state).toMatch(/^[0-9a-f]{32}$/);
      expect(sent).toMatchObject({ appid: MINI, component_appid: COMPONENT.appId });
      expect([...location.searchParams.keys()]).toEqual([
        ...["appid", "redirect_uri", "response_type", "scope", "state", "component_appid"],
      ]);
      expect((await fetch(world.sandbox.weixinUrl + location.pathname + location.search)).status).toBe(200);
    }
  await at.allow(MINI, "dev", []);
  expect((await originsOf(nameOf(MINI)))[1]).not.toContain(HOME.dev);
});

test("an account's code is exchanged by its component for the environment that it belongs to, and no other", async () => {
  await at.allow(nameOf(OFFICIAL), "dev", [HOME.dev]);
  const sent = await link({ appid: OFFICIAL, component_appid: COMPONENT.appId });
  const code = await codeOf(sent, "sandbox-code-11");
  expect(code).toMatch(/^[A-Za-z0-9_-]{32}$/);
  for (const each of [code, "sandbox-code-11"])
    expect(await exchange(each, OFFICIAL, keys.st)).toMatchObject({ errcode: 40029 });
  expect(world.sandbox.calls(EXCHANGE)).toBe(0);
  expect(await exchange(code, OFFICIAL, keys.dev)).toMatchObject({ openid: expect.any(String) });
  expect(world.sandbox.calls(EXCHANGE)).toBe(1);
});

test("with a real component token, which says nothing of who brings it, an environment's code needs its key", async () => {
  await at.allow(nameOf(OFFICIAL), "dev", [HOME.dev]);
  const key = await keyOf("dev", "real");
  const sent = await link({ appid: OFFICIAL, component_appid: COMPONENT.appId });
  const code = await codeOf(sent, "sandbox-code-12");
  expect(await exchange(code, OFFICIAL, key)).toMatchObject({ errcode: 40029 });
  expect(await exchange(code, OFFICIAL, key, { "x-api-key": key })).toMatchObject({
    openid: expect.any(String),
  });
});

test("WeChat returns to the platform's own domain where the account has none", async () => {
  await at.allow(MINI, "dev", [HOME.dev]);
  const back = async () => (await link({ appid: MINI })).location.searchParams.get("redirect_uri");
  await patch(COMPONENT.appId, { public_url: "https://platform.example.com" });
  expect(await back()).toBe("https://platform.example.com/connect/return");
  await patch(nameOf(MINI), { public_url: "https://mini.example.com" });
  expect(await back()).toBe("https://mini.example.com/connect/return");
});

test("of an account that two platforms have the link says which, and each has origins of its own", async () => {
  await at.allow(nameOf(OFFICIAL), "dev", [HOME.dev]);
  await at.allow(nameOf(OFFICIAL, OTHER), "st", [HOME.st]);
  const to = (component_appid: string, environment: "dev" | "st") =>
    link({ appid: OFFICIAL, component_appid }, environment);
  for (const [component, environment] of [[COMPONENT.appId, "dev"] as const, [OTHER, "st"] as const]) {
    const { location } = await to(component, environment);
    expect(location.searchParams.get("component_appid")).toBe(component);
  }
  expect((await to(OTHER, "dev")).text).toContain("accesstoken origins add");
  const unsaid = await link({ appid: OFFICIAL });
  expect([unsaid.status, unsaid.text]).toEqual([400, expect.stringContaining("component_appid is missing")]);
  // By its whole name it is said.
  const named = await link({ appid: nameOf(OFFICIAL) });
  expect(named.location.searchParams.get("component_appid")).toBe(COMPONENT.appId);
});

test("an app that is held directly, too, is meant by a link without component_appid alone", async () => {
  await at.allow(nameOf(WX.appId), "st", ["https://platform.example.com"]);
  const plain = await link({ appid: WX.appId });
  expect(plain.status).toBe(302);
  expect(plain.location.searchParams.has("component_appid")).toBeFalse();
  const whole = { appid: WX.appId, component_appid: COMPONENT.appId };
  expect((await link(whole)).text).toContain("accesstoken origins add");
  await at.allow(nameOf(WX.appId), "dev", [HOME.dev]);
  expect((await link(whole)).location.searchParams.get("component_appid")).toBe(COMPONENT.appId);
});

test.each<Record<string, string>>([
  { appid: MINI, component_appid: OTHER },
  { appid: nameOf(MINI), component_appid: OTHER },
  { appid: WX.appId, component_appid: OTHER },
  { appid: "wxa000000000000009", component_appid: COMPONENT.appId },
  { appid: COMPONENT.appId },
  { appid: PROVIDER.corpId },
  { appid: TEMPLATE.id },
])("%j is no app, and its page says what to look at", async (query) => {
  const { status, text } = await link(query);
  expect([status, text]).toEqual([400, expect.stringContaining("component_appid")]);
});

/** What WeCom says of a suite's user, by that key. */
async function suiteUser(key: string, code: string) {
  const suite_access_token = await suiteToken(key);
  return get("/cgi-bin/service/auth/getuserinfo3rd", { suite_access_token, code });
}

test("users of a third-party app of WeCom's log in by the suite, and the code is good for its environment alone", async () => {
  await at.allow(SUITE.id, "dev", [HOME.dev]);
  const sent = await link({ appid: SUITE.id });
  expect(sent.location.searchParams.get("appid")).toBe(SUITE.id);
  const code = await codeOf(sent, `sandbox-code-21-${CUSTOMER}`);
  expect(await suiteUser(keys.st, code)).toMatchObject({ errcode: 40029 });
  expect(await suiteUser(keys.dev, code)).toMatchObject({ corpid: CUSTOMER });
});

test("a corp that is disabled keeps nobody of the suite's other corps out", async () => {
  await patch(nameOf(CUSTOMER, SUITE.id), { disabled: true });
  const user = await suiteUser(keys.dev, `sandbox-code-22-${OTHER_CUSTOMER}`);
  expect(user).toMatchObject({ corpid: OTHER_CUSTOMER });
});

test.each([TEMPLATE.id, AGENT_ID])(
  "an agency app that a link names by %s is WeCom's by its number",
  async (agentid) => {
    await at.allow(nameOf(CUSTOMER, TEMPLATE.id), "dev", [HOME.dev]);
    const { location } = await link({ appid: CUSTOMER, agentid });
    expect(location.searchParams.get("appid")).toBe(CUSTOMER);
    expect(location.searchParams.get("agentid")).toBe(AGENT_ID);
  },
);

test.each([
  [nameOf(CUSTOMER, SUITE.id), `name ${SUITE.id}`],
  [COMPONENT.appId, "nobody logs in to a platform"],
  [PROVIDER.corpId, "nobody logs in to a platform"],
  [TEMPLATE.id, "nobody logs in to a platform"],
])("redirect origins of %s, which no link names, are refused with the reason", async (app, reason) => {
  const answer = await at.allow(app, "dev", [HOME.dev]);
  expect([answer.code, answer.msg]).toEqual([1, expect.stringContaining(reason)]);
});
