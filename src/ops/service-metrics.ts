import { PATH_FAMILIES } from "../access/api-policy.ts";
import type { SlotName } from "../apps/app.ts";
import { OTHER } from "../audit/audit-counts.ts";
import { type Clock, systemClock } from "../clock.ts";
import type { UpstreamErrorClass } from "../errors.ts";
import {
  type EventListener,
  FAILED_RESULTS,
  type RequestResult,
  type ServiceEvent,
  STORE_FAILURES,
  type UpstreamCall,
} from "../events.ts";
import type { StandingLife } from "../credentials/credential-store.ts";
import {
  type Counter,
  type Gauge,
  type Histogram,
  type HistogramSeries,
  MAX_APPS,
  type MetricOptions,
  MetricRegistry,
  type NumberSeries,
  type Snapshot,
} from "./metrics.ts";

const REQUEST_BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const STORE_BOUNDS = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const CHANGE_BOUNDS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 1.2, 2.5, 5, 10];
const UPSTREAM_BOUNDS = [0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 3, 5, 8];

/** What the metrics need beside the events. */
export interface ServiceMetricsParts extends GatewayMetricsParts {
  /** Which process this is; unique among the workers of one service. */
  readonly worker: string;
  readonly version: string;
  readonly clock: Clock;
  /** The current credentials. Called at each snapshot. */
  readonly listLives: () => Promise<readonly StandingLife[]>;
  /** Which apps the upstream has refused for now, and why. Called at each snapshot. */
  readonly listBlocked: () => Promise<
    readonly { readonly app: string; readonly class: UpstreamErrorClass }[]
  >;
  /** How many processes share the database, and how this one is tied to them. Called at each snapshot. */
  readonly cluster: () => {
    readonly nodes: number;
    /** By how much the database's clock is ahead of this machine's. */
    readonly offsetMs: number;
    /** Whether notifications of changes arrive; undefined where there are none. */
    readonly isListening: boolean | undefined;
  };
  /** Whether it is the slot of a secret that we hold. Others get no series: callers could make any number. */
  readonly isConfigured: (slot: SlotName) => boolean;
}

type Handlers = {
  readonly [T in ServiceEvent["type"]]?: (event: Extract<ServiceEvent, { type: T }>) => void;
};

/**
 * The metrics of this process, derived from its events.
 *
 * Every label value is from a fixed list (routes are patterns, endpoints and classes are names in this program), or
 * an app that an operator has configured: no caller can create a series.
 */
export class ServiceMetrics {
  readonly #parts: ServiceMetricsParts;
  readonly #registry = new MetricRegistry();
  readonly #handlers: Handlers;
  readonly #expiry: Gauge;
  readonly #blocked: Gauge;
  readonly #requests: Counter;
  readonly #nodes: Gauge;
  readonly #offsetSeconds: Gauge;
  readonly #listenUp: Gauge;
  readonly #lagSeconds: Gauge;
  readonly #residentBytes: Gauge;
  readonly #gateway: GatewayMetrics;
  readonly #lag = new EventLoopLag();

