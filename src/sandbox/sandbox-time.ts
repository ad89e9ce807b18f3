import type { Clock } from "../clock.ts";

const DAY_MS = 86_400_000;
const BEIJING_OFFSET_MS = 8 * 3_600_000;

/**
 * The time of day on WeChat's side.
 *
 * It starts at the wall clock and from then on follows the age of things. Setting the wall clock of this machine
 * does not change the time at WeChat, so a jump of the wall clock leaves tokens here exactly as old as they were.
 */
export class SandboxTime {
  readonly #clock: Clock;
  readonly #offset: number;
  #date = { day: Number.NaN, text: "" };

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#offset = clock.now() - clock.monotonic();
  }

  /** Epoch milliseconds at WeChat. */
  now(): number {
    return this.#offset + this.#clock.monotonic();
  }

  /** Epoch seconds at WeChat, rounded down. */
  seconds(): number {
    return Math.floor(this.now() / 1000);
  }

  /** The date in Beijing as `2026-11-22`; daily quotas start again when it changes. */
  day(): string {
    const day = Math.floor((this.now() + BEIJING_OFFSET_MS) / DAY_MS);
    // Every request asks; the text is made once a day.
    if (day !== this.#date.day) this.#date = { day, text: new Date(day * DAY_MS).toISOString().slice(0, 10) };
    return this.#date.text;
  }

  /** The month in Beijing as `2026-11`. */
  month(): string {
    return this.day().slice(0, 7);
  }

  /** The running number of the current window of `ms` milliseconds, for quotas per minute and per hour. */
  window(ms: number): number {
    return Math.floor(this.now() / ms);
  }
}
