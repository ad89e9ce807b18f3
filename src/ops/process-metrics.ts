import { systemClock } from "../clock.ts";
import type { Gauge, MetricRegistry } from "./metrics.ts";

/** What this process itself takes: time, memory, and since when it runs. */
export class ProcessMetrics {
  readonly #lagSeconds: Gauge;
  readonly #residentBytes: Gauge;
  readonly #lag = new EventLoopLag();

  constructor(registry: MetricRegistry, version: string) {
    const gauge = (name: string, help: string) =>
      registry.gauge({ name: `accesstoken_${name}`, help, merge: "worker" });
    this.#lagSeconds = gauge(
      "event_loop_lag_seconds",
      "The worst lateness of the event loop in the last 15 s.",
    );
    this.#residentBytes = gauge("resident_memory_bytes", "Memory of the process that is in RAM (RSS).");
    gauge("process_start_time_seconds", "When the process was started, by its machine's clock.").set(
      Math.round(performance.timeOrigin) / 1000,
    );
    registry
      .gauge({
        name: "accesstoken_build_info",
        help: "Always 1; the labels are the versions.",
        labelNames: ["version", "bun"],
        merge: "max",
      })
      .set(1, version, Bun.version);
  }

  start(): void {
    this.#lag.start();
  }

  stop(): void {
    this.#lag.stop();
  }

  /** Reads what is not counted as it happens. */
  read(): void {
    this.#lagSeconds.set(this.#lag.worstSeconds());
    this.#residentBytes.set(process.memoryUsage.rss());
  }
}

/** Often enough to notice what callers notice, and seldom enough to cost an idle service nothing. */
const STEP_MS = 1000;
/** For how many steps the worst is shown: longer than most intervals at which metrics are read. */
const STEPS = 15;

/**
 * How late this process's event loop is: the worst of the last 15 s.
 *
 * It looks at the machine's own clock, because a loop that is blocked is blocked in real time.
 */
class EventLoopLag {
  readonly #lags: number[] = [];
  #timer: Timer | undefined;
  #expectedAt = 0;

  /** Begins to measure. It keeps no process running. */
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
