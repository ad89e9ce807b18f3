import { expect, test } from "bun:test";
import { type Answer, Harness, WX, WX_FOREIGN } from "../support/harness.ts";

const STABLE = "/cgi-bin/stable_token";
const CLASSIC = "/cgi-bin/token";

function setup(environment: Record<string, string>): Promise<Harness> {
  return Harness.create({
    environment: { [`WEIXIN_SECRET_${WX_FOREIGN.appId}`]: WX_FOREIGN.secret, ...environment },
  });
}

function getXcx(world: Harness, appid: string): Promise<Answer> {
  return world.get("/AccessToken/getXcx", { appid });
}

/** How often the classic and the stable endpoint were asked. */
function cost({ sandbox }: Harness): { classic: number; stable: number } {
  return { classic: sandbox.calls(CLASSIC), stable: sandbox.calls(STABLE) };
}

test("tokens are stable ones when nothing is set", async () => {
  await using world = await setup({});
  expect((await getXcx(world, WX.appId)).code).toBe(0);
  expect(cost(world)).toEqual({ classic: 0, stable: 1 });
});

test("WEIXIN_TOKEN_MODE=classic fetches every app's token in the classic way", async () => {
  await using world = await setup({ WEIXIN_TOKEN_MODE: "classic" });
  expect((await getXcx(world, WX.appId)).code).toBe(0);
  expect((await getXcx(world, WX_FOREIGN.appId)).code).toBe(0);
  expect(cost(world)).toEqual({ classic: 2, stable: 0 });
});

test("WEIXIN_TOKEN_MODE_<appid> decides for that app alone", async () => {
  await using world = await setup({ [`WEIXIN_TOKEN_MODE_${WX.appId}`]: "classic" });
  await getXcx(world, WX.appId);
  expect(cost(world)).toEqual({ classic: 1, stable: 0 });
  await getXcx(world, WX_FOREIGN.appId);
  expect(cost(world)).toEqual({ classic: 1, stable: 1 });
});

test("one app can be stable where classic is the rule", async () => {
  await using world = await setup({
    WEIXIN_TOKEN_MODE: "classic",
    [`WEIXIN_TOKEN_MODE_${WX.appId}`]: "stable",
  });
  await getXcx(world, WX.appId);
  expect(cost(world)).toEqual({ classic: 0, stable: 1 });
});

test("the same app has a classic and a stable token apart, and finds each again when the mode is set back", async () => {
  await using world = await setup({});
  const stable = await getXcx(world, WX.appId);
  await world.stop();
  await world.start({ WEIXIN_TOKEN_MODE: "classic" });
  const classic = await getXcx(world, WX.appId);
  expect(classic.data["access_token"]).not.toBe(stable.data["access_token"]);
  expect(cost(world)).toEqual({ classic: 1, stable: 1 });
  await world.stop();
  await world.start();
  expect((await getXcx(world, WX.appId)).data).toEqual(stable.data);
  expect(cost(world)).toEqual({ classic: 1, stable: 1 });
  for (const { data } of [classic, stable]) {
    expect(world.sandbox.accepts(String(data["access_token"]))).toBe(true);
  }
});

test("clear without a secret forgets the app's tokens of both modes", async () => {
  await using world = await setup({});
  await getXcx(world, WX.appId);
  await world.stop();
  await world.start({ WEIXIN_TOKEN_MODE: "classic" });
  await getXcx(world, WX.appId);
  expect((await world.get("/AccessToken/clearXcx", { appid: WX.appId })).code).toBe(0);
  await world.stop();
  await world.start();
  await getXcx(world, WX.appId);
  expect(cost(world)).toEqual({ classic: 1, stable: 2 });
});

test("a classic fetch whose answer was lost is not sent again, for each one kills a token", async () => {
  await using world = await setup({ WEIXIN_TOKEN_MODE: "classic" });
  // Leaves a connection behind: on it, fetch would send a lost GET again without a word.
  await getXcx(world, WX.appId);
  world.clock.advance(7_200_000);
  world.sandbox.resetCalls();
  world.sandbox.inject({ kind: "reset_after", endpoint: CLASSIC, times: 1 });
  expect((await getXcx(world, WX.appId)).code).toBe(502);
  // Nor for the next caller: WeChat is left alone for a second, and then one call finds out.
  const { code, headers } = await getXcx(world, WX.appId);
  expect([code, headers.get("retry-after")]).toEqual([502, "1"]);
  expect(cost(world)).toEqual({ classic: 1, stable: 0 });
  world.clock.advance(1000);
  await Harness.until(async () => (await getXcx(world, WX.appId)).code === 0);
  expect(cost(world)).toEqual({ classic: 2, stable: 0 });
});

test("a stable fetch whose answer was lost is sent again, and the caller sees only the token", async () => {
  await using world = await setup({});
  world.sandbox.inject({ kind: "reset_after", endpoint: STABLE, times: 1 });
  expect((await getXcx(world, WX.appId)).code).toBe(0);
});
