import type { ServiceEvent } from "../events.ts";
import { APPS_MOST, type Counter, type Gauge, type Histogram, type MetricRegistry } from "./metrics.ts";

const BOUNDS = [0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 3, 5, 8, 15, 30];
/** So many clients are told apart; there may have been more, one after the other. */
const CLIENTS_MOST = 1000;
/** Clients beyond those, and apps of which we hold no secret. */
const OTHER = "(other)";

/** What the metrics of the gateway need beside its events. */
export interface GatewayMetricsParts {
  readonly appCount: () => number;
  /** Whether it is the public name of an app that we hold. Others get no series: callers could make any number. */
  readonly isHeldApp: (name: string) => boolean;
  /** How many bytes of requests are held now, so that they can be sent once more. */
  readonly replayBytes: () => number;
}

/** Counts what goes through the gateway in this process, by client, app and family of the path. */
export class GatewayMetrics {
  readonly #parts: GatewayMetricsParts;
  readonly #calls: Counter;
  readonly #seconds: Histogram;
  readonly #heals: Counter;
  readonly #held: Gauge;
  readonly #clients = new Set<string>();

  constructor(registry: MetricRegistry, parts: GatewayMetricsParts) {
    this.#parts = parts;
    this.#calls = registry.counter({
      name: "accesstoken_gateway_calls_total",
      help: "Calls through the gateway. Without app above 1000 apps.",
      labelNames: ["client", "app", "family", "outcome"],
    });
    this.#seconds = registry.histogram({
      name: "accesstoken_gateway_duration_seconds",
      help: "Time from a call's arrival at the gateway to the head of its answer.",
      labelNames: ["family"],
      bounds: BOUNDS,
    });
    this.#heals = registry.counter({
      name: "accesstoken_gateway_heals_total",
      help: "Calls whose token turned out to be dead: sent once more, or not. Without app above 1000 apps.",
      labelNames: ["app", "result"],
    });
    this.#held = registry.gauge({
      name: "accesstoken_gateway_replay_bytes",
      help: "Bytes of requests that are held now, so that they can be sent once more.",
      merge: "add",
    });
  }

  count({
    client,
    app,
    family,
    outcome,
    healing,
    durationMs,
  }: Extract<ServiceEvent, { type: "gateway.called" }>): void {
    const name = this.#appLabel(app);
    this.#calls.increase(this.#clientLabel(client), name, family, outcome);
    this.#seconds.observe(durationMs / 1000, family);
    if (healing !== "none") this.#heals.increase(name, healing);
  }

  /** Reads what stands and does not happen. */
  read(): void {
    this.#held.set(this.#parts.replayBytes());
  }

  #appLabel(app: string): string {
    if (this.#parts.appCount() > APPS_MOST) return "";
    return this.#parts.isHeldApp(app) ? app : OTHER;
  }

  #clientLabel(client: string): string {
    // Who holds a real token is told by address; of those there is any number.
    if (client.startsWith("(access token")) return "(access token)";
    if (!this.#clients.has(client) && this.#clients.size >= CLIENTS_MOST) return OTHER;
    this.#clients.add(client);
    return client;
  }
}
