import { OTHER } from "../audit/audit-counts.ts";
import type { ServiceEvent } from "../events.ts";
import {
  type Counter,
  type EventHandlers,
  type Histogram,
  MAX_APPS,
  type MetricRegistry,
} from "./metrics.ts";
import { CALL_OUTCOMES } from "./upstream-metrics.ts";

const BOUNDS = [0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 3, 5, 8, 15, 30];
const HEAL_RESULTS = ["healed", "failed"] as const;
/** How many clients have series of their own, removed ones included. */
const MAX_CLIENTS = 1000;

/** What the metrics of the gateway need beside its events. */
export interface GatewayMetricsParts {
  readonly appCount: () => number;
  /** The public names of the apps that we hold, as many as have series of their own. */
  readonly listApps: () => readonly string[];
  /** Whether it is the public name of an app that we hold. Others get no series: callers could make any number. */
  readonly isHeldApp: (name: string) => boolean;
}

/** Counts what goes through the gateway in this process, by client, app and family of the path. */
export class GatewayMetrics {
  readonly #parts: GatewayMetricsParts;
  readonly #calls: Counter;
  readonly #seconds: Histogram;
  readonly #heals: Counter;
  readonly #rejectedTokenCalls: Counter;
  readonly #clients = new Set<string>();
  /** What is counted of each event. */
  readonly handlers: EventHandlers = {
    "gateway.called": (event) => this.count(event),
    "rejected_token.used": ({ app }) => this.#rejectedTokenCalls.increase(this.#appLabel(app)),
  };

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
      help: "Calls whose token was rejected: sent once more, or not. Without app above 1000 apps.",
      labelNames: ["app", "result"],
    });
    this.#rejectedTokenCalls = registry.counter({
      name: "accesstoken_gateway_rejected_token_calls_total",
      help: "Calls that came with a token which WeChat had rejected before its end. Without app above 1000 apps.",
      labelNames: ["app"],
    });
  }

  /** Counts a call. */
  count({
    client,
    app,
    family,
    outcome,
    healing,
    durationMs,
  }: Extract<ServiceEvent, { type: "gateway.called" }>): void {
    const name = this.#appLabel(app);
    const labels = [this.#clientLabel(client), name, family];
    // Who calls what is no fixed set: a first call is at 1 when it is first shown, but no first failure after it.
    this.#calls.show(labels, CALL_OUTCOMES);
    this.#calls.increase(...labels, outcome);
    this.#seconds.observe(durationMs / 1000, family);
    if (healing !== "none") this.#heals.increase(name, healing);
  }

  /** Shows what can become of any app's rejected tokens from 0 on. */
  showApps(): void {
    const apps = this.#parts.appCount() > MAX_APPS ? [""] : [...this.#parts.listApps(), OTHER];
    for (const app of apps) {
      this.#heals.show([app], HEAL_RESULTS);
      this.#rejectedTokenCalls.series(app);
    }
  }

  #appLabel(app: string): string {
    if (this.#parts.appCount() > MAX_APPS) return "";
    return this.#parts.isHeldApp(app) ? app : OTHER;
  }

  #clientLabel(client: string): string {
    // The holder of a real token is named by its address, of which there may be any number.
    for (const what of ["access token", "rejected access token"])
      if (client.startsWith(`(${what} `)) return `(${what})`;
    if (!this.#clients.has(client) && this.#clients.size >= MAX_CLIENTS) return OTHER;
    this.#clients.add(client);
    return client;
  }
}
