import { expect, test } from "bun:test";

import { APP, HOUR, MINUTE, OTHER_APP, SandboxHarness, SECOND } from "./sandbox-harness.ts";

const setup = (options?: ConstructorParameters<typeof SandboxHarness>[0]) => new SandboxHarness(options);

test("a classic token looks like WeChat's and its answer has no errcode", async () => {
  await using world = setup();
  const reply = await world.classic();

  expect(reply.status).toBe(200);
  expect(reply.type).toBe("application/json; encoding=utf-8");
  expect(Object.keys(reply.json)).toEqual(["access_token", "expires_in"]);
  expect(reply.json["access_token"]).toMatch(/^\d+_[\w-]+$/);
  expect(String(reply.json["access_token"])).toHaveLength(136);
  expect(reply.json["expires_in"]).toBe(7200);
});

test("each fetch makes a new token, and the one before is good for five minutes more", async () => {
  await using world = setup();
  const first = (await world.classic()).json["access_token"];
  const second = (await world.classic()).json["access_token"];
  expect(second).not.toBe(first);

  world.clock.advance(5 * MINUTE - 1);
  expect(await world.tryToken(first)).toBeUndefined();
  world.clock.advance(1);
  expect(await world.tryToken(first)).toBe(40001);
  expect(await world.tryToken(second)).toBeUndefined();
});

test("a third fetch within five minutes kills the first token at once", async () => {
  await using world = setup();
  const [first, second, third] = [
    (await world.classic()).json["access_token"],
    (await world.classic()).json["access_token"],
    (await world.classic()).json["access_token"],
  ];

  expect(await world.tryToken(first)).toBe(40001);
  expect(await world.tryToken(second)).toBeUndefined();
  expect(await world.tryToken(third)).toBeUndefined();
});

test("with the switch off, a third fetch leaves the first token its five minutes", async () => {
  await using world = setup({ switches: { thirdFetchKillsOldest: false } });
  const first = (await world.classic()).json["access_token"];
  await world.classic();
  await world.classic();

  expect(await world.tryToken(first)).toBeUndefined();
  world.clock.advance(5 * MINUTE);
  expect(await world.tryToken(first)).toBe(40001);
});

test("a token that reached its end is refused as expired", async () => {
  await using world = setup();
  const token = (await world.classic()).json["access_token"];

  world.clock.advance(2 * HOUR - 1);
  expect(await world.tryToken(token)).toBeUndefined();
  world.clock.advance(1);
  expect(await world.tryToken(token)).toBe(42001);
});

test("setting this machine's wall clock does not change the time at WeChat", async () => {
  await using world = setup();
  const token = (await world.classic()).json["access_token"];

  world.clock.jumpWall(24 * HOUR);
  expect(await world.tryToken(token)).toBeUndefined();
});

test("short-lived tokens work, with the hand-over in proportion", async () => {
  await using world = setup({ tokenLifeSeconds: 48 });
  const first = await world.classic();
  await world.classic();

  expect(first.json["expires_in"]).toBe(48);
  world.clock.advance(2 * SECOND - 1);
  expect(await world.tryToken(first.json["access_token"])).toBeUndefined();
  world.clock.advance(1);
  expect(await world.tryToken(first.json["access_token"])).toBe(40001);
});

test("what is wrong is reported in WeChat's order", async () => {
  await using world = setup({
    app: { ipList: ["10.0.0.1"], risk: "ask", frozenSecret: true, account: "punished" },
  });
  const errcode = async (query: Record<string, string>) =>
    (await world.weixin("/cgi-bin/token", query)).json["errcode"];
  const appid = APP.appId;
  const grant_type = "client_credential";

  expect(await errcode({})).toBe(41002);
  expect(await errcode({ appid: appid.toUpperCase() })).toBe(40013);
  expect(await errcode({ appid })).toBe(40164);
  world.sandbox.changeWeixinApp(appid, { ipList: ["127.0.0.*"] });
  expect(await errcode({ appid })).toBe(89503);
  world.sandbox.changeWeixinApp(appid, { risk: undefined });
  expect(await errcode({ appid })).toBe(40002);
  expect(await errcode({ appid, grant_type })).toBe(41004);
  expect(await errcode({ appid, grant_type, appsecret: APP.secret })).toBe(41004);
  expect(await errcode({ appid, grant_type, secret: "wrong" })).toBe(40243);
  world.sandbox.changeWeixinApp(appid, { frozenSecret: false });
  expect(await errcode({ appid, grant_type, secret: OTHER_APP.secret })).toBe(40125);
  expect(await errcode({ appid, grant_type, secret: APP.secret })).toBe(50004);
  world.sandbox.changeWeixinApp(appid, { account: "frozen" });
  expect(await errcode({ appid, grant_type, secret: APP.secret })).toBe(50007);
  world.sandbox.changeWeixinApp(appid, { account: undefined, component: true });
  expect(await errcode({ appid, grant_type, secret: APP.secret })).toBe(61024);
  world.sandbox.changeWeixinApp(appid, { component: false });
  expect(await errcode({ appid, grant_type, secret: APP.secret })).toBeUndefined();
});

test("every risk of the caller's address has its own errcode", async () => {
  await using world = setup();
  const errcodes: unknown[] = [];
  for (const risk of ["ask", "asking", "refused_hour", "refused_day"] as const) {
    world.sandbox.changeWeixinApp(APP.appId, { risk });
    errcodes.push((await world.classic()).json["errcode"]);
  }
  expect(errcodes).toEqual([89503, 89501, 89507, 89506]);
});

test("an address that is not listed is named in both forms", async () => {
  await using world = setup({ app: { ipList: ["10.0.0.0/8"] } });
  expect((await world.classic()).json["errmsg"]).toMatch(
    /^invalid ip 127\.0\.0\.1 ipv6 ::ffff:127\.0\.0\.1, not in whitelist rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$/,
  );

  world.sandbox.switches.peerIp = "10.20.30.40";
  expect((await world.classic()).json["access_token"]).toBeString();
});

test("the request id begins with the time in hexadecimal", async () => {
  await using world = setup();
  const { errmsg } = (await world.classic({ appId: "wx-nobody", secret: "" })).json;
  const seconds = Number.parseInt(/rid: ([0-9a-f]{8})-/.exec(String(errmsg))?.[1] ?? "", 16);

  expect(seconds).toBe(world.clock.now() / 1000);
});

test("the daily quota ends at midnight in Beijing", async () => {
  await using world = setup({ switches: { classicPerDay: 2 } });
  await world.classic();
  await world.classic();
  const refused = await world.classic();

  expect(refused.json["errcode"]).toBe(45009);
  expect(refused.json["errmsg"]).toStartWith("reach max api daily quota limit rid: ");
  world.clock.advance(12 * HOUR - 1);
  expect((await world.classic()).json["errcode"]).toBe(45009);
  world.clock.advance(1);
  expect((await world.classic()).json["errcode"]).toBeUndefined();
});

test("a rogue client's fetch leaves our token five minutes and costs no call of ours", async () => {
  await using world = setup();
  const ours = (await world.classic()).json["access_token"];
  const theirs = world.sandbox.rogueFetch(APP.appId);

  expect(world.sandbox.calls("/cgi-bin/token")).toBe(1);
  world.clock.advance(5 * MINUTE);
  expect(await world.tryToken(ours)).toBe(40001);
  expect(await world.tryToken(theirs)).toBeUndefined();
});
