import { expect, test } from "bun:test";
import { type CredentialKind, Kinds } from "../../src/credentials/kinds.ts";
import {
  type HistoryLimits,
  type RefreshAttempt,
  RefreshLog,
  type RefreshLogStore,
} from "../../src/credentials/refresh-log.ts";
import { Secret } from "../../src/secret.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { type HandAnswer, ManualSource } from "../support/manual-source.ts";
import { failureOf, refusal } from "../support/refusals.ts";
import { foreignSlot, tokenOf, wecomSlot, weixinSlot } from "../support/slots.ts";
import { CredentialsHarness, type CredentialsWorldOptions } from "./credentials-harness.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** A log on a store that a test can break, and what that was told. */
function setup() {
  const clock = new ManualClock();
  const state = {
    isBroken: false,
    pieces: [] as RefreshAttempt[][],
    claims: 0,
    waitMs: 0,
    prunings: [] as HistoryLimits[],
    firstHours: [] as number[][],
    /** How many pieces are left to delete. */
    left: 1,
  };
  const store: RefreshLogStore = {
    add: async (attempts) => {
      if (state.isBroken) throw new Error("broken");
      state.pieces.push([...attempts]);
    },
    list: async () => [],
    listHours: async () => [],
    claimPruning: async () => {
      if (state.isBroken) throw new Error("broken");
      state.claims += 1;
      return state.waitMs;
    },
    firstHour: async (...asked) => {
      state.firstHours.push(asked);
      return 7;
    },
    prune: async (limits) => {
      state.prunings.push(limits);
      state.left -= 1;
      return state.left <= 0;
    },
  };
  const log = new RefreshLog(store, clock, "host-1");
  const note = (n = 1) =>
    Promise.all(
      Array.from({ length: n }, () =>
        log.noted(
          tokenOf(),
          "ahead",
          async () => "value",
          () => 1,
        ),
      ),
    );
  const written = async () => {
    await log.flush();
    return state.pieces.flat();
  };
  return { clock, state, log, note, written, [Symbol.asyncDispose]: () => log.stop() };
}

/** A manager whose attempts are noted. */
async function managed(answers: readonly HandAnswer[], options: CredentialsWorldOptions = {}) {
  const it = setup();
  const world = await CredentialsHarness.create(new ManualSource(...answers), { log: it.log, ...options });
  const outcomes = async () =>
    (await it.written()).map(({ trigger, outcome, generation }) => [
      trigger,
      outcome,
      generation !== undefined,
    ]);
  return { ...it, world, manager: world.manager, outcomes };
}

test("each attempt is noted with what caused it, how it ended and how long it took", async () => {
  await using it = await managed([]);
  using world = it.world;
  const got = world.manager.get(tokenOf());
  await world.source.askedTimes(1);
  it.clock.advance(250);
  world.source.open[0]?.issue("one");
  const { generation } = await got;
  expect(await it.written()).toEqual([
    {
      ...{
        at: new ManualClock().now(),
        app: "wx1",
        kind: "access_token",
        trigger: "on_demand",
        outcome: "ok",
      },
      ...{ errcode: undefined, durationMs: 250, generation, host: "host-1" },
    },
  ]);
});

test("what a renewal, an administrator and a complaint obtain is noted as theirs", async () => {
  await using it = await managed(["one", "two", "three", "four"]);
  using world = it.world;
  const { manager } = world;
  await manager.renew(tokenOf(), undefined);
  await manager.renew(tokenOf(), await manager.get(tokenOf()));
  world.clock.advance(MINUTE_MS);
  await manager.refresh(tokenOf(), { force: true });
  await manager.replace(tokenOf(), new Secret("three"));
  expect(await it.outcomes()).toEqual([
    ["ahead", "ok", true],
    ["ahead", "ok", true],
    ["forced", "ok", true],
    ["replaced", "ok", true],
  ]);
});

test("a refusal is noted with WeChat's errcode, once for all who wait, and passed on as it is", async () => {
  await using it = await managed([refusal("config", 40164)]);
  using world = it.world;
  const all = [1, 2, 3].map(() => failureOf(world.manager.get(tokenOf(wecomSlot()))));
  expect((await Promise.all(all)).map(({ code }) => code)).toEqual(Array(3).fill("upstream_rejected"));
  // The backoff keeps us from asking: that is no attempt.
  await failureOf(world.manager.get(tokenOf(wecomSlot())));
  expect(await it.written()).toMatchObject([
    { app: "ww1_1000002", outcome: "upstream_rejected", errcode: 40164, generation: undefined },
  ]);
});

