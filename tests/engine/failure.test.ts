import { expect, test } from "bun:test";
import type { Fault } from "../../src/sandbox/fault.ts";
import { CORP, WECOM, type Harness, WX } from "../support/harness.ts";
import { CLASSIC, createHarness, type Got, Node, STABLE, WECOM_APP } from "./node.ts";

const STABLE_CALL = "/cgi-bin/stable_token";
const CLASSIC_CALL = "/cgi-bin/token";
const WECOM_CALL = "/cgi-bin/gettoken";
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const WRONG_SECRET = "somethingElseThatWeDoNotHold-00000000000000";

const refusal = (endpoint: string, errcode: number): Fault => ({
  kind: "error",
  errcode,
  endpoint,
  times: Infinity,
});

/** Asks each second, and says after how many seconds the upstream was asked again. */
async function askedAt(world: Harness, node: Node, app: string, seconds: number): Promise<number[]> {
  const asked: number[] = [];
  for (let second = 0; second <= seconds; second++) {
    const before = world.sandbox.calls();
    await node.get(app);
    await node.settle();
    if (world.sandbox.calls() > before) asked.push(second);
    node.forget();
    world.clock.advance(1000);
  }
  return asked;
}

test("a failure that may pass is tried three times, then after 1, 2, 4, 8, 16 and 30 s, by one probe each", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  world.sandbox.inject(refusal(STABLE_CALL, -1));
  await node.get(STABLE);

  expect(world.sandbox.calls()).toBe(3);
  world.sandbox.resetCalls();
  const asked = await askedAt(world, node, STABLE, 125);
  expect(asked).toEqual([1, 3, 7, 15, 31, 61, 91, 121]);
  expect(world.sandbox.calls()).toBe(8);
});

test("P4: a dead upstream costs at most 10 calls in a minute of 100 callers a second, and each gets a typed answer", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  await node.token(STABLE);
  world.clock.advance(7_300_000);
  world.sandbox.resetCalls();
  world.sandbox.inject({ kind: "http", status: 503, host: "weixin", times: Infinity });
  const codes = new Map<number, number>();
  let untold = 0;
  let slowestMs = 0;
  for (let second = 0; second < 60; second++) {
    for (let batch = 0; batch < 5; batch++) {
      const startedAt = performance.now();
      const got = await Promise.all(Array.from({ length: 20 }, () => node.get(STABLE)));
      if (second > 0) slowestMs = Math.max(slowestMs, (performance.now() - startedAt) / 20);
      for (const { code, retryAfter } of got) {
        codes.set(code, (codes.get(code) ?? 0) + 1);
        if (second > 0 && (retryAfter ?? 0) < 1) untold++;
      }
      world.clock.advance(200);
    }
    await node.tick();
    node.forget();
  }
  console.log(
    `P4: ${world.sandbox.calls()} calls, ${slowestMs.toFixed(2)} ms per answer in the slowest batch`,
  );

  expect([...codes]).toEqual([[502, 6000]]);
  expect(untold).toBe(0);
  expect(world.sandbox.calls()).toBeLessThanOrEqual(10);
  expect(slowestMs).toBeLessThan(50);

  world.sandbox.clearFaults();
  let recoveredAfter = 0;
  while ((await node.get(STABLE)).code !== 0) {
    recoveredAfter++;
    world.clock.advance(1000);
    await node.tick();
    if (recoveredAfter > 60) break;
  }
  expect(recoveredAfter).toBeLessThanOrEqual(30);
});

const PASSING: Fault[] = [
  { kind: "http", times: Infinity },
  { kind: "reset_before", times: Infinity },
  { kind: "truncated_json", times: Infinity },
  { kind: "empty_body", times: Infinity },
  { kind: "field", field: "expires_in", value: 0, times: Infinity },
  { kind: "field", field: "access_token", value: 7, times: Infinity },
  { kind: "error", errcode: -1, times: Infinity },
  { kind: "error", errcode: 40164, times: Infinity },
  { kind: "error", errcode: 40001, times: Infinity },
  { kind: "error", errcode: 45009, times: Infinity },
  { kind: "error", errcode: 50007, times: Infinity },
];
for (const fault of PASSING) {
  const name = fault.kind === "error" ? `errcode ${fault.errcode}` : fault.kind;
  test(`P4: a living credential is served to its end while the upstream fails with ${name}`, async () => {
    await using world = await createHarness();
    const node = Node.of(world);
    const values = new Map<string, string>();
    for (const app of [STABLE, CLASSIC, WECOM_APP]) values.set(app, await node.token(app));
    world.clock.advance(6_850_000);
    world.sandbox.inject(fault);
    for (let second = 0; second < 280; second += 10) {
      world.clock.advance(10_000);
      await node.tick();
      for (const [app, value] of values) expect(await node.get(app)).toMatchObject({ code: 0, value });
    }
  });
}

