import type { UpstreamErrorClass } from "../errors.ts";
import type { UpstreamCall } from "../events.ts";
import type { EventHandlers, MetricRegistry } from "./metrics.ts";

const CALL_BOUNDS = [0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 3, 5, 8];
/** A refresh may take 8 s, and waits as long for another process's. */
const REFRESH_BOUNDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 10];

/** All of them. */
export const ERROR_CLASSES = Object.keys({
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
/** How a call upstream may end. */
export const CALL_OUTCOMES = ["ok", "errcode", ...CALL_FAILURES] as const;
/** What this service asks on its own account. */
const ENDPOINTS = {
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

/** Calls to WeChat and WeCom, and the refreshes that most of them are for. */
export function upstreamHandlers(registry: MetricRegistry): EventHandlers {
  const counter = (name: string, help: string, labelNames: readonly string[] = []) =>
    registry.counter({ name: `accesstoken_${name}_total`, help, labelNames });
  const labelNames = ["platform", "endpoint", "outcome"];
  const calls = counter("upstream_calls", "Calls to WeChat and WeCom.", labelNames);
  for (const [platform, endpoints] of Object.entries(ENDPOINTS))
    for (const endpoint of endpoints) calls.show([platform, endpoint], CALL_OUTCOMES);
  const callSeconds = registry.histogram({
    name: "accesstoken_upstream_duration_seconds",
    help: "Time that calls to WeChat and WeCom took.",
    labelNames,
    bounds: CALL_BOUNDS,
  });
  const countCall = ({ platform, endpoint, outcome, durationMs }: UpstreamCall) => {
    calls.show([platform, endpoint], CALL_OUTCOMES);
    calls.increase(platform, endpoint, outcome);
    callSeconds.observe(durationMs / 1000, platform, endpoint, outcome);
  };
  const gauge = (name: string, help: string) => {
    const made = registry.gauge({ name: `accesstoken_${name}`, help, merge: "add" });
    made.set(0);
    return made;
  };
  const flights = gauge("refresh_flights", "Refreshes that run now.");
  const waiters = gauge("refresh_waiters", "Callers that wait for a refresh now.");
  const refreshes = counter("refreshes", "Credentials that were obtained and stored.");
  const failures = counter("refresh_failures", "Refreshes that failed, by class of errcode or error code.", [
    "class",
  ]);
  failures.show([], [...ERROR_CLASSES, ...CALL_FAILURES, "unavailable", "store_unusable", "internal"]);
  const seconds = (name: string, help: string) => {
    const made = registry.histogram({ name: `accesstoken_${name}_seconds`, help, bounds: REFRESH_BOUNDS });
    return made.series();
  };
  const refreshSeconds = seconds(
    "refresh_duration",
    "Time that refreshes took, failed ones and those that waited for another process included.",
  );
  const leaseWaits = counter("lease_waits", "Refreshes that waited for another process.");
  const leaseSeconds = seconds("lease_wait", "Time that these waited.");
  const fenced = counter("fenced_writes", "Answers that came after a newer one and were not stored.");
  const revokedEarly = registry.counter({
    name: "accesstoken_revoked_early_tokens_total",
    help: "Tokens that another program's fetch has revoked.",
    formerName: "accesstoken_died_early_tokens_total",
  });
  return {
    "upstream.called": countCall,
    "gateway.sent": countCall,
    "refresh.started": () => flights.add(1),
    "refresh.finished": ({ durationMs }) => {
      flights.add(-1);
      refreshSeconds.observe(durationMs / 1000);
    },
    "waiter.added": () => waiters.add(1),
    "waiter.removed": () => waiters.add(-1),
    "credential.refreshed": () => refreshes.increase(),
    "credential.refresh_failed": (event) => failures.increase(event.class ?? event.code),
    "credential.fenced": () => fenced.increase(),
    "credential.lease_waited": () => leaseWaits.increase(),
    "credential.lease_wait_ended": ({ waitedMs }) => leaseSeconds.observe(waitedMs / 1000),
    "credential.revoked_early": () => revokedEarly.increase(),
  };
}
