import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../../src/clock.ts";

/** 12:00 in Beijing on 22 November 2026: far from midnight, so that a test crosses a day only when it means to. */
const NOON_IN_BEIJING = Date.UTC(2026, 10, 22, 4, 0, 0);

/**
 * A clock that stands still until a test moves it.
 *
 * Wall-clock time and age can be moved separately, because a machine's wall clock can be set while it runs.
 */
export class ManualClock implements Clock {
  #wall: number;
  #age = 0;

  /** Starts at `wall` (epoch milliseconds), by default at noon in Beijing. */
  constructor(wall = NOON_IN_BEIJING) {
    this.#wall = wall;
  }

  now(): number {
    return this.#wall;
  }

  monotonic(): number {
    return this.#age;
  }

  /**
   * Lets everybody else run once, and passes no time.
   *
   * A sleep that moved the clock would let one of two nodes expire the lease of the other.
   */
  async sleep(_ms: number): Promise<void> {
    await nextTurn();
  }

  /** Passes `ms` milliseconds: both the time of day and the age of things go forward. */
  advance(ms: number): void {
    if (ms < 0) throw new RangeError("time does not go back; use jumpWall to set the wall clock");
    this.#wall += ms;
    this.#age += ms;
  }

  /** Sets the wall clock forward or back by `ms`, as an operator or NTP would; nothing gets older. */
  jumpWall(ms: number): void {
    this.#wall += ms;
  }
}
