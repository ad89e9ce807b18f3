import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import type { Harness } from "../support/harness.ts";
import { CLASSIC, createHarness, Node, STABLE, WECOM_APP } from "./node.ts";
import { simulateDay } from "./simulated-day.ts";

const CALLS: Readonly<Record<string, string>> = {
  [STABLE]: "/cgi-bin/stable_token",
  [CLASSIC]: "/cgi-bin/token",
  [WECOM_APP]: "/cgi-bin/gettoken",
};

/** Lets `seconds` pass, a second at a time, as the refresher sees them. */
async function pass(
  world: Harness,
  node: Node,
  seconds: number,
  each?: (second: number) => unknown,
): Promise<void> {
  for (let second = 1; second <= seconds; second++) {
    world.clock.advance(1000);
    await node.tick();
    await each?.(second);
    node.forget();
  }
}

/** Asks for a token, and says how much of its 7200 s was left when the first renewal came. */
async function secondsLeftAtRenewal(world: Harness, node: Node, app: string): Promise<number> {
  await node.token(app);
  world.sandbox.resetCalls();
  await pass(world, node, 6900);
  for (let left = 299; left > -10; left--) {
    await pass(world, node, 1);
    if (world.sandbox.calls(CALLS[app]) > 0) return left;
  }
  return Number.NaN;
}

for (const app of [STABLE, CLASSIC] as const) {
  test(`a ${app === STABLE ? "stable" : "classic"} token is first renewed between 285 and 200 s before its end`, async () => {
    await using world = await createHarness();
    const left = await secondsLeftAtRenewal(world, Node.of(world), app);

    expect(left).toBeLessThanOrEqual(285);
    expect(left).toBeGreaterThanOrEqual(199);
  });
}

test("a WeCom token is renewed when it has ended, because it is repeated before", async () => {
  await using world = await createHarness();
  const left = await secondsLeftAtRenewal(world, Node.of(world), WECOM_APP);

  expect(left).toBeLessThanOrEqual(0);
  expect(left).toBeGreaterThanOrEqual(-3);
});

test("a stable token that WeChat repeats is asked for every 15 s until there is a new one", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const value = await node.token(STABLE);
  world.clock.advance(6_916_000);
  world.sandbox.resetCalls();
  const asked: number[] = [];
  for (let second = 0; second < 150; second++) {
    const left = 7_200 - 6_916 - second;
    const body = JSON.stringify({ access_token: value, expires_in: Math.max(1, left) });
    world.sandbox.clearFaults();
    if (asked.length < 4)
      world.sandbox.inject({ kind: "raw", body, contentType: "application/json", times: Infinity });
    const before = world.sandbox.calls();
    await pass(world, node, 1);
    if (world.sandbox.calls() > before) asked.push(second);
  }

  expect(asked).toHaveLength(5);
  for (const [index, second] of asked.slice(1).entries()) expect(second - asked[index]!).toBeWithin(15, 17);
  expect(await node.token(STABLE)).not.toBe(value);
});

test("a ticket is first renewed when 600 s are left", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  await node.token(STABLE, { kind: "jsapi_ticket" });
  world.sandbox.resetCalls();
  world.clock.advance(6_590_000);
  await pass(world, node, 5);
  expect(world.sandbox.calls("/cgi-bin/ticket/getticket")).toBe(0);
  await pass(world, node, 10);
  expect(world.sandbox.calls("/cgi-bin/ticket/getticket")).toBe(1);
});

test("P2: tokens that live 20 s are renewed in time too, and no caller gets a dead one", async () => {
  await using world = await createHarness({ sandbox: { tokenLifeSeconds: 20 } });
  const node = Node.of(world);
  const dead: string[] = [];
  await pass(world, node, 120, async () => {
    for (const app of [STABLE, CLASSIC, WECOM_APP]) {
      const value = await node.token(app);
      if (!world.sandbox.accepts(value)) dead.push(app);
    }
  });

  expect(dead).toEqual([]);
  expect(world.sandbox.calls("/cgi-bin/token")).toBeWithin(6, 15);
  expect(world.sandbox.calls("/cgi-bin/stable_token")).toBeWithin(6, 15);
});

