import { afterAll, expect, test } from "bun:test";
import { Secret } from "../../src/secret.ts";
import { Harness } from "../support/harness.ts";
import {
  COMPONENT,
  CUSTOMER,
  MINI,
  nameOf,
  OFFICIAL,
  OTHER_CUSTOMER,
  SUITE,
  TEMPLATE,
  withStoreOf,
} from "../support/platform-world.ts";
import { STRANGE, VIRTUAL } from "./dropin-harness.ts";
import {
  asked,
  AUTHORIZER_TOKEN,
  ofAccount,
  PERMANENT,
  PlatformDropins,
  QUERY_AUTH,
  REFRESH,
  service,
} from "./platform-dropins.ts";

const at = await PlatformDropins.create();
afterAll(() => at[Symbol.asyncDispose]());
const { it } = at;
const { sandbox, world } = it;
const component = sandbox.component(COMPONENT.appId);

test("whoever exchanges a code gets WeChat's answer from one exchange, with tokens by its delivery and never the refresh token", async () => {
  const [real, virtual] = [await at.client(["*"], "real"), await at.client()];
  const code = await at.authorized(OFFICIAL);
  sandbox.resetCalls();
  const [own, other] = [await at.componentToken(real.key), await at.componentToken(virtual.key)];
  const infos = await Promise.all([own, other, own, other].map((token) => at.queried(token, code)));
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
  const { key } = await at.client();
  const token = await at.componentToken(key);
  const code = await at.authorized(OFFICIAL);
  const info = await at.queried(token, code);
  const digest = await withStoreOf(world, async ({ authorizationCodes }) =>
    authorizationCodes.digestOf(COMPONENT.appId, new Secret(code)),
  );
  sandbox.resetCalls();
  const virtual = { authorizer_access_token: expect.stringMatching(VIRTUAL) };
  expect(await at.queried(token, `queryauthcode@@@${digest}`)).toEqual({ ...info, ...virtual });
  const unknown = { authorization_code: `queryauthcode@@@${"x".repeat(digest.length)}` };
  expect((await it.refusal(QUERY_AUTH, asked(token, unknown)))[0]).toBe(61009);
  expect(sandbox.calls(QUERY_AUTH)).toBe(0);
  const wrong = { authorization_code: `queryauthcode@@@${"y".repeat(86)}` };
  expect((await it.refusal(QUERY_AUTH, asked(token, wrong)))[0]).toBe(61009);
  expect(await it.refusal(QUERY_AUTH, asked(token, {}))).toEqual([40097, "invalid args"]);
});

test("codes that a client makes up are refused after ten a minute, and no other client's for that", async () => {
  const tokens = await Promise.all(
    [await at.client(), await at.client()].map(async ({ key }) => at.componentToken(key)),
  );
  const [careless = "", other = ""] = tokens;
  sandbox.resetCalls();
  const errcodes: unknown[] = [];
  for (let n = 0; n < 12; n++) {
    const { body } = await it.ask(QUERY_AUTH, asked(careless, { authorization_code: `junk-${n}` }));
    errcodes.push(body["errcode"]);
  }
  expect([errcodes.slice(9), sandbox.calls(QUERY_AUTH)]).toEqual([[61009, 45011, 45011], 10]);
  expect(await at.queried(other, await at.authorized(MINI))).toMatchObject({ authorizer_appid: MINI });
});

test("a client is given nothing of an account that it is not granted, by code or refresh token", async () => {
  const [all, some] = [await at.client(), await at.client([COMPONENT.appId, nameOf(OFFICIAL)])];
  const [code, other] = [await at.authorized(OFFICIAL), await at.authorized(MINI)];
  const [token, own] = [await at.componentToken(all.key), await at.componentToken(some.key)];
  const mini = await at.queried(token, other);
  expect((await it.refusal(QUERY_AUTH, asked(own, { authorization_code: other })))[0]).toBe(48001);
  const theirs = ofAccount(own, mini["authorizer_refresh_token"], MINI);
  expect((await it.refusal(AUTHORIZER_TOKEN, theirs))[0]).toBe(48001);
  const info = await at.queried(own, code);
  const answer = await it.ask(AUTHORIZER_TOKEN, ofAccount(own, info["authorizer_refresh_token"]));
  expect(answer.body).toEqual({
    authorizer_access_token: expect.stringMatching(VIRTUAL),
    expires_in: 7200,
    authorizer_refresh_token: info["authorizer_refresh_token"],
  });
});

test("a corp's code is exchanged once in either form, with a virtual permanent code that its token is asked for with", async () => {
  const { key } = await at.client();
  const query = await at.suiteQuery(key);
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
  const [own, other] = [await at.client(), await at.client([TEMPLATE.id])];
  const query = await at.suiteQuery(own.key, TEMPLATE);
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
  const theirs = await at.suiteQuery(other.key, TEMPLATE);
  const denied = await it.refusal(service("get_permanent_code"), { query: theirs, body: { auth_code } });
  expect(denied[0]).toBe(48002);
});

test("P7: a suite's permanent code is no secret of gettoken, and an agency app's that no client was given is for who shows a key", async () => {
  const { key } = await at.client(["*"], "real");
  for (const [suite, holder, errcode] of [
    [SUITE, key, 40001],
    [TEMPLATE, TEMPLATE.secret, 0],
  ] as const) {
    const query = await at.suiteQuery(holder, suite);
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

test("what is handed out counts for the client and the account that it is of", async () => {
  const { name, key } = await at.client();
  const token = await at.componentToken(key);
  const { authorizer_refresh_token: given } = await at.queried(token, await at.authorized(OFFICIAL));
  await it.ask(AUTHORIZER_TOKEN, ofAccount(token, given));
  const counted = async () => {
    const { data } = await world.administer(`/v1/audit/usage?client=${name}`);
    return JSON.stringify(data);
  };
  await Harness.until(async () => (await counted()).includes(nameOf(OFFICIAL)));
  expect(await counted()).toContain(`"${COMPONENT.appId}"`);
});

test("an account's token, a corp's and a signature for an account's pages come by the documented protocol", async () => {
  const { key } = await at.client(["*"], "real", ["token:read", "ticket:sign"]);
  await at.queried(await at.componentToken(key), await at.authorized(OFFICIAL));
  const { authCode } = await sandbox.suite(SUITE.id).install(CUSTOMER, { send: "neither" });
  const query = await at.suiteQuery(key);
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
