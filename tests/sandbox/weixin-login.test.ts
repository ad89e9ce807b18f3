import { expect, test } from "bun:test";

import { APP, HOUR, OTHER_APP, SandboxHarness } from "./sandbox-harness.ts";

function setup(options?: ConstructorParameters<typeof SandboxHarness>[0]) {
  const world = new SandboxHarness(options);
  const login = (code: string, { appId, secret } = APP) =>
    world.weixin("/sns/oauth2/access_token", {
      appid: appId,
      secret,
      code,
      grant_type: "authorization_code",
    });
  const miniLogin = (js_code: string, { appId, secret } = APP) =>
    world.weixin("/sns/jscode2session", { appid: appId, secret, js_code, grant_type: "authorization_code" });
  return { world, login, miniLogin, [Symbol.asyncDispose]: () => world.sandbox.stop() };
}

test("a web login answers as plain text with the user's own tokens", async () => {
  await using it = setup();
  const reply = await it.login("sandbox-code-1");

  expect(reply.type).toBe("text/plain");
  expect(reply.json).toEqual({
    access_token: expect.stringMatching(/^\d+_[\w-]+$/),
    expires_in: 7200,
    refresh_token: expect.any(String),
    openid: expect.stringMatching(/^o[\w-]{27}$/),
    scope: "snsapi_userinfo",
  });
  expect(String(reply.json["access_token"])).toHaveLength(110);
});

test("a code is valid once per app, and anything else is no code", async () => {
  await using it = setup();
  const first = await it.login("sandbox-code-1");
  const again = await it.login("sandbox-code-1");
  const elsewhere = await it.login("sandbox-code-1", OTHER_APP);

  expect(again.json["errmsg"]).toMatch(/^code been used, rid: \w{8}-\w{8}-\w{8}$/);
  expect(again.json["errcode"]).toBe(40163);
  expect(elsewhere.json["openid"]).not.toBe(first.json["openid"]);
  expect((await it.login("another-code")).json["errcode"]).toBe(40029);
});

test("unionid and snapshot accounts come with codes that ask for them", async () => {
  await using it = setup();
  const plain = await it.login("sandbox-code-1");
  const both = await it.login("sandbox-code-union-snapshot");

  expect(plain.json).not.toContainAnyKeys(["unionid", "is_snapshotuser"]);
  expect(both.json["unionid"]).toBeString();
  expect(both.json["is_snapshotuser"]).toBe(1);
  const elsewhere = await it.miniLogin("sandbox-code-union-snapshot", OTHER_APP);
  expect(elsewhere.json["unionid"]).toBe(both.json["unionid"]);
});

test("a login with several faults is refused for the first in WeChat's order", async () => {
  await using it = setup({ app: { ipList: [] } });
  const errcode = async (query: Record<string, string>) =>
    (await it.world.weixin("/sns/jscode2session", query)).json["errcode"];
  const { appId: appid, secret } = APP;
  const grant_type = "authorization_code";

  expect(await errcode({ appid: "wx-nobody" })).toBe(40013);
  expect(await errcode({ appid })).toBe(40164);
  it.world.sandbox.changeWeixinApp(appid, { ipList: undefined });
  expect(await errcode({ appid, grant_type })).toBe(41004);
  expect(await errcode({ appid, grant_type, secret: "wrong" })).toBe(41008);
  expect(await errcode({ appid, grant_type, secret: "wrong", js_code: "sandbox-code-1" })).toBe(40125);
  expect(await errcode({ appid, grant_type, secret, js_code: "sandbox-code-1" })).toBeUndefined();
});

test("the request id of a login error follows a comma", async () => {
  await using it = setup();
  const { json } = await it.login("sandbox-code-1", { appId: "wx-nobody", secret: "" });
  expect(json["errmsg"]).toMatch(/^invalid appid, rid: \w{8}-\w{8}-\w{8}$/);
});

test("a mini program login brings a session key of sixteen bytes and no errcode", async () => {
  await using it = setup();
  const { json, type } = await it.miniLogin("sandbox-code-1");

  expect(type).toBe("text/plain");
  expect(Object.keys(json)).toEqual(["session_key", "openid"]);
  expect(Buffer.from(String(json["session_key"]), "base64")).toHaveLength(16);
});

test("what a login brings comes in WeChat's order, and its slashes are escaped", async () => {
  await using it = setup();
  const order = async (reply: ReturnType<typeof it.login>) => Object.keys((await reply).json).join(" ");
  const tokens = "access_token expires_in refresh_token openid scope";
  expect(await order(it.login("sandbox-code-union-snapshot"))).toBe(`${tokens} is_snapshotuser unionid`);
  expect(await order(it.miniLogin("sandbox-code-union"))).toBe("session_key openid unionid");
  expect(await order(it.miniLogin("no-code"))).toBe("errcode errmsg");
  const logins = Array.from({ length: 20 }, (_, n) => it.miniLogin(`sandbox-code-${n}`));
  const replies = await Promise.all(logins);
  const withSlash = replies.filter(({ json }) => String(json["session_key"]).includes("/"));
  expect(withSlash).not.toBeEmpty();
  for (const { text, json } of withSlash) {
    expect(text).toContain(String(json["session_key"]).replaceAll("/", "\\/"));
  }
});

test("a user's tokens are good for that user and can be refreshed for thirty days", async () => {
  await using it = setup();
  const { json } = await it.login("sandbox-code-1");
  const access_token = String(json["access_token"]);
  const refresh_token = String(json["refresh_token"]);
  const openid = String(json["openid"]);
  const info = (token: string, id: string) =>
    it.world.weixin("/sns/userinfo", { access_token: token, openid: id });
  const refresh = () =>
    it.world.weixin("/sns/oauth2/refresh_token", {
      appid: APP.appId,
      grant_type: "refresh_token",
      refresh_token,
    });

  expect((await info(access_token, openid)).json["openid"]).toBe(openid);
  const auth = await it.world.weixin("/sns/auth", { access_token, openid: "o-other" });
  expect(auth.json["errcode"]).toBe(40003);
  it.world.clock.advance(2 * HOUR);
  expect((await info(access_token, openid)).json["errcode"]).toBe(42001);
  const refreshed = await refresh();
  expect(refreshed.json["refresh_token"]).toBe(refresh_token);
  expect((await info(String(refreshed.json["access_token"]), openid)).json["openid"]).toBe(openid);
  it.world.clock.advance(30 * 24 * HOUR);
  expect((await refresh()).json["errcode"]).toBe(42002);
});

test("the global token is no user token", async () => {
  await using it = setup();
  const access_token = String((await it.world.classic()).json["access_token"]);
  const { json } = await it.world.weixin("/sns/userinfo", { access_token, openid: "o" });
  expect(json["errmsg"]).toMatch(/^invalid credential, access_token is invalid or not latest, rid: /);
});
