import { startOfBeijingDay } from "../clock.ts";
import { alarmKey, type News } from "./alarm-state.ts";
import { SEVERITIES } from "./conditions.ts";
import type { Alarm, ChannelRules, Message, MessageKind } from "./notifications.ts";

/** How much a message has at most, and how much is kept of what waits. */
const MAX_ALARMS = 15;
const MAX_KEPT = 200;
/** What comes within so long is one message. */
const GATHER_MS = 20_000;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** One alarm in a message that waits. */
interface Item {
  readonly news: News;
  readonly alarm: Alarm;
}

/** What a message tells, as it is kept until it is sent. */
export interface Content {
  readonly items: readonly Item[];
  /** How many more there were. */
  readonly omitted: number;
  /** Whether it waits because there were too many before it. */
  readonly isDigest?: boolean;
  readonly isTest?: boolean;
  /** The channels that could not be told, whose message this is now. */
  readonly passedOnBy?: readonly string[];
}

/**
 * What waits, with something new: of each alarm only the last is told. Of one that has ended before anybody was told of it
 * nothing is. `isTold`: whether the channel wants to know. Undefined where nothing is left to tell.
 */
export function withNews(
  content: Content | undefined,
  { news, alarm }: Item,
  isTold: boolean,
): Content | undefined {
  const { items = [], omitted = 0 } = content ?? {};
  const before = items.find((each) => alarmKey(each.alarm) === alarmKey(alarm));
  const others = items.filter((each) => each !== before);
  const isOver = news === "resolved" && before?.news === "firing";
  const all = isTold && !isOver ? [...others, { news, alarm }] : news === "resolved" ? others : items;
  if (all.length === 0 && omitted === 0) return undefined;
  const excess = Math.max(0, all.length - MAX_KEPT);
  return { ...content, items: sorted(all).slice(0, MAX_KEPT), omitted: omitted + excess };
}

/** The message of a content. */
export function messageOf(
  { items, omitted, isDigest, isTest }: Content,
  facts: Pick<Message, "node" | "at" | "consoleUrl">,
): Message {
  const alarms = sorted(items).map(({ alarm }) => alarm);
  const has = (wanted: News) => items.some(({ news }) => news === wanted);
  const isMixed = has("resolved") && (has("firing") || has("reminder"));
  const lasting = has("firing") ? "firing" : has("reminder") ? "reminder" : "resolved";
  const kind: MessageKind = isTest ? "test" : isDigest || isMixed ? "digest" : lasting;
  const left = omitted + Math.max(0, alarms.length - MAX_ALARMS);
  return { kind, alarms: alarms.slice(0, MAX_ALARMS), omitted: left, ...facts };
}

/** Whether a channel with these rules is told of it. */
export function isTold(rules: ChannelRules, news: News, { severity }: Pick<Alarm, "severity">): boolean {
  if (SEVERITIES.indexOf(severity) > SEVERITIES.indexOf(rules.minSeverity)) return false;
  return news !== "resolved" || rules.tellsResolved;
}

/** When a channel is told of what happens at `now`: a little later, so that more is one message, or when its quiet hours end. */
export function toldAt(
  { quietHours }: ChannelRules,
  { severity }: Pick<Alarm, "severity">,
  now: number,
): number {
  const soon = now + GATHER_MS;
  if (!quietHours || severity === "critical") return soon;
  const { from, to } = quietHours;
  const day = startOfBeijingDay(soon);
  const minute = (soon - day) / MINUTE_MS;
  const isQuiet = from <= to ? minute >= from && minute < to : minute >= from || minute < to;
  if (!isQuiet) return soon;
  const end = day + to * MINUTE_MS;
  return end > soon ? end : end + DAY_MS;
}

/** Reads a stored content; undefined for what is none. */
export function readContent(text: string): Content | undefined {
  try {
    const content = JSON.parse(text) as Content;
    const isRead = Array.isArray(content.items) && content.items.every((each) => isItem(each));
    return isRead && Number.isSafeInteger(content.omitted) ? content : undefined;
  } catch {
    return undefined;
  }
}

function isItem({ news, alarm }: Item): boolean {
  return (
    typeof news === "string" &&
    typeof alarm.condition === "string" &&
    typeof alarm.detail.message === "string"
  );
}

/** The worst first, and what lasts before what has ended. */
function sorted(items: readonly Item[]): Item[] {
  const rank = ({ news, alarm }: Item) => (news === "resolved" ? 10 : 0) + SEVERITIES.indexOf(alarm.severity);
  return items.toSorted((a, b) => rank(a) - rank(b));
}

/** What a channel is sent to try it: an alarm as it could be. */
export function testContent(now: number): Content {
  const alarm: Alarm = {
    ...{ condition: "app_blocked", subject: "wx0000000000000001", severity: "critical", state: "firing" },
    since: now,
    detail: {
      message: "invalid ip 203.0.113.7, not in whitelist",
      errcode: 40164,
      hint: "请将 203.0.113.7 加入IP白名单 (add 203.0.113.7 to the IP allow-list)",
      expiresAt: now + 37 * MINUTE_MS,
    },
  };
  return { items: [{ news: "firing", alarm }], omitted: 0, isTest: true };
}