const CIRCUITS: readonly [app: string, endpoint: string, errcode: number, ms: number][] = [
  [STABLE, STABLE_CALL, 40125, 10 * MINUTE_MS],
  [STABLE, STABLE_CALL, 40164, MINUTE_MS / 2],
  [STABLE, STABLE_CALL, 61004, MINUTE_MS / 2],
  [WECOM_APP, WECOM_CALL, 60020, MINUTE_MS / 2],
  [STABLE, STABLE_CALL, 89503, 10 * MINUTE_MS],
  [STABLE, STABLE_CALL, 89507, HOUR_MS],
  [STABLE, STABLE_CALL, 89506, 24 * HOUR_MS],
  [CLASSIC, CLASSIC_CALL, 50004, 10 * MINUTE_MS],
  [WECOM_APP, WECOM_CALL, 40001, 10 * MINUTE_MS],
];
for (const [app, endpoint, errcode, ms] of CIRCUITS) {
  test(`P4: errcode ${errcode} of ${app} keeps that app from being asked for ${ms / MINUTE_MS} min, over a restart too`, async () => {
    await using world = await createHarness();
    const node = Node.of(world);
    world.sandbox.inject(refusal(endpoint, errcode));
    expect((await node.get(app)).code).toBe(errcode);
    expect(world.sandbox.calls(endpoint)).toBe(1);
    world.sandbox.clearFaults();
    for (const other of [STABLE, CLASSIC, WECOM_APP].filter((each) => each !== app)) {
      expect((await node.get(other)).code).toBe(0);
    }
    await world.stop();
    await world.start();
    world.sandbox.resetCalls();
    world.clock.advance(ms - 1000);
    const blocked = await node.get(app);
    expect(blocked.code).toBe(errcode);
    expect(blocked.retryAfter).toBe(1);
    expect(world.sandbox.calls(endpoint)).toBe(0);
    world.clock.advance(1000);

    expect((await node.get(app)).code).toBe(0);
  });
}

test("a wrong WeCom secret is left alone twice as long each time, up to a day", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  world.sandbox.changeWecomApp(CORP, WECOM.agent, { secret: WRONG_SECRET });
  const waits: number[] = [];
  for (let round = 0; round < 10; round++) {
    const { code, retryAfter = 0 } = await node.get(WECOM_APP).then(() => node.get(WECOM_APP));
    expect(code).toBe(40001);
    waits.push(retryAfter / 60);
    world.clock.advance(retryAfter * 1000);
  }

  expect(waits).toEqual([10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440]);
  expect(world.sandbox.calls(WECOM_CALL)).toBe(10);
});

test("an address that is not on the list is tried again after 30 s, 2 min and 10 min, anew after a success", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const waits: number[] = [];
  for (let round = 0; round < 6; round++) {
    // From one of the other addresses it goes well.
    if (round === 4) world.sandbox.clearFaults();
    else world.sandbox.inject({ ...refusal(STABLE_CALL, 40164), times: 1 });
    const { code, retryAfter = 0 } = await node.get(STABLE);
    expect(code).toBe(round === 4 ? 0 : 40164);
    waits.push(retryAfter);
    world.clock.advance(round === 4 ? 8_000_000 : retryAfter * 1000);
  }

  expect(waits).toEqual([30, 120, 600, 600, 0, 30]);
});

test("an app is told WeChat's own errcode, errmsg and hint while its circuit is open", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  world.sandbox.switches.peerIp = "203.0.113.9";
  world.sandbox.changeWeixinApp(WX.appId, { ipList: ["198.51.100.1"] });
  const first = await node.get(STABLE);
  const later = await node.get(STABLE);

  for (const { text, code } of [first, later]) {
    expect(code).toBe(40164);
    expect(text).toContain("203.0.113.9");
  }
  expect(world.sandbox.calls()).toBe(1);
});

test("WeChat's 45009 lasts until midnight in Beijing, over a restart", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const untilMidnightMs = 24 * HOUR_MS - ((world.clock.now() + 8 * HOUR_MS) % (24 * HOUR_MS));
  world.sandbox.inject(refusal(CLASSIC_CALL, 45009));
  await node.get(CLASSIC);
  await world.stop();
  await world.start();
  const blocked = await node.get(CLASSIC);
  world.sandbox.clearFaults();
  world.clock.advance(untilMidnightMs - 1000);
  const late = await node.get(CLASSIC);
  world.clock.advance(1000);

  expect(blocked).toMatchObject({ code: 45009, retryAfter: untilMidnightMs / 1000 });
  expect(late).toMatchObject({ code: 45009, retryAfter: 1 });
  expect((await node.get(CLASSIC)).code).toBe(0);
});

