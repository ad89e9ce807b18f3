import { afterAll, expect, test } from "bun:test";
import type { Action } from "../../src/access/client.ts";
import { createClient, type WantedClient } from "../support/access-harness.ts";
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
} from "../support/platform-world.ts";
import { GatewayHarness } from "./gateway-harness.ts";

const it = await GatewayHarness.create({ sandbox: PLATFORM_SANDBOX });
await holdPlatforms(it.world);
afterAll(() => it[Symbol.asyncDispose]());

const { sandbox, world } = it;
const component = sandbox.component(COMPONENT.appId);
const PRE_AUTH = "/cgi-bin/component/api_create_preauthcode";
const LIST = "/cgi-bin/component/api_get_authorizer_list";
const INFO = "/cgi-bin/component/api_get_authorizer_info";
const ACTIONS: readonly Action[] = ["token:read", "login", "api:call"];
const VIRTUAL_REFRESH = /^refreshtoken@@@atvg1_/;
let count = 0;

/** The key of a client that may use these platforms and accounts. */
function client(apps: readonly string[] = ["*"], more: Partial<WantedClient> = {}): Promise<string> {
  const grants = [{ apps, actions: ACTIONS }];
  return createClient(world, { name: `client-${++count}`, grants, delivery: "virtual", ...more });
}

async function fields(path: string, body: object, init: RequestInit = {}): Promise<Record<string, unknown>> {
  return JSON.parse((await it.post(path, body, init)).text) as Record<string, unknown>;
}

/** The token of a platform, as a client is given it. */
async function token(key: string, role: "component" | "suite" | "provider" = "component"): Promise<string> {
  const asked: Record<typeof role, readonly [path: string, body: object]> = {
    component: [
      "/cgi-bin/component/api_component_token",
      { component_appid: COMPONENT.appId, component_appsecret: key },
    ],
    suite: ["/cgi-bin/service/get_suite_token", { suite_id: SUITE.id, suite_secret: key }],
    provider: ["/cgi-bin/service/get_provider_token", { corpid: PROVIDER.corpId, provider_secret: key }],
  };
  const [path, body] = asked[role];
  return String((await fields(path, body))[`${role}_access_token`]);
}

const named = (body: object = {}) => ({ component_appid: COMPONENT.appId, ...body });

/** Lets accounts authorize the component, and corps install the suite. */
async function authorize(key: string, accounts: readonly string[] = [], corps: readonly string[] = []) {
  const [byComponent, bySuite] = [await token(key), await token(key, "suite")];
  for (const account of accounts) {
    const { code } = await component.authorize(account, { send: "neither" });
    const path = `/cgi-bin/component/api_query_auth?component_access_token=${byComponent}`;
    await fields(path, named({ authorization_code: code }));
  }
  const codes: string[] = [];
  for (const corp of corps) {
    const { authCode } = await sandbox.suite(SUITE.id).install(corp, { send: "neither" });
    const path = `/cgi-bin/service/v2/get_permanent_code?suite_access_token=${bySuite}`;
    codes.push(String((await fields(path, { auth_code: authCode }))["permanent_code"]));
  }
  return codes;
}

test("a call goes up with the platform's real token under the name that the caller's came under, or by key under its own", async () => {
  const key = await client();
  const own = await token(key);
  const headers = { "x-api-key": key };
  sandbox.resetCalls();
  for (const [path, init] of [
    [`${PRE_AUTH}?component_access_token=${own}`, {}],
    [`${PRE_AUTH}?access_token=${own}`, {}],
    [`/gateway/${COMPONENT.appId}${PRE_AUTH}`, { headers }],
  ] as const)
    expect(await fields(path, named(), init)).toMatchObject({ expires_in: 1800 });
  expect(sandbox.calls(PRE_AUTH)).toBe(3);
  const suite = await token(key, "suite");
  const preAuth = "/cgi-bin/service/get_pre_auth_code";
  expect(await it.send(`${preAuth}?suite_access_token=${suite}`)).toMatchObject({ errcode: 0 });
  expect(await it.send(`/gateway/${SUITE.id}${preAuth}`, { headers })).toMatchObject({ errcode: 0 });
  const provider = await token(key, "provider");
  const customized = `/cgi-bin/service/get_customized_auth_url?provider_access_token=${provider}`;
  const templates = { state: "abc", templateid_list: ["dktemplate0000000001"] };
  expect(await fields(customized, templates)).toMatchObject({ errcode: 0, expires_in: 864_000 });
});

