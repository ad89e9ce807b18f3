/** WeChat forces a new stable token 20 times a day and app, and ignores a call within 30 s of the last. */
export const FORCED_A_DAY = 20;
export const FORCED_PAUSE_MS = 30_000;

/** Counts the forced refreshes of WeChat's stable tokens, in the store, for all processes together. */
export interface ForcedRefreshes {
  /**
   * Takes one of today's forced refreshes of a WeChat app, if one is left and 30 s have passed since the last.
   *
   * `now` is in epoch milliseconds. The answer is 0 when it was taken, else the milliseconds until the next may be.
   */
  take(appId: string, now: number): Promise<number>;
}

/** Tells how many forced refreshes an app has had. */
export interface ForcedRefreshCount {
  /** Since the last midnight in Beijing; `now` is in epoch milliseconds. */
  takenToday(appId: string, now: number): Promise<number>;
}
