import { afterAll, expect, test } from "bun:test";
import type { Action } from "../../src/access/client.ts";
import { Secret } from "../../src/secret.ts";
import { Harness } from "../support/harness.ts";
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
import { type Asking, DropinHarness, STRANGE, VIRTUAL, type WireAnswer } from "./dropin-harness.ts";

const it = await DropinHarness.create({ sandbox: PLATFORM_SANDBOX });
await holdPlatforms(it.world);
afterAll(() => it[Symbol.asyncDispose]());

const TOKEN = "/cgi-bin/component/api_component_token";
const QUERY_AUTH = "/cgi-bin/component/api_query_auth";
const AUTHORIZER_TOKEN = "/cgi-bin/component/api_authorizer_token";
const service = (path: string) => `/cgi-bin/service/${path}`;
const REFRESH = /^refreshtoken@@@atvg1_[\w-]+$/;
const PERMANENT = /^atvg1_[\w-]+$/;
const { sandbox, world } = it;
const component = sandbox.component(COMPONENT.appId);
let count = 0;

/** A client with a key that may have the tokens of these platforms and accounts, and log their users in. */
async function client(
  apps: readonly string[] = ["*"],
  delivery: "real" | "virtual" = "virtual",
  actions: readonly Action[] = ["token:read", "login"],
) {
  const name = `client-${++count}`;
  const key = await it.key(name, { apps, actions, delivery });
  return { name, key };
}

const componentTokenBody = (secret: string) => ({
  component_appid: COMPONENT.appId,
  component_appsecret: secret,
  component_verify_ticket: "ticket@@@withheld",
});

async function componentToken(secret: string): Promise<string> {
  const { body } = await it.ask(TOKEN, { body: componentTokenBody(secret) });
  return String(body["component_access_token"]);
}

/** How a call below `/cgi-bin/component/` is made. */
const asked = (token: string, body: object, name = "component_access_token"): Asking => ({
  query: { [name]: token },
  body: { component_appid: COMPONENT.appId, ...body },
});

const queried = async (token: string, code: string): Promise<WireAnswer["body"]> =>
  (await it.ask(QUERY_AUTH, asked(token, { authorization_code: code }))).body["authorization_info"];

const ofAccount = (token: string, refreshToken: unknown, account = OFFICIAL) =>
  asked(token, { authorizer_appid: account, authorizer_refresh_token: refreshToken });

/** The code of an account that authorizes the component now, or once more. */
async function authorized(account: string): Promise<string> {
  return (await component.authorize(account, { send: "neither" })).code;
}

test("a component token is the one that stands, for a key or the true secret, whatever the ticket, by one request of WeChat", async () => {
  const { key } = await client(["*"], "real");
  sandbox.resetCalls();
  const tokens = await Promise.all([key, COMPONENT.secret, key, key].map(componentToken));
  expect(new Set(tokens).size).toBe(1);
  expect(sandbox.calls(TOKEN)).toBeLessThanOrEqual(1);
  const headers = { authorization: `Bearer ${key}` };
  const body = { component_appid: COMPONENT.appId };
  const { text } = await it.ask(TOKEN, { body, headers, from: STRANGE });
  expect(text).toBe(JSON.stringify({ component_access_token: tokens[0], expires_in: 7200 }));
  expect(sandbox.calls(TOKEN)).toBeLessThanOrEqual(1);
});

const ofSuite = (change: object) => ({ suite_id: SUITE.id, suite_secret: SUITE.secret, ...change });
const ofProvider = (change: object) => ({
  corpid: PROVIDER.corpId,
  provider_secret: PROVIDER.secret,
  ...change,
});

