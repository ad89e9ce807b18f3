import { expect, test } from "bun:test";
import { latestTime } from "../src/clock.ts";

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