  constructor(parts: ServiceMetricsParts) {
    this.#parts = parts;
    this.#gateway = new GatewayMetrics(this.#registry, parts);
    this.#requests = this.#registry.counter({
      name: "accesstoken_requests_total",
      help: "Requests by route and how they were served.",
      labelNames: ["route", "result"],
    });
    this.#handlers = {
      ...createHandlers(this.#registry, this.#requests),
      "gateway.called": (event) => this.#gateway.count(event),
      "rejected_token.used": ({ app }) => this.#gateway.countRejectedToken(app),
    };
    this.#expiry = this.#registry.gauge({
      name: "accesstoken_credential_expiry_seconds",
      help: "Remaining life of each current credential; 0 when it has expired. Off above 1000 apps.",
      labelNames: ["platform", "app", "kind"],
      merge: "max",
    });
    this.#blocked = this.#registry.gauge({
      name: "accesstoken_blocked_apps",
      help: "Apps that WeChat or WeCom refuses for now, by class of errcode; GET /v1/apps says which.",
      labelNames: ["class"],
      merge: "max",
    });
    this.#nodes = this.#registry.gauge({
      name: "accesstoken_nodes",
      help: "Processes that share the database and were seen in the last 10 s, this one included.",
      merge: "max",
    });
    this.#offsetSeconds = this.#registry.gauge({
      name: "accesstoken_store_clock_offset_seconds",
      help: "By how much the clock of PostgreSQL is ahead of this machine's.",
      merge: "worker",
    });
    this.#listenUp = this.#registry.gauge({
      name: "accesstoken_listen_up",
      help: "1 while notifications of PostgreSQL arrive, 0 while changes are looked for every 250 ms.",
      merge: "worker",
    });
    this.#lagSeconds = this.#registry.gauge({
      name: "accesstoken_event_loop_lag_seconds",
      help: "The worst lateness of the event loop in the last 15 s.",
      merge: "worker",
    });
    this.#residentBytes = this.#registry.gauge({
      name: "accesstoken_resident_memory_bytes",
      help: "Memory of the process that is in RAM (RSS).",
      merge: "worker",
    });
    this.#registry
      .gauge({
        name: "accesstoken_build_info",
        help: "Always 1; the labels are the versions.",
        labelNames: ["version", "bun"],
        merge: "max",
      })
      .set(1, parts.version, Bun.version);
  }

  /** Counts an event. Bound, so that it can be subscribed. */
  readonly listen: EventListener = (event) => {
    const handle = this.#handlers[event.type] as ((event: ServiceEvent) => void) | undefined;
    handle?.(event);
  };

  /** Shows the failures of these routes, and of every family of WeChat's paths, from 0 on, so that the first is an increase. */
  showRoutes(patterns: readonly string[]): void {
    const families = PATH_FAMILIES.map((family) => `${family}/**`);
    for (const route of ["(none)", "/gateway/:app/**", ...patterns, ...families])
      if (!route.endsWith("/*")) this.#requests.show([route], FAILED_RESULTS);
  }

  start(): void {
    this.#lag.start();
  }

  stop(): void {
    this.#lag.stop();
  }

  /** Everything measured so far, as plain JSON. What the store can't read is left out. */
  async snapshot(): Promise<Snapshot> {
    await this.#readExpiries();
    await this.#readBlocked();
    this.#gateway.showApps();
    this.#readCluster();
    this.#lagSeconds.set(this.#lag.worstSeconds());
    this.#residentBytes.set(process.memoryUsage.rss());
    return this.#registry.snapshot(this.#parts.worker);
  }

  #readCluster(): void {
    const { nodes, offsetMs, isListening } = this.#parts.cluster();
    this.#nodes.set(nodes);
    if (isListening === undefined) return;
    this.#offsetSeconds.set(offsetMs / 1000);
    this.#listenUp.set(isListening ? 1 : 0);
  }

  async #readBlocked(): Promise<void> {
    const blocked = await this.#parts.listBlocked().catch(() => undefined);
    this.#blocked.clear();
    if (!blocked) return;
    for (const name of ERROR_CLASSES) {
      const apps = new Set(blocked.flatMap(({ app, class: why }) => (why === name ? [app] : [])));
      this.#blocked.set(apps.size, name);
    }
  }

  async #readExpiries(): Promise<void> {
    const { appCount, clock, listLives, isConfigured } = this.#parts;
    const lives = appCount() > MAX_APPS ? [] : await listLives().catch(() => []);
    this.#expiry.clear();
    for (const { name, expiresAt } of lives) {
      if (!isConfigured(name.slot)) continue;
      const { platform, appId, name: slot } = name.slot;
      const leftSeconds = Math.max(0, expiresAt - clock.now()) / 1000;
      this.#expiry.set(leftSeconds, platform, platform === "wecom" ? `${appId}_${slot}` : appId, name.kind);
    }
  }
}

/** The usual codes of denials, which are shown from 0 on; any other from its first denial on. */
const DENIAL_CODES = [401, 403, 429, 40001, 40125, 45009, 45011, 48001, 48002];
/** All of them. */
const ERROR_CLASSES = Object.keys({
  transient: 1,
  token_invalid: 1,
  config: 1,
  quota_minute: 1,
  quota_day: 1,
  risk: 1,
  account: 1,
  permission: 1,
  input: 1,
} satisfies Record<UpstreamErrorClass, 1>);
/** How a call that was sent, or should have been, ends without an errcode and not well. */
const CALL_FAILURES = ["upstream_invalid", "upstream_unreachable", "upstream_timeout"] as const;
const CALL_OUTCOMES = ["ok", "errcode", ...CALL_FAILURES] as const;
/** What this service asks on its own account. */
const UPSTREAM_ENDPOINTS = {
  weixin: [
    "/cgi-bin/stable_token",
    "/cgi-bin/token",
    "/cgi-bin/ticket/getticket",
    "/cgi-bin/getcallbackip",
    "/sns/oauth2/access_token",
    "/sns/jscode2session",
  ],
  wecom: [
    "/cgi-bin/gettoken",
    "/cgi-bin/get_jsapi_ticket",
    "/cgi-bin/ticket/get",
    "/cgi-bin/getcallbackip",
    "/cgi-bin/auth/getuserinfo",
    "/cgi-bin/user/getuserinfo",
    "/cgi-bin/school/getuserinfo",
    "/cgi-bin/miniprogram/jscode2session",
  ],
};

/** What is counted of each request to one route. */
interface RouteSeries {
  readonly results: Map<RequestResult, NumberSeries>;
  readonly seconds: HistogramSeries;
}

