import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import { type Answer, CORP, WECOM, Harness, WX } from "../support/harness.ts";

const SECOND = 1000;
const XCX = { path: "/AccessToken/getXcx", query: { appid: WX.appId }, endpoint: "/cgi-bin/stable_token" };
const QYAPI = {
  path: "/AccessToken/getQyapi",
  query: { corpid: CORP, agentid: WECOM.agent },
  endpoint: "/cgi-bin/gettoken",
};
const BOTH = [
  ["getXcx", XCX],
  ["getQyapi", QYAPI],
] as const;

function get(world: Harness, { path, query }: typeof XCX | typeof QYAPI): Promise<Answer> {
  return world.get(path, query);
}

test.each(BOTH)(
  "P2: %s says 7190 right after a fetch and counts down truthfully to 1",
  async (_name, route) => {
    await using world = await Harness.create();
    const first = await get(world, route);
    expect(first.data["expires_in"]).toBe(7190);
    // From here on WeChat does not answer, so no renewal ahead of time brings another token.
    const gate = new Gate();
    world.sandbox.inject({ kind: "gate_before", gate, times: Number.POSITIVE_INFINITY });
    let passed = 0;
    for (const [at, left] of [
      [1, 7189],
      [1000, 6190],
      [6914, 276],
      [7000, 190],
      [7189, 1],
      [7195, 1],
      [7199, 1],
    ] as const) {
      world.clock.advance((at - passed) * SECOND);
      passed = at;
      const answer = await get(world, route);
      expect(answer.data).toEqual({ access_token: first.data["access_token"], expires_in: left });
      expect(world.sandbox.accepts(String(answer.data["access_token"]))).toBe(true);
      // Before 285 s are left nobody is asked, and WeCom never while its token lives.
      if (at < 6915 || route === QYAPI) expect(world.sandbox.calls(route.endpoint)).toBe(1);
    }
    gate.open();
  },
);

test("P4: callers get the living token at once while its renewal runs, and the new one afterwards", async () => {
  await using world = await Harness.create();
  const first = await get(world, XCX);
  const gate = new Gate();
  world.sandbox.inject({ kind: "gate_before", gate, endpoint: XCX.endpoint, times: 1 });
  world.clock.advance(7000 * SECOND);
  for (let n = 0; n < 5; n++) {
    expect((await get(world, XCX)).data).toEqual({ ...first.data, expires_in: 190 });
  }
  await gate.arrived();
  gate.open();
  await Harness.until(
    async () => (await get(world, XCX)).data["access_token"] !== first.data["access_token"],
  );
  expect((await get(world, XCX)).data["expires_in"]).toBe(7190);
  expect(world.sandbox.calls(XCX.endpoint)).toBe(2);
});

test.each(BOTH)("P2: %s hands out no token after its life, and fetches one", async (_name, route) => {
  await using world = await Harness.create();
  const first = await get(world, route);
  world.clock.advance(7200 * SECOND);
  const next = await get(world, route);
  expect(next.data["expires_in"]).toBe(7190);
  expect(next.data["access_token"]).not.toBe(first.data["access_token"]);
  expect(world.sandbox.calls(route.endpoint)).toBe(2);
});

test.each(BOTH)("P2: %s hands out no dead token when the wall clock is set back", async (_name, route) => {
  await using world = await Harness.create();
  await get(world, route);
  world.clock.jumpWall(-3600 * SECOND);
  world.clock.advance(7200 * SECOND);
  const answer = await get(world, route);
  expect(world.sandbox.accepts(String(answer.data["access_token"]))).toBe(true);
});

test("P2: a stable token that WeChat hands out half-used is stated with the life that it has left", async () => {
  await using world = await Harness.create();
  await get(world, XCX);
  world.clock.advance(3000 * SECOND);
  await world.get("/AccessToken/clearXcx", XCX.query);
  expect((await get(world, XCX)).data["expires_in"]).toBe(4190);
});

test.each(BOTH)("P8: a token that lives 20 s is served for 19 s from one fetch: %s", async (_name, route) => {
  await using world = await Harness.create({ sandbox: { tokenLifeSeconds: 20 } });
  const first = await get(world, route);
  expect(first.data["expires_in"]).toBe(10);
  for (let second = 1; second <= 19; second++) {
    world.clock.advance(SECOND);
    const answer = await get(world, route);
    expect(answer.data["access_token"]).toBe(first.data["access_token"]);
    expect(answer.data["expires_in"]).toBe(Math.max(1, 10 - second));
  }
  expect(world.sandbox.calls(route.endpoint)).toBe(1);
  world.clock.advance(SECOND);
  expect((await get(world, route)).data["expires_in"]).toBe(10);
  expect(world.sandbox.calls(route.endpoint)).toBe(2);
});
