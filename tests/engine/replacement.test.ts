import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import { CORP } from "../support/harness.ts";
import { rawRequest } from "../support/raw-http.ts";
import { CLASSIC, createHarness, type Got, Node, STABLE, WECOM_APP } from "./node.ts";

const STABLE_CALL = "/cgi-bin/stable_token";
const CLASSIC_CALL = "/cgi-bin/token";
const PROBE = "/cgi-bin/getcallbackip";

test("a complaint about a value that was replaced already gets the newer one without asking WeChat", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const old = await node.token(STABLE);
  world.sandbox.killTokens(STABLE);
  const newer = (await node.replace(STABLE, old)).value;
  world.sandbox.resetCalls();
  const again = await Promise.all(Array.from({ length: 20 }, () => node.replace(STABLE, old)));

  expect(new Set(again.map(({ value }) => value))).toEqual(new Set([newer]));
  expect(world.sandbox.calls()).toBe(0);
});

for (const app of [STABLE, CLASSIC, WECOM_APP]) {
  test(`a false complaint about ${app} gets the same value back, rotates nothing, and is remembered for 10 s`, async () => {
    await using world = await createHarness();
    const node = Node.of(world);
    const value = await node.token(app);
    world.sandbox.resetCalls();
    const got = await node.replace(app, value);
    const cost = world.sandbox.calls();

    expect(got).toMatchObject({ code: 0, value });
    expect(world.sandbox.calls(PROBE)).toBe(1);
    expect(world.sandbox.calls(CLASSIC_CALL)).toBe(0);
    expect(world.sandbox.accepts(value)).toBe(true);
    world.clock.advance(9000);
    expect(await node.replace(app, value)).toMatchObject({ code: 0, value });
    expect(world.sandbox.calls()).toBe(cost);
    world.clock.advance(2000);
    await node.replace(app, value);
    expect(world.sandbox.calls()).toBe(cost * 2);
  });
}

for (const app of [STABLE, CLASSIC]) {
  test(`P2: a token of ${app} that WeChat revokes right after it called it valid is replaced within 10 s`, async () => {
    await using world = await createHarness();
    const node = Node.of(world);
    const value = await node.token(app);
    expect(await node.replace(app, value)).toMatchObject({ code: 0, value });
    world.clock.advance(1000);
    world.sandbox.killTokens(app);
    world.clock.advance(9000);
    const got = await node.replace(app, value);

    expect(got.code).toBe(0);
    expect(world.sandbox.accepts(got.value)).toBe(true);
  });
}

test("a dead stable token that WeChat knows to be dead costs one ordinary call", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const value = await node.token(STABLE);
  world.sandbox.killTokens(STABLE);
  world.sandbox.resetCalls();
  const got = await node.replace(STABLE, value);

  expect(got.code).toBe(0);
  expect(world.sandbox.accepts(got.value)).toBe(true);
  expect(world.sandbox.calls()).toBe(1);
  expect(node.told("credential.revoked_early")[0]?.earlyMs).toBe(7_200_000);
});

test("a dead stable token that WeChat repeats is asked about, and then one forced refresh is spent", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const value = await node.token(STABLE);
  world.clock.advance(1_000_000);
  world.sandbox.killTokens(STABLE, { unnoticed: true });
  world.sandbox.resetCalls();
  const got = await node.replace(STABLE, value);

  expect(got.code).toBe(0);
  expect(world.sandbox.accepts(got.value)).toBe(true);
  expect(world.sandbox.calls(STABLE_CALL)).toBe(2);
  expect(world.sandbox.calls(PROBE)).toBe(1);
  expect(node.told("credential.revoked_early")).toHaveLength(1);
  expect(await node.token(STABLE)).toBe(got.value);
});