function createHandlers(registry: MetricRegistry, requests: Counter): Handlers {
  const counter = (name: string, help: string, options: Partial<MetricOptions> = {}) =>
    registry.counter({ name: `accesstoken_${name}_total`, help, ...options });
  const requestSeconds = registry.histogram({
    name: "accesstoken_request_duration_seconds",
    help: "Time from a request's arrival to its answer.",
    labelNames: ["route"],
    bounds: REQUEST_BOUNDS,
  });
  const routes = new Map<string, RouteSeries>();
  const call = ["platform", "endpoint", "outcome"];
  const upstreamCalls = counter("upstream_calls", "Calls to WeChat and WeCom.", { labelNames: call });
  for (const [platform, endpoints] of Object.entries(UPSTREAM_ENDPOINTS))
    for (const endpoint of endpoints) upstreamCalls.show([platform, endpoint], CALL_OUTCOMES);
  const upstreamSeconds = registry.histogram({
    name: "accesstoken_upstream_duration_seconds",
    help: "Time that calls to WeChat and WeCom took.",
    labelNames: call,
    bounds: UPSTREAM_BOUNDS,
  });
  const storeSeconds = registry.histogram({
    name: "accesstoken_store_duration_seconds",
    help: "Time that queries of the database took, transactions that write as a whole.",
    labelNames: ["operation"],
    bounds: STORE_BOUNDS,
  });
  for (const operation of ["read", "write"] as const) storeSeconds.series(operation);
  const storeErrors = counter("store_errors", "Queries that the database failed, by what was in the way.", {
    labelNames: ["code"],
  });
  for (const code of STORE_FAILURES) storeErrors.series(code);
  const changeSeconds = registry.histogram({
    name: "accesstoken_change_delay_seconds",
    help: "Time from a change on another machine until this process knew of it.",
    bounds: CHANGE_BOUNDS,
  });
  changeSeconds.series();
  const gauge = (name: string, help: string) => {
    const made = registry.gauge({ name: `accesstoken_${name}`, help, merge: "add" });
    made.set(0);
    return made;
  };
  const flights = gauge("refresh_flights", "Refreshes that run now.");
  const waiters = gauge("refresh_waiters", "Callers that wait for a refresh now.");
  const refreshes = counter("refreshes", "Credentials that were obtained and stored.");
  const failures = counter("refresh_failures", "Refreshes that failed, by class of errcode or error code.", {
    labelNames: ["class"],
  });
  failures.show([], [...ERROR_CLASSES, ...CALL_FAILURES, "unavailable", "store_unusable", "internal"]);
  const fenced = counter("fenced_writes", "Answers that came after a newer one and were not stored.");
  const leaseWaits = counter("lease_waits", "Refreshes that waited for another process.");
  const denials = counter("denials", "Requests that were denied because of who the caller is, by code.", {
    formerName: "accesstoken_refusals_total",
    labelNames: ["code"],
  });
  denials.show([], DENIAL_CODES.map(String));
  const evicted = counter(
    "user_tokens_evicted",
    "Users' tokens that were forgotten early: there were too many.",
  );
  const auditFailures = counter("audit_failures", "Writes to the audit that failed.");
  const revokedEarly = counter("revoked_early_tokens", "Tokens that another program's fetch has revoked.", {
    formerName: "accesstoken_died_early_tokens_total",
  });
  const countUpstream = ({ platform, endpoint, outcome, durationMs }: UpstreamCall) => {
    upstreamCalls.show([platform, endpoint], CALL_OUTCOMES);
    upstreamCalls.increase(platform, endpoint, outcome);
    upstreamSeconds.observe(durationMs / 1000, platform, endpoint, outcome);
  };
  return {
    "request.handled": ({ route, result, durationMs }) => {
      let known = routes.get(route);
      if (!known) {
        known = {
          results: new Map(FAILED_RESULTS.map((result) => [result, requests.series(route, result)])),
          seconds: requestSeconds.series(route),
        };
        routes.set(route, known);
      }
      let counted = known.results.get(result);
      if (!counted) {
        counted = requests.series(route, result);
        known.results.set(result, counted);
      }
      counted.value += 1;
      known.seconds.observe(durationMs / 1000);
    },
    "upstream.called": countUpstream,
    "gateway.sent": countUpstream,
    "refresh.started": () => flights.add(1),
    "refresh.finished": () => flights.add(-1),
    "waiter.added": () => waiters.add(1),
    "waiter.removed": () => waiters.add(-1),
    "credential.refreshed": () => refreshes.increase(),
    "credential.refresh_failed": (event) => failures.increase(event.class ?? event.code),
    "credential.fenced": () => fenced.increase(),
    "credential.lease_waited": () => leaseWaits.increase(),
    "user_tokens.evicted": ({ count }) => void (evicted.series().value += count),
    "store.queried": ({ operation, durationMs, failure }) => {
      storeSeconds.observe(durationMs / 1000, operation);
      if (failure) storeErrors.increase(failure);
    },
    "change.seen": ({ delayMs }) => changeSeconds.observe(delayMs / 1000),
    "access.denied": ({ code }) => denials.increase(String(code)),
    "audit.failed": () => auditFailures.increase(),
    "credential.revoked_early": () => revokedEarly.increase(),
  };
}

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

  /** Counts a call that came with a rejected token of that app. */
  countRejectedToken(app: string): void {
    this.#rejectedTokenCalls.increase(this.#appLabel(app));
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