test("nothing is noted of what another process has obtained, nor of a hand-out", async () => {
  await using it = await managed(["one"]);
  using world = it.world;
  await world.manager.get(tokenOf());
  await world.manager.get(tokenOf());
  await world.restarted().get(tokenOf());
  expect(await it.outcomes()).toHaveLength(1);
});

test("each push is noted, and the generation of what it has stored", async () => {
  const pushed = { platform: "weixin", name: "component_verify_ticket", obtainedBy: "pushed" } as const;
  const kinds = new Kinds([{ ...pushed, predecessorMs: 0, blames: "credential" }]);
  await using it = await managed([], { kinds });
  using world = it.world;
  const ticket = { slot: weixinSlot(), kind: pushed.name as CredentialKind };
  const life = { issuedAt: it.clock.now(), expiresAt: it.clock.now() + HOUR_MS };
  await world.manager.accept(ticket, new Secret("later"), life);
  await world.manager.accept(ticket, new Secret("earlier"), { ...life, issuedAt: life.issuedAt - 1 });
  expect(await it.outcomes()).toEqual([
    ["pushed", "ok", true],
    ["pushed", "ok", false],
  ]);
});

test("P8: secrets that callers make up are not noted", async () => {
  await using it = await managed(["one", refusal("config")]);
  using world = it.world;
  await world.manager.get(tokenOf(foreignSlot("a")));
  await failureOf(world.manager.get(tokenOf(foreignSlot("b"))));
  expect(await it.written()).toEqual([]);
});

test("P3: no credential waits for the log or is lost for want of it", async () => {
  await using it = await managed(["one", "two"]);
  using world = it.world;
  it.state.isBroken = true;
  expect((await world.manager.get(tokenOf())).value.reveal()).toBe("one");
  await it.log.flush();
  it.state.isBroken = false;
  expect(await it.outcomes()).toEqual([["on_demand", "ok", true]]);
});

test("what can't be written is kept, up to ten thousand attempts, and written in pieces of five hundred", async () => {
  await using it = setup();
  it.state.isBroken = true;
  await it.note(10_001);
  await it.log.flush();
  expect(it.state.pieces).toEqual([]);
  it.state.isBroken = false;
  expect(await it.written()).toHaveLength(10_000);
  expect(it.state.pieces.map(({ length }) => length)).toEqual(Array(20).fill(500));
});

test("a stop writes the rest, also what ends after it has begun", async () => {
  const it = setup();
  await it.note();
  await it.log.stop();
  expect(it.state.pieces.flat()).toHaveLength(1);
  await it.note();
  await it.log.stop();
  expect(it.state.pieces.flat()).toHaveLength(2);
});

test("14 days of attempts and 90 of hours are kept, of two and five million at the most", async () => {
  await using it = setup();
  it.state.left = 3;
  it.clock.advance(MINUTE_MS - 1);
  await it.log.tick();
  expect(it.state.claims).toBe(0);
  it.clock.advance(1);
  await it.log.tick();
  const now = it.clock.now();
  expect(it.state.prunings).toEqual(
    Array(3).fill({ attemptsFrom: now - 14 * DAY_MS, hoursFrom: 7, maxAttempts: 2_000_000 }),
  );
  expect(it.state.firstHours).toEqual([[now - 90 * DAY_MS, 5_000_000]]);
});

test("it is pruned once an hour, or when another process is due, and soon after a failure", async () => {
  await using it = setup();
  const tickAfter = async (ms: number) => {
    it.clock.advance(ms);
    await it.log.tick();
    return [it.state.claims, it.state.prunings.length];
  };
  expect(await tickAfter(MINUTE_MS)).toEqual([1, 1]);
  expect(await tickAfter(HOUR_MS - 1)).toEqual([1, 1]);
  it.state.waitMs = 5000;
  expect(await tickAfter(1)).toEqual([2, 1]);
  it.state.waitMs = 0;
  expect(await tickAfter(5000)).toEqual([3, 2]);
  it.state.isBroken = true;
  await tickAfter(HOUR_MS);
  it.state.isBroken = false;
  expect(await tickAfter(MINUTE_MS - 1)).toEqual([3, 2]);
  expect(await tickAfter(1)).toEqual([4, 3]);
});

test("P4: an app whose attempts fail has a name in the log even where nothing of it was ever stored", async () => {
  await using it = await managed([new Error("a fault of ours")]);
  using world = it.world;
  await world.manager.get(tokenOf(weixinSlot("wx9"))).catch(() => undefined);
  expect(await it.written()).toMatchObject([{ app: "wx9", outcome: "internal", errcode: undefined }]);
});
