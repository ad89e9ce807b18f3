import { systemClock } from "../clock.ts";

const STEP_MS = 200;
/** For how many steps the worst is told: longer than most intervals at which somebody looks. */
const STEPS = 75;

/**
 * How late this process's event loop is: the worst of the last 15 s.
 *
 * It looks at the machine's own clock, because a loop that is blocked is blocked in real time.
 */
export class EventLoopLag {
  readonly #lags: number[] = [];
  #timer: Timer | undefined;
  #expectedAt = 0;

  /** Begins to measure. The measuring keeps no process alive. */
  start(): void {
    this.#expectedAt = systemClock.monotonic() + STEP_MS;
    this.#timer = setInterval(() => this.#measure(), STEP_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** In seconds. What blocks the loop right now is included. */
  worstSeconds(): number {
    const overdueMs = this.#timer ? systemClock.monotonic() - this.#expectedAt : 0;
    return Math.max(0, overdueMs, ...this.#lags) / 1000;
  }

  #measure(): void {
    const now = systemClock.monotonic();
    this.#lags.push(Math.max(0, now - this.#expectedAt));
    if (this.#lags.length > STEPS) this.#lags.shift();
    this.#expectedAt = now + STEP_MS;
  }
}