test.each([
  [TOKEN, {}, 41018],
  [TOKEN, { component_appid: "wxc000000000000009", component_appsecret: COMPONENT.secret }, 40125],
  [TOKEN, { component_appid: COMPONENT.appId }, 41004],
  [TOKEN, { component_appid: COMPONENT.appId, component_appsecret: "wrong" }, 40125],
  [TOKEN, { component_appid: SUITE.id, component_appsecret: SUITE.secret }, 40013],
  [service("get_suite_token"), { suite_secret: "x" }, 41021],
  [service("get_suite_token"), ofSuite({ suite_secret: undefined }), 41024],
  [service("get_suite_token"), ofSuite({ suite_secret: "wrong" }), 40080],
  [service("get_suite_token"), { suite_id: PROVIDER.corpId, suite_secret: PROVIDER.secret }, 40083],
  [service("get_provider_token"), ofProvider({ corpid: undefined }), 41002],
  [service("get_provider_token"), ofProvider({ provider_secret: "wrong" }), 40001],
  [service("get_provider_token"), { corpid: SUITE.id, provider_secret: SUITE.secret }, 40013],
] as const)(
  "%s of %j from outside is refused with %p, without a request upstream",
  async (path, body, code) => {
    sandbox.resetCalls();
    expect((await it.refusal(path, { body, from: STRANGE }))[0]).toBe(code);
    expect(sandbox.calls(path)).toBe(0);
  },
);

test.each([
  [TOKEN, { component_appid: COMPONENT.appId }, [41004, "appsecret missing"]],
  [service("get_suite_token"), ofSuite({ suite_secret: undefined }), [41024, "missing suite_secret"]],
  [service("get_provider_token"), ofProvider({ provider_secret: "" }), [41004, "provider_secret missing"]],
] as const)(
  "%s of %j is refused on a trusted network too: a platform's token needs a key",
  async (path, body, why) => {
    sandbox.resetCalls();
    expect(await it.refusal(path, { body })).toEqual([...why]);
    expect(sandbox.calls()).toBe(0);
  },
);

test("on a trusted network, too, nobody without a key reads, renews or clears a platform's token", async () => {
  const { key } = await client(["*"], "real");
  const token = await componentToken(key);
  await queried(token, await authorized(OFFICIAL));
  const body = "{}";
  for (const [platform, kind] of [
    [COMPONENT.appId, "component_access_token"],
    [SUITE.id, "suite_access_token"],
    [PROVIDER.corpId, "provider_access_token"],
  ] as const) {
    const path = `/v1/apps/${platform}/credentials/${kind}`;
    const json = { method: "POST", headers: { "content-type": "application/json" }, body };
    const answers = [
      await world.request(path),
      await world.request(`${path}/refresh`, json),
      await world.request(path, { method: "DELETE" }),
    ];
    expect(answers.map(({ status, code }) => [status, code])).toEqual(Array(3).fill([401, 401]));
    expect(answers[0]?.text).not.toContain(token);
  }
  // Of an account it may.
  const own = await world.request(`/v1/apps/${nameOf(OFFICIAL)}/credentials/access_token`);
  expect(own.data).toMatchObject({ value: expect.any(String) });
});

test("an account's token, a corp's and a signature for an account's pages come by the documented protocol", async () => {
  const { key } = await client(["*"], "real", ["token:read", "ticket:sign"]);
  await queried(await componentToken(key), await authorized(OFFICIAL));
  const { authCode } = await sandbox.suite(SUITE.id).install(CUSTOMER, { send: "neither" });
  const query = await suiteQuery(key);
  await it.ask(service("get_permanent_code"), { query, body: { auth_code: authCode } });
  const asking = { secret: key };
  const account = await world.get("/AccessToken/getXcx", { appid: OFFICIAL, ...asking });
  const corp = await world.get("/AccessToken/getQyapi", { corpid: CUSTOMER, agentid: SUITE.id, ...asking });
  for (const { code, data } of [account, corp]) {
    expect([code, data["expires_in"]]).toEqual([0, expect.any(Number)]);
    expect(sandbox.accepts(String(data["access_token"]))).toBe(true);
  }
  const url = "https://shop.example.com/page?id=1";
  const { data } = await world.post("/JsSDK/getJsApiSign", { wx_app_id: OFFICIAL, wx_app_secret: key, url });
  const headers = { "x-api-key": key };
  const ticket = `/v1/apps/${nameOf(OFFICIAL)}/credentials/jsapi_ticket`;
  const held = await world.administer(ticket, { headers });
  const text = `jsapi_ticket=${held.data["value"]}&noncestr=${data["noncestr"]}&timestamp=${data["timestamp"]}&url=${url}`;
  expect(data).toMatchObject({
    app_id: OFFICIAL,
    signature: new Bun.CryptoHasher("sha1").update(text).digest("hex"),
  });
});