test("a component's token that WeChat has rejected is replaced, and the call sent once more", async () => {
  const key = await client();
  const own = await token(key);
  const real = await realToken();
  sandbox.killTokens(COMPONENT.appId);
  sandbox.resetCalls();
  expect(await fields(`${PRE_AUTH}?component_access_token=${own}`, named())).toMatchObject({
    expires_in: 1800,
  });
  expect([sandbox.calls(PRE_AUTH), sandbox.calls("/cgi-bin/component/api_component_token")]).toEqual([2, 1]);
  expect(await realToken()).not.toBe(real);
});

async function realToken(): Promise<string> {
  const path = `/v1/apps/${COMPONENT.appId}/credentials/component_access_token`;
  return String((await world.administer(path)).data["value"]);
}

const MINTS = ["/cgi-bin/component/api_component_token", "/cgi-bin/service/get_suite_token"];
const minted = () => MINTS.map((path) => sandbox.calls(path));

test("what is refused of a platform's token where it does not belong renews no token, and what is dead is healed afterwards", async () => {
  const [careless, other] = [await client(), await client()];
  const tokens = { component: await token(careless), suite: await token(careless, "suite") };
  const others = { component: await token(other), suite: await token(other, "suite") };
  sandbox.inject({ kind: "error", errcode: 40001, endpoint: "/cgi-bin/user/get", times: 4 });
  sandbox.resetCalls();
  for (const own of Object.values(tokens))
    for (let n = 0; n < 4; n++) {
      const { errcode } = await it.post(`/cgi-bin/user/get?access_token=${own}`, {});
      expect(errcode).toBe(own === tokens.component ? 40001 : 40014);
      world.clock.advance(11_000);
    }
  sandbox.clearFaults();
  expect(minted()).toEqual([0, 0]);
  sandbox.killTokens(COMPONENT.appId);
  sandbox.killTokens(SUITE.id);
  const made = await fields(`${PRE_AUTH}?component_access_token=${others.component}`, named());
  expect(made).toMatchObject({ expires_in: 1800 });
  const suite = await it.send(`/cgi-bin/service/get_pre_auth_code?suite_access_token=${others.suite}`);
  expect(suite.errcode).toBe(0);
  expect(minted()).toEqual([1, 1]);
});

test("a component's token that WeChat calls valid stays, however often a call is refused, and costs its client no healing", async () => {
  const own = await token(await client());
  const real = await realToken();
  const path = `${LIST}?component_access_token=${own}`;
  sandbox.inject({ kind: "error", errcode: 40001, endpoint: LIST, times: 100 });
  sandbox.resetCalls();
  for (let n = 0; n < 24; n++) {
    expect((await it.post(path, named({ offset: 0, count: 1 }))).errcode).toBe(40001);
    // After three in a row, none of a client's is looked at for a minute.
    world.clock.advance(n % 3 === 2 ? 61_000 : 5000);
  }
  sandbox.clearFaults();
  expect([await realToken(), minted()[0], sandbox.calls("/cgi-bin/getcallbackip")]).toEqual([real, 0, 24]);
  sandbox.killTokens(COMPONENT.appId);
  const listed = await fields(path, named({ offset: 0, count: 1 }));
  expect(listed).toHaveProperty("total_count");
  expect(minted()[0]).toBe(1);
});

test.each([
  [COMPONENT.appId, "component"],
  [SUITE.id, "suite"],
  [PROVIDER.corpId, "provider"],
])("a manual refresh of the token of %s uses the budget of forced ones", async (platform, role) => {
  const key = await client([platform], { grants: [{ apps: [platform], actions: ["token:refresh"] }] });
  const path = `/v1/apps/${platform}/credentials/${role}_access_token/refresh`;
  const headers = { "x-api-key": key, "content-type": "application/json" };
  const refresh = () => world.request(path, { method: "POST", headers, body: "{}" });
  const first = await refresh();
  world.clock.advance(10_100);
  const soon = await refresh();
  world.clock.advance(20_000);
  expect([first, soon, await refresh()].map(({ status }) => status)).toEqual([200, 503, 200]);
  expect(soon.text).toContain("20 a day");
});

