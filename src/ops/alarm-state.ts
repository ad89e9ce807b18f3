import { type ConditionId, conditionOf, type Severity } from "./conditions.ts";
import type { Alarm, AlarmDetail } from "./notifications.ts";

/** What is seen for so long no more has ended; of what nobody was told, for so long. Milliseconds. */
const ENDED_MS = 60_000;
const FORGOTTEN_MS = 30_000;
/** When it was seen last is written down so often. */
const SEEN_MS = 20_000;
/** What lasts is told of again. */
const REMINDER_MS = 4 * 3_600_000;

/** Something that is wrong just now. */
export interface Finding {
  readonly condition: ConditionId;
  readonly subject: string;
  readonly detail: AlarmDetail;
  /** When it happened, of an event; epoch milliseconds. */
  readonly at?: number;
  /** Whether it keeps an alarm up, and begins none: default false. */
  readonly isRemnant?: boolean;
}

/** An alarm as it is kept. Instants are epoch milliseconds. */
export interface AlarmRecord {
  readonly condition: ConditionId;
  readonly subject: string;
  /** One that has ended without anybody having been told is `resolved` too. */
  readonly state: "pending" | "firing" | "resolved";
  readonly since: number;
  readonly seenAt: number;
  readonly toldAt: number | undefined;
  readonly resolvedAt: number | undefined;
  readonly detail: AlarmDetail;
  /** Grows with each change of its state: whoever raises it tells. */
  readonly version: number;
}

/** What is told of an alarm. */
export type News = "firing" | "resolved" | "reminder";

/** The next state of an alarm, and what is told of it. */
export interface Step {
  readonly to: AlarmRecord;
  readonly news: News | undefined;
}

/** Which alarm it is. */
export function alarmKey({ condition, subject }: Pick<AlarmRecord, "condition" | "subject">): string {
  return `${condition} ${subject}`;
}

/** The severity of an alarm. */
export function severityOf({ condition }: Pick<AlarmRecord, "condition">): Severity {
  return conditionOf(condition).severity;
}

/** An alarm as channels are told of it. */
export function alarmOf(record: AlarmRecord): Alarm {
  const { condition, subject, since, resolvedAt, detail } = record;
  const state = record.state === "resolved" ? "resolved" : "firing";
  return {
    ...{ condition, subject, severity: severityOf(record), state, since, detail },
    ...(state === "resolved" && resolvedAt !== undefined ? { resolvedAt } : {}),
  };
}

/** What becomes of an alarm whose condition is seen at `now`; undefined where it stays as it is. */
export function afterSeen(record: AlarmRecord | undefined, finding: Finding, now: number): Step | undefined {
  const { condition, subject, detail } = finding;
  const { isEvent = false, holdMs } = conditionOf(condition);
  if (!record || record.state === "resolved") {
    const { at = now } = finding;
    if (finding.isRemnant || (isEvent && record && at <= record.since)) return undefined;
    const version = (record?.version ?? 0) + 1;
    const begun = { condition, subject, since: isEvent ? at : now, seenAt: now, detail, version };
    return holdMs === 0
      ? { to: { ...begun, state: "firing", toldAt: now, resolvedAt: undefined }, news: "firing" }
      : { to: { ...begun, state: "pending", toldAt: undefined, resolvedAt: undefined }, news: undefined };
  }
  // What was written under a clock that was set back since says nothing of how long it has stood.
  const since = Math.min(record.since, now);
  const seen = { ...record, since, seenAt: now };
  if (isEvent && finding.at !== undefined && finding.at > record.since) {
    return toldOf({ ...seen, state: "firing", since: finding.at, detail }, "firing", now);
  } else if (record.state === "pending") {
    if (now - since >= holdMs) return toldOf({ ...seen, state: "firing", detail }, "firing", now);
  } else if (!isEvent && now - (record.toldAt ?? since) >= REMINDER_MS) {
    return toldOf({ ...seen, detail }, "reminder", now);
  }
  return Math.abs(now - record.seenAt) >= SEEN_MS ? { to: seen, news: undefined } : undefined;
}

/** What becomes of an alarm whose condition is not seen at `now`; undefined where it stays as it is, for the time being. */
export function afterUnseen(record: AlarmRecord, now: number): Step | undefined {
  const unseenMs = Math.abs(now - record.seenAt);
  if (record.state === "resolved" || unseenMs < (record.state === "firing" ? ENDED_MS : FORGOTTEN_MS))
    return undefined;
  return ended(record, now);
}

/** The end of an alarm. Who was not told that it began is not told that it ended. */
export function ended(record: AlarmRecord, now: number): Step {
  const isTold = record.state === "firing" && !conditionOf(record.condition).isEvent;
  const to = { ...record, state: "resolved" as const, resolvedAt: now, version: record.version + 1 };
  return { to, news: isTold ? "resolved" : undefined };
}

function toldOf(record: AlarmRecord, news: News, now: number): Step {
  return { to: { ...record, toldAt: now, version: record.version + 1 }, news };
}