test("a key of a client gets the tokens of platforms that it is granted, and of no other", async () => {
  const { key } = await client([COMPONENT.appId, SUITE.id]);
  expect(await componentToken(key)).toMatch(VIRTUAL);
  const ask = async (path: string, body: object) => (await it.ask(path, { body })).body;
  const suite = await ask(service("get_suite_token"), ofSuite({ suite_secret: key, suite_ticket: "any" }));
  expect(suite).toEqual({
    ...{ errcode: 0, errmsg: "ok" },
    ...{ suite_access_token: expect.stringMatching(VIRTUAL), expires_in: 7200 },
  });
  const denied = await ask(service("get_provider_token"), ofProvider({ provider_secret: key }));
  expect(denied["errcode"]).toBe(48002);
  expect((await ask(service("get_provider_token"), ofProvider({})))["provider_access_token"]).toBeString();
});

test.each([
  [COMPONENT.appId, "component_verify_ticket", "component_access_token"],
  [SUITE.id, "suite_ticket", "suite_access_token"],
])(
  "the ticket of %s is given to nobody by any verb, whatever is granted, and not cleared",
  async (platform, kind, token) => {
    const { key } = await client(["*"], "real", [
      "token:read",
      "token:refresh",
      "token:clear",
      "ticket:read",
    ]);
    const path = `/v1/apps/${platform}/credentials`;
    const headers = { "x-api-key": key, "content-type": "application/json" };
    const post = (body: object) => ({ method: "POST", headers, body: JSON.stringify(body) });
    const answers = [
      await world.request(`${path}/${kind}`, { headers }),
      await world.request(`${path}/${kind}/replace`, post({ rejected: "anything" })),
      await world.request(`${path}/${kind}/refresh`, post({})),
      await world.request(`${path}/${kind}`, { method: "DELETE", headers }),
    ];
    expect(answers.map(({ status, data }) => [status, data["value"]])).toEqual(
      Array(4).fill([403, undefined]),
    );
    expect(answers[3]?.text).toContain("pushed");
    expect((await world.request(`${path}/${token}`, { method: "DELETE", headers })).status).toBe(200);
    expect((await world.request(`${path}/${token}`, { headers })).data["value"]).toBeString();
  },
);

test("a client of real tokens gets a platform's own one only where it may use every account of the platform", async () => {
  const some = await client([COMPONENT.appId, nameOf(OFFICIAL)], "real");
  const every = await client(["*"], "real");
  expect(await componentToken(some.key)).toMatch(VIRTUAL);
  expect(await componentToken(every.key)).not.toMatch(VIRTUAL);
});

test("whoever exchanges a code gets WeChat's answer from one exchange, with tokens by its delivery and never the refresh token", async () => {
  const [real, virtual] = [await client(["*"], "real"), await client()];
  const code = await authorized(OFFICIAL);
  sandbox.resetCalls();
  const [own, other] = [await componentToken(real.key), await componentToken(virtual.key)];
  const infos = await Promise.all([own, other, own, other].map((token) => queried(token, code)));
  expect(sandbox.calls(QUERY_AUTH)).toBe(1);
  const [first, second, third] = infos;
  expect(first).toEqual(third);
  expect(first).toEqual({
    authorizer_appid: OFFICIAL,
    authorizer_access_token: expect.not.stringMatching(VIRTUAL),
    expires_in: 7200,
    authorizer_refresh_token: expect.stringMatching(REFRESH),
    func_info: [{ funcscope_category: { id: 1 } }, { funcscope_category: { id: 2 } }],
  });
  expect(second?.["authorizer_access_token"]).toMatch(VIRTUAL);
  const secret = component.refreshTokenOf(OFFICIAL) ?? "";
  expect(secret).toStartWith("refreshtoken@@@");
  expect(JSON.stringify(infos)).not.toContain(secret);
});

