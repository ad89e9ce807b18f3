import { expect, test } from "bun:test";

import { HOUR, MINUTE, postOf } from "./sandbox-harness.ts";
import { CORP, OTHER_CORP, PROVIDER, SUITE, SuiteHarness, TEMPLATE } from "./suite-harness.ts";

test("a ticket brings the same suite token for as long as that lasts, without an errcode", async () => {
  await using it = new SuiteHarness();
  const { ticket, accepted } = await it.suite.pushTicket();
  expect(accepted).toBe(true);
  expect(it.last("SuiteTicket")).toBe(ticket);
  const first = (await it.suiteToken(ticket)).json;
  expect(Object.keys(first)).toEqual(["suite_access_token", "expires_in"]);
  it.clock.advance(HOUR);
  it.sandbox.switches.suiteErrcode = true;
  const again = (await it.suiteToken((await it.suite.pushTicket()).ticket)).json;
  expect(again).toEqual({ errcode: 0, errmsg: "ok", ...first, expires_in: 3600 });
  expect(it.sandbox.calls("/cgi-bin/service/get_suite_token", "wecom")).toBe(2);
});

test("a ticket lives half an hour, also after a newer one, and every other field has its own refusal", async () => {
  await using it = new SuiteHarness();
  const { ticket } = await it.suite.pushTicket();
  const errcode = async (...args: Parameters<typeof it.suiteToken>) =>
    (await it.suiteToken(...args)).json["errcode"];
  expect(await errcode("made-up")).toBe(40085);
  expect(await errcode("")).toBe(41023);
  expect(await errcode(ticket, SUITE, "wrong")).toBe(40080);
  expect(await errcode(ticket, SUITE, "")).toBe(41024);
  expect(await errcode(ticket, "ww-nobody")).toBe(40083);
  expect(await errcode(ticket, "", "x")).toBe(41021);
  expect(await errcode(ticket, TEMPLATE)).toBe(40085);
  it.clock.advance(30 * MINUTE - 1);
  await it.suite.pushTicket();
  expect(await errcode(ticket)).toBeUndefined();
  it.clock.advance(1);
  expect(await errcode(ticket)).toBe(40085);
});

test("each kind of token is refused where another is asked for", async () => {
  await using it = new SuiteHarness();
  const [{ suite_access_token }, { provider_access_token }] = [await it.asSuite(), await it.asProvider()];
  const auth = async (query: Record<string, string>) =>
    (await it.service("get_pre_auth_code", query, {})).json["errcode"];
  const link = async (query: Record<string, string>) =>
    (await it.service("get_customized_auth_url", query, { templateid_list: [TEMPLATE] })).json["errcode"];

  expect(await auth({ suite_access_token })).toBe(0);
  expect(await auth({ suite_access_token: provider_access_token })).toBe(40082);
  expect(await auth({ provider_access_token })).toBe(41022);
  const another = await it.service("get_pre_auth_code", { suite_access_token }, { suite_id: TEMPLATE });
  expect(another.json["errcode"]).toBe(48003);
  expect(await link({ provider_access_token })).toBe(0);
  expect(await link({ provider_access_token: suite_access_token })).toBe(40082);
  expect(await it.tryCorpToken(suite_access_token)).toBe(40014);
  expect(await it.tryCorpToken(provider_access_token)).toBe(40014);
  it.sandbox.killTokens(SUITE);
  expect(await auth({ suite_access_token })).toBe(40082);
  it.clock.advance(2 * HOUR);
  expect(await link({ provider_access_token })).toBe(42009);
  const wrong = { corpid: PROVIDER.corpId, provider_secret: "wrong" };
  expect((await it.service("get_provider_token", {}, wrong)).json["errcode"]).toBe(40091);
});

test("a fresh suite token can be refused once, in WeCom's own spelling", async () => {
  await using it = new SuiteHarness({ suiteTokenFlake: true });
  const query = await it.asSuite();
  const first = await it.wecom("/cgi-bin/service/get_pre_auth_code", query);
  expect(first.json["errcode"]).toBe(40082);
  expect(String(first.json["errmsg"])).toStartWith(
    "invalid suite_acccess_token or provider_access_token, hint",
  );
  expect((await it.wecom("/cgi-bin/service/get_pre_auth_code", query)).json["errcode"]).toBe(0);
});

