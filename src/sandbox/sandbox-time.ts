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

/** How much of each quota is used in its current window (a day, a minute, a month); an older window counts as 0. */
export class QuotaCounter {
  readonly #counts = new Map<string, { window: string | number; used: number }>();

  /** How often `name` was counted in `window`. */
  used(name: string, window: string | number): number {
    const count = this.#counts.get(name);
    return count?.window === window ? count.used : 0;
  }

  /** Counts one more of `name` and returns how many there are now in `window`. */
  add(name: string, window: string | number): number {
    const used = this.used(name, window) + 1;
    this.#counts.set(name, { window, used });
    return used;
  }

  /** Everything that was used in `window`, by name. */
  usage(window: string | number): Record<string, number> {
    const entries = [...this.#counts].filter(([, count]) => count.window === window);
    return Object.fromEntries(entries.map(([name, count]) => [name, count.used]));
  }

  /** Forgets what was used. */
  clear(): void {
    this.#counts.clear();
  }
}
