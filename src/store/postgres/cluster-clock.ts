import type { Clock } from "../../clock.ts";

/**
 * The time of the database, which all processes of a cluster go by: their own clocks may differ by minutes, and a token
 * that one of them has stored must end for all of them at once.
 *
 * Between two measurements it goes with the machine's own clock.
 */
export class ClusterClock implements Clock {
  readonly #own: Clock;
  #offsetMs = 0;

  constructor(own: Clock) {
    this.#own = own;
  }

  /** By how much the database's clock is ahead of this machine's, in milliseconds. */
  get offsetMs(): number {
    return this.#offsetMs;
  }

  now(): number {
    return this.#own.now() + this.#offsetMs;
  }

  monotonic(): number {
    return this.#own.monotonic();
  }

  sleep(ms: number): Promise<void> {
    return this.#own.sleep(ms);
  }

  /**
   * Takes the database's time, which has just arrived: it was asked for when `monotonic` was `askedAt`, and read somewhere
   * in between. An offset that may still be right stays, so that time does not tremble.
   */
  measure(databaseNow: number, askedAt: number): void {
    const halfMs = (this.#own.monotonic() - askedAt) / 2;
    const measured = databaseNow + halfMs - this.#own.now();
    if (Math.abs(measured - this.#offsetMs) > halfMs + 1) this.#offsetMs = Math.round(measured);
  }
}
