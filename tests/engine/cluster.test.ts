import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import { CLASSIC, createHarness, Node, STABLE, startBeside, WECOM_APP } from "./node.ts";

test("P1: cold gets of two processes cost one upstream call for each credential", async () => {
  for (let round = 0; round < 5; round++) {
    await using world = await createHarness();
    await using b = await startBeside(world);
    const a = Node.of(world);
    for (const app of [STABLE, CLASSIC, WECOM_APP]) {
      world.sandbox.resetCalls();
      const got = await Promise.all(Array.from({ length: 200 }, (_, i) => (i % 2 ? a : b).token(app)));

      expect(new Set(got).size).toBe(1);
      expect(world.sandbox.calls()).toBe(1);
    }
  }
});

test("P1: renewals by the refreshers of two processes cost one upstream call", async () => {
  await using world = await createHarness();
  await using b = await startBeside(world);
  const a = Node.of(world);
  for (const node of [a, b]) await node.token(CLASSIC);
  world.sandbox.resetCalls();
  for (let second = 0; second < 7_400; second += 5) {
    world.clock.advance(5000);
    await Promise.all([a.tick(), b.tick()]);
  }

  expect(world.sandbox.calls("/cgi-bin/token")).toBe(1);
  expect(await a.token(CLASSIC)).toBe(await b.token(CLASSIC));
});

test("what one process obtained is renewed by any other, also when nobody asks and the first one never looks", async () => {
  await using world = await createHarness({ environment: { REFRESH_IDLE_AFTER: "10000" } });
  await using b = await startBeside(world);
  const a = Node.of(world);
  const apps = [STABLE, CLASSIC, WECOM_APP];
  const before = await Promise.all(apps.map((app) => b.token(app)));
  world.clock.advance(5000);
  // This writes down what it was asked for.
  await b.tick();
  world.sandbox.resetCalls();
  for (let second = 0; second < 7_300; second += 5) {
    world.clock.advance(5000);
    await a.tick();
  }

  expect(world.sandbox.calls()).toBe(3);
  const after = await Promise.all(apps.map((app) => a.token(app)));
  expect(after.filter((token) => before.includes(token))).toEqual([]);
  expect(world.sandbox.calls()).toBe(3);
});

test("a credential that callers of another process use is not taken for idle", async () => {
  await using world = await createHarness({ environment: { REFRESH_IDLE_AFTER: "3600" } });
  await using b = await startBeside(world);
  const a = Node.of(world);
  await a.token(CLASSIC);
  world.sandbox.resetCalls();
  for (let minute = 0; minute < 119; minute++) {
    world.clock.advance(60_000);
    await b.token(CLASSIC);
    await Promise.all([a.tick(), b.tick()]);
  }

  expect(world.sandbox.calls("/cgi-bin/token")).toBe(1);
});

test("at most 20 renewals a second are begun by all processes together, and each is begun once", async () => {
  const apps = Array.from({ length: 45 }, (_, index) => ({
    appId: `wx${String(index).padStart(16, "0")}`,
    secret: `${index}`.padStart(32, "0"),
  }));
  const environment = Object.fromEntries(apps.map(({ appId, secret }) => [`WEIXIN_SECRET_${appId}`, secret]));
  await using world = await createHarness({ sandbox: { weixinApps: apps }, environment });
  await using b = await startBeside(world, environment);
  const a = Node.of(world);
  await Promise.all(apps.map(({ appId }) => a.token(appId)));
  world.clock.advance(5000);
  await a.tick();
  world.clock.advance(7_025_000);
  world.sandbox.resetCalls();
  const perSecond: number[] = [];
  for (let second = 0; second < 4; second++) {
    world.clock.advance(1000);
    const before = world.sandbox.calls();
    await Promise.all([a.tick(), b.tick()]);
    await Promise.all([a.tick(), b.tick()]);
    perSecond.push(world.sandbox.calls() - before);
  }

  expect(perSecond).toEqual([20, 20, 5, 0]);
});

test("P5: what one process clears or replaces is served by the other no more than 50 ms later", async () => {
  await using world = await createHarness();
  await using b = await startBeside(world);
  const a = Node.of(world);
  const first = await a.token(CLASSIC);
  expect(await b.token(CLASSIC)).toBe(first);
  await a.clear(CLASSIC);
  world.clock.advance(50);
  const second = await b.token(CLASSIC);
  expect(second).not.toBe(first);
  expect(await a.token(CLASSIC)).toBe(second);

  world.sandbox.killTokens(CLASSIC);
  const third = (await b.replace(CLASSIC, second)).value;
  world.clock.advance(50);
  expect(third).not.toBe(second);
  expect(await a.token(CLASSIC)).toBe(third);
});