test("a code of ours in the place of WeChat's is answered from what is stored, and an unknown one not asked about", async () => {
  const { key } = await client();
  const token = await componentToken(key);
  const code = await authorized(OFFICIAL);
  const info = await queried(token, code);
  const digest = await withStoreOf(world, async ({ authorizationCodes }) =>
    authorizationCodes.digestOf(COMPONENT.appId, new Secret(code)),
  );
  sandbox.resetCalls();
  const virtual = { authorizer_access_token: expect.stringMatching(VIRTUAL) };
  expect(await queried(token, `queryauthcode@@@${digest}`)).toEqual({ ...info, ...virtual });
  const unknown = { authorization_code: `queryauthcode@@@${"x".repeat(digest.length)}` };
  expect((await it.refusal(QUERY_AUTH, asked(token, unknown)))[0]).toBe(61009);
  expect(sandbox.calls(QUERY_AUTH)).toBe(0);
  const wrong = { authorization_code: `queryauthcode@@@${"y".repeat(86)}` };
  expect((await it.refusal(QUERY_AUTH, asked(token, wrong)))[0]).toBe(61009);
  expect(await it.refusal(QUERY_AUTH, asked(token, {}))).toEqual([40097, "invalid args"]);
});

test("codes that a client makes up are refused after ten a minute, and no other client's for that", async () => {
  const tokens = await Promise.all(
    [await client(), await client()].map(async ({ key }) => componentToken(key)),
  );
  const [careless = "", other = ""] = tokens;
  sandbox.resetCalls();
  const errcodes: unknown[] = [];
  for (let n = 0; n < 12; n++) {
    const { body } = await it.ask(QUERY_AUTH, asked(careless, { authorization_code: `junk-${n}` }));
    errcodes.push(body["errcode"]);
  }
  expect([errcodes.slice(9), sandbox.calls(QUERY_AUTH)]).toEqual([[61009, 45011, 45011], 10]);
  expect(await queried(other, await authorized(MINI))).toMatchObject({ authorizer_appid: MINI });
});

test("a client is given nothing of an account that it is not granted, by code or refresh token", async () => {
  const [all, some] = [await client(), await client([COMPONENT.appId, nameOf(OFFICIAL)])];
  const [code, other] = [await authorized(OFFICIAL), await authorized(MINI)];
  const [token, own] = [await componentToken(all.key), await componentToken(some.key)];
  const mini = await queried(token, other);
  expect((await it.refusal(QUERY_AUTH, asked(own, { authorization_code: other })))[0]).toBe(48001);
  const theirs = ofAccount(own, mini["authorizer_refresh_token"], MINI);
  expect((await it.refusal(AUTHORIZER_TOKEN, theirs))[0]).toBe(48001);
  const info = await queried(own, code);
  const answer = await it.ask(AUTHORIZER_TOKEN, ofAccount(own, info["authorizer_refresh_token"]));
  expect(answer.body).toEqual({
    authorizer_access_token: expect.stringMatching(VIRTUAL),
    expires_in: 7200,
    authorizer_refresh_token: info["authorizer_refresh_token"],
  });
});

test("a refresh token is good for the client that it was given to, also beside a token that names nobody", async () => {
  const [one, two, every] = [await client(), await client(), await client(["*"], "real")];
  const code = await authorized(OFFICIAL);
  const own = await componentToken(one.key);
  const { authorizer_refresh_token: given } = await queried(own, code);
  const ask = async (token: string) => (await it.ask(AUTHORIZER_TOKEN, ofAccount(token, given))).body;
  expect((await ask(await componentToken(two.key)))["errcode"]).toBe(61023);
  const bearer = await componentToken(every.key);
  expect((await ask(bearer))["authorizer_access_token"]).toMatch(VIRTUAL);
  const { authorizer_refresh_token: unbound } = await queried(bearer, code);
  const unnamed = await it.ask(AUTHORIZER_TOKEN, ofAccount(bearer, unbound));
  expect(unnamed.body["authorizer_access_token"]).toBeString();
  expect(unnamed.body["authorizer_access_token"]).not.toMatch(VIRTUAL);
  await world.administer(`/v1/clients/${one.name}`, { method: "DELETE" });
  expect((await ask(bearer))["errcode"]).toBe(61023);
});

