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

const DAY_MS = 86_400_000;
/** Beijing has no summer time. */
const OFFSET_MS = 8 * 3_600_000;

/** The day in Beijing, as `YYYY-MM-DD`: WeChat's daily quotas are counted by it. `now` is in epoch milliseconds. */
export function beijingDay(now: number): string {
  return new Date(now + OFFSET_MS).toISOString().slice(0, 10);
}

/** Milliseconds until midnight in Beijing, when WeChat's daily quotas are reset. */
export function untilMidnightInBeijing(now: number): number {
  return DAY_MS - ((now + OFFSET_MS) % DAY_MS);
}
