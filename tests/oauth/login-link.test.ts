import { expect, test } from "bun:test";
import type { App, Authorization } from "../../src/apps/app.ts";
import { loginLink, LoginQuery, returnLink } from "../../src/oauth/login-link.ts";
import { Secret } from "../../src/secret.ts";

const RETURN = { redirectUri: "https://wx.example.com/connect/return", state: "a".repeat(32) };
const weixin = (id: string, authorization?: Authorization): App => ({
  ...{ platform: "weixin", id, tokenMode: "stable", secret: new Secret("s"), authorization },
});
const wecom = (agent: string, authorization?: Authorization): App => ({
  ...{ platform: "wecom", id: "ww1", agent, secret: new Secret("s"), authorization },
});
const by = (platformApp: string, agentId?: string) => ({ platformApp, agentId, authorizedAt: 0, scopes: [] });
const OURS = { ...RETURN, app: weixin("wx1") };

test("WeChat's page gets the parameters in the order that it documents, with our redirect and state", () => {
  const query = new LoginQuery(
    "state=%E4%BD%A0&scope=snsapi_userinfo&redirect_uri=https%3A%2F%2Fdev.example.com%2Fcb&appid=wx1&forcePopup=true",
  );
  expect(loginLink("authorize", "https://open.weixin.qq.com", query, OURS)).toBe(
    `https://open.weixin.qq.com/connect/oauth2/authorize?appid=wx1&redirect_uri=https%3A%2F%2Fwx.example.com%2Fconnect%2Freturn&response_type=code&scope=snsapi_userinfo&state=${OURS.state}&forcePopup=true#wechat_redirect`,
  );
  const corp = new LoginQuery("login_type=CorpApp&appid=ww1&redirect_uri=x&state=s&agentid=1000002");
  const ours = { ...RETURN, app: wecom("1000002") };
  expect(loginLink("sso", "https://login.work.weixin.qq.com", corp, ours)).toBe(
    `https://login.work.weixin.qq.com/wwlogin/sso/login?login_type=CorpApp&appid=ww1&agentid=1000002&redirect_uri=https%3A%2F%2Fwx.example.com%2Fconnect%2Freturn&state=${OURS.state}`,
  );
});

test.each(["appid=wx1_wxc1&", "component_appid=wxc1&appid=wx1&", "appid=wx1&"])(
  "an account's page gets the component that has it behind the state, whichever way %s names it",
  (named) => {
    const query = new LoginQuery(`${named}state=s&agentid=&scope=snsapi_base&redirect_uri=x`);
    const ours = { ...RETURN, app: weixin("wx1", by("wxc1")) };
    expect(loginLink("authorize", "https://open.weixin.qq.com", query, ours)).toBe(
      `https://open.weixin.qq.com/connect/oauth2/authorize?appid=wx1&redirect_uri=https%3A%2F%2Fwx.example.com%2Fconnect%2Freturn&response_type=code&scope=snsapi_base&state=${OURS.state}&component_appid=wxc1#wechat_redirect`,
    );
  },
);

test("an agency app is sent to WeCom by its number in the corp where that is known, and else as it came", () => {
  const query = new LoginQuery("appid=ww1&agentid=dk1&redirect_uri=x&scope=snsapi_privateinfo&state=s");
  const agentOf = (app: App) =>
    new URL(loginLink("authorize", "https://open.weixin.qq.com", query, { ...RETURN, app })).searchParams.get(
      "agentid",
    );
  expect(agentOf(wecom("dk1", by("dk1", "1000020")))).toBe("1000020");
  expect(agentOf(wecom("dk1", by("dk1")))).toBe("dk1");
});

test("WeChat's page gets no other spelling of what is ours", () => {
  const query = new LoginQuery("appid=wx1&REDIRECT_URI=https%3A%2F%2Fevil.example&State=evil&AppId=wx2");
  expect(loginLink("authorize", "https://open.weixin.qq.com", query, OURS)).toBe(
    `https://open.weixin.qq.com/connect/oauth2/authorize?appid=wx1&redirect_uri=https%3A%2F%2Fwx.example.com%2Fconnect%2Freturn&response_type=code&state=${OURS.state}#wechat_redirect`,
  );
});

test("a parameter that comes twice, or is encoded wrongly, is refused", () => {
  expect(() => new LoginQuery("appid=wx1&appid=wx2")).toThrow("重复");
  expect(() => new LoginQuery("redirect_uri=%E4%BD").value("redirect_uri")).toThrow("编码有误");
  expect(() => new LoginQuery("redirect_uri=%").value("redirect_uri")).toThrow("编码有误");
});

test.each([
  ["https://a.example/cb", "s", "c", "https://a.example/cb?code=c&state=s"],
  ["https://a.example", "s", "c", "https://a.example?code=c&state=s"],
  ["https://a.example/cb", "s", undefined, "https://a.example/cb?state=s"],
  ["https://a.example/cb", "", undefined, "https://a.example/cb"],
  ["https://a.example/cb", "", "c", "https://a.example/cb?code=c"],
  [
    "https://a.example/cb?x=1&y=%E4%BD%A0+b#/login?z=1",
    "%E4%BD%A0",
    "c",
    "https://a.example/cb?x=1&y=%E4%BD%A0+b&code=c&state=%E4%BD%A0#/login?z=1",
  ],
  [
    "https://a.example/cb?next=https://b.example/?q#",
    "a+b%20c",
    "c",
    "https://a.example/cb?next=https://b.example/?q&code=c&state=a+b%20c#",
  ],
  ["https://a.example/张?x=三", "s", "c", "https://a.example/%E5%BC%A0?x=%E4%B8%89&code=c&state=s"],
  // What would be read in the place of ours.
  ["https://a.example/cb?code=theirs&state=theirs&x=1", "s", "c", "https://a.example/cb?x=1&code=c&state=s"],
  ["https://a.example/cb?code=theirs", "s", undefined, "https://a.example/cb?state=s"],
  ["https://a.example/cb?%63ode=theirs&codes=1", "s", undefined, "https://a.example/cb?codes=1&state=s"],
  [
    "https://a.example/cb?c%6fde=EVIL%&stat%65=EVIL%FF&x=%",
    "s",
    "c",
    "https://a.example/cb?x=%&code=c&state=s",
  ],
  [
    "https://a.example/cb?+code=e&%20state=e&code+=e&%09code",
    "s",
    "c",
    "https://a.example/cb?code=c&state=s",
  ],
  ["https://a.example/cb?code[]=e&state%5Bx%5D=e&code%00=e", "s", "c", "https://a.example/cb?code=c&state=s"],
  [
    "https://a.example/cb?%63odes[]=1&%FFcode=2&x=code",
    "s",
    "c",
    "https://a.example/cb?%63odes[]=1&%FFcode=2&x=code&code=c&state=s",
  ],
  ["https://a.example/cb", "s", "a&b=#", "https://a.example/cb?code=a%26b%3D%23&state=s"],
] as const)("%s comes back whole", (redirectUri, state, code, expected) => {
  expect(returnLink({ redirectUri, state }, code)).toBe(expected);
});
