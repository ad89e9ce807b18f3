import { expect, test } from "bun:test";
import { COMPONENT, ComponentHarness, MINI, OFFICIAL } from "./component-harness.ts";
import { MINUTE, postOf } from "./sandbox-harness.ts";

const REDIRECT = "https://open.example.com/back?state=a%20b&x=1";
const PAGE = "/cgi-bin/componentloginpage";

/** The consent page of a fresh code, as the link of `referer` opens it, and its approval. */
async function setup(component: Partial<typeof COMPONENT> = {}) {
  const it = new ComponentHarness(component);
  const token = await it.freshToken();
  const preAuthCode = async () =>
    String((await it.api("api_create_preauthcode", token)).json["pre_auth_code"]);
  const open = (query: Record<string, string>, referer = "https://open.example.com/start", path = PAGE) => {
    const all = { component_appid: COMPONENT.appId, redirect_uri: REDIRECT, auth_type: "3", ...query };
    return it.weixin(path, all, { headers: referer === "" ? {} : { Referer: referer } });
  };
  const approve = (pre_auth_code: string, authorizer: string, more: Record<string, string> = {}) => {
    const form = { component_appid: COMPONENT.appId, redirect_uri: REDIRECT, auth_type: "3" };
    const body = new URLSearchParams({ ...form, pre_auth_code, authorizer, ...more });
    return it.weixin(PAGE, {}, { method: "POST", body });
  };
  return { it, token, preAuthCode, open, approve, [Symbol.asyncDispose]: () => it[Symbol.asyncDispose]() };
}

test("an approval pushes the code and sends the browser back with the same one, its own query unchanged", async () => {
  await using at = await setup();
  const pre_auth_code = await at.preAuthCode();
  const page = await at.open({ pre_auth_code });
  expect(page.text).toContain(`name="authorizer" value="${MINI}"`);
  const back = await at.approve(pre_auth_code, OFFICIAL);
  const to = back.headers.get("Location") ?? "";
  expect([back.status, to.startsWith(`${REDIRECT}&auth_code=queryauthcode`)]).toEqual([302, true]);
  const { searchParams } = new URL(to);
  expect(searchParams.get("expires_in")).toBe("3600");
  expect(at.it.lastFields).toMatchObject({
    InfoType: "authorized",
    AuthorizationCode: searchParams.get("auth_code"),
    PreAuthCode: pre_auth_code,
  });
  // Single use.
  expect((await at.open({ pre_auth_code })).text).toContain("pre_auth_code");
  expect((await at.approve(pre_auth_code, MINI)).status).toBe(200);
});

test("the page is refused without a link from the domain it leads back to, and with an old code", async () => {
  await using at = await setup();
  const pre_auth_code = await at.preAuthCode();
  for (const referer of ["", "https://evil.example.com/start"])
    expect((await at.open({ pre_auth_code }, referer)).text).toContain('id="error"');
  for (const [name, value] of Object.entries({ auth_type: "9", redirect_uri: "x", component_appid: "wx1" }))
    expect((await at.open({ pre_auth_code, [name]: value })).text).toContain('id="error"');
  const inside = await at.open({ pre_auth_code }, undefined, "/wxaopen/safe/bindcomponent");
  expect(inside.text).toContain("<form");
  at.it.clock.advance(30 * MINUTE);
  expect((await at.open({ pre_auth_code })).text).toContain('id="error"');
});

test("the kind of account, or the account itself, limits whom the page shows", async () => {
  await using at = await setup();
  const pre_auth_code = await at.preAuthCode();
  const shown = async (query: Record<string, string>) => {
    const { text } = await at.open({ pre_auth_code, ...query });
    return [OFFICIAL, MINI].filter((appId) => text.includes(`name="authorizer" value="${appId}"`));
  };
  expect(await shown({ auth_type: "1" })).toEqual([OFFICIAL]);
  expect(await shown({ auth_type: "2" })).toEqual([MINI]);
  expect(await shown({ auth_type: "1", biz_appid: MINI })).toEqual([MINI]);
});

