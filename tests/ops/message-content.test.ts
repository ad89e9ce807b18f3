import { expect, test } from "bun:test";
import { alarmOf } from "../../src/ops/alarm-state.ts";
import {
  type Content,
  isTold,
  messageOf,
  readContent,
  testContent,
  toldAt,
  withNews,
} from "../../src/ops/message-content.ts";
import type { ChannelRules } from "../../src/ops/notifications.ts";
import { newAlarm } from "../support/alarm-records.ts";

/** Noon in Beijing. */
const NOON = Date.UTC(2026, 10, 22, 4, 0, 0);
const HOUR_MS = 3_600_000;
const RULES: ChannelRules = { minSeverity: "info", mention: [], tellsResolved: true };
const FACTS = { node: "token-a", at: NOON };

const alarm = (subject: string, condition: "app_blocked" | "renewal_failing" | "quota_80" = "app_blocked") =>
  alarmOf(newAlarm({ since: NOON, subject, condition }));
const ended = (subject: string) =>
  alarmOf(newAlarm({ since: NOON, subject, state: "resolved", resolvedAt: NOON + 1 }));
const content = (...news: Parameters<typeof withNews>[1][]) =>
  news.reduce<Content | undefined>((sum, each) => withNews(sum, each, true), undefined) as Content;

test("a message has fifteen alarms, the worst first, and says how many more there are", () => {
  const many = Array.from({ length: 30 }, (_, n) => ({
    news: "firing" as const,
    alarm: alarm(`wx${n}`, n === 29 ? "app_blocked" : n % 2 ? "quota_80" : "renewal_failing"),
  }));
  const { kind, alarms, omitted } = messageOf(content(...many), FACTS);
  expect([kind, alarms.length, omitted]).toEqual(["firing", 15, 15]);
  expect(alarms.map(({ severity }) => severity)).toEqual([
    "critical",
    ...Array.from({ length: 14 }, () => "warning" as const),
  ]);
});

test("however much comes, what waits stays small, and nothing goes uncounted", () => {
  const news = Array.from({ length: 1000 }, (_, n) => ({ news: "firing" as const, alarm: alarm(`wx${n}`) }));
  const all = content(...news);
  expect(all.items.length + all.omitted).toBe(1000);
  expect(messageOf(all, FACTS).omitted).toBe(985);
  expect(JSON.stringify(all).length).toBeLessThan(64_000);
});

test("of each alarm only the last is told, and of one that came and went nothing", () => {
  const fired = { news: "firing", alarm: alarm("wx1") } as const;
  const over = { news: "resolved", alarm: ended("wx1") } as const;
  const reminded = { news: "reminder", alarm: alarm("wx1") } as const;
  expect(withNews(content(fired), over, true)).toBeUndefined();
  expect(withNews(content(fired), over, false)).toBeUndefined();
  expect(content(reminded, over).items).toEqual([over]);
  expect(withNews(undefined, over, false)).toBeUndefined();
  expect(withNews(content(fired), { news: "firing", alarm: alarm("wx2") }, false)?.items).toEqual([fired]);
});

test("a message says why it is sent", () => {
  const fired = { news: "firing", alarm: alarm("wx1") } as const;
  const over = { news: "resolved", alarm: ended("wx2") } as const;
  const reminded = { news: "reminder", alarm: alarm("wx3") } as const;
  const kindOf = (it: Content) => messageOf(it, FACTS).kind;
  expect(kindOf(content(over))).toBe("resolved");
  expect(kindOf(content(reminded))).toBe("reminder");
  expect(kindOf(content(reminded, fired))).toBe("firing");
  expect(kindOf(content(fired, over))).toBe("digest");
  expect(kindOf({ ...content(fired), isDigest: true })).toBe("digest");
  expect(kindOf(testContent(NOON))).toBe("test");
});

test("a channel is told of what is bad enough, and of ends where it wants to be", () => {
  const rules = { ...RULES, minSeverity: "warning", tellsResolved: false } as const;
  expect(isTold(rules, "firing", { severity: "critical" })).toBe(true);
  expect(isTold(rules, "reminder", { severity: "warning" })).toBe(true);
  expect(isTold(rules, "firing", { severity: "info" })).toBe(false);
  expect(isTold(rules, "resolved", { severity: "critical" })).toBe(false);
  expect(isTold(RULES, "resolved", { severity: "info" })).toBe(true);
});

test("in quiet hours what is not critical waits until they end", () => {
  const night = { ...RULES, quietHours: { from: 23 * 60, to: 8 * 60 } };
  const at = (hour: number) => NOON + (hour - 12) * HOUR_MS;
  const due = (rules: ChannelRules, hour: number, severity: "critical" | "warning") =>
    (toldAt(rules, { severity }, at(hour)) - at(hour)) / 1000;
  expect(due(night, 12, "warning")).toBe(20);
  expect(due(night, 23, "warning")).toBe(9 * 3600);
  expect(due(night, 25, "warning")).toBe(7 * 3600);
  expect(due(night, 25, "critical")).toBe(20);
  // What would be told when they have begun waits too.
  expect(due(night, 23 - 10 / 3600, "warning")).toBe(9 * 3600 + 10);
  const lunch = { ...RULES, quietHours: { from: 12 * 60, to: 13 * 60 + 30 } };
  expect(due(lunch, 12.5, "warning")).toBe(3600);
  expect(due(lunch, 13.5, "warning")).toBe(20);
});

test("a stored content that can't be read is none", () => {
  const kept = content({ news: "firing", alarm: alarm("wx1") });
  expect(readContent(JSON.stringify(kept))).toEqual(kept);
  for (const text of ["", "{}", "[]", "null", '{"items":[{}],"omitted":0}', '{"items":[],"omitted":"1"}'])
    expect(readContent(text)).toBeUndefined();
});