test("a refresh token outlives the key that it was given to when another takes its place, and not its revocation", async () => {
  const [own, every] = [await client(), await client(["*"], "real")];
  const bearer = await componentToken(every.key);
  const { authorizer_refresh_token: given } = await queried(
    await componentToken(own.key),
    await authorized(OFFICIAL),
  );
  const errcode = async () => {
    const answer = await it.ask(AUTHORIZER_TOKEN, ofAccount(bearer, given));
    return Number(answer.body["errcode"] ?? 0);
  };
  const keys = `/v1/clients/${own.name}/keys`;
  const prefixes = async () => {
    const { data } = await world.administer(keys);
    return (data["keys"] as { key: string; replaced_by?: string }[]).map(({ key }) => key);
  };
  const [first = ""] = await prefixes();
  const body = JSON.stringify({ overlap: 0 });
  const headers = { "content-type": "application/json" };
  await world.administer(`${keys}/${first}/roll`, { method: "POST", headers, body });
  expect(await errcode()).toBe(0);
  const next = (await prefixes()).find((each) => each !== first);
  await world.administer(`${keys}/${next}`, { method: "DELETE" });
  expect(await errcode()).toBe(61023);
});

test("a refresh token ends with the authorization, also when that is given again; a change of it ends none", async () => {
  const { key } = await client();
  const token = await componentToken(key);
  const before = await queried(token, await authorized(MINI));
  const ask = async ({ authorizer_refresh_token: given }: WireAnswer["body"]) =>
    (await it.ask(AUTHORIZER_TOKEN, ofAccount(token, given, MINI))).body;
  world.clock.advance(5000);
  const { code } = await component.updateAuthorization(MINI, { newRefreshToken: true, push: false });
  expect(await queried(token, code)).toMatchObject({
    authorizer_refresh_token: before["authorizer_refresh_token"],
  });
  expect(await ask(before)).toMatchObject({ authorizer_access_token: expect.stringMatching(VIRTUAL) });
  await component.unauthorize(MINI, { push: false });
  await world.administer(`/v1/apps/${nameOf(MINI)}`, { method: "DELETE" });
  expect(await ask(before)).toMatchObject({ errcode: 61003 });
  world.clock.advance(5000);
  const after = await queried(token, await authorized(MINI));
  expect(await ask(before)).toMatchObject({ errcode: 61023 });
  expect((await ask(after))["authorizer_access_token"]).toMatch(VIRTUAL);
});

test("whoever has the real refresh token may go on with it, and is given a virtual one", async () => {
  const { key } = await client();
  const token = await componentToken(key);
  await queried(token, await authorized(OFFICIAL));
  const real = component.refreshTokenOf(OFFICIAL) ?? "";
  const { body } = await it.ask(AUTHORIZER_TOKEN, ofAccount(token, real));
  expect(body["authorizer_refresh_token"]).toMatch(REFRESH);
  for (const wrong of [`${real}x`, `${body["authorizer_refresh_token"]}x`, ""])
    expect((await it.refusal(AUTHORIZER_TOKEN, ofAccount(token, wrong)))[0]).toBe(61023);
  const unknown = ofAccount(token, real, "wxa000000000000009");
  expect((await it.refusal(AUTHORIZER_TOKEN, unknown))[0]).toBe(61003);
});

test("what takes a platform's token takes no other, and what takes an app's takes no platform's", async () => {
  const { key } = await client();
  const app = await it.token("weixin", key);
  const body = { authorization_code: "x" };
  expect((await it.refusal(QUERY_AUTH, asked(app, body, "access_token")))[0]).toBe(61014);
  expect((await it.refusal(QUERY_AUTH, asked("unknown", body)))[0]).toBe(42001);
  const token = await componentToken(key);
  const other = asked(token, { component_appid: "wxc000000000000009", ...body });
  expect((await it.refusal(QUERY_AUTH, other))[0]).toBe(61011);
  const query = { access_token: token, type: "jsapi" };
  expect((await it.refusal("/cgi-bin/ticket/getticket", { query }))[0]).toBe(48001);
  const both = { query: { access_token: token, component_access_token: "unknown" }, body: {} };
  expect((await it.refusal(QUERY_AUTH, both))[0]).toBe(42001);
  const suite = { query: { suite_access_token: "unknown" }, body };
  expect(await it.refusal(service("get_corp_token"), suite)).toEqual([42009, "suite_access_token expired"]);
});

