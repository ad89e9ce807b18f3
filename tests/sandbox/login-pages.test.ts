import { expect, test } from "bun:test";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { CORP, WECOM, WX } from "../support/harness.ts";

const REDIRECT = "https://www.example.com/cb?x=1#/home";

/** A sandbox with one app of each platform, and the pages for web logins of both. */
function setup() {
  const sandbox = Sandbox.start({
    weixinApps: [{ ...WX, webDomain: "www.example.com" }],
    wecomApps: [WECOM],
  });
  const open = async (base: string, path: string, query: Record<string, string>) => {
    const response = await fetch(`${base}${path}?${new URLSearchParams(query).toString()}`);
    const text = await response.text();
    const link = (id: string) =>
      new RegExp(`id="${id}" href="([^"]*)"`).exec(text)?.[1]?.replaceAll("&amp;", "&");
    return { text, approve: link("approve"), refuse: link("refuse") };
  };
  return { sandbox, open, [Symbol.asyncDispose]: () => sandbox.stop() };
}

test("the page of a web login leads back with a code that the exchange takes once, or with the state alone", async () => {
  await using it = setup();
  const { weixinUrl } = it.sandbox;
  const query = {
    appid: WX.appId,
    redirect_uri: REDIRECT,
    response_type: "code",
    scope: "snsapi_base",
    state: "状态&",
  };
  const { approve = "", refuse } = await it.open(weixinUrl, "/connect/oauth2/authorize", query);
  const to = new URL(approve);
  expect([to.origin, to.hash, to.searchParams.get("x"), to.searchParams.get("state")]).toEqual([
    ...["https://www.example.com", "#/home", "1", "状态&"],
  ]);
  expect(refuse).toBe("https://www.example.com/cb?x=1&state=%E7%8A%B6%E6%80%81%26#/home");
  const code = to.searchParams.get("code") ?? "";
  const exchange = new URLSearchParams({
    ...{ appid: WX.appId, secret: WX.secret, code, grant_type: "authorization_code" },
  });
  const url = `${weixinUrl}/sns/oauth2/access_token?${exchange.toString()}`;
  expect(await (await fetch(url)).json()).toMatchObject({ scope: "snsapi_base" });
  expect(await (await fetch(url)).json()).toMatchObject({ errcode: 40163 });
});

test("WeCom's users log in on pages of both hosts", async () => {
  await using it = setup();
  const { weixinUrl, wecomUrl } = it.sandbox;
  const query = { appid: CORP, agentid: WECOM.agent, redirect_uri: REDIRECT, state: "s" };
  const sso = await it.open(wecomUrl, "/wwlogin/sso/login", { ...query, login_type: "CorpApp" });
  expect(sso.approve).toContain("code=sandbox-code-");
  const inApp = { ...query, response_type: "code", scope: "snsapi_privateinfo" };
  expect((await it.open(weixinUrl, "/connect/oauth2/authorize", inApp)).approve).toContain(
    "code=sandbox-code-",
  );
});

test.each([
  [{ appid: "wx0000000000000099" }, "10012"],
  [{ redirect_uri: "https://other.example/cb" }, "10003"],
  [{ redirect_uri: "javascript:alert(1)" }, "10003"],
  [{ redirect_uri: "" }, "10003"],
  [{ response_type: "token" }, "10005"],
  [{ scope: "snsapi_userinfo" }, "10005"],
  [{ state: "s".repeat(129) }, "10006"],
])("a link with %j gets a page with the error %s", async (wrong, code) => {
  await using it = setup();
  const good = {
    appid: WX.appId,
    redirect_uri: REDIRECT,
    response_type: "code",
    scope: "snsapi_login",
    state: "s",
  };
  const { text, approve } = await it.open(it.sandbox.weixinUrl, "/connect/qrconnect", { ...good, ...wrong });
  expect(approve).toBeUndefined();
  expect(text).toContain(code);
});