test("forced refreshes are 20 a day and 30 s apart, counted over a restart, and the ordinary ones go on", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const outcomes: number[] = [];
  for (let round = 0; round < 21; round++) {
    if (round === 11) {
      await world.stop();
      await world.start();
    }
    outcomes.push((await node.refresh(STABLE, { force: true })).code);
    if (round === 0) {
      const early = await node.refresh(STABLE, { force: true });
      expect(early.code).toBe(503);
      expect(early.retryAfter).toBeWithin(1, 31);
    }
    world.clock.advance(31_000);
  }

  expect(outcomes).toEqual([...Array.from({ length: 20 }, () => 0), 503]);
  const value = await node.token(STABLE);
  world.sandbox.killTokens(STABLE, { unnoticed: true });
  const dead = await node.replace(STABLE, value);
  expect(dead.code).toBe(503);
  expect(dead.retryAfter).toBeWithin(1, 61);
  // WeChat finds out by itself: then there is a new one at no cost to the budget.
  world.sandbox.killTokens(STABLE);
  world.clock.advance(5_000_000);
  world.clock.advance(2_000_000);
  const recovered = await node.get(STABLE);
  expect(recovered.code).toBe(0);
  expect(world.sandbox.accepts(recovered.value)).toBe(true);
});

test("an operator's forced refresh that is over the budget takes nothing from callers", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  await node.refresh(STABLE, { force: true });
  expect((await node.refresh(STABLE, { force: true })).code).toBe(503);
  await node.clear(STABLE);

  expect((await node.get(STABLE)).code).toBe(0);
});

test("P2: a dead token that WeCom repeats is never handed out again, and WeCom is not stormed", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const value = await node.token(WECOM_APP);
  world.clock.advance(1_000_000);
  world.sandbox.killTokens(CORP, { unnoticed: true });
  world.sandbox.resetCalls();
  const refused = await node.replace(WECOM_APP, value);
  expect(refused.code).toBe(503);
  expect(refused.retryAfter).toBeGreaterThan(0);
  const codes = new Set<number>();
  for (let second = 0; second < 120; second++) {
    world.clock.advance(1000);
    await node.tick();
    const got = await node.get(WECOM_APP);
    codes.add(got.code);
    expect(got.value).not.toBe(value);
    expect(got.retryAfter).toBeGreaterThan(0);
  }
  expect([...codes]).toEqual([503]);
  expect(world.sandbox.calls("/cgi-bin/gettoken")).toBeLessThanOrEqual(6);
  await world.stop();
  await world.start();
  expect((await node.get(WECOM_APP)).value).not.toBe(value);

  // When its time is over, WeCom issues another.
  world.clock.advance(6_300_000);
  const got = await node.get(WECOM_APP);
  expect(world.sandbox.accepts(got.value)).toBe(true);
});

test("a classic token is asked about before another is fetched", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const value = await node.token(CLASSIC);
  world.sandbox.killTokens(CLASSIC);
  world.sandbox.resetCalls();
  const got = await node.replace(CLASSIC, value);

  expect(world.sandbox.accepts(got.value)).toBe(true);
  expect(world.sandbox.calls(PROBE)).toBe(1);
  expect(world.sandbox.calls(CLASSIC_CALL)).toBe(1);
  expect(node.told("credential.revoked_early")).toHaveLength(1);
});

test("P2: a lost answer while a dead classic token is replaced does not bring the dead one back", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const value = await node.token(CLASSIC);
  world.sandbox.killTokens(CLASSIC);
  world.sandbox.inject({ kind: "reset_after", endpoint: CLASSIC_CALL, times: 1 });
  expect((await node.replace(CLASSIC, value)).code).not.toBe(0);
  for (let second = 0; second < 10; second++) {
    const got = await node.get(CLASSIC);
    expect(got.value).not.toBe(value);
    world.clock.advance(1000);
    await node.settle();
  }

  expect(world.sandbox.accepts(await node.token(CLASSIC))).toBe(true);
});

for (const app of [STABLE, CLASSIC]) {
  test(`when WeChat can't be asked whether the token of ${app} is dead, nothing is spent and it goes on`, async () => {
    await using world = await createHarness();
    const node = Node.of(world);
    const value = await node.token(app);
    world.sandbox.inject({ kind: "reset_before", endpoint: PROBE, times: Infinity });
    world.sandbox.resetCalls();
    const got = await node.replace(app, value);

    expect(got.code).toBe(503);
    expect(got.retryAfter).toBeWithin(1, 11);
    expect(world.sandbox.calls(CLASSIC_CALL)).toBe(0);
    expect(world.sandbox.calls(STABLE_CALL)).toBeLessThanOrEqual(1);
    expect(await node.token(app)).toBe(value);
  });
}

