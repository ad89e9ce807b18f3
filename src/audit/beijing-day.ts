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
