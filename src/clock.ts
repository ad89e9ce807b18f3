/**
 * The time of day and the age of things, as a parameter.
 *
 * Everything that decides by time takes a `Clock`, so that a test can be at any instant without waiting for it.
 */
export interface Clock {
  /** Wall-clock time in epoch milliseconds. It can jump either way when somebody sets the machine's clock. */
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

const DAY_MS = 86_400_000;
/** Beijing has no summer time. */
const OFFSET_MS = 8 * 3_600_000;

/** The day in Beijing, as `YYYY-MM-DD`: WeChat's daily quotas are counted by it. `now` is in epoch milliseconds. */
export function beijingDay(now: number): string {
  return new Date(now + OFFSET_MS).toISOString().slice(0, 10);
}

/** Milliseconds until the day ends in Beijing, where WeChat's daily quotas begin anew. */
export function untilMidnightInBeijing(now: number): number {
  return DAY_MS - ((now + OFFSET_MS) % DAY_MS);
}