test("one complaint about an app is looked into in 10 s, whatever is sent", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const value = await node.token(STABLE);
  world.sandbox.killTokens(STABLE, { unnoticed: true });
  const second = (await node.replace(STABLE, value)).value;
  world.sandbox.killTokens(STABLE, { unnoticed: true });
  world.sandbox.resetCalls();
  const tooSoon = await node.replace(STABLE, second);
  expect(tooSoon.code).toBe(503);
  expect(tooSoon.retryAfter).toBeWithin(1, 11);
  expect((await node.complain(STABLE, second)).code).toBe(429);
  expect((await node.replace(STABLE, "neverIssuedByAnybody")).code).toBe(0);
  expect(world.sandbox.calls()).toBe(0);
});

test("a thousand complaints at once about one dead token cost one sequence, and all get the same new one", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const value = await node.token(STABLE);
  world.sandbox.killTokens(STABLE, { unnoticed: true });
  world.sandbox.resetCalls();
  const gate = new Gate();
  world.sandbox.inject({ kind: "gate", gate, endpoint: PROBE, times: 1 });
  // Plain sockets, because a test may have only 256 fetches under way, and the service's own are among them.
  const body = JSON.stringify({ rejected: value });
  const path = `/v1/apps/${STABLE}/credentials/access_token/replace`;
  const lines = ["Host: localhost", "Content-Type: application/json", `Content-Length: ${body.length}`];
  const text = [`POST ${path} HTTP/1.1`, ...lines, "Connection: close", "", body].join("\r\n");
  const complaints = Promise.all(Array.from({ length: 1000 }, () => rawRequest(world.service.url, text)));
  await gate.arrived();
  gate.open();
  const got = (await complaints).map((answer) => JSON.parse(answer.body) as Pick<Got, "code" | "data">);

  expect(got.map(({ code }) => code).filter((code) => code !== 0)).toEqual([]);
  expect(new Set(got.map(({ data }) => data["value"])).size).toBe(1);
  expect(world.sandbox.accepts(String(got[0]?.data["value"]))).toBe(true);
  expect(world.sandbox.calls()).toBe(3);
});

test("clear with access_token marks the value rejected, and the next get looks into it", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const value = await node.token(STABLE);
  world.sandbox.killTokens(STABLE, { unnoticed: true });
  world.sandbox.resetCalls();
  expect((await node.complain(STABLE, "anotherValueAltogether")).code).toBe(0);
  expect(await node.token(STABLE)).toBe(value);
  expect((await node.complain(STABLE, value)).code).toBe(0);
  expect(world.sandbox.calls()).toBe(0);
  const got = await node.get(STABLE);

  expect(world.sandbox.accepts(got.value)).toBe(true);
  expect(world.sandbox.calls(STABLE_CALL)).toBe(2);
  expect(world.sandbox.calls(PROBE)).toBe(1);
});

test("a false complaint by clear costs one question, and a repeated one within 10 s nothing", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const value = await node.token(CLASSIC);
  world.sandbox.resetCalls();
  await node.complain(CLASSIC, value);
  expect(await node.token(CLASSIC)).toBe(value);
  world.clock.advance(9000);
  expect((await node.complain(CLASSIC, value)).code).toBe(0);
  expect(await node.token(CLASSIC)).toBe(value);

  expect(world.sandbox.calls(PROBE)).toBe(1);
  expect(world.sandbox.calls()).toBe(1);
});

test("a classic token that somebody else has fetched away raises credential.revoked_early with how early", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const value = await node.token(CLASSIC);
  world.clock.advance(1_200_000);
  world.sandbox.rogueFetch(CLASSIC);
  world.clock.advance(301_000);
  await node.replace(CLASSIC, value);

  expect(node.told("credential.revoked_early")[0]?.earlyMs).toBe(7_200_000 - 1_501_000);
});

test("while a wrong WeCom secret keeps the circuit open, complaints send it no more", async () => {
  await using world = await createHarness();
  const node = Node.of(world);
  const value = await node.token(WECOM_APP);
  world.sandbox.changeWecomApp(CORP, "1000002", { secret: "anotherSecretThatWeDoNotHold-000000000000" });
  expect((await node.replace(WECOM_APP, value)).code).toBe(40001);
  world.sandbox.resetCalls();
  for (let round = 0; round < 5; round++) {
    world.clock.advance(11_000);
    expect((await node.replace(WECOM_APP, value)).code).toBe(40001);
  }

  expect(world.sandbox.calls()).toBe(0);
});