test("an installation from the provider's own page comes back in the browser and brings no push", async () => {
  await using it = new SuiteHarness();
  const query = await it.asSuite();
  const code = (await it.wecom("/cgi-bin/service/get_pre_auth_code", query)).json["pre_auth_code"];
  const session = { pre_auth_code: code, session_info: { auth_type: 1 } };
  expect((await it.service("set_session_info", query, session)).json["errcode"]).toBe(0);
  const page = {
    suite_id: SUITE,
    pre_auth_code: String(code),
    redirect_uri: "https://a.example/back?own=1",
    state: "s1",
  };
  for (const change of [{ state: "a-b" }, { pre_auth_code: "x" }, { redirect_uri: "javascript:1" }]) {
    expect((await it.wecom("/3rdapp/install", { ...page, ...change })).text).toContain(`id="error"`);
  }
  const { text } = await it.wecom("/3rdapp/install", page);
  const href = new RegExp(`id="${SUITE}-${CORP}" href="([^"]+)"`).exec(text)?.[1] ?? "";
  const [path = "", search = ""] = href.replaceAll("&amp;", "&").split("?");
  const approved = await it.wecom(path, Object.fromEntries(new URLSearchParams(search)));
  const back = new URL(approved.headers.get("Location") ?? "");
  expect(back.href).toMatch(
    /^https:\/\/a\.example\/back\?own=1&auth_code=[\w-]{128}&expires_in=600&state=s1$/,
  );
  expect(it.suite.pushAttempts("create_auth")).toBe(0);

  const body = { auth_code: back.searchParams.get("auth_code") };
  const exchanged = (await it.service("v2/get_permanent_code", query, body)).json;
  expect(exchanged).toMatchObject({
    errcode: 0,
    permanent_code: it.suite.permanentCodeOf(CORP),
    auth_corp_info: { corpid: CORP, corp_name: "客户甲" },
    state: "s1",
  });
  expect(exchanged["access_token"]).toBeUndefined();
  expect(exchanged["auth_info"]).toBeUndefined();
  expect((await it.service("v2/get_permanent_code", query, body)).json["errcode"]).toBe(40078);
  it.clock.advance(20 * MINUTE);
  expect((await it.service("set_session_info", query, session)).json["errcode"]).toBe(42007);
});

test("an installation from the app market is pushed; the old exchange has the corp's token and its agent", async () => {
  await using it = new SuiteHarness();
  const query = await it.asSuite();
  const { authCode, push } = await it.suite.install(CORP);
  expect(push?.accepted).toBe(true);
  expect([it.last("InfoType"), it.last("AuthCode")]).toEqual(["create_auth", authCode]);
  const exchanged = (await it.service("get_permanent_code", query, { auth_code: authCode })).json;
  expect(exchanged).toMatchObject({
    errcode: 0,
    auth_info: { agent: [{ agentid: 1_000_010, is_customized_app: false }] },
  });
  const token = String(exchanged["access_token"]);
  const departments = await it.wecom("/cgi-bin/department/list", { access_token: token });
  expect(departments.json["errcode"]).toBe(0);

  const corp = { auth_corpid: CORP, permanent_code: exchanged["permanent_code"] };
  const fetched = (await it.service("get_corp_token", query, corp)).json;
  expect(fetched).toEqual({ access_token: token, expires_in: 7200 });
  expect((await it.service("get_auth_info", query, corp)).json).toMatchObject({
    auth_corp_info: { corpid: CORP },
    auth_info: { agent: [{ agentid: 1_000_010 }] },
  });
  const foreign = { ...corp, auth_corpid: OTHER_CORP };
  expect((await it.service("get_corp_token", query, foreign)).json["errcode"]).toBe(40084);
});

test("a cancelled installation takes the permanent code and the tokens with it, and a later one has another", async () => {
  await using it = new SuiteHarness();
  const query = await it.asSuite();
  await it.suite.install(CORP);
  const permanent_code = it.suite.permanentCodeOf(CORP);
  const corp = { auth_corpid: CORP, permanent_code };
  const token = (await it.service("get_corp_token", query, corp)).json["access_token"];
  await it.suite.changeAuth(CORP);
  expect([it.last("InfoType"), it.last("AuthCorpId")]).toEqual(["change_auth", CORP]);
  const { authCode } = await it.suite.install(CORP, { send: "neither" });
  await it.suite.cancelAuth(CORP);
  expect([it.last("InfoType"), it.last("AuthCorpId")]).toEqual(["cancel_auth", CORP]);

  expect(await it.tryCorpToken(token)).toBe(40014);
  expect((await it.service("get_corp_token", query, corp)).json["errcode"]).toBe(40084);
  expect((await it.service("get_permanent_code", query, { auth_code: authCode })).json["errcode"]).toBe(
    40078,
  );
  await it.suite.install(CORP, { send: "neither" });
  expect(it.suite.permanentCodeOf(CORP)).not.toBe(permanent_code);
});