test("users of an account log in by the component, which needs the login grant of that account", async () => {
  const [own, other] = [
    await client([COMPONENT.appId, nameOf(OFFICIAL)]),
    await client([COMPONENT.appId, nameOf(MINI)]),
  ];
  const token = await componentToken(own.key);
  await queried(token, await authorized(OFFICIAL));
  const login = (path: string, by: string, query: Record<string, string>) =>
    it.ask(path, {
      query: {
        ...{ component_access_token: by, component_appid: COMPONENT.appId, appid: OFFICIAL },
        ...{ grant_type: "authorization_code", ...query },
      },
    });
  const session = "/sns/component/jscode2session";
  sandbox.resetCalls();
  const [one, two] = [
    await login(session, token, { js_code: "sandbox-code-1" }),
    await login(session, token, { js_code: "sandbox-code-1" }),
  ];
  expect(one.body).toEqual({ openid: expect.any(String), session_key: expect.any(String) });
  expect(two.text).toBe(one.text);
  expect(sandbox.calls(session)).toBe(1);
  const page = await login("/sns/oauth2/component/access_token", token, { code: "sandbox-code-2" });
  expect(page.body).toMatchObject({ openid: expect.any(String), refresh_token: expect.any(String) });
  const foreign = await componentToken(other.key);
  const denied = await login(session, foreign, { js_code: "sandbox-code-3" });
  expect(denied.body["errcode"]).toBe(48001);
  const named = await login(session, token, { js_code: "sandbox-code-3", component_appid: "wxc9" });
  expect(named.body["errcode"]).toBe(40094);
  expect(sandbox.calls(session)).toBe(1);
  // By its own endpoint too: an account is an app.
  const classic = await it.ask("/sns/jscode2session", {
    query: {
      ...{ appid: nameOf(OFFICIAL), secret: own.key, js_code: "sandbox-code-4" },
      grant_type: "authorization_code",
    },
  });
  expect(classic.body).toMatchObject({ openid: expect.any(String) });
  expect(sandbox.calls("/sns/jscode2session")).toBe(0);
});

/** A suite's token of a client, in the query that its calls want. */
async function suiteQuery(key: string, suite = SUITE): Promise<Record<string, string>> {
  const body = { suite_id: suite.id, suite_secret: key, suite_ticket: "any" };
  const { body: answer } = await it.ask(service("get_suite_token"), { body });
  return { suite_access_token: String(answer["suite_access_token"]) };
}

test("a corp's code is exchanged once in either form, with a virtual permanent code that its token is asked for with", async () => {
  const { key } = await client();
  const query = await suiteQuery(key);
  const { authCode: auth_code } = await sandbox.suite(SUITE.id).install(CUSTOMER, { send: "neither" });
  const [alone, whole] = [
    await it.ask(service("v2/get_permanent_code"), { query, body: { auth_code } }),
    await it.ask(service("get_permanent_code"), { query, body: { auth_code } }),
  ];
  const code = String(alone.body["permanent_code"]);
  expect(alone.body).toMatchObject({
    permanent_code: expect.stringMatching(PERMANENT),
    auth_corp_info: { corpid: CUSTOMER, corp_name: "客户甲" },
  });
  expect(alone.body["access_token"]).toBeUndefined();
  expect(whole.body).toMatchObject({
    ...{ access_token: expect.stringMatching(VIRTUAL), expires_in: 7200 },
    permanent_code: code,
  });
  const real = sandbox.suite(SUITE.id).permanentCodeOf(CUSTOMER) ?? "";
  expect(alone.text + whole.text).not.toContain(real);
  const body = { auth_corpid: CUSTOMER, permanent_code: code };
  const token = await it.ask(service("get_corp_token"), { query, body });
  expect(token.body).toEqual({
    ...{ errcode: 0, errmsg: "ok" },
    ...{ access_token: expect.stringMatching(VIRTUAL), expires_in: 7200 },
  });
  const wrong = { auth_corpid: CUSTOMER, permanent_code: "wrong" };
  expect((await it.refusal(service("get_corp_token"), { query, body: wrong }))[0]).toBe(40084);
  const unknown = { auth_code: "x".repeat(64) };
  expect((await it.refusal(service("get_permanent_code"), { query, body: unknown }))[0]).toBe(40078);
});

