import { expect, test } from "bun:test";
import { latestTime, Rounds } from "../src/clock.ts";

test("the latest time is a whole number of milliseconds, however fine the monotonic clock is, and never goes back", () => {
  const at = { wall: 1_800_000_000_000, monotonic: 12.75 };
  const now = latestTime({
    now: () => at.wall,
    monotonic: () => at.monotonic,
    sleep: async () => undefined,
  });
  at.monotonic = 13.5;
  expect(now()).toBe(1_800_000_000_000);
  at.monotonic = 60_012.9;
  expect(now()).toBe(1_800_000_060_000);
  at.wall += 90_000;
  expect(now()).toBe(1_800_000_090_000);
  at.wall -= 3_600_000;
  expect(now()).toBe(1_800_000_060_000);
});

test("a round follows another after the time that it says, or soon when it is woken meanwhile, and never beside it", async () => {
  const begun = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const ends = begun.map(() => Promise.withResolvers<number>());
  let count = 0;
  const rounds = new Rounds(() => {
    begun[count]?.resolve();
    return ends[count++]?.promise ?? Promise.resolve(60_000);
  }, 1);
  rounds.wake();
  rounds.start();
  await begun[0]?.promise;
  rounds.wake();
  ends[0]?.resolve(60_000);
  await begun[1]?.promise;
  ends[1]?.resolve(0);
  await begun[2]?.promise;
  let isStopped = false;
  const stopped = rounds.stop().then(() => (isStopped = true));
  rounds.wake();
  expect([count, isStopped]).toEqual([3, false]);
  ends[2]?.resolve(0);
  await stopped;
  expect(count).toBe(3);
});
