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
  "service.started": { level: "info", fields: ["url", "version"] },
  "service.stopping": { level: "info", fields: ["reason"] },
  "service.stopped": { level: "info", fields: [] },
  "config.warning": { level: "warn", fields: ["message"] },
  "credential.refreshed": { level: "info", fields: ["key", "lifeMs", "generation"] },
  "credential.accepted": { level: "info", fields: ["key", "lifeMs", "generation"] },
  "credential.refresh_failed": { level: "warn", fields: ["key", "code", "errcode", "class"] },
  "credential.fenced": { level: "warn", fields: ["key", "generation"] },
  "credential.cleared": { level: "info", fields: ["key", "address"] },
  "access.denied": { level: "debug", fields: ["code", "route"] },
  "audit.failed": { level: "error", fields: ["code"] },
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

/** A listener that writes each event at or above `level` as one JSON line through `write`. */
export function createLog(level: LogLevel, clock: Clock, write: (line: string) => void): EventListener {
  const threshold = LOG_LEVELS.indexOf(level);
  return (event) => {
    const rule = FIELDS[event.type];
    if (LOG_LEVELS.indexOf(rule.level) < threshold) return;
    const line: Record<string, unknown> = {
      time: new Date(clock.now()).toISOString(),
      level: rule.level,
      event: event.type,
    };
    const facts: Record<string, unknown> = { ...event };
    for (const field of rule.fields) line[field] = facts[field];
    write(JSON.stringify(line));
  };
}