test("the push can come later than the browser, and either can be lost", async () => {
  await using at = await setup();
  const approved = async (order: typeof at.it.control.consentOrder) => {
    at.it.control.consentOrder = order;
    const { status } = await at.approve(await at.preAuthCode(), OFFICIAL);
    return [status, at.it.control.pushAttempts("authorized")];
  };
  expect(await approved("neither")).toEqual([200, 0]);
  expect(await approved("redirect-only")).toEqual([302, 0]);
  expect(await approved("push-only")).toEqual([200, 1]);
  expect((await approved("redirect-first"))[0]).toBe(302);
  while (at.it.control.pushAttempts("authorized") < 2) await Bun.sleep(10);
});

test("users log in through the component, whose kind of token, allow-list and authorization are checked", async () => {
  await using at = await setup();
  const { it, token } = at;
  const own = String((await it.authorized(token, MINI))["authorizer_access_token"]);
  const base = {
    appid: MINI,
    js_code: "sandbox-code-1",
    code: "sandbox-code-union",
    grant_type: "authorization_code",
    component_appid: COMPONENT.appId,
    component_access_token: token,
  };
  const mini = async (change: object) =>
    (await it.weixin("/sns/component/jscode2session", { ...base, ...change })).json;
  expect((await mini({ component_access_token: own }))["errcode"]).toBe(48001);
  expect((await mini({ component_appid: "wx1" }))["errcode"]).toBe(40094);
  expect((await mini({ appid: OFFICIAL }))["errcode"]).toBe(61003);
  expect((await mini({ js_code: "x" }))["errcode"]).toBe(40029);
  expect(Object.keys(await mini({}))).toEqual(["session_key", "openid"]);
  expect((await mini({}))["errcode"]).toBe(40163);

  const web = await it.weixin("/sns/oauth2/component/access_token", base);
  expect([web.json["scope"], web.json["openid"]]).toEqual(["snsapi_userinfo", expect.stringMatching(/^o/)]);
  const refresh_token = String(web.json["refresh_token"]);
  const again = { ...base, grant_type: "refresh_token", refresh_token };
  const refreshed = await it.weixin("/sns/oauth2/component/refresh_token", again);
  expect(refreshed.json["openid"]).toBe(web.json["openid"]);
  it.sandbox.changeWeixinApp(COMPONENT.appId, { ipList: ["203.0.113.7"] });
  expect((await mini({}))["errmsg"]).toContain("requestIP: 127.0.0.1, rid");
  expect((await mini({}))["errcode"]).toBe(40090);
});

test("the page of a web login for a component says whose user it is", async () => {
  await using at = await setup();
  const page = async () => {
    const query = { appid: OFFICIAL, redirect_uri: REDIRECT, response_type: "code", scope: "snsapi_base" };
    const all = { ...query, state: "s", component_appid: COMPONENT.appId };
    return (await at.it.weixin("/connect/oauth2/authorize", all)).text;
  };
  expect(await page()).toContain('id="error"');
  await at.it.control.authorize(OFFICIAL);
  expect(await page()).toContain(`&amp;state=s&amp;appid=${OFFICIAL}`);
});

test("people push tickets and authorize from the command line, and the state shows it without a secret", async () => {
  await using at = await setup();
  const { it } = at;
  const order = async (action: string, more: Record<string, string> = {}) => {
    const body = { component_appid: COMPONENT.appId, ...more };
    return (await it.weixin(`/sandbox/component/${action}`, {}, postOf(body))).json;
  };
  expect(await order("ticket")).toMatchObject({ accepted: true });
  const given = await order("authorize", { authorizer_appid: OFFICIAL, redirect_uri: REDIRECT });
  expect(given).toMatchObject({ expiresIn: 3600, push: { accepted: true } });
  expect(await order("message", { authorizer_appid: OFFICIAL, content: "hi" })).toMatchObject({
    attempts: [{ verdict: "accepted" }],
  });
  expect((await order("ticket", { component_appid: "wx1" }))["error"]).toContain("wx1");
  expect((await order("urls", { event_url: "x" }))["error"]).toBe("not a URL: x");
  const state = await it.weixin("/sandbox/state");
  expect(state.json["components"]).toMatchObject([
    {
      app_id: COMPONENT.appId,
      is_pushing: false,
      authorizers: [{ is_authorized: true }, { is_authorized: false }],
    },
  ]);
  expect(state.text).not.toContain(COMPONENT.secret);
  expect(await order("unauthorize", { authorizer_appid: OFFICIAL })).toMatchObject({
    push: { accepted: true },
  });
  await order("start");
  expect(it.control.isPushing).toBe(true);
  await order("stop");
  expect(it.control.isPushing).toBe(false);
});
