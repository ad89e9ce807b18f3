import type { Clock } from "./clock.ts";
import type { EventListener, ServiceEvent } from "./events.ts";

/** How much is logged, most to least. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** How a line is written: for programs, for people, or for people where a terminal looks. */
export type LogFormat = "auto" | "json" | "console";

/** One event, as it is written: its time (epoch milliseconds), level and name, and its fields in their order. */
export interface LogLine {
  readonly at: number;
  readonly level: LogLevel;
  readonly event: ServiceEvent["type"];
  readonly fields: Readonly<Record<string, unknown>>;
}

type FieldsOf<T extends ServiceEvent["type"]> = readonly (keyof Omit<
  Extract<ServiceEvent, { type: T }>,
  "type"
>)[];

const REQUEST = ["traceId", "parentTraceId", "rid", "route", "client", "app", "address", "code"] as const;
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
  "console.setup_needed": { level: "info", fields: ["message"] },
  "master_key.replaced": { level: "info", fields: ["path", "keyId"] },
  "database.created": { level: "warn", fields: ["path"] },
  "backup.made": { level: "info", fields: ["file", "bytes", "durationMs"] },
  "backup.failed": { level: "error", fields: ["code", "errmsg", "hint"] },
  "database.copied": { level: "info", fields: ["path"] },
  "database.lost": { level: "error", fields: ["path"] },
  "store.read_only": { level: "error", fields: [] },
  "store.history_lost": { level: "error", fields: ["changes", "from", "to"] },
  "credential.restored": { level: "warn", fields: ["key", "generation"] },
  "credential.restore_failed": { level: "warn", fields: ["code", "errmsg"] },
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
  "credential.lease_wait_ended": { level: "debug", fields: ["key", "waitedMs"] },
  "refresh.started": { level: "debug", fields: ["key"] },
  "refresh.finished": { level: "debug", fields: ["key", "durationMs"] },
  "waiter.added": { level: "debug", fields: ["key"] },
  "waiter.removed": { level: "debug", fields: ["key"] },
  "credential.revoked_early": { level: "warn", fields: ["key", "earlyMs"] },
  "store.damaged": { level: "error", fields: ["key"] },
  "quota.nearly_used": { level: "warn", fields: ["key", "calls", "limit"] },
  "upstream.called": {
    level: "info",
    fields: ["platform", "appId", "endpoint", "durationMs", "outcome", "errcode"],
  },
  "upstream.slow": {
    level: "warn",
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
  "event_stream.dropped": { level: "debug", fields: [] },
  "user_tokens.evicted": { level: "warn", fields: ["count"] },
  "web_login.moved": { level: "debug", fields: ["step"] },
  "web_logins.evicted": { level: "warn", fields: ["count"] },
  "rejected_token.used": { level: "debug", fields: ["app"] },
  "push.answered": { level: "debug", fields: ["app", "outcome", "durationMs"] },
  "authorization.granted": { level: "info", fields: ["app"] },
  "authorization.lost": { level: "error", fields: ["app", "code", ...REFUSAL] },
  "authorization.revoked": { level: "info", fields: ["app"] },
  "authorization.failed": { level: "warn", fields: ["platformApp", "isFinal", "code", ...REFUSAL] },
  "authorizations.reconciled": { level: "info", fields: ["platformApp", "added", "lost"] },
  "tickets.requested": { level: "warn", fields: ["platformApp", "silentMs", "code", ...REFUSAL] },
  "push.skewed": { level: "info", fields: ["app"] },
  "delivery.tried": { level: "debug", fields: ["app", "target", "outcome", "reason"] },
  "delivery.died": { level: "warn", fields: ["app", "target", "id"] },
  "alarm.fired": { level: "warn", fields: ["condition", "subject", "severity"] },
  "alarm.resolved": { level: "info", fields: ["condition", "subject", "severity", "lastedMs"] },
  "notification.sent": { level: "info", fields: ["channel", "kind", "message"] },
  "notification.failed": { level: "warn", fields: ["channel", "kind", "message", "errcode", "hint"] },
  "request.handled": {
    level: "debug",
    fields: ["traceId", "parentTraceId", "method", "route", "code", "result", "durationMs"],
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
  "upstream.slow": 60,
  "audit.failed": 1,
  "push.skewed": 1,
  "authorization.failed": 60,
  "delivery.died": 60,
};

/** The line as one JSON object. */
export function jsonLine({ at, level, event, fields }: LogLine): string {
  return visibleJson({ time: new Date(at).toISOString(), level, event, ...fields });
}

/** What a terminal is told to begin the color of a level. */
const COLORS: Readonly<Record<LogLevel, string>> = { debug: "90", info: "32", warn: "33", error: "31" };
/** A text that needs no quotes to be told from what comes next. */
const PLAIN = /^[^\s"=\\\p{C}\p{Z}]+$/u;

/** Writes lines for people: the machine's local time, level, event, and fields as `name=value`; one line an event. */
export function consoleLine({ hasColor }: { readonly hasColor: boolean }): (line: LogLine) => string {
  return ({ at, level, event, fields }) => {
    const name = level.toUpperCase().padEnd(5);
    const shown = hasColor ? `\u001b[${COLORS[level]}m${name}\u001b[0m` : name;
    const facts = Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(
        ([key, value]) =>
          `${key}=${typeof value === "string" && PLAIN.test(value) ? value : visibleJson(value)}`,
      );
    return [localTime(at), shown, event, ...facts].join(" ");
  };
}

function localTime(at: number): string {
  const zoneMs = new Date(at).getTimezoneOffset() * 60_000;
  return new Date(at - zoneMs).toISOString().replace("T", " ").replace("Z", "");
}

/**
 * A listener that writes each event at or above `level` as one line through `write`, by default as JSON.
 *
 * What callers can cause any number of has so many lines a minute; the rest is summed, and one line says how many that
 * were (`suppressed`). Refreshes that fail with secrets which we don't hold have one (`unknownSecrets`).
 */
export function createLog(
  level: LogLevel,
  clock: Clock,
  write: (line: string) => void,
  format: (line: LogLine) => string = jsonLine,
): EventListener {
  const threshold = LOG_LEVELS.indexOf(level);
  const writeLine = (event: ServiceEvent["type"], fields: Record<string, unknown>) =>
    write(format({ at: clock.now(), level: FIELDS[event].level, event, fields }));
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

/** Control characters beyond ASCII, line and paragraph separators, what turns the direction of text, and what is not seen at all. */
export const DECEPTIVE =
  /[\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\u{e0000}-\u{e007f}]/gu;

/**
 * `value` as JSON for eyes and for programs that read lines: with those characters escaped, which JSON leaves as they
 * are, so that nothing in it is seen elsewhere or otherwise than it stands.
 */
export function visibleJson(value: unknown, indent?: number): string {
  const json = JSON.stringify(value, undefined, indent);
  return json.replaceAll(DECEPTIVE, escaped);
}

/** Each half of a character beyond 16 bits by itself, as JSON has it. */
function escaped(text: string): string {
  return text
    .split("")
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .join("");
}
