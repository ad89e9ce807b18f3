/**
 * Wall-clock and monotonic time, as a parameter: tests need not wait.
 */
export interface Clock {
  /** Wall-clock time in epoch milliseconds. It jumps when the machine's clock is set. */
  now(): number;
  /** Milliseconds since an arbitrary start. It never goes back and ignores changes of the wall clock. */
  monotonic(): number;
  /** Resolves after `ms` milliseconds. */
  sleep(ms: number): Promise<void>;
}

/** The machine's own clocks. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
};

/**
 * Does work in rounds, one after the other: each resolves with how long it is until the next, in milliseconds, and never
 * throws. The timer keeps no process alive.
 */
export class Rounds {
  readonly #round: () => Promise<number>;
  readonly #soonMs: number;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #isStopped = true;
  #isStale = false;

  /** `soonMs`: how long to wait for more before a round that is wanted soon. */
  constructor(round: () => Promise<number>, soonMs: number) {
    this.#round = round;
    this.#soonMs = soonMs;
  }

  /** Has the first round soon, and may be called again after `stop`. */
  start(): void {
    this.#isStopped = false;
    this.wake();
  }

  /** Has a round soon; after the one that is under way, which may have missed what there is to do. */
  wake(): void {
    this.#isStale = true;
    this.#arm(this.#soonMs);
  }

  /** Resolves when the round has ended that is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #arm(ms: number): void {
    if (this.#isStopped || this.#running) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#isStale = false;
      this.#running = this.#next();
    }, ms);
    this.#timer.unref();
  }

  async #next(): Promise<void> {
    const nextMs = await this.#round();
    this.#running = undefined;
    this.#arm(this.#isStale ? this.#soonMs : nextMs);
  }
}

/**
 * The wall clock, or what it shows now and the time since then where that is later: a clock that is set back revives
 * nothing that has expired in this process, and one that was ahead for a while ends nothing.
 */
export function latestTime(clock: Clock): () => number {
  const aheadMs = clock.now() - clock.monotonic();
  // Whole, as instants are stored: a row with a part of a millisecond in it counts as damaged.
  return () => Math.max(clock.now(), Math.floor(clock.monotonic() + aheadMs));
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Beijing has no summer time. */
const OFFSET_MS = 8 * HOUR_MS;

/** When the hour of an instant began; epoch milliseconds, both. */
export function hourOf(at: number): number {
  return at - (at % HOUR_MS);
}

/** The day in Beijing, as `YYYY-MM-DD`: WeChat's daily quotas are counted by it. `now` is in epoch milliseconds. */
export function beijingDay(now: number): string {
  return new Date(now + OFFSET_MS).toISOString().slice(0, 10);
}

/** Milliseconds until midnight in Beijing, when WeChat's daily quotas are reset. */
export function untilMidnightInBeijing(now: number): number {
  return DAY_MS - ((now + OFFSET_MS) % DAY_MS);
}

/** When the day in Beijing of an instant began; epoch milliseconds, both. */
export function startOfBeijingDay(at: number): number {
  return at + untilMidnightInBeijing(at) - DAY_MS;
}
