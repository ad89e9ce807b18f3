import { expect, test } from "bun:test";

import { ManualClock } from "../support/manual-clock.ts";

test("time passes on both clocks only when it is told to", async () => {
  const clock = new ManualClock(1000);
  await clock.sleep(60_000);
  expect([clock.now(), clock.monotonic()]).toEqual([1000, 0]);
  clock.advance(5);
  expect([clock.now(), clock.monotonic()]).toEqual([1005, 5]);
});

test("the wall clock can be set without anything getting older", () => {
  const clock = new ManualClock(1000);
  clock.jumpWall(-300);
  expect([clock.now(), clock.monotonic()]).toEqual([700, 0]);
  expect(() => clock.advance(-1)).toThrow(RangeError);
});
