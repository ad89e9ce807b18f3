import type { EventListener, ServiceEvent } from "../events.ts";
import { CallerMetrics, type CallerMetricsParts } from "./caller-metrics.ts";
import { CredentialMetrics, type CredentialMetricsParts } from "./credential-metrics.ts";
import { GatewayMetrics, type GatewayMetricsParts } from "./gateway-metrics.ts";
import { type EventHandlers, MetricRegistry, type Snapshot } from "./metrics.ts";
import { notificationHandlers } from "./notification-metrics.ts";
import { ProcessMetrics } from "./process-metrics.ts";
import { PushMetrics, type PushMetricsParts } from "./push-metrics.ts";
import { StoreMetrics, type StoreMetricsParts } from "./store-metrics.ts";
import { upstreamHandlers } from "./upstream-metrics.ts";

/** What the metrics need beside the events. */
export interface ServiceMetricsParts
  extends
    CallerMetricsParts,
    CredentialMetricsParts,
    GatewayMetricsParts,
    PushMetricsParts,
    StoreMetricsParts {
  /** Which process this is; unique among the workers of one service. */
  readonly worker: string;
  readonly version: string;
}

/**
 * The metrics of this process, derived from its events.
 *
 * Every label value is from a fixed list (routes are patterns, endpoints and classes are names in this program), or
 * an app that an operator has configured: no caller can create a series.
 */
export class ServiceMetrics {
  readonly #worker: string;
  readonly #registry = new MetricRegistry();
  readonly #handlers: EventHandlers;
  readonly #callers: CallerMetrics;
  readonly #credentials: CredentialMetrics;
  readonly #gateway: GatewayMetrics;
  readonly #pushes: PushMetrics;
  readonly #store: StoreMetrics;
  readonly #process: ProcessMetrics;

  constructor(parts: ServiceMetricsParts) {
    this.#worker = parts.worker;
    this.#callers = new CallerMetrics(this.#registry, parts);
    const upstream = upstreamHandlers(this.#registry);
    this.#credentials = new CredentialMetrics(this.#registry, parts);
    this.#gateway = new GatewayMetrics(this.#registry, parts);
    this.#pushes = new PushMetrics(this.#registry, parts);
    this.#store = new StoreMetrics(this.#registry, parts);
    this.#process = new ProcessMetrics(this.#registry, parts.version);
    // Each event is counted in one place.
    this.#handlers = {
      ...this.#callers.handlers,
      ...upstream,
      ...this.#gateway.handlers,
      ...this.#pushes.handlers,
      ...this.#store.handlers,
      ...notificationHandlers(this.#registry),
    };
  }

  /** Counts an event. Bound, so that it can be subscribed. */
  readonly listen: EventListener = (event) => {
    const handle = this.#handlers[event.type] as ((event: ServiceEvent) => void) | undefined;
    handle?.(event);
  };

  /** See `CallerMetrics`. */
  showRoutes(patterns: readonly string[]): void {
    this.#callers.showRoutes(patterns);
  }

  start(): void {
    this.#process.start();
  }

  stop(): void {
    this.#process.stop();
  }

  /** Everything measured so far, as plain JSON. What the store can't read is left out. */
  async snapshot(): Promise<Snapshot> {
    await Promise.all([
      this.#callers.read(),
      this.#credentials.read(),
      this.#pushes.readQueue(),
      this.#store.read(),
    ]);
    this.#gateway.showApps();
    this.#process.read();
    return this.#registry.snapshot(this.#worker);
  }
}