test("an agency app is ordered by a link of the provider, and its permanent code is a secret for gettoken", async () => {
  await using it = new SuiteHarness();
  const query = await it.asSuite(TEMPLATE);
  const order = { state: "abc", templateid_list: [TEMPLATE] };
  const { json } = await it.service("get_customized_auth_url", await it.asProvider(), order);
  expect(json["expires_in"]).toBe(864_000);
  const link = new URL(String(json["qrcode_url"]));
  const choice = { ...Object.fromEntries(link.searchParams), suite_id: TEMPLATE, corp_id: CORP };
  expect((await it.wecom(link.pathname, Object.fromEntries(link.searchParams))).text).toContain(CORP);
  expect((await it.wecom(`${link.pathname}/approve`, choice)).text).toContain(`id="done"`);
  expect(it.last("State")).toBe("abc");

  const body = { auth_code: it.last("AuthCode") };
  const exchanged = (await it.service("get_permanent_code", query, body)).json;
  expect(exchanged).toMatchObject({ auth_info: { agent: [{ is_customized_app: true }] } });
  expect(exchanged).not.toContainAnyKeys(["errcode", "access_token"]);
  const secret = String(exchanged["permanent_code"]);
  expect(secret).toHaveLength(43);
  const corp = { auth_corpid: CORP, permanent_code: secret };
  expect((await it.service("get_corp_token", query, corp)).json["errcode"]).toBe(48002);
  const token = (await it.agencyToken(secret)).json["access_token"];
  expect(await it.tryCorpToken(token)).toBe(0);
  it.clock.advance(240 * HOUR);
  expect((await it.wecom(`${link.pathname}/approve`, choice)).text).toContain(`id="error"`);
});

test("a reset permanent code is dead, three calls with it shut the address out, the new one comes by the event's code", async () => {
  await using it = new SuiteHarness();
  const query = await it.asSuite(TEMPLATE);
  await it.template.install(CORP);
  const old = it.template.permanentCodeOf(CORP) ?? "";
  const errcode = async (secret: string) => (await it.agencyToken(secret)).json["errcode"];
  expect(await errcode(old)).toBe(0);
  const { authCode } = await it.template.resetPermanentCode(CORP);
  expect([it.last("AuthCode"), it.last("AuthCorpId")]).toEqual([authCode, ""]);
  const exchanged = (await it.service("get_permanent_code", query, { auth_code: authCode })).json;
  const secret = String(exchanged["permanent_code"]);

  expect([await errcode(old), await errcode(old), await errcode(secret)]).toEqual([40001, 40001, 0]);
  expect([await errcode(old), await errcode(secret)]).toEqual([40001, 45009]);
  it.clock.advance(HOUR);
  expect(await errcode(secret)).toBe(0);
});

test("a cancelled agency app's permanent code is as dead, and its token too", async () => {
  await using it = new SuiteHarness();
  await it.template.install(CORP);
  const secret = it.template.permanentCodeOf(CORP) ?? "";
  const token = (await it.agencyToken(secret)).json["access_token"];
  await it.template.cancelAuth(CORP);
  expect(await it.tryCorpToken(token)).toBe(40014);
  for (const errcode of [40001, 40001, 40001, 45009])
    expect((await it.agencyToken(secret)).json["errcode"]).toBe(errcode);
});

test("a third-party app's permanent code is no secret for gettoken", async () => {
  await using it = new SuiteHarness();
  await it.suite.install(CORP);
  const reply = await it.agencyToken(it.suite.permanentCodeOf(CORP) ?? "");
  expect(reply.json["errcode"]).toBe(40001);
});