test.each([
  ["component", "/cgi-bin/component/api_start_push_ticket"],
  ["component", "/cgi-bin/component/clear_quota/v2"],
  ["component", "/cgi-bin/clear_quota"],
  ["component", "/cgi-bin/clear_quota/v2"],
  ["component", "/CGI-BIN/component/API_component_token"],
  ["component", "/cgi-bin/token"],
  ["component", "/sns/userinfo2"],
  ["component", "/cgi-bin/service/get_pre_auth_code"],
  ["suite", "/cgi-bin/service/get_provider_token/"],
  ["suite", "/cgi-bin/component/api_create_preauthcode"],
  ["provider", "/cgi-bin/Service/get_suite_token"],
] as const)("the token of a %s does not open %s", async (role, path) => {
  const key = await client();
  sandbox.resetCalls();
  const answer = await fields(`${path}?${role}_access_token=${await token(key, role)}`, named());
  expect([48001, 48002, 40125, 40080, 40001, 41004, 41024, 41021, 41002, 41018]).toContain(
    Number(answer["errcode"]),
  );
  expect(sandbox.calls(path.toLowerCase().replace(/\/$/, ""))).toBe(0);
});

test("neither an app's token nor another name of a platform's opens what is a platform's", async () => {
  const key = await client();
  const app = await it.token(undefined, key);
  expect((await it.post(`${PRE_AUTH}?access_token=${app}`, named())).errcode).toBe(48001);
  const own = await token(key);
  expect((await it.post(`${PRE_AUTH}?suite_access_token=${own}`, named())).errcode).toBe(48001);
  expect((await it.post(`${PRE_AUTH}?component_access_token=x`, named())).errcode).toBe(42001);
  const two = `${PRE_AUTH}?component_access_token=${own}&component_access_token=${own}`;
  expect((await it.post(two, named())).errcode).toBe(40097);
});

test("of an account's token and its component's, as SDKs send them together, the one counts that the path takes", async () => {
  const key = await client();
  const [app, own] = [await it.token(undefined, key), await token(key)];
  const beside = `${PRE_AUTH}?access_token=${app}&component_access_token=${own}`;
  expect((await it.post(beside, named())).text).toContain("pre_auth_code");
  const wrong = `${PRE_AUTH}?access_token=${own}&component_access_token=x`;
  expect((await it.post(wrong, named())).errcode).toBe(42001);
  const other = `/cgi-bin/getcallbackip?access_token=${app}&component_access_token=${own}`;
  expect((await it.send(other)).errcode).toBe(48001);
});

test("a client's policy is for calls with a platform's token too", async () => {
  const key = await client(["*"], { policy: { preset: "all", deny: ["/cgi-bin/component/**"] } });
  sandbox.resetCalls();
  expect((await it.post(`${PRE_AUTH}?component_access_token=${await token(key)}`, named())).errcode).toBe(
    48001,
  );
  expect(sandbox.calls(PRE_AUTH)).toBe(0);
});

test("a client that is granted some accounts calls for no other, however the call names it", async () => {
  const [all, some] = [await client(), await client([COMPONENT.appId, SUITE.id, nameOf(OFFICIAL)])];
  await authorize(all, [OFFICIAL, MINI]);
  const own = await token(some);
  const ask = async (body: object | string) => {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    return (await it.send(`${INFO}?component_access_token=${own}`, { method: "POST", body: text })).errmsg;
  };
  sandbox.resetCalls();
  expect(await ask(named({ authorizer_appid: OFFICIAL }))).toBe("");
  const both = `{"component_appid":"${COMPONENT.appId}","authorizer_appid":"${OFFICIAL}","authorizer\\u005fappid":"${MINI}"}`;
  const form = `authorizer_appid=${MINI}`;
  for (const body of [named({ authorizer_appid: MINI }), named({ auth_corpid: [OFFICIAL] }), both, form])
    expect(await ask(body)).toMatch(/^api unauthorized, .*(not granted to this client|in a JSON body)/);
  const query = `${INFO}?component_access_token=${own}&authorizer_appid=${OFFICIAL}&authorizer_appid=${MINI}`;
  expect((await it.post(query, named())).errcode).toBe(48001);
  expect(sandbox.calls(INFO)).toBe(1);
});