test("an agency app's permanent code is the secret of gettoken, and no corp token is given for it", async () => {
  const [own, other] = [await client(), await client([TEMPLATE.id])];
  const query = await suiteQuery(own.key, TEMPLATE);
  const { authCode: auth_code } = await sandbox.suite(TEMPLATE.id).install(CUSTOMER, { send: "neither" });
  const { body } = await it.ask(service("get_permanent_code"), { query, body: { auth_code } });
  expect(body["access_token"]).toBeUndefined();
  const corpsecret = String(body["permanent_code"]);
  const gettoken = (corpid: string, secret = corpsecret) =>
    it.ask("/cgi-bin/gettoken", { query: { corpid, corpsecret: secret }, from: STRANGE });
  expect((await gettoken(CUSTOMER)).body["access_token"]).toMatch(VIRTUAL);
  expect((await gettoken(OTHER_CUSTOMER)).body["errcode"]).toBe(40001);
  expect((await gettoken(CUSTOMER, `${corpsecret}x`)).body["errcode"]).toBe(40001);
  const beside = { query: { corpid: CUSTOMER, corpsecret }, headers: { "x-api-key": other.key } };
  expect((await it.refusal("/cgi-bin/gettoken", beside))[0]).toBe(40001);
  const asked = { auth_corpid: CUSTOMER, permanent_code: corpsecret };
  expect((await it.refusal(service("get_corp_token"), { query, body: asked }))[0]).toBe(48002);
  const theirs = await suiteQuery(other.key, TEMPLATE);
  const denied = await it.refusal(service("get_permanent_code"), { query: theirs, body: { auth_code } });
  expect(denied[0]).toBe(48002);
});

test("P7: a suite's permanent code is no secret of gettoken, and an agency app's that no client was given is for who shows a key", async () => {
  const { key } = await client(["*"], "real");
  for (const [suite, holder, errcode] of [
    [SUITE, key, 40001],
    [TEMPLATE, TEMPLATE.secret, 0],
  ] as const) {
    const query = await suiteQuery(holder, suite);
    const { authCode: auth_code } = await sandbox.suite(suite.id).install(CUSTOMER, { send: "neither" });
    const { body } = await it.ask(service("get_permanent_code"), { query, body: { auth_code } });
    expect(body["permanent_code"]).toMatch(PERMANENT);
    const asked = { query: { corpid: CUSTOMER, corpsecret: String(body["permanent_code"]) } };
    expect((await it.refusal("/cgi-bin/gettoken", { ...asked, from: STRANGE }))[0]).toBe(40001);
    expect((await it.refusal("/cgi-bin/gettoken", asked))[0]).toBe(40001);
    const shown = await it.ask("/cgi-bin/gettoken", { ...asked, headers: { "x-api-key": key } });
    expect(shown.body["errcode"]).toBe(errcode);
  }
});

test("users of a suite's corps log in by the suite, those of corps that the client is granted", async () => {
  const [all, some] = [await client(), await client([SUITE.id, nameOf(CUSTOMER, SUITE.id)])];
  const query = await suiteQuery(all.key);
  for (const corp of [CUSTOMER, OTHER_CUSTOMER]) {
    const { authCode } = await sandbox.suite(SUITE.id).install(corp, { send: "neither" });
    await it.ask(service("get_permanent_code"), { query, body: { auth_code: authCode } });
  }
  const own = await suiteQuery(some.key);
  const login = async (path: string, name: string, code: string, by: Record<string, string>) =>
    (await it.ask(service(path), { query: { ...by, [name]: code } })).body;
  const user = "auth/getuserinfo3rd";
  expect(await login(user, "code", `sandbox-code-5-${CUSTOMER}`, own)).toMatchObject({ corpid: CUSTOMER });
  expect(await login(user, "code", `sandbox-code-6-${OTHER_CUSTOMER}`, own)).toMatchObject({
    errcode: 48002,
  });
  expect(await login(user, "code", `sandbox-code-7-${OTHER_CUSTOMER}`, query)).toMatchObject({
    corpid: OTHER_CUSTOMER,
  });
  const older = await login("getuserinfo3rd", "code", `sandbox-code-8-${CUSTOMER}`, own);
  expect(older).toMatchObject({ CorpId: CUSTOMER, UserId: expect.any(String) });
  const mini = await login("miniprogram/jscode2session", "js_code", `sandbox-code-9-${CUSTOMER}`, own);
  expect(mini).toMatchObject({ corpid: CUSTOMER, session_key: expect.any(String) });
});

