import { expect, test } from "bun:test";

import { APP, HOUR, MINUTE, SandboxHarness, SECOND } from "./sandbox-harness.ts";

const setup = (options?: ConstructorParameters<typeof SandboxHarness>[0]) => new SandboxHarness(options);

test("repeated calls return the same token and what it has left", async () => {
  await using world = setup();
  const first = await world.stable();
  world.clock.advance(HOUR);
  const second = await world.stable();

  expect(first.json["expires_in"]).toBe(7200);
  expect(second.json).toEqual({ access_token: first.json["access_token"], expires_in: 3600 });
});

test("in the last five minutes a call rolls over, and both tokens are good", async () => {
  await using world = setup();
  const first = (await world.stable()).json["access_token"];
  world.clock.advance(2 * HOUR - 5 * MINUTE - SECOND);
  expect((await world.stable()).json).toEqual({ access_token: first, expires_in: 301 });

  world.clock.advance(SECOND);
  const next = (await world.stable()).json;
  expect(next["access_token"]).not.toBe(first);
  expect(next["expires_in"]).toBe(7200);
  expect(await world.tryToken(first)).toBeUndefined();
  expect(await world.tryToken(next["access_token"])).toBeUndefined();

  world.clock.advance(5 * MINUTE);
  expect(await world.tryToken(first)).toBeOneOf([40001, 42001]);
});

test("the roll-over window of short-lived tokens is in proportion", async () => {
  await using world = setup({ tokenLifeSeconds: 48 });
  const first = (await world.stable()).json["access_token"];
  world.clock.advance(45 * SECOND);
  expect((await world.stable()).json).toEqual({ access_token: first, expires_in: 3 });
  world.clock.advance(SECOND);
  expect((await world.stable()).json["access_token"]).not.toBe(first);
});

test("stable and classic tokens don't disturb each other", async () => {
  await using world = setup();
  const stable = (await world.stable()).json["access_token"];
  for (let i = 0; i < 3; i++) await world.classic();

  expect(await world.tryToken(stable)).toBeUndefined();
  expect((await world.stable()).json["access_token"]).toBe(stable);
});

// The official way to kill a leaked token is to force twice, 30 s apart.
test("a forced refresh leaves the last token alive until the next rotation", async () => {
  await using world = setup();
  const leaked = (await world.stable()).json["access_token"];
  const second = (await world.stable(true)).json["access_token"];
  expect(second).not.toBe(leaked);
  expect(await world.tryToken(leaked)).toBeUndefined();

  world.clock.advance(30 * SECOND);
  const third = (await world.stable(true)).json["access_token"];
  expect(third).not.toBe(second);
  expect(await world.tryToken(leaked)).toBe(40001);
  expect(await world.tryToken(second)).toBeUndefined();
});

test("with the switch on, a forced refresh kills the last token at once", async () => {
  await using world = setup({ switches: { forcedKillsAtOnce: true } });
  const first = (await world.stable()).json["access_token"];
  await world.stable(true);
  expect(await world.tryToken(first)).toBe(40001);
});

test("a forced refresh within 30 seconds of the last does not refresh", async () => {
  await using world = setup();
  const first = (await world.stable(true)).json["access_token"];
  world.clock.advance(30 * SECOND - 1);
  expect((await world.stable(true)).json).toEqual({ access_token: first, expires_in: 7170 });
  world.clock.advance(1);
  expect((await world.stable(true)).json["access_token"]).not.toBe(first);
});

test("the 21st forced refresh of a day is refused", async () => {
  await using world = setup();
  for (let i = 0; i < 20; i++) {
    expect((await world.stable(true)).json["errcode"]).toBeUndefined();
    world.clock.advance(30 * SECOND);
  }
  expect((await world.stable(true)).json["errcode"]).toBe(45009);
  expect((await world.stable()).json["access_token"]).toBeString();
});

test("the quotas per minute and per day have their own errcodes", async () => {
  await using world = setup({ switches: { stablePerMinute: 2, stablePerDay: 3 } });
  await world.stable();
  await world.stable();
  expect((await world.stable()).json["errcode"]).toBe(45011);
  world.clock.advance(MINUTE);
  await world.stable();
  expect((await world.stable()).json["errcode"]).toBe(45009);
});

test("the method and the body are checked before anything else", async () => {
  await using world = setup();
  expect((await world.weixin("/cgi-bin/stable_token")).json["errcode"]).toBe(43002);
  expect((await world.weixinPost("/cgi-bin/stable_token", {}, "appid=1")).json["errcode"]).toBe(47001);
  expect((await world.weixinPost("/cgi-bin/stable_token", {}, "{}")).json["errcode"]).toBe(41002);
  expect((await world.weixinPost("/cgi-bin/stable_token", {}, { appid: APP.appId })).json["errcode"]).toBe(
    40002,
  );
  expect((await world.stable(false, { ...APP, secret: "" })).json["errcode"]).toBe(41004);
  expect((await world.stable(false, { ...APP, secret: "wrong" })).json["errcode"]).toBe(40125);
});

test("a killed token is refused, and the next call brings another", async () => {
  await using world = setup();
  const token = (await world.stable()).json["access_token"];
  world.sandbox.killTokens(APP.appId);

  expect(await world.tryToken(token)).toBe(40001);
  expect(world.sandbox.accepts(String(token))).toBeFalse();
  expect((await world.stable()).json["access_token"]).not.toBe(token);
});

test("a token that died unnoticed is handed out again until somebody forces another", async () => {
  await using world = setup();
  const token = (await world.stable()).json["access_token"];
  world.sandbox.killTokens(APP.appId, { unnoticed: true });

  expect(await world.tryToken(token)).toBe(40001);
  expect((await world.stable()).json["access_token"]).toBe(token);
  const forced = (await world.stable(true)).json["access_token"];
  expect(await world.tryToken(forced)).toBeUndefined();
});