test("the provider's trusted addresses guard its calls and those with its corps' tokens", async () => {
  await using it = new SuiteHarness({ peerIp: "10.0.0.1" }, { trustedIps: ["10.0.0.1"] });
  const query = await it.asSuite();
  const { authCode } = await it.suite.install(CORP);
  const body = { auth_code: authCode };
  const token = (await it.service("get_permanent_code", query, body)).json["access_token"];
  expect(await it.tryCorpToken(token)).toBe(0);
  it.sandbox.switches.peerIp = "10.0.0.2";
  expect(await it.tryCorpToken(token)).toBe(60020);
  const { ticket } = await it.suite.pushTicket();
  expect((await it.suiteToken(ticket)).json["errcode"]).toBe(60020);
  expect((await it.wecom("/cgi-bin/service/get_pre_auth_code", query)).json["errcode"]).toBe(60020);
});

test("a code for an installation ends after ten minutes", async () => {
  await using it = new SuiteHarness();
  const query = await it.asSuite();
  const { authCode } = await it.suite.install(CORP, { send: "neither" });
  it.clock.advance(10 * MINUTE);
  expect((await it.service("get_permanent_code", query, { auth_code: authCode })).json["errcode"]).toBe(
    40078,
  );
});

test("a third-party app logs users in by its suite token, each code once", async () => {
  await using it = new SuiteHarness();
  const query = await it.asSuite();
  const page = {
    appid: SUITE,
    redirect_uri: "https://a.example/",
    response_type: "code",
    scope: "snsapi_base",
  };
  expect((await it.wecom("/connect/oauth2/authorize", page)).text).toContain(`id="approve"`);
  await it.suite.install(CORP, { send: "neither" });
  await it.suite.install(OTHER_CORP, { send: "neither" });
  const login = async (path: string, code: string) =>
    (await it.wecom(`/cgi-bin/service/${path}`, { ...query, code, js_code: code })).json;
  const user = await login("auth/getuserinfo3rd", `sandbox-code-private-${OTHER_CORP}`);
  expect(user).toMatchObject({ errcode: 0, corpid: OTHER_CORP, expires_in: 7200 });
  expect(user["user_ticket"]).toBeString();
  expect((await login("auth/getuserinfo3rd", `sandbox-code-private-${OTHER_CORP}`))["errcode"]).toBe(42022);
  expect(await login("getuserinfo3rd", "sandbox-code-2")).toMatchObject({ CorpId: CORP });
  expect((await login("auth/getuserinfo3rd", "sandbox-code-external"))["openid"]).toBeString();
  expect((await login("miniprogram/jscode2session", "sandbox-code-3"))["session_key"]).toBeString();
});

test("a suite can be set up and installed from a command line, and what is wrong with an order is explained", async () => {
  await using it = new SuiteHarness();
  const order = async (action: string, body: object): Promise<Record<string, unknown>> => {
    const { status, json } = await it.weixin(`/sandbox/suite/${action}`, {}, postOf(body));
    return { status, ...json };
  };
  const { origin } = it;
  // The other suite's URLs take nothing that is not of its own key.
  const urls = {
    command_url: `${origin}/${TEMPLATE}/command`,
    data_url: `${origin}/${TEMPLATE}/data/$CORPID$`,
  };
  expect(await order("urls", { suite_id: SUITE, ...urls })).toEqual({ status: 200, ok: true });
  expect(await order("ticket", { suite_id: SUITE })).toMatchObject({ status: 200, accepted: false });
  await order("urls", { suite_id: SUITE, command_url: `${origin}/${SUITE}/command` });
  const { ticket, accepted } = await order("ticket", { suite_id: SUITE });
  expect([accepted, it.last("SuiteTicket")]).toEqual([true, ticket]);
  const { authCode, push } = await order("install", { suite_id: SUITE, corp_id: CORP });
  expect([push, it.last("AuthCode")]).toEqual([expect.objectContaining({ accepted: true }), authCode]);
  expect(it.suite.permanentCodeOf(CORP)).toBeString();

  for (const [action, body, error] of [
    ["ticket", {}, /^suite_id: /],
    ["ticket", { suite_id: "ww-nobody" }, /ww-nobody/],
    ["urls", { suite_id: SUITE, data_url: "nowhere" }, /nowhere/],
    ["install", { suite_id: SUITE, corp_id: "ww-nobody" }, /ww-nobody/],
    ["install", { suite_id: SUITE }, /corp/],
  ] as const)
    expect(await order(action, body)).toEqual({ status: 400, error: expect.stringMatching(error) });
});
