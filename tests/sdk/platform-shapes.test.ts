import { afterAll, beforeAll, expect, test } from "bun:test";
import { apacheHttpClient, netHttp, powerLibs } from "./http-libraries.ts";
import {
  COMPONENT,
  CORP,
  MINI,
  OFFICIAL,
  type PlatformClient,
  PlatformWorld,
  PROVIDER,
  SUITE,
  TEMPLATE,
} from "./platform-world.ts";
import { type Fields, Replay } from "./replay.ts";

const at = await PlatformWorld.create();
afterAll(() => at[Symbol.asyncDispose]());

const WITHHELD = "ticket@@@withheld";
const CP = "/cgi-bin/component";
/** The codes that the browsers of three people brought, which every SDK here exchanges. */
const codes = { official: "", mini: "", corp: "" };
let client: PlatformClient;

beforeAll(async () => {
  client = await at.client("replayed", "virtual");
  codes.official = (await at.component.authorize(OFFICIAL, { send: "neither" })).code;
  codes.mini = (await at.component.authorize(MINI, { send: "neither" })).code;
  codes.corp = (await at.suite().install(CORP, { send: "neither" })).authCode;
});

/** A JSON object in the order in which WxJava's JsonObject was filled. */
function javaJson(value: object, type: string | undefined = "application/json; charset=UTF-8") {
  return { text: JSON.stringify(value), type };
}

/** A Go map: its encoder sorts the names and ends with a line feed. */
function goJson(value: object, type: string) {
  const sorted = Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return { text: `${JSON.stringify(sorted)}\n`, type };
}

function textIn(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== "string" || value === "") throw new Error(`no ${name}: ${JSON.stringify(fields)}`);
  return value;
}

/** A token, and the whole seconds from which SDKs subtract up to half an hour. */
function tokenIn(fields: Fields, name: string): string {
  expect(Number.isInteger(fields["expires_in"])).toBe(true);
  expect(fields["expires_in"]).toBeGreaterThan(1800);
  expect(fields["expires_in"]).toBeLessThanOrEqual(7200);
  return textIn(fields, name);
}

function objectIn(fields: Fields, name: string): Fields {
  const value = fields[name];
  if (typeof value !== "object" || value === null) throw new Error(`no ${name}: ${JSON.stringify(fields)}`);
  return value as Fields;
}

/** What api_query_auth and api_get_authorizer_info say of an authorization, as all three SDKs read it. */
function authorizationIn(fields: Fields, appId: string): { token: string; refreshToken: string } {
  const info = objectIn(fields, "authorization_info");
  expect(info["authorizer_appid"]).toBe(appId);
  expect(info["func_info"]).toBeArray();
  for (const each of info["func_info"] as Fields[])
    expect(objectIn(each, "funcscope_category")["id"]).toBeInteger();
  const token = info["authorizer_access_token"] === undefined ? "" : tokenIn(info, "authorizer_access_token");
  return { token, refreshToken: textIn(info, "authorizer_refresh_token") };
}