const OWN_CORP = { corpid: CUSTOMER, auth_corpid: CUSTOMER };
test.each([
  ["component", "/wxa/deletetemplate", { appid: OFFICIAL, template_id: 1 }],
  ["component", "/wxa/addtotemplate", { draft_id: 1 }],
  ["component", "/cgi-bin/component/modify_wxa_server_domain", { action: "set" }],
  ["component", "/cgi-bin/component/fastregisterweapp?action=create", { name: "x" }],
  ["component", "/componenttcb/batchshareenv", { appid: OFFICIAL, data: [{ appids: [MINI] }] }],
  ["suite", "/cgi-bin/service/get_order_list", OWN_CORP],
  ["suite", "/cgi-bin/service/externalcontact/unionid_to_external_userid_3rd", { unionid: "u", ...OWN_CORP }],
  ["provider", "/cgi-bin/license/list_order", {}],
  ["provider", "/cgi-bin/license/get_order", { order_id: "o", ...OWN_CORP }],
  ["provider", "/cgi-bin/service/get_login_info", { auth_code: "x" }],
] as const)(
  "the token of a %s calls %s for a client that is granted every account, and not for one of some, whomever it names",
  async (role, path, body) => {
    const platform = { component: COMPONENT.appId, suite: SUITE.id, provider: PROVIDER.corpId }[role];
    const some = await client([platform, nameOf(OFFICIAL), nameOf(CUSTOMER, SUITE.id)]);
    const every = await client([platform, `platform:${platform}/*`]);
    const call = async (key: string) => {
      const query = `${role}_access_token=${await token(key, role)}`;
      return (await it.post(`${path}${path.includes("?") ? "&" : "?"}${query}`, body)).errmsg;
    };
    const sent = path.replace(/\?.*/, "");
    sandbox.resetCalls();
    expect(await call(some)).toContain("this client is granted some accounts of the platform alone");
    expect(sandbox.calls(sent)).toBe(0);
    const answered = await call(every);
    expect([sandbox.calls(sent), answered]).toEqual([1, expect.not.stringContaining("granted")]);
  },
);

test("in lists and facts of accounts stand virtual refresh tokens, of the caller's accounts alone", async () => {
  const [all, some] = [await client(), await client([COMPONENT.appId, nameOf(MINI)])];
  await authorize(all, [OFFICIAL, MINI]);
  const listed = async (key: string) => {
    const path = `${LIST}?component_access_token=${await token(key)}`;
    const answer = await it.post(path, named({ offset: 0, count: 500 }));
    for (const account of [OFFICIAL, MINI])
      expect(answer.text).not.toContain(String(component.refreshTokenOf(account)));
    return JSON.parse(answer.text) as { total_count: number; list: Record<string, unknown>[] };
  };
  const whole = await listed(all);
  expect(whole.list.map((each) => each["authorizer_appid"])).toEqual([OFFICIAL, MINI]);
  const { total_count: total, list } = await listed(some);
  expect([total, list.map((each) => each["authorizer_appid"])]).toEqual([2, [MINI]]);
  const given = String(list[0]?.["refresh_token"]);
  expect(given).toMatch(VIRTUAL_REFRESH);
  const info = await it.post(
    `${INFO}?component_access_token=${await token(some)}`,
    named({ authorizer_appid: MINI }),
  );
  const { authorization_info: facts } = JSON.parse(info.text) as Record<string, Record<string, unknown>>;
  expect(facts?.["authorizer_refresh_token"]).toBe(given);
  const renewed = await fields(
    `/cgi-bin/component/api_authorizer_token?component_access_token=${await token(some)}`,
    named({ authorizer_appid: MINI, authorizer_refresh_token: given }),
  );
  expect(renewed["authorizer_access_token"]).toStartWith("atv1_");
});

