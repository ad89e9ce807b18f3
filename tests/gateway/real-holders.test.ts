import { expect, test } from "bun:test";
import { rawGet } from "../support/raw-http.ts";
import { WX, WX_FOREIGN, Harness } from "../support/harness.ts";
import { GatewayHarness, WECOM_APP } from "./gateway-harness.ts";

const INFO = "/cgi-bin/user/get";
const MINUTE = 60_000;

function secretToken(it: GatewayHarness, app: { appId: string; secret: string }): Promise<string> {
  const query = `grant_type=client_credential&appid=${app.appId}&secret=${app.secret}`;
  return it
    .send(`/cgi-bin/token?${query}`)
    .then(({ text }) => (JSON.parse(text) as { access_token: string }).access_token);
}

test("whoever holds a real token of ours may call, from anywhere; and a key in a header tells more", async () => {
  await using it = await GatewayHarness.create({ environment: { TRUSTED_NETWORKS: "127.0.0.1/32" } });
  const path = `${INFO}?access_token=${await it.token()}`;
  const { body } = await rawGet(it.url, path, ["Host: localhost"], "127.0.0.2");
  expect(body).toContain('"openid"');
  await it.send(path, { headers: { "x-api-key": it.key } });
  const clients = it.world.events.flatMap((event) => (event.type === "gateway.called" ? [event.client] : []));
  expect(clients).toEqual(["(access token 127.0.0.2)", "program"]);
});

test("the holder of a real token is answered by whichever way its call comes, and needs one", async () => {
  await using it = await GatewayHarness.create();
  const path = `${INFO}?access_token=${await it.token()}`;
  for (const [name, value] of [
    ["origin", "https://evil.example"],
    ["x-forwarded-for", "10.0.0.1"],
    ["x-forwarded-proto", "https"],
  ] as const) {
    const headers = { [name]: value };
    expect((await it.send(path, { headers })).status).toBe(200);
    expect((await it.send(`${INFO}?access_token=${"x".repeat(100)}`, { headers })).errcode).toBe(42001);
  }
  expect(it.sandbox.calls(INFO)).toBe(3);
});

test("the real token before the current one is good for the 5 minutes that WeChat honours it, and goes up as the current one", async () => {
  await using it = await GatewayHarness.create();
  const before = await it.token();
  it.world.clock.advance(7_000_000);
  await it.token();
  await Harness.until(async () => (await it.realToken()) !== before);
  const call = () => it.send(`${INFO}?access_token=${before}`);
  it.sandbox.killTokens(WX.appId, { unnoticed: true });
  // Healed with the current token's successor: the one that came is not even looked at.
  expect((await call()).errcode).toBeUndefined();
  it.world.clock.advance(5 * MINUTE);
  expect((await call()).errcode).toBe(42001);
});

test("WeCom has no such five minutes", async () => {
  await using it = await GatewayHarness.create();
  const before = await it.token(WECOM_APP);
  it.world.clock.advance(7_200_000 - 1);
  await Harness.until(async () => (await it.token(WECOM_APP)) !== before);
  expect((await it.send(`/cgi-bin/department/list?access_token=${before}`)).errcode).toBe(42001);
});

test("a token that was cleared is nobody's at once", async () => {
  await using it = await GatewayHarness.create();
  const token = await it.token();
  expect(
    (await it.world.get("/AccessToken/clearXcx", { appid: WX.appId }, { headers: { "x-api-key": it.key } }))
      .code,
  ).toBe(0);
  it.sandbox.resetCalls();
  expect((await it.send(`${INFO}?access_token=${token}`)).errcode).toBe(42001);
  expect(it.sandbox.calls()).toBe(0);
});

test("a token of a secret that a trusted caller brought passes as it is, and is not healed", async () => {
  await using it = await GatewayHarness.create({ environment: { ANONYMOUS: "on" } });
  const token = await secretToken(it, WX_FOREIGN);
  expect((await it.send(`${INFO}?access_token=${token}`)).text).toContain('"openid"');
  it.sandbox.killTokens(WX_FOREIGN.appId);
  it.sandbox.resetCalls();
  const answer = await it.send(`${INFO}?access_token=${token}`);
  expect([answer.errcode, answer.errmsg]).toEqual([40001, expect.stringContaining("rid: ") as string]);
  expect([it.sandbox.calls(INFO), it.sandbox.calls()]).toEqual([1, 1]);
});

test("a user's own token that was not issued here goes up untouched for clients and trusted addresses alone", async () => {
  await using it = await GatewayHarness.create({ environment: { TRUSTED_NETWORKS: "127.0.0.1/32" } });
  const login = `appid=${WX.appId}&secret=${it.key}&code=sandbox-code-7&grant_type=authorization_code`;
  const { text } = await it.send(`/sns/oauth2/access_token?${login}`);
  const user = JSON.parse(text) as { access_token: string; refresh_token: string; openid: string };
  const info = `/sns/userinfo?access_token=${user.access_token}&openid=${user.openid}&lang=zh_CN`;
  const paths = [
    info,
    `/sns/auth?access_token=${user.access_token}&openid=${user.openid}`,
    `/sns/oauth2/refresh_token?appid=${WX.appId}&grant_type=refresh_token&refresh_token=${user.refresh_token}`,
  ];
  for (const path of paths) {
    const answer = await it.send(path);
    expect([path, answer.errcode ?? 0]).toEqual([path, 0]);
    expect(answer.headers.get("content-type")).toBe("text/plain");
  }
  it.sandbox.resetCalls();
  const foreign = info.replace(user.access_token, "70_foreign");
  const stranger = await rawGet(it.url, foreign, ["Host: localhost"], "127.0.0.2");
  expect(JSON.parse(stranger.body)).toMatchObject({ errcode: 48001 });
  expect(it.sandbox.calls()).toBe(0);
  const client = await rawGet(it.url, info, ["Host: localhost", `X-API-Key: ${it.key}`], "127.0.0.2");
  expect(JSON.parse(client.body)).toMatchObject({ openid: user.openid });
  expect((await it.post(info, {})).errcode).toBe(43001);
  // What is wrong with it is the user's affair: nothing of ours is replaced.
  it.sandbox.resetCalls();
  expect((await it.send(`/sns/userinfo?access_token=dead&openid=${user.openid}`)).errcode).toBe(40001);
  expect(it.sandbox.calls()).toBe(1);
});
