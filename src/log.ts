import type { Clock } from "./clock.ts";
import type { EventListener, ServiceEvent } from "./events.ts";

/** How much is logged, most to least. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

type FieldsOf<T extends ServiceEvent["type"]> = readonly (keyof Omit<
  Extract<ServiceEvent, { type: T }>,
  "type"
>)[];

/** Which fields of each event are written: one that is not named here does not reach the log. */
const FIELDS: { readonly [T in ServiceEvent["type"]]: { level: LogLevel; fields: FieldsOf<T> } } = {
  "service.started": { level: "info", fields: ["url", "version", "apps", "names", "anonymous", "docs"] },
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
  "credential.refresh_failed": { level: "warn", fields: ["key", "code", "errcode", "class"] },
  "credential.fenced": { level: "warn", fields: ["key", "generation"] },
  "credential.cleared": { level: "info", fields: ["key", "address"] },
  "access.denied": { level: "debug", fields: ["code", "route"] },
  "access.unreadable": { level: "error", fields: ["code"] },
  "audit.failed": { level: "error", fields: ["code"] },
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
  "rejected_token.used": { level: "debug", fields: ["app"] },
  "request.handled": {
    level: "debug",
    fields: ["traceId", "method", "route", "code", "result", "durationMs"],
  },
  "request.failed": { level: "error", fields: ["traceId", "route", "error", "stack"] },
};

/** In the key of a credential whose secret we don't hold: see `SlotName`. */
const UNKNOWN_SECRET = ":~";
const SUM_MS = 60_000;

/**
 * A listener that writes each event at or above `level` as one JSON line through `write`.
 *
 * Of refreshes that fail with secrets which we don't hold, the first is written and the rest summed: one line a minute
 * says how many (`unknownSecrets`). A caller can make up any number of them.
 */
export function createLog(level: LogLevel, clock: Clock, write: (line: string) => void): EventListener {
  const threshold = LOG_LEVELS.indexOf(level);
  const writeLine = (type: ServiceEvent["type"], facts: Record<string, unknown>) => {
    const line = { time: new Date(clock.now()).toISOString(), level: FIELDS[type].level, event: type };
    write(visibleJson({ ...line, ...facts }));
  };
  let summed = 0;
  let sumEndsAt = 0;
  return (event) => {
    const { type } = event;
    // With whatever comes next, so that no timer is needed.
    if (summed > 0 && (clock.monotonic() >= sumEndsAt || type === "service.stopped")) {
      writeLine("credential.refresh_failed", { unknownSecrets: summed });
      summed = 0;
      sumEndsAt = clock.monotonic() + SUM_MS;
    }
    const rule = FIELDS[type];
    if (LOG_LEVELS.indexOf(rule.level) < threshold) return;
    if (type === "credential.refresh_failed" && event.key.includes(UNKNOWN_SECRET)) {
      if (clock.monotonic() < sumEndsAt) {
        summed += 1;
        return;
      }
      sumEndsAt = clock.monotonic() + SUM_MS;
    }
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
