import type { Clock } from "./clock.ts";
import type { EventListener, ServiceEvent } from "./events.ts";

/** How much is logged, most to least. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

type FieldsOf<T extends ServiceEvent["type"]> = readonly (keyof Omit<
  Extract<ServiceEvent, { type: T }>,
  "type"
>)[];

const REQUEST = ["traceId", "rid", "route", "client", "app", "address", "code"] as const;
const REFUSAL = ["errcode", "errmsg", "hint"] as const;

/** Which fields of each event are written: one that is not named here does not reach the log. */
const FIELDS: { readonly [T in ServiceEvent["type"]]: { level: LogLevel; fields: FieldsOf<T> } } = {
  "service.started": {
    level: "info",
    fields: ["url", "version", "apps", "names", "anonymous", "docs", "connectProxy"],
  },
  "service.stopping": { level: "info", fields: ["reason"] },
  "service.stopped": { level: "info", fields: [] },
  "connections.paused": { level: "warn", fields: [] },
  "connections.resumed": { level: "info", fields: [] },
  "service.outdated": { level: "error", fields: [] },
  "config.warning": { level: "warn", fields: ["message"] },
  "database.created": { level: "warn", fields: ["path"] },
  "database.lost": { level: "error", fields: ["path"] },
  "credential.refreshed": { level: "info", fields: ["key", "lifeMs", "generation"] },
  "credential.accepted": { level: "info", fields: ["key", "lifeMs", "generation"] },
  "credential.refresh_failed": { level: "warn", fields: ["key", "code", "class", ...REFUSAL] },
  "credential.fenced": { level: "warn", fields: ["key", "generation"] },
  "credential.cleared": { level: "info", fields: ["key", "address"] },
  "access.denied": { level: "info", fields: [...REQUEST, ...REFUSAL] },
  "access.unreadable": { level: "error", fields: ["code", "errmsg"] },
  "audit.failed": { level: "error", fields: ["code", "errmsg"] },
  "audit.pruned": { level: "info", fields: ["entries", "before"] },
  "audit.broken": { level: "error", fields: ["id"] },
  "app.unblocked": { level: "info", fields: ["key", "address"] },
  "credential.lease_waited": { level: "debug", fields: ["key"] },
  "refresh.started": { level: "debug", fields: ["key"] },
  "refresh.finished": { level: "debug", fields: ["key"] },
  "waiter.added": { level: "debug", fields: ["key"] },
  "waiter.removed": { level: "debug", fields: ["key"] },
  "credential.revoked_early": { level: "warn", fields: ["key", "earlyMs"] },
  "store.damaged": { level: "error", fields: ["key"] },
  "quota.nearly_used": { level: "warn", fields: ["key", "calls", "limit"] },
  "upstream.called": {
    level: "info",
    fields: ["platform", "appId", "endpoint", "durationMs", "outcome", "errcode"],
  },
  "gateway.sent": {
    level: "debug",
    fields: ["platform", "appId", "endpoint", "durationMs", "outcome", "errcode"],
  },
  "gateway.called": {
    level: "debug",
    fields: ["client", "app", "family", "outcome", "healing", "durationMs"],
  },
  "store.queried": { level: "debug", fields: ["operation", "durationMs", "failure"] },
  "change.seen": { level: "debug", fields: ["delayMs"] },
  "clock.skewed": { level: "warn", fields: ["offsetMs"] },
  "user_tokens.evicted": { level: "warn", fields: ["count"] },
  "rejected_token.used": { level: "debug", fields: ["app"] },
  "request.handled": {
    level: "debug",
    fields: ["traceId", "method", "route", "code", "result", "durationMs"],
  },
  "request.invalid": { level: "info", fields: [...REQUEST, ...REFUSAL] },
  "request.unserved": { level: "warn", fields: [...REQUEST, ...REFUSAL] },
  "request.failed": { level: "error", fields: [...REQUEST, "error", "stack"] },
};

/** In the key of a credential whose secret we don't hold: see `SlotName`. */
const UNKNOWN_SECRET = ":~";
const MINUTE_MS = 60_000;

/** Of what callers can cause any number of: how many lines of it are written in a minute. */
const LINES_A_MINUTE: { readonly [T in ServiceEvent["type"]]?: number } = {
  "access.denied": 60,
  "request.invalid": 60,
  "request.unserved": 60,
  "request.failed": 60,
  "audit.failed": 1,
};

/**
 * A listener that writes each event at or above `level` as one JSON line through `write`.
 *
 * What callers can cause any number of has so many lines a minute; the rest is summed, and one line says how many that
 * were (`suppressed`). Refreshes that fail with secrets which we don't hold have one (`unknownSecrets`).
 */
export function createLog(level: LogLevel, clock: Clock, write: (line: string) => void): EventListener {
  const threshold = LOG_LEVELS.indexOf(level);
  const writeLine = (type: ServiceEvent["type"], facts: Record<string, unknown>) => {
    const line = { time: new Date(clock.now()).toISOString(), level: FIELDS[type].level, event: type };
    write(visibleJson({ ...line, ...facts }));
  };
  /** What was written and summed in its minute, which ends at `endsAt` by the monotonic clock. */
  const minutes = new Map<ServiceEvent["type"], { lines: number; summed: number; endsAt: number }>();
  let summed = 0;
  /** Whether another line may be written. */
  const admit = (event: ServiceEvent): boolean => {
    const { type } = event;
    const isUnknown = type === "credential.refresh_failed" && event.key.includes(UNKNOWN_SECRET);
    const most = isUnknown ? 1 : LINES_A_MINUTE[type];
    if (most === undefined) return true;
    const now = clock.monotonic();
    let minute = minutes.get(type);
    if (!minute || now >= minute.endsAt) {
      minute = { lines: 0, summed: 0, endsAt: now + MINUTE_MS };
      minutes.set(type, minute);
    }
    if (minute.lines++ < most) return true;
    minute.summed += 1;
    summed += 1;
    return false;
  };
  const writeSums = (isEnd: boolean) => {
    const now = clock.monotonic();
    for (const [type, minute] of minutes) {
      if (minute.summed === 0 || (now < minute.endsAt && !isEnd)) continue;
      const name = type === "credential.refresh_failed" ? "unknownSecrets" : "suppressed";
      writeLine(type, { [name]: minute.summed });
      summed -= minute.summed;
      minutes.set(type, { lines: 1, summed: 0, endsAt: now + MINUTE_MS });
    }
  };
  return (event) => {
    const { type } = event;
    // With whatever comes next, so that no timer is needed.
    if (summed > 0) writeSums(type === "service.stopped");
    const rule = FIELDS[type];
    if (LOG_LEVELS.indexOf(rule.level) < threshold || !admit(event)) return;
    const facts: Record<string, unknown> = { ...event };
    writeLine(type, Object.fromEntries(rule.fields.map((field) => [field, facts[field]])));
  };
}

/** Control characters beyond ASCII, line and paragraph separators, and what turns the direction of text. */
export const DECEPTIVE = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/**
 * `value` as JSON for eyes and for programs that read lines: with those characters escaped, which JSON leaves as they
 * are, so that nothing in it is seen elsewhere or otherwise than it stands.
 */
export function visibleJson(value: unknown, indent?: number): string {
  const json = JSON.stringify(value, undefined, indent);
  return json.replaceAll(DECEPTIVE, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