test("WxJava WxOpenComponentServiceImpl", async () => {
  const java = new Replay(at.url, apacheHttpClient);
  const component_appid = COMPONENT;
  const credentials = {
    ...{ component_appid, component_appsecret: client.apiKey },
    component_verify_ticket: WITHHELD,
  };
  // Programs have it start the pushes when they start themselves.
  const start = { component_appid, component_secret: client.apiKey };
  expect(await java.post(`${CP}/api_start_push_ticket`, javaJson(start))).toMatchObject({ errcode: 0 });
  const token = tokenIn(
    await java.post(`${CP}/api_component_token`, javaJson(credentials)),
    "component_access_token",
  );
  const post = (path: string, body: object, more = "") =>
    java.post(`${path}${more}?component_access_token=${token}`, javaJson(body));
  const preAuth = await post(`${CP}/api_create_preauthcode`, { component_appid });
  expect(textIn(preAuth, "pre_auth_code")).toStartWith("preauthcode@@@");

  const query = { component_appid, authorization_code: codes.official };
  const first = authorizationIn(await post(`${CP}/api_query_auth`, query), OFFICIAL);
  expect(first.refreshToken).toStartWith("refreshtoken@@@");
  authorizationIn(await post(`${CP}/api_query_auth`, { ...query, authorization_code: codes.mini }), MINI);
  const account = { component_appid, authorizer_appid: OFFICIAL };
  const info = await post(`${CP}/api_get_authorizer_info`, account);
  expect(objectIn(info, "authorizer_info")).toMatchObject({
    nick_name: "公众号一",
    service_type_info: { id: 2 },
    user_name: "gh_000000000001",
  });
  const known = authorizationIn(info, OFFICIAL).refreshToken;

  const list = await post(`${CP}/api_get_authorizer_list`, { component_appid, offset: 0, count: 10 });
  expect(list["total_count"]).toBe(2);
  const listed = list["list"] as Fields[];
  expect(new Set(listed.map((each) => each["authorizer_appid"]))).toEqual(new Set([OFFICIAL, MINI]));
  for (const each of listed) expect(each["auth_time"]).toBeInteger();
  const fromList = textIn(
    listed.find((each) => each["authorizer_appid"] === OFFICIAL) ?? {},
    "refresh_token",
  );

  // It keeps whichever refresh token it saw last: each of them has to do.
  let accountToken = "";
  for (const authorizer_refresh_token of [first.refreshToken, known, fromList]) {
    const body = { ...account, authorizer_refresh_token };
    const answer = await post(`${CP}/api_authorizer_token`, body);
    accountToken = tokenIn(answer, "authorizer_access_token");
    expect(textIn(answer, "authorizer_refresh_token")).toStartWith("refreshtoken@@@");
  }
  const option = { ...account, option_name: "voice_recognize" };
  const optionUrl = `${CP}/get_authorizer_option?access_token=${accountToken}`;
  expect(await java.post(optionUrl, javaJson(option))).toMatchObject({ option_value: "0" });
  expect(await java.get(`/cgi-bin/getcallbackip?access_token=${accountToken}`)).toHaveProperty("ip_list");

  const login = `appid=${MINI}&js_code=sandbox-code-java&grant_type=authorization_code&component_appid=${COMPONENT}`;
  const session = await java.get(`/sns/component/jscode2session?${login}&component_access_token=${token}`);
  expect([textIn(session, "openid"), textIn(session, "session_key")]).toBeArrayOfSize(2);
  const oauth = `appid=${OFFICIAL}&code=sandbox-code-web&grant_type=authorization_code&component_appid=${COMPONENT}`;
  const user = await java.get(`/sns/oauth2/component/access_token?${oauth}&component_access_token=${token}`);
  expect(textIn(user, "openid")).toStartWith("o");
  const again = `appid=${OFFICIAL}&grant_type=refresh_token&refresh_token=${textIn(user, "refresh_token")}&component_appid=${COMPONENT}`;
  const renewed = await java.get(
    `/sns/oauth2/component/refresh_token?${again}&component_access_token=${token}`,
  );
  expect(textIn(renewed, "openid")).toBe(textIn(user, "openid"));
});

test("silenceper/wechat openplatform", async () => {
  const go = new Replay(at.url, netHttp);
  const type = "application/json;charset=utf-8";
  const body = { component_appid: COMPONENT };
  const credentials = {
    ...body,
    component_appsecret: client.apiKey,
    component_verify_ticket: WITHHELD,
  };
  const answer = await go.post(`${CP}/api_component_token`, goJson(credentials, type));
  const token = tokenIn(answer, "component_access_token");
  const post = (name: string, more: object) =>
    go.post(`${CP}/${name}?component_access_token=${token}`, goJson({ ...body, ...more }, type));
  expect(textIn(await post("api_create_preauthcode", {}), "pre_auth_code")).toBeString();
  const { refreshToken } = authorizationIn(
    await post("api_query_auth", { authorization_code: codes.official }),
    OFFICIAL,
  );
  const refresh = { authorizer_appid: OFFICIAL, authorizer_refresh_token: refreshToken };
  // It looks at no errcode, and keeps what is there as a token for 80 minutes.
  const refreshed = await post("api_authorizer_token", refresh);
  const accountToken = tokenIn(refreshed, "authorizer_access_token");
  expect(await go.get(`/cgi-bin/getcallbackip?access_token=${accountToken}`)).toHaveProperty("ip_list");
  const info = await post("api_get_authorizer_info", { authorizer_appid: MINI });
  // A Mini Program is known by this name, which has capital letters.
  expect(objectIn(info, "authorizer_info")).toHaveProperty("MiniProgramInfo");
  const query = `appid=${MINI}&js_code=sandbox-code-sil&grant_type=authorization_code&component_appid=${COMPONENT}`;
  const session = await go.get(`/sns/component/jscode2session?${query}&component_access_token=${token}`);
  expect(textIn(session, "openid")).toStartWith("o");
});