test("P5: a clear overtakes the answer that another process is waiting for", async () => {
  await using world = await createHarness();
  await using b = await startBeside(world);
  const a = Node.of(world);
  const gate = new Gate();
  world.sandbox.inject({ kind: "gate", gate, endpoint: "/cgi-bin/token", times: 1 });
  const waiting = a.token(CLASSIC);
  await gate.arrived();
  expect((await b.clear(CLASSIC)).code).toBe(0);
  gate.open();
  const value = await waiting;

  expect(world.sandbox.calls("/cgi-bin/token")).toBe(2);
  expect(a.told("credential.fenced")).toHaveLength(1);
  world.clock.advance(50);
  expect(await b.token(CLASSIC)).toBe(value);
});

test("P5: a holder that hangs past its lease stores nothing stale and hands out what stands", async () => {
  await using world = await createHarness();
  await using b = await startBeside(world);
  const a = Node.of(world);
  const gate = new Gate();
  world.sandbox.inject({ kind: "gate", gate, endpoint: "/cgi-bin/token", times: 1 });
  const hanging = a.get(CLASSIC);
  await gate.arrived();
  world.clock.advance(11_000);
  const standing = await b.token(CLASSIC);
  gate.open();
  const late = await hanging;

  expect(late).toMatchObject({ code: 0, value: standing });
  expect(a.told("credential.fenced")).toHaveLength(1);
  world.clock.advance(50);
  for (const node of [a, b]) expect(await node.token(CLASSIC)).toBe(standing);
  expect(world.sandbox.accepts(standing)).toBe(true);
});

test("P1: a process whose lease another has taken over meanwhile waits for it and does not ask a second time", async () => {
  // The refresh that is overtaken has used up its time, by the clock of the test.
  await using world = await createHarness({ upstreamMs: { attempt: 60_000, total: 8000 } });
  await using b = await startBeside(world);
  const a = Node.of(world);
  const [first, second] = [new Gate(), new Gate()];
  world.sandbox.inject({ kind: "gate", gate: first, endpoint: "/cgi-bin/token", times: 1 });
  world.sandbox.inject({ kind: "gate", gate: second, endpoint: "/cgi-bin/token", times: 1 });
  const hanging = a.get(CLASSIC);
  await first.arrived();
  world.clock.advance(11_000);
  const taking = b.token(CLASSIC);
  await second.arrived();
  first.open();
  const overtaken = await hanging;
  second.open();
  const value = await taking;

  expect(overtaken).toMatchObject({ code: 503, retryAfter: 1 });
  expect(world.sandbox.calls("/cgi-bin/token")).toBe(2);
  world.clock.advance(50);
  expect(await a.token(CLASSIC)).toBe(value);
});

test("P4: a dead upstream is asked by one of two processes, and the other believes it", async () => {
  await using world = await createHarness();
  await using b = await startBeside(world);
  const a = Node.of(world);
  world.sandbox.inject({ kind: "http", times: Infinity });
  const got = await Promise.all(Array.from({ length: 100 }, (_, i) => (i % 2 ? a : b).get(STABLE)));
  expect(new Set(got.map(({ code }) => code))).toEqual(new Set([502]));
  expect(world.sandbox.calls()).toBe(3);
  for (let second = 0; second < 60; second++) {
    world.clock.advance(1000);
    await Promise.all([a.get(STABLE), b.get(STABLE)]);
    await Promise.all([a.settle(), b.settle()]);
  }

  expect(world.sandbox.calls()).toBeLessThanOrEqual(10);
});

test("complaints to two processes about one dead token cost one sequence", async () => {
  await using world = await createHarness();
  await using b = await startBeside(world);
  const a = Node.of(world);
  const value = await a.token(STABLE);
  await b.token(STABLE);
  world.sandbox.killTokens(STABLE, { unnoticed: true });
  world.sandbox.resetCalls();
  const got = await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 ? a : b).replace(STABLE, value)));
  world.clock.advance(50);

  expect(world.sandbox.calls()).toBe(3);
  const values = new Set(got.filter(({ code }) => code === 0).map((answer) => answer.value));
  expect(values.size).toBe(1);
  expect(values.has(value)).toBe(false);
  for (const { code } of got) expect([0, 503]).toContain(code);
  expect(new Set([...values, await a.token(STABLE), await b.token(STABLE)]).size).toBe(1);
});
