import type { DeliveryFigures } from "../callbacks/delivery-store.ts";
import type { Clock } from "../clock.ts";
import { PUSH_OUTCOMES } from "../events.ts";
import type { Counter, EventHandlers, Gauge, Histogram, MetricRegistry } from "./metrics.ts";

/** Up to what WeChat waits for. */
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 4.5, 5];

/** What the metrics of pushes need beside the events. */
export interface PushMetricsParts {
  readonly clock: Clock;
  /** How full the queue is, of all processes. Called at each snapshot. */
  readonly queueFigures: () => Promise<DeliveryFigures>;
}

/** Counts pushes and their deliveries in this process, and shows the queue of all. */
export class PushMetrics {
  readonly #parts: PushMetricsParts;
  readonly #pushes: Counter;
  readonly #seconds: Histogram;
  readonly #skewed: Counter;
  readonly #attempts: Counter;
  readonly #died: Counter;
  readonly #queue: Gauge;
  readonly #oldest: Gauge;

  constructor(registry: MetricRegistry, parts: PushMetricsParts) {
    this.#parts = parts;
    const counter = (name: string, help: string, labelNames: readonly string[] = []) =>
      registry.counter({ name: `accesstoken_${name}_total`, help, labelNames });
    this.#pushes = counter("pushes", "What came to callback URLs, by what became of it.", ["outcome"]);
    this.#pushes.show([], PUSH_OUTCOMES);
    this.#seconds = registry.histogram({
      name: "accesstoken_push_duration_seconds",
      help: "Time from a push's arrival to its answer: most of all that of its primary.",
      bounds: BOUNDS,
    });
    this.#seconds.series();
    this.#skewed = counter("skewed_pushes", "Pushes whose timestamp is more than five minutes off.");
    this.#skewed.series();
    this.#attempts = counter("delivery_attempts", "Attempts to deliver a push to a target.", ["outcome"]);
    this.#attempts.show([], ["delivered", "failed"]);
    this.#died = counter("dead_deliveries", "Deliveries that were tried for a day in vain.");
    this.#died.series();
    this.#queue = registry.gauge({
      name: "accesstoken_deliveries",
      help: "Deliveries that wait, and dead ones that can be replayed, of all processes.",
      labelNames: ["state"],
      merge: "max",
    });
    this.#oldest = registry.gauge({
      name: "accesstoken_oldest_delivery_seconds",
      help: "How long ago the oldest push came that still waits for a target; 0 when none does.",
      merge: "max",
    });
  }

  /** What is counted of each event. */
  readonly handlers: EventHandlers = {
    "push.answered": ({ outcome, durationMs }) => {
      this.#pushes.increase(outcome);
      this.#seconds.observe(durationMs / 1000);
    },
    "push.skewed": () => this.#skewed.increase(),
    "delivery.tried": ({ outcome }) => this.#attempts.increase(outcome),
    "delivery.died": () => this.#died.increase(),
  };

  /** Reads the queue. What the store can't read is left as it was. */
  async readQueue(): Promise<void> {
    const { clock, queueFigures } = this.#parts;
    const figures = await queueFigures().catch(() => undefined);
    if (!figures) return;
    const { waiting, dead, oldestAt } = figures;
    this.#queue.set(waiting, "waiting");
    this.#queue.set(dead, "dead");
    this.#oldest.set(oldestAt === undefined ? 0 : Math.max(0, clock.now() - oldestAt) / 1000);
  }
}