test("PowerWeChat openPlatform: its own fields beside WeChat's, and the account's token beside the component's", async () => {
  const go = new Replay(at.url, powerLibs);
  const json = (value: object) => goJson(value, "application/json");
  const credentials = {
    ...{ component_appid: COMPONENT, component_appsecret: client.apiKey },
    component_verify_ticket: WITHHELD,
    ...{ appid: COMPONENT, secret: client.apiKey, neededText: WITHHELD },
  };
  const answer = await go.post(`${CP}/api_component_token`, json(credentials));
  const token = tokenIn(answer, "component_access_token");
  const asComponent = `component_access_token=${token}`;
  const component_appid = COMPONENT;
  const query = { component_appid, authorization_code: codes.mini };
  const { refreshToken } = authorizationIn(
    await go.post(`${CP}/api_query_auth?${asComponent}`, json(query)),
    MINI,
  );
  const refresh = {
    ...{ component_appid, authorizer_appid: MINI, authorizer_refresh_token: refreshToken },
    ...{ appid: COMPONENT, secret: refreshToken, neededText: MINI },
  };
  const refreshed = await go.post(`${CP}/api_authorizer_token?${asComponent}`, json(refresh));
  const accountToken = tokenIn(refreshed, "authorizer_access_token");
  const login = `access_token=${accountToken}&appid=${MINI}&${asComponent}&component_appid=${COMPONENT}&grant_type=authorization_code&js_code=sandbox-code-power`;
  expect(textIn(await go.get(`/sns/component/jscode2session?${login}`), "openid")).toStartWith("o");
  expect(await go.get(`/cgi-bin/getcallbackip?access_token=${accountToken}`)).toHaveProperty("ip_list");
});

test("WxJava WxCpTpServiceImpl: suite and provider", async () => {
  const java = new Replay(at.url, apacheHttpClient);
  const service = "/cgi-bin/service";
  // An entity without a type of its own, which Apache's client calls text.
  const credentials = { suite_id: SUITE, suite_secret: client.apiKey, suite_ticket: WITHHELD };
  const answer = await java.post(
    `${service}/get_suite_token`,
    javaJson(credentials, "text/plain; charset=UTF-8"),
  );
  const token = tokenIn(answer, "suite_access_token");
  const asSuite = `suite_access_token=${token}`;
  const post = (path: string, body: object) => java.post(`${service}/${path}?${asSuite}`, javaJson(body));
  const preAuth = await java.get(`${service}/get_pre_auth_code?${asSuite}`);
  expect(preAuth["errcode"]).toBe(0);
  const session = { pre_auth_code: textIn(preAuth, "pre_auth_code"), session_info: { auth_type: 1 } };
  expect((await post("set_session_info", session))["errcode"]).toBe(0);

  const permanent = await post("v2/get_permanent_code", { auth_code: codes.corp });
  expect(objectIn(permanent, "auth_corp_info")["corpid"]).toBe(CORP);
  const permanent_code = textIn(permanent, "permanent_code");
  const older = await post("get_permanent_code", { auth_code: codes.corp });
  expect(objectIn(older, "auth_corp_info")["corpid"]).toBe(CORP);
  expect(textIn(older, "permanent_code")).not.toBe(at.suite().permanentCodeOf(CORP));

  const corp = { auth_corpid: CORP, permanent_code };
  const corpToken = tokenIn(await post("get_corp_token", corp), "access_token");
  const info = await post("get_auth_info", corp);
  expect(objectIn(info, "auth_info")["agent"]).toMatchObject([{ agentid: expect.any(Number) }]);
  for (const path of ["get_jsapi_ticket?", "ticket/get?type=agent_config&"]) {
    const ticket = await java.get(`/cgi-bin/${path}access_token=${corpToken}`);
    expect([ticket["errcode"], textIn(ticket, "ticket") !== ""]).toEqual([0, true]);
  }
  const user = await java.get(`${service}/getuserinfo3rd?code=sandbox-code-java&${asSuite}`);
  expect(user).toMatchObject({ CorpId: CORP, UserId: expect.stringMatching(/^user-/) });
  const mini = await java.get(
    `${service}/miniprogram/jscode2session?js_code=sandbox-code-mini&grant_type=authorization_code&${asSuite}`,
  );
  expect(textIn(mini, "session_key")).toBeString();

  const provider = { corpid: PROVIDER, provider_secret: client.apiKey };
  const providerToken = tokenIn(
    await java.post(`${service}/get_provider_token`, javaJson(provider)),
    "provider_access_token",
  );
  const order = javaJson({ state: "s1", templateid_list: [TEMPLATE] });
  // Of some calls it sends the suite's token along with the provider's.
  for (const more of ["", `&${asSuite}`]) {
    const path = `${service}/get_customized_auth_url?provider_access_token=${providerToken}${more}`;
    expect(textIn(await java.post(path, order), "qrcode_url")).toStartWith("http");
  }
});

