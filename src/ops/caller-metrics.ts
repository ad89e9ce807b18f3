import { PATH_FAMILIES } from "../access/api-policy.ts";
import { FAILED_RESULTS, type RequestResult, WEB_LOGIN_STEPS } from "../events.ts";
import {
  type Counter,
  type EventHandlers,
  type Gauge,
  type HistogramSeries,
  type MetricRegistry,
  type NumberSeries,
} from "./metrics.ts";

const BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** The usual codes of denials, which are shown from 0 on; any other from its first denial on. */
const DENIAL_CODES = [401, 403, 429, 40001, 40125, 45009, 45011, 48001, 48002];

/** What the metrics of callers need beside the events. */
export interface CallerMetricsParts {
  /** How many web logins are with WeChat. Called at each snapshot. */
  readonly countWaitingLogins: () => Promise<number>;
  /** How many streams of events this process has open, and how many people are signed in to the console anywhere. */
  readonly countListeners: () => { readonly streams: number; readonly sessions: number };
}

/** What is counted of each request to one route. */
interface RouteSeries {
  readonly results: Map<RequestResult, NumberSeries>;
  readonly seconds: HistogramSeries;
}

/** Counts what callers ask for, are denied and listen to, their web logins, and who is signed in to the console. */
export class CallerMetrics {
  readonly #parts: CallerMetricsParts;
  readonly #requests: Counter;
  readonly #waitingLogins: Gauge;
  readonly #streams: Gauge;
  readonly #sessions: Gauge;
  /** What is counted of each event. */
  readonly handlers: EventHandlers;

  constructor(registry: MetricRegistry, parts: CallerMetricsParts) {
    this.#parts = parts;
    this.#requests = registry.counter({
      name: "accesstoken_requests_total",
      help: "Requests by route and how they were served.",
      labelNames: ["route", "result"],
    });
    this.#waitingLogins = registry.gauge({
      name: "accesstoken_waiting_logins",
      help: "Web logins that were sent to WeChat and have not come back, of the last 10 min; at most 200,000 are kept.",
      merge: "max",
    });
    this.#streams = registry.gauge({
      name: "accesstoken_event_streams",
      help: "Streams of events that are open.",
      merge: "add",
    });
    this.#sessions = registry.gauge({
      name: "accesstoken_console_sessions",
      help: "Sessions of the console that have not ended.",
      merge: "max",
    });
    this.handlers = handlersOf(registry, this.#requests);
  }

  /** Shows the failures of these routes, and of every family of WeChat's paths, from 0 on, so that the first is an increase. */
  showRoutes(patterns: readonly string[]): void {
    const families = PATH_FAMILIES.map((family) => `${family}/**`);
    for (const route of ["(none)", "/gateway/:app/**", ...patterns, ...families])
      if (!route.endsWith("/*")) this.#requests.show([route], FAILED_RESULTS);
  }

  /** Reads what is not counted as it happens. What the store can't read is left as it was. */
  async read(): Promise<void> {
    const { streams, sessions } = this.#parts.countListeners();
    this.#streams.set(streams);
    this.#sessions.set(sessions);
    const waiting = await this.#parts.countWaitingLogins().catch(() => undefined);
    if (waiting !== undefined) this.#waitingLogins.set(waiting);
  }
}

function handlersOf(registry: MetricRegistry, requests: Counter): EventHandlers {
  const counter = (name: string, help: string, labelNames: readonly string[] = []) =>
    registry.counter({ name: `accesstoken_${name}_total`, help, labelNames });
  const requestSeconds = registry.histogram({
    name: "accesstoken_request_duration_seconds",
    help: "Time from a request's arrival to its answer.",
    labelNames: ["route"],
    bounds: BOUNDS,
  });
  const routes = new Map<string, RouteSeries>();
  const denials = registry.counter({
    name: "accesstoken_denials_total",
    help: "Requests that were denied because of who the caller is, by code.",
    formerName: "accesstoken_refusals_total",
    labelNames: ["code"],
  });
  denials.show([], DENIAL_CODES.map(String));
  const evicted = counter(
    "user_tokens_evicted",
    "Users' tokens that were forgotten early: there were too many.",
  );
  const webLogins = counter("web_logins", "Steps of web logins.", ["step"]);
  webLogins.show([], WEB_LOGIN_STEPS);
  const evictedLogins = counter(
    "web_logins_evicted",
    "Web logins that were forgotten early: there were too many.",
  );
  const dropped = counter(
    "event_streams_dropped",
    "Streams of events that were ended because their readers had lost touch.",
  );
  return {
    "request.handled": ({ route, result, durationMs }) => {
      let known = routes.get(route);
      if (!known) {
        known = {
          results: new Map(FAILED_RESULTS.map((each) => [each, requests.series(route, each)])),
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
    "access.denied": ({ code }) => denials.increase(String(code)),
    "user_tokens.evicted": ({ count }) => void (evicted.series().value += count),
    "web_login.moved": ({ step }) => webLogins.increase(step),
    "web_logins.evicted": ({ count }) => void (evictedLogins.series().value += count),
    "event_stream.dropped": () => dropped.increase(),
  };
}