test("WeChat's 45011 lasts until the next minute", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  world.clock.advance(12_000);
  world.sandbox.inject(refusal(STABLE_CALL, 45011));
  await node.get(STABLE);
  world.sandbox.clearFaults();

  expect(await node.get(STABLE)).toMatchObject({ code: 45011, retryAfter: 48 });
  world.clock.advance(48_000);
  expect((await node.get(STABLE)).code).toBe(0);
});

for (const errcode of [45009, 45033]) {
  test(`WeCom's ${errcode} lasts 1, 5, 15 and 60 min, for all applications of the corp and for no other app`, async () => {
    await using world = await createHarness();
    const node = Node.of(world);
    world.sandbox.inject(refusal(WECOM_CALL, errcode));
    const waits: number[] = [];
    for (let round = 0; round < 5; round++) {
      await node.get(WECOM_APP);
      const { code, retryAfter = 0 } = await node.get(`${CORP}_contacts`);
      expect(code).toBe(errcode);
      waits.push(retryAfter / 60);
      world.clock.advance(retryAfter * 1000);
    }

    expect(waits).toEqual([1, 5, 15, 60, 60]);
    expect(world.sandbox.calls(WECOM_CALL)).toBe(5);
    expect((await node.get(STABLE)).code).toBe(0);
  });
}

test("a lost classic answer caps the standing token at 300 s, and it is renewed when 60 s are left", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const value = await node.token(CLASSIC);
  world.clock.advance(1_000_000);
  world.sandbox.inject({ kind: "reset_after", endpoint: CLASSIC_CALL, times: 1 });
  world.sandbox.resetCalls();
  expect((await node.refresh(CLASSIC)).code).not.toBe(0);
  expect(world.sandbox.calls()).toBe(1);
  let capped: Got | undefined;
  for (let second = 1; second <= 239; second++) {
    world.clock.advance(1000);
    await node.tick();
    capped = await node.get(CLASSIC);
    expect(capped).toMatchObject({ code: 0, value });
    expect(world.sandbox.accepts(capped.value)).toBe(true);
  }
  expect(capped?.expiresIn).toBe(61);
  expect(world.sandbox.calls()).toBe(1);
  world.clock.advance(2000);
  await node.tick();

  expect(world.sandbox.calls()).toBe(2);
  expect(await node.token(CLASSIC)).not.toBe(value);
});

test("at 90 % of a day's 2000 classic calls early renewals stop, and it says so", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  await node.token(CLASSIC);
  const { Database } = await import("bun:sqlite");
  await world.stop();
  const database = new Database(world.databasePath);
  database.run("UPDATE usage SET calls = 1799 WHERE endpoint = '/cgi-bin/token'");
  database.close();
  await world.start();
  await node.refresh(CLASSIC);
  world.sandbox.resetCalls();
  node.forget();
  const value = await node.token(CLASSIC);
  world.clock.advance(6_900_000);
  for (let second = 1; second < 299; second++) {
    world.clock.advance(1000);
    await node.tick();
    if (second % 20 === 0) expect(await node.token(CLASSIC)).toBe(value);
  }
  expect(world.sandbox.calls(CLASSIC_CALL)).toBe(0);
  expect(node.told("quota.nearly_used")[0]).toMatchObject({ calls: 1800, limit: 2000 });
  world.clock.advance(2000);

  // Callers without any token get one all the same.
  expect((await node.get(CLASSIC)).code).toBe(0);
  expect(world.sandbox.calls(CLASSIC_CALL)).toBe(1);
});

test("a fallback host is asked in stable mode on connection failure, and never else", async () => {
  const refused = "http://127.0.0.1:1";
  await using world = await createHarness();
  const node = Node.of(world);
  await world.stop();
  await world.start({ WEIXIN_BASE_URL: refused, WEIXIN_FALLBACK_BASE_URLS: world.sandbox.weixinUrl });
  expect((await node.get(STABLE)).code).toBe(0);
  expect((await node.get(CLASSIC)).code).toBe(502);
  expect(world.sandbox.calls(STABLE_CALL)).toBe(1);
  expect(world.sandbox.calls(CLASSIC_CALL)).toBe(0);

  await node.clear(STABLE);
  await world.stop();
  await world.start({ WEIXIN_FALLBACK_BASE_URLS: refused });
  world.sandbox.inject({ kind: "http", endpoint: STABLE_CALL, times: 3 });
  world.sandbox.resetCalls();
  expect((await node.get(STABLE)).code).toBe(502);
  expect(world.sandbox.calls(STABLE_CALL)).toBe(3);
});