test("callers get the living token at once while its renewal runs, also when another process has written meanwhile", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const value = await node.token(STABLE);
  world.clock.advance(7_010_000);
  const gate = new Gate();
  world.sandbox.inject({ kind: "gate_before", gate, times: 1 });
  await node.get(STABLE);
  await gate.arrived();
  const other = new (await import("bun:sqlite")).Database(world.databasePath);
  other.run("UPDATE usage SET calls = calls + 1");
  other.run("CREATE TABLE elsewhere (id INTEGER)");
  other.close();
  world.clock.advance(30);
  const got = await Promise.all(Array.from({ length: 50 }, () => node.token(STABLE)));
  gate.open();
  await node.settle();

  expect(new Set(got)).toEqual(new Set([value]));
  expect(await node.token(STABLE)).not.toBe(value);
});

test("a credential that nobody asked for within REFRESH_IDLE_AFTER is left to end", async () => {
  await using world = await createHarness({ environment: { REFRESH_IDLE_AFTER: "3600" } });
  const node = Node.of(world);
  await node.token(STABLE);
  await node.token(CLASSIC);
  world.clock.advance(3_000_000);
  await node.token(CLASSIC);
  world.sandbox.resetCalls();
  world.clock.advance(3_590_000);
  await node.tick();
  world.clock.advance(610_000);
  for (let second = 0; second < 90; second++) {
    world.clock.advance(1000);
    await node.tick();
  }

  expect(world.sandbox.calls("/cgi-bin/stable_token")).toBe(0);
  expect(world.sandbox.calls("/cgi-bin/token")).toBe(0);
});

test("an idle credential that is asked for again is renewed again", async () => {
  await using world = await createHarness({ environment: { REFRESH_IDLE_AFTER: "3600" } });
  const node = Node.of(world);
  await node.token(STABLE);
  world.clock.advance(6_800_000);
  await node.token(STABLE);
  world.sandbox.resetCalls();
  world.clock.advance(330_000);
  await node.tick();
  await node.settle();

  expect(world.sandbox.calls("/cgi-bin/stable_token")).toBe(1);
});

test("after a restart renewals are picked up, at most 20 upstream calls a second", async () => {
  const secret = (index: number) => `${index}`.padStart(32, "0");
  const apps = Array.from({ length: 45 }, (_, index) => ({
    appId: `wx${String(index).padStart(16, "0")}`,
    secret: secret(index),
  }));
  const environment = Object.fromEntries(apps.map(({ appId, secret }) => [`WEIXIN_SECRET_${appId}`, secret]));
  await using world = await createHarness({ sandbox: { weixinApps: apps }, environment });
  const node = Node.of(world);
  await Promise.all(apps.map(({ appId }) => node.token(appId)));
  await world.stop();
  world.clock.advance(7_030_000);
  world.sandbox.resetCalls();
  await world.start();
  const perSecond: number[] = [];
  for (let second = 0; second < 3; second++) {
    world.clock.advance(1000);
    const before = world.sandbox.calls();
    await node.tick();
    await node.tick();
    perSecond.push(world.sandbox.calls() - before);
  }

  expect(perSecond).toEqual([20, 20, 5]);
});

test("min_ttl waits for a longer life where that is to be had", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const value = await node.token(STABLE);
  world.clock.advance(7_000_000);
  await node.settle();
  const longer = await node.get(STABLE, { minTtl: 240 });

  expect(longer.value).not.toBe(value);
  expect(longer.expiresIn).toBeGreaterThan(7000);
});

test("min_ttl is best effort: what lives is handed out when a longer life is not to be had", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const values = { [STABLE]: await node.token(STABLE), [WECOM_APP]: await node.token(WECOM_APP) };
  world.clock.advance(7_000_000);
  world.sandbox.inject({ kind: "http", host: "weixin", times: Infinity });
  for (const app of [STABLE, WECOM_APP]) {
    const got = await node.get(app, { minTtl: 240 });
    expect(got.value).toBe(values[app]!);
    expect(got.expiresIn).toBeWithin(190, 201);
  }
});

test("P8, P2: on a day with a get a minute, upstream calls stay near 86400/7200 and no token handed out is dead", async () => {
  const { calls, faults } = await simulateDay();

  expect(faults).toEqual([]);
  expect(calls.stable).toBeLessThanOrEqual(14);
  expect(calls.classic).toBeLessThanOrEqual(13);
  expect(calls.wecom).toBeLessThanOrEqual(12.5);
});