test("a corp is asked about by a virtual permanent code, that of a corp that the client is granted", async () => {
  const [all, some] = [await client(), await client([SUITE.id, PROVIDER.corpId, nameOf(CUSTOMER, SUITE.id)])];
  const [code = "", other = ""] = await authorize(all, [], [CUSTOMER, OTHER_CUSTOMER]);
  const ask = async (key: string, corp: string, permanent: string) => {
    const path = `/cgi-bin/service/get_auth_info?suite_access_token=${await token(key, "suite")}`;
    return fields(path, { auth_corpid: corp, permanent_code: permanent });
  };
  expect(await ask(all, CUSTOMER, code)).toMatchObject({ errcode: 0, auth_corp_info: { corpid: CUSTOMER } });
  for (const [key, corp, wrong, errcode] of [
    [all, CUSTOMER, other, 40084],
    [all, OTHER_CUSTOMER, code, 40084],
    [some, CUSTOMER, code, 40084],
    [some, OTHER_CUSTOMER, other, 48002],
  ] as const)
    expect(await ask(key, corp, wrong)).toMatchObject({ errcode });
  // A provider's token is for the corps of its suites.
  const provider = await token(some, "provider");
  const license = async (corpid: string) =>
    (await it.post(`/cgi-bin/license/active_account?provider_access_token=${provider}`, { corpid })).errcode;
  expect(await license(OTHER_CUSTOMER)).toBe(48002);
  expect(await license(CUSTOMER)).not.toBe(48002);
});

test("an account's own token opens its options by the component's path, and no other account's", async () => {
  const key = await client();
  await authorize(key, [OFFICIAL, MINI]);
  const { text } = await it.send(`/v1/apps/${nameOf(OFFICIAL)}/credentials/access_token`, {
    headers: { "x-api-key": key },
  });
  const { data } = JSON.parse(text) as { data: { value: string } };
  const path = `/cgi-bin/component/get_authorizer_option?access_token=${data.value}`;
  const option = (account: string) =>
    it.post(path, named({ authorizer_appid: account, option_name: "voice_recognize" }));
  expect(await option(OFFICIAL)).toMatchObject({ errcode: 0 });
  expect((await option(MINI)).errcode).toBe(48001);
  expect((await it.post(`${INFO}?access_token=${data.value}`, named())).errcode).toBe(48001);
});

test("a user's token is refreshed by the component, and goes on to be its client's", async () => {
  const key = await client();
  await authorize(key, [OFFICIAL]);
  const by = `component_appid=${COMPONENT.appId}&component_access_token=${await token(key)}`;
  const login = `/sns/oauth2/component/access_token?appid=${OFFICIAL}&code=sandbox-code-1&grant_type=authorization_code&${by}`;
  const user = JSON.parse((await it.send(login)).text) as Record<string, string>;
  const refresh = `/sns/oauth2/component/refresh_token?appid=${OFFICIAL}&grant_type=refresh_token&refresh_token=${user["refresh_token"]}&${by}`;
  const renewed = JSON.parse((await it.send(refresh)).text) as Record<string, string>;
  expect(renewed["openid"]).toBe(String(user["openid"]));
  const info = await it.send(
    `/sns/userinfo?access_token=${renewed["access_token"]}&openid=${renewed["openid"]}`,
  );
  expect(info.errcode).toBeUndefined();
});

test("P6: while a platform is disabled, nothing is given of what it has, nor called for it, whatever was given before", async () => {
  const key = await client(["*"], { delivery: "real" });
  await authorize(key, [OFFICIAL], [CUSTOMER]);
  const read = async (app: string) =>
    world.request(`/v1/apps/${app}/credentials/access_token`, { headers: { "x-api-key": key } });
  const call = async (app: string, path: string) =>
    (await fields(`${path}?access_token=${given.get(app)}`, {}))["errcode"];
  const apps = [
    [COMPONENT.appId, nameOf(OFFICIAL), "/cgi-bin/message/custom/send"],
    [SUITE.id, nameOf(CUSTOMER, SUITE.id), "/cgi-bin/message/send"],
  ] as const;
  const given = new Map<string, string>();
  for (const [, app] of apps) given.set(app, String((await read(app)).data["value"]));
  const answers = () =>
    Promise.all(apps.map(async ([, app, path]) => [(await read(app)).status, await call(app, path)]));
  const change = async (disabled: boolean) => {
    for (const [platform] of apps) {
      const headers = { "content-type": "application/json" };
      const body = JSON.stringify({ disabled });
      await world.administer(`/v1/platforms/${platform}`, { method: "PATCH", headers, body });
    }
  };
  const before = await answers();
  await change(true);
  const closed = await answers();
  await change(false);
  expect(closed).toEqual([
    [403, 48001],
    [403, 48002],
  ]);
  expect(before.map(([status]) => status)).toEqual([200, 200]);
  expect(await answers()).toEqual(before);
});
