import { expect, test } from "bun:test";
import type { Harness } from "../support/harness.ts";
import { CLASSIC, createHarness, Node, STABLE, WECOM_APP } from "./node.ts";

const HOUR_MS = 3_600_000;
const APPS = [STABLE, CLASSIC, WECOM_APP];

/** Asks for everything every minute, and collects what was dead when it was handed out. */
async function watch(world: Harness, node: Node, minutes: number): Promise<string[]> {
  const dead: string[] = [];
  for (let second = 1; second <= minutes * 60; second++) {
    world.clock.advance(1000);
    await node.tick();
    if (second % 60 !== 0) continue;
    for (const app of APPS) {
      const got = await node.get(app);
      if (got.code !== 0 || !world.sandbox.accepts(got.value))
        dead.push(`${app} after ${second} s: ${got.code}`);
    }
    node.forget();
  }
  return dead;
}

const JUMPS = { "+3 h": 3 * HOUR_MS, "-1 h": -HOUR_MS, "+10 years": 87_660 * HOUR_MS };
for (const [name, jumpMs] of Object.entries(JUMPS)) {
  test(`P2: a wall clock that jumps by ${name} hands out nothing dead and starts no storm`, async () => {
    await using world = await createHarness();
    const node = Node.of(world);
    for (const app of APPS) await node.token(app);
    world.clock.advance(5_400_000);
    for (const app of APPS) await node.token(app);
    world.sandbox.resetCalls();
    world.clock.jumpWall(jumpMs);
    const dead = await watch(world, node, 180);

    expect(dead).toEqual([]);
    // Two renewals in three hours, and one more for what the clock said had ended.
    for (const endpoint of ["/cgi-bin/stable_token", "/cgi-bin/token", "/cgi-bin/gettoken"])
      expect(world.sandbox.calls(endpoint)).toBeLessThanOrEqual(4);
  });

  test(`P2: after a restart under a clock that jumped by ${name} a fresh token is not taken for older than it can be`, async () => {
    await using world = await createHarness();
    const node = Node.of(world);
    for (const app of APPS) await node.token(app);
    await world.stop();
    world.clock.jumpWall(jumpMs);
    await world.start();
    world.sandbox.resetCalls();
    const dead = await watch(world, node, 125);

    expect(dead).toEqual([]);
    expect(world.sandbox.calls("/cgi-bin/token")).toBeLessThanOrEqual(3);
  });

  test(`a wall clock that jumps by ${name} and back costs one call for each jump at most`, async () => {
    await using world = await createHarness();
    const node = Node.of(world);
    for (const app of APPS) await node.token(app);
    world.sandbox.resetCalls();
    for (const ms of [jumpMs, -jumpMs]) {
      world.clock.jumpWall(ms);
      for (let second = 0; second < 30; second++) {
        world.clock.advance(1000);
        await node.tick();
        for (const app of APPS) expect(world.sandbox.accepts(await node.token(app))).toBe(true);
      }
    }

    for (const endpoint of ["/cgi-bin/stable_token", "/cgi-bin/token", "/cgi-bin/gettoken"])
      expect(world.sandbox.calls(endpoint)).toBeLessThanOrEqual(2);
  });
}

test("P2: a process that was suspended for a day hands out nothing dead and starts no storm", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  for (const app of APPS) await node.token(app);
  world.sandbox.resetCalls();
  world.clock.advance(24 * HOUR_MS);
  const values = await Promise.all(
    Array.from({ length: 150 }, (_, index) => node.token(APPS[index % APPS.length] ?? STABLE)),
  );
  await node.tick();

  expect(values.filter((value) => !world.sandbox.accepts(value))).toEqual([]);
  expect(world.sandbox.calls()).toBe(3);
});

test("P2: a machine that slept, so that only its wall clock went on, hands out nothing dead", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  for (const app of APPS) await node.token(app);
  // The sandbox goes by the age of things, so the hours pass first and are then taken from the service's view of it.
  world.clock.jumpWall(8 * HOUR_MS);
  world.sandbox.resetCalls();
  for (const app of APPS) expect((await node.get(app)).code).toBe(0);
  await node.tick();

  expect(world.sandbox.calls()).toBe(3);
});
