import { expect, test } from "bun:test";
import { COMPONENT, ComponentHarness, MINI, OFFICIAL } from "./component-harness.ts";
import { APP, HOUR, MINUTE, SECOND } from "./sandbox-harness.ts";

const TOKEN_PATH = "/cgi-bin/component/api_component_token";

/** Waits in real time until `condition` holds. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(5);
}

test("a ticket comes encrypted for the component, without an openid, and is a success only when answered so", async () => {
  await using it = new ComponentHarness();
  expect(await it.control.pushTicket()).toMatchObject({ status: 200, body: "success", accepted: true });
  const [push] = it.arrived;
  expect(push?.path).toBe("/event");
  expect([...(push?.query.keys() ?? [])].toSorted()).toEqual(
    ["encrypt_type", "msg_signature", "nonce", "own", "signature", "timestamp"].toSorted(),
  );
  expect(push?.envelope).toStartWith(`<xml><AppId><![CDATA[${COMPONENT.appId}]]></AppId><Encrypt>`);
  expect(push?.fields).toEqual({
    AppId: COMPONENT.appId,
    CreateTime: String(Math.floor(it.clock.now() / 1000)),
    InfoType: "component_verify_ticket",
    ComponentVerifyTicket: expect.stringMatching(/^ticket@@@/) as unknown as string,
  });
  for (const [body, status] of [
    ["success\n", 200],
    ["", 200],
    ['{"code":0}', 200],
    ["success", 201],
  ] as const) {
    it.answer = () => new Response(body, { status });
    expect(await it.control.pushTicket()).toMatchObject({ status, body, accepted: false });
  }
  expect([it.control.pushAttempts(), it.control.pushes.filter(({ accepted }) => accepted).length]).toEqual([
    5, 1,
  ]);
});

test("tickets are pushed every ten minutes of the sandbox's clock until too many fail, and again when asked for", async () => {
  await using it = new ComponentHarness();
  const start = async (component_secret = COMPONENT.secret) => {
    const body = { component_appid: COMPONENT.appId, component_secret };
    const { json } = await it.weixinPost("/cgi-bin/component/api_start_push_ticket", {}, body);
    return json["errcode"] === 0 ? json["errmsg"] : json["errcode"];
  };
  expect(await start("wrong")).toBe(40125);
  it.control.startPushing();
  await until(() => it.arrived.length === 1);
  expect(await start()).toBe("in a normal state");

  it.sandbox.switches.stopAfterFailures = 2;
  it.answer = () => new Response("no", { status: 500 });
  for (const count of [2, 3]) {
    it.clock.advance(10 * MINUTE);
    await until(() => it.control.pushes.length === count);
  }
  await until(() => !it.control.isPushing);
  it.clock.advance(10 * MINUTE);
  expect(await start()).toBe("ok");
  expect([it.control.isPushing, it.arrived.length]).toEqual([true, 3]);
  it.clock.advance(10 * MINUTE);
  await until(() => it.arrived.length === 4);
});

test("a component's token is refused for the first fault in WeChat's order", async () => {
  await using it = new ComponentHarness({ ipList: ["203.0.113.7"] });
  it.sandbox.switches.componentTokensPerDay = 1;
  const error = async (change: object) => (await it.token({ ...change })).json["errcode"];
  expect(await error({ component_appid: "" })).toBe(41018);
  expect(await error({ component_appid: APP.appId, component_appsecret: "" })).toBe(40013);
  const refused = await it.token({ component_appsecret: "wrong" });
  expect(refused.json).toMatchObject({ errcode: 61004 });
  expect(refused.text).toContain("requestIP: 127.0.0.1 rid: ");
  it.sandbox.switches.peerIp = "203.0.113.7";
  expect(await error({ component_appsecret: "", component_verify_ticket: null })).toBe(41004);
  expect(await error({ component_appsecret: "wrong", component_verify_ticket: null })).toBe(40125);
  expect(await error({ component_verify_ticket: null })).toBe(61006);

  await it.control.pushTicket();
  await it.control.pushTicket({ value: "older", createTime: Math.floor(it.clock.now() / 1000) - 6 * 3600 });
  it.clock.advance(12 * HOUR - MINUTE);
  expect(await error({})).toBe(61005);
  await it.control.pushTicket();
  expect((await it.token()).json).toEqual({
    component_access_token: expect.any(String) as unknown,
    expires_in: 7200,
  });
  expect(await error({})).toBe(45009);
  it.control.changeSecret("another-secret");
  expect(await error({})).toBe(40125);
  expect(it.sandbox.calls(TOKEN_PATH)).toBe(10);
});

test("a used-up quota comes back by the secret alone", async () => {
  await using it = new ComponentHarness();
  it.sandbox.switches.componentTokensPerDay = 1;
  const token = await it.freshToken();
  expect((await it.token()).json["errcode"]).toBe(45009);
  const clear = async (body: object) => {
    const named = { component_appid: COMPONENT.appId, appsecret: COMPONENT.secret, ...body };
    return (await it.weixinPost("/cgi-bin/clear_quota/v2", {}, named)).json["errcode"];
  };
  expect(await clear({ appsecret: "wrong" })).toBe(40125);
  expect(await clear({ appid: OFFICIAL })).toBe(61003);
  await it.authorized(token);
  expect(await clear({ appid: OFFICIAL })).toBe(0);
  expect((await it.token()).json["errcode"]).toBe(45009);
  expect(await clear({})).toBe(0);
  expect((await it.token()).json["errcode"]).toBeUndefined();
});

test("a new component token leaves the last one five minutes, or as long as the switch says", async () => {
  await using it = new ComponentHarness();
  const works = async (token: string) => (await it.api("api_create_preauthcode", token)).json["errcode"];
  const first = await it.freshToken();
  const second = await it.freshToken();
  expect([await works(first), await works(second)]).toEqual([undefined, undefined]);
  it.clock.advance(5 * MINUTE);
  expect([await works(first), await works(second)]).toEqual([40001, undefined]);
  it.sandbox.switches.componentOverlapMs = 0;
  const third = await it.freshToken();
  expect([await works(second), await works(third)]).toEqual([40001, undefined]);
  it.clock.advance(2 * HOUR);
  expect(await works(third)).toBe(42001);
});

test("each kind of token is refused where another is wanted", async () => {
  await using it = new ComponentHarness();
  const token = await it.freshToken();
  const own = String((await it.authorized(token))["authorizer_access_token"]);
  expect((await it.api("api_create_preauthcode", own)).json["errcode"]).toBe(61014);
  const call = async (path: string, access_token: string) =>
    (await it.weixin(path, { access_token, type: "jsapi" })).json["errcode"];
  expect(await call("/cgi-bin/ticket/getticket", token)).toBe(48001);
  expect(await call("/cgi-bin/getcallbackip", token)).toBeUndefined();
  expect(await call("/cgi-bin/ticket/getticket", own)).toBe(0);
  expect(await it.tryToken(own)).toBeUndefined();
  const named = { component_appid: COMPONENT.appId };
  const path = "/cgi-bin/component/api_create_preauthcode";
  expect((await it.weixinPost(path, { access_token: token }, named)).json["expires_in"]).toBe(1800);
  expect((await it.weixinPost(path, { access_token: token }, {})).json["errcode"]).toBe(41018);
  expect((await it.weixinPost(path, {}, named)).json["errcode"]).toBe(41001);
  const classic = await it.classic({ appId: COMPONENT.appId, secret: COMPONENT.secret });
  expect(classic.json["errcode"]).toBe(61024);
});

test("an authorization is pushed with its code, which is exchanged once and within an hour", async () => {
  await using it = new ComponentHarness();
  const token = await it.freshToken();
  const { code, expiresIn, push } = await it.control.authorize(OFFICIAL);
  expect([expiresIn, push?.accepted]).toEqual([3600, true]);
  expect(it.lastFields).toMatchObject({
    AppId: COMPONENT.appId,
    InfoType: "authorized",
    AuthorizerAppid: OFFICIAL,
    AuthorizationCode: code,
    AuthorizationCodeExpiredTime: String(Math.floor(it.clock.now() / 1000) + 3600),
  });
  const query = async (authorization_code: string) =>
    (await it.api("api_query_auth", token, { authorization_code })).json;
  const list = async () =>
    (await it.api("api_get_authorizer_list", token, { offset: 0, count: 500 })).json["list"];
  const info = async () =>
    (await it.api("api_get_authorizer_info", token, { authorizer_appid: OFFICIAL })).json;
  const auth_time = Math.floor(it.clock.now() / 1000);
  expect(await list()).toEqual([{ authorizer_appid: OFFICIAL, auth_time }]);
  expect(await info()).toMatchObject({ authorization_info: { authorizer_refresh_token: "" } });

  const first = await query(code);
  const refresh_token = it.control.refreshTokenOf(OFFICIAL);
  expect(first).toEqual({
    authorization_info: {
      authorizer_appid: OFFICIAL,
      authorizer_access_token: expect.any(String) as unknown,
      expires_in: 7200,
      authorizer_refresh_token: expect.stringMatching(/^refreshtoken@@@/) as unknown,
      func_info: [{ funcscope_category: { id: 1 } }, { funcscope_category: { id: 2 } }],
    },
  });
  expect(await list()).toEqual([{ authorizer_appid: OFFICIAL, refresh_token, auth_time }]);
  expect(await info()).toMatchObject({ authorization_info: { authorizer_refresh_token: refresh_token } });

  expect([(await query(code))["errcode"], (await query("x"))["errcode"]]).toEqual([61009, 61009]);
  const late = await it.control.authorize(OFFICIAL, { send: "neither" });
  it.clock.advance(HOUR + SECOND);
  expect((await query(late.code))["errcode"]).toBe(61010);
  expect(it.control.pushAttempts("authorized")).toBe(1);
});

test("a change of the permission sets keeps the refresh token, and a new authorization does not", async () => {
  await using it = new ComponentHarness();
  const token = await it.freshToken();
  const info = await it.authorized(token);
  const [own, refresh] = [info["authorizer_access_token"], info["authorizer_refresh_token"]];
  const { code } = await it.control.updateAuthorization(OFFICIAL, { funcIds: [1, 7] });
  expect(it.lastFields).toMatchObject({ InfoType: "updateauthorized", AuthorizationCode: code });
  const changed = (await it.api("api_query_auth", token, { authorization_code: code })).json;
  expect(changed["authorization_info"]).toMatchObject({
    authorizer_refresh_token: refresh,
    func_info: [{ funcscope_category: { id: 1 } }, { funcscope_category: { id: 7 } }],
  });

  await it.control.unauthorize(OFFICIAL, { createTime: 1_790_000_000 });
  expect(it.lastFields).toEqual({
    AppId: COMPONENT.appId,
    CreateTime: "1790000000",
    InfoType: "unauthorized",
    AuthorizerAppid: OFFICIAL,
  });
  expect(await it.tryToken(own)).toBe(40001);
  const refreshed = { authorizer_appid: OFFICIAL, authorizer_refresh_token: refresh };
  expect((await it.api("api_authorizer_token", token, refreshed)).json["errcode"]).toBe(61003);
  expect((await it.authorized(token))["authorizer_refresh_token"]).not.toBe(refresh);
  expect((await it.api("api_authorizer_token", token, refreshed)).json["errcode"]).toBe(61023);
});

test("a refresh token brings token after token; where they rotate, the last one has five minutes", async () => {
  await using it = new ComponentHarness();
  const component = await it.freshToken();
  const info = await it.authorized(component);
  const [first, refresh] = [info["authorizer_access_token"], String(info["authorizer_refresh_token"])];
  const ask = async (authorizer_refresh_token: string | null, authorizer_appid = OFFICIAL) =>
    (await it.api("api_authorizer_token", component, { authorizer_appid, authorizer_refresh_token })).json;
  expect((await ask(null))["errcode"]).toBe(61023);
  expect((await ask(refresh, MINI))["errcode"]).toBe(61003);
  const next = await ask(refresh);
  expect(next).toMatchObject({ expires_in: 7200, authorizer_refresh_token: refresh });
  expect([await it.tryToken(first), await it.tryToken(next["authorizer_access_token"])]).toEqual([
    undefined,
    undefined,
  ]);
  it.sandbox.switches.refreshTokens = "rotate";
  it.sandbox.switches.authorizerOverlapMs = 0;
  const rotated = await ask(refresh);
  expect(await it.tryToken(next["authorizer_access_token"])).toBe(40001);
  expect(rotated["authorizer_refresh_token"]).toBe(it.control.refreshTokenOf(OFFICIAL));
  expect(rotated["authorizer_refresh_token"]).not.toBe(refresh);
  const again = String((await ask(String(rotated["authorizer_refresh_token"])))["authorizer_refresh_token"]);
  expect((await ask(String(rotated["authorizer_refresh_token"])))["errcode"]).toBeUndefined();
  it.clock.advance(5 * MINUTE);
  expect((await ask(refresh))["errcode"]).toBe(61023);
  expect((await ask(again))["errcode"]).toBe(61023);
});

test("an account without any API permission is authorized and has no tokens", async () => {
  const [official] = COMPONENT.authorizers ?? [];
  if (!official) throw new Error("no authorizer");
  await using it = new ComponentHarness({ authorizers: [{ ...official, hasApi: false }] });
  const token = await it.freshToken();
  expect(Object.keys(await it.authorized(token))).toEqual(["authorizer_appid", "func_info"]);
});

test("the list comes in pages, the info says what is a mini program, and options are kept", async () => {
  await using it = new ComponentHarness();
  const token = await it.freshToken();
  const own = String((await it.authorized(token))["authorizer_access_token"]);
  await it.control.authorize(MINI, { send: "redirect-only" });
  const list = async (offset: number, count: number) =>
    (await it.api("api_get_authorizer_list", token, { offset, count })).json;
  expect(await list(1, 1)).toMatchObject({ total_count: 2, list: [{ authorizer_appid: MINI }] });
  expect((await list(0, 501))["errcode"]).toBe(40170);
  const info = async (authorizer_appid: string) =>
    (await it.api("api_get_authorizer_info", token, { authorizer_appid })).json["authorizer_info"];
  expect(await info(MINI)).toMatchObject({ user_name: "gh_000000000002", MiniProgramInfo: {} });
  expect(await info(OFFICIAL)).not.toHaveProperty("MiniProgramInfo");

  const option = (name: string, access_token: string, body: object) =>
    it.weixinPost(`/cgi-bin/component/${name}`, { access_token }, body);
  const wanted = { option_name: "voice_recognize" };
  await option("set_authorizer_option", own, { ...wanted, option_value: "1" });
  const asked = { ...wanted, component_appid: COMPONENT.appId, authorizer_appid: OFFICIAL };
  for (const [access_token, body] of [
    [own, wanted],
    [token, asked],
  ] as const)
    expect((await option("get_authorizer_option", access_token, body)).json["option_value"]).toBe("1");
});

test("a message of an authorizer comes under the component's key to the URL with its appid, and takes a reply", async () => {
  await using it = new ComponentHarness();
  it.answer = () => new Response("");
  const made = await it.control.pushMessage(MINI, { Content: "QUERY_AUTH_CODE:x" });
  expect(made).toMatchObject([{ verdict: "accepted" }]);
  expect(it.arrived).toMatchObject([
    { path: `/message/${MINI}`, fields: { ToUserName: "gh_000000000002", Content: "QUERY_AUTH_CODE:x" } },
  ]);
  expect(it.arrived[0]?.query.get("openid")).toBe(it.lastFields["FromUserName"] ?? "none");
  it.answer = () => new Response("x", { status: 500 });
  expect(await it.control.pushMessage(MINI)).toHaveLength(3);
  expect(it.control.pushAttempts("message")).toBe(4);
});

test("any other event is pushed with its own fields, up to three times", async () => {
  await using it = new ComponentHarness();
  it.answer = () => new Response("no");
  const { code } = await it.control.authorize(MINI, { send: "neither" });
  const fields = { appid: MINI, status: 0, auth_code: code };
  expect((await it.control.pushEvent("notify_third_fasteregister", fields)).accepted).toBe(false);
  expect(it.arrived).toHaveLength(3);
  expect(it.lastFields).toMatchObject({ AppId: COMPONENT.appId, status: "0", auth_code: code });
});