test("PowerWeChat openWork: its own fields beside WeCom's", async () => {
  const go = new Replay(at.url, powerLibs);
  const json = (value: object) => goJson(value, "application/json");
  const service = "/cgi-bin/service";
  const { apiKey } = client;
  const credentials = {
    ...{ suite_id: SUITE, suite_secret: apiKey, suite_ticket: WITHHELD },
    ...{ appid: SUITE, secret: apiKey, neededText: WITHHELD },
  };
  const answer = await go.post(`${service}/get_suite_token`, json(credentials));
  const asSuite = `suite_access_token=${tokenIn(answer, "suite_access_token")}`;
  const provider = { corpid: PROVIDER, provider_secret: apiKey, appid: PROVIDER, secret: apiKey };
  const provided = await go.post(`${service}/get_provider_token`, json({ ...provider, neededText: "h" }));
  expect(tokenIn(provided, "provider_access_token")).toBeString();
  expect(textIn(await go.get(`${service}/get_pre_auth_code?${asSuite}`), "pre_auth_code")).toBeString();
  const body = json({ auth_code: codes.corp });
  const permanent = await go.post(`${service}/get_permanent_code?${asSuite}`, body);
  const permanent_code = textIn(permanent, "permanent_code");
  const corp = { auth_corpid: CORP, permanent_code, appid: CORP, secret: permanent_code, neededText: "h" };
  const corpToken = tokenIn(
    await go.post(`${service}/get_corp_token?${asSuite}`, json(corp)),
    "access_token",
  );
  expect(await go.get(`/cgi-bin/getcallbackip?access_token=${corpToken}`)).toHaveProperty("ip_list");
  const user = await go.get(`${service}/getuserinfo3rd?code=sandbox-code-power&${asSuite}`);
  expect(user).toMatchObject({ CorpId: CORP });
});

test("all of them together have cost one exchange of each code and one token of each platform, and saw no secret", () => {
  const { sandbox } = at.world;
  expect(sandbox.calls(`${CP}/api_query_auth`)).toBe(2);
  expect(sandbox.calls("/cgi-bin/service/v2/get_permanent_code")).toBe(1);
  expect(sandbox.calls("/cgi-bin/service/get_permanent_code")).toBe(0);
  expect(sandbox.calls(`${CP}/api_component_token`)).toBe(1);
  expect(sandbox.calls(`${CP}/api_start_push_ticket`)).toBe(0);
  const secrets = [OFFICIAL, MINI].map((id) => at.component.refreshTokenOf(id));
  for (const secret of [...secrets, at.suite().permanentCodeOf(CORP)]) {
    expect(at.heard).not.toContain(secret ?? "none");
    expect(secret).toBeString();
  }
});

test("SDKs are told of a wrong key, of a code that is no code and of a refresh token of nobody in the codes that they know", async () => {
  const java = new Replay(at.url, apacheHttpClient);
  const refused = async (target: string, body: object) => {
    const answer = await fetch(at.url + target, { method: "POST", body: JSON.stringify(body) });
    return ((await answer.json()) as { errcode: number }).errcode;
  };
  const component = { component_appid: COMPONENT, component_verify_ticket: WITHHELD };
  expect(
    await refused(`${CP}/api_component_token`, { ...component, component_appsecret: "0".repeat(32) }),
  ).toBe(40125);
  const suite = { suite_id: SUITE, suite_secret: "wrong", suite_ticket: WITHHELD };
  expect(await refused("/cgi-bin/service/get_suite_token", suite)).toBe(40080);
  const mine = { ...component, component_appsecret: client.apiKey };
  const token = textIn(
    await java.post(`${CP}/api_component_token`, javaJson(mine)),
    "component_access_token",
  );
  const query = `?component_access_token=${token}`;
  const component_appid = COMPONENT;
  const code = { component_appid, authorization_code: "queryauthcode@@@unknown" };
  expect(await refused(`${CP}/api_query_auth${query}`, code)).toBe(61009);
  const refresh = {
    component_appid,
    authorizer_appid: OFFICIAL,
    authorizer_refresh_token: "refreshtoken@@@none",
  };
  expect(await refused(`${CP}/api_authorizer_token${query}`, refresh)).toBe(61023);
  expect(await refused(`${CP}/api_query_auth?component_access_token=none`, code)).toBe(42001);
  expect(await refused("/cgi-bin/service/get_corp_token?suite_access_token=none", {})).toBe(42009);
});