test("what is handed out counts for the client and the account that it is of", async () => {
  const { name, key } = await client();
  const token = await componentToken(key);
  const { authorizer_refresh_token: given } = await queried(token, await authorized(OFFICIAL));
  await it.ask(AUTHORIZER_TOKEN, ofAccount(token, given));
  const counted = async () => {
    const { data } = await world.administer(`/v1/audit/usage?client=${name}`);
    return JSON.stringify(data);
  };
  await Harness.until(async () => (await counted()).includes(nameOf(OFFICIAL)));
  expect(await counted()).toContain(`"${COMPONENT.appId}"`);
});

const LOGIN = { grant_type: "authorization_code", component_appid: COMPONENT.appId, appid: OFFICIAL };
/** Every endpoint that takes a platform's token, with what it needs. */
const BY_TOKEN: readonly (readonly ["component" | "suite", Action, string, Asking])[] = [
  ["component", "token:read", QUERY_AUTH, asked("", { authorization_code: "x" })],
  ["component", "token:read", AUTHORIZER_TOKEN, ofAccount("", "x")],
  ["component", "login", "/sns/component/jscode2session", { query: { ...LOGIN, js_code: "x" } }],
  ["component", "login", "/sns/oauth2/component/access_token", { query: { ...LOGIN, code: "x" } }],
  ["suite", "token:read", service("get_permanent_code"), { body: { auth_code: "x" } }],
  ["suite", "token:read", service("v2/get_permanent_code"), { body: { auth_code: "x" } }],
  [
    ...(["suite", "token:read", service("get_corp_token")] as const),
    { body: { auth_corpid: CUSTOMER, permanent_code: "x" } },
  ],
  ["suite", "login", service("auth/getuserinfo3rd"), { query: { code: "x" } }],
  ["suite", "login", service("getuserinfo3rd"), { query: { code: "x" } }],
  ["suite", "login", service("miniprogram/jscode2session"), { query: { js_code: "x" } }],
];

test("P6: each endpoint that takes a platform's token is closed without it, without its grant, and to another's key", async () => {
  const every = await client(["*"], "real");
  const tokens = { component: await componentToken(every.key), suite: "" };
  tokens.suite = (await suiteQuery(every.key))["suite_access_token"] ?? "";
  const without = {
    "token:read": await client(["*"], "virtual", ["login", "api:call", "ticket:read"]),
    login: await client(["*"], "virtual", ["token:read", "api:call", "ticket:read"]),
  } as Readonly<Partial<Record<Action, { readonly key: string }>>>;
  const foreign = await client([OFFICIAL, CUSTOMER, PROVIDER.corpId]);
  const forbidden = { component: 48001, suite: 48002 };
  sandbox.resetCalls();
  for (const [role, need, path, { query = {}, body }] of BY_TOKEN) {
    const named = `${role}_access_token`;
    const answer = async (value: string, key?: string) => {
      const { [named]: _none, ...others } = query as Record<string, string>;
      const headers: Record<string, string> = key === undefined ? {} : { "x-api-key": key };
      const sent = { query: { ...others, ...(value && { [named]: value }) }, headers, from: STRANGE };
      const [errcode] = await it.refusal(path, { ...sent, ...(body && { body }) });
      return [path, errcode];
    };
    expect(await answer("")).toEqual([path, 41001]);
    expect(await answer("unknown")).toEqual([path, role === "suite" ? 42009 : 42001]);
    for (const { key } of [without[need] ?? every, foreign])
      expect(await answer(tokens[role], key)).toEqual([path, forbidden[role]]);
    expect(sandbox.calls(path)).toBe(0);
  }
});

test("every endpoint of third-party platforms is in one of these tables", () => {
  const described = [
    TOKEN,
    service("get_suite_token"),
    service("get_provider_token"),
    ...BY_TOKEN.map((row) => row[2]),
  ];
  const served = world.service.routes.map(({ path }) => path);
  const ofPlatforms = served.filter((path) =>
    /^\/(cgi-bin|sns)\/(oauth2\/)?(component|service)\//.test(path),
  );
  expect(new Set(ofPlatforms)).toEqual(new Set(described));
});
