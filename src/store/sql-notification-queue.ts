import { and, desc, eq, gt, inArray, lt, lte, or, sql } from "drizzle-orm";
import type { AuditEntry } from "../audit/audit-entry.ts";
import { alarmKey } from "../ops/alarm-state.ts";
import {
  MAX_PER_MINUTE,
  type Notification,
  type NotificationEnd,
  type NotificationQueue,
  type TakenNotification,
} from "../ops/alarm-store.ts";
import { conditionOf } from "../ops/conditions.ts";
import { type Content, readContent } from "../ops/message-content.ts";
import type { AuditChain } from "./audit-chain.ts";
import { checkRow } from "./damaged-rows.ts";
import { type OwnChanges, raiseEpoch } from "./epochs.ts";
import { alarms, notifications } from "./schema.ts";
import { enqueue } from "./sql-alarm-store.ts";
import { BACKGROUND_ATTEMPTS, type Queries, type SqlDatabase } from "./sql.ts";

const MINUTE_MS = 60_000;
/** Longer than an attempt takes: what is not ended then was lost with its process. */
const LEASE_MS = 30_000;
/** Quiet hours are no longer: what is due later was written under a clock that was set back since. */
const MAX_AHEAD_MS = 86_400_000;
const MAX_TAKEN = 20;
const STATES = ["waiting", "sent", "failed"] as const;

/** Messages to channels in a SQL database. */
export class SqlNotificationQueue implements NotificationQueue {
  readonly #database: SqlDatabase;
  readonly #audit: AuditChain;
  readonly #changes: OwnChanges;

  constructor(database: SqlDatabase, audit: AuditChain, changes: OwnChanges) {
    this.#database = database;
    this.#audit = audit;
    this.#changes = changes;
  }

  async nextDueAt(): Promise<number | undefined> {
    // Written by hand, so that it is prepared once: it is polled.
    const text = "SELECT min(due_at) FROM notifications WHERE state = 'waiting'";
    const [first] = await this.#database.rows(text, []);
    return (first?.[0] as number | null | undefined) ?? undefined;
  }

  async take(now: number): Promise<TakenNotification[]> {
    const { id, dueAt, state } = notifications;
    const isDue = or(lte(dueAt, now), gt(dueAt, now + MAX_AHEAD_MS));
    return this.#database.transact(
      async (queries) => {
        const due = await queries
          .select()
          .from(notifications)
          .where(and(eq(state, "waiting"), isDue))
          .orderBy(dueAt, id)
          .limit(MAX_TAKEN);
        const taken: TakenNotification[] = [];
        for (const stored of due) {
          const { row } = checkRow(notifications, stored);
          const read = readContent(row.content);
          // What was not tried yet is put right when an alarm ends.
          const isRepeated = row.attempts > 0 || read?.passedOnBy !== undefined;
          const content = read && isRepeated ? await withoutEnded(queries, read) : read;
          const waitMs = await waitMsOf(queries, row.channel, now);
          if (!content) await queries.delete(notifications).where(eq(id, row.id));
          else if (waitMs > 0) await putOff(queries, row, content, now + waitMs);
          else {
            const attempts = row.attempts + 1;
            const set = {
              ...{ attempts, triedAt: now, dueAt: now + LEASE_MS },
              ...(content === read ? {} : { content: JSON.stringify(content) }),
            };
            await queries.update(notifications).set(set).where(eq(id, row.id));
            taken.push({ id: row.id, channel: row.channel, content, attempts });
          }
        }
        return taken;
      },
      { maxAttempts: BACKGROUND_ATTEMPTS },
    );
  }

  begin(channel: string, content: Content, now: number): Promise<TakenNotification | undefined> {
    return this.#database.transact(async (queries) => {
      if ((await waitMsOf(queries, channel, now)) > 0) return undefined;
      const added = await queries
        .insert(notifications)
        .values({
          ...{ channel, content: JSON.stringify(content), state: "waiting", attempts: 1 },
          ...{ createdAt: now, triedAt: now, dueAt: now + LEASE_MS },
        })
        .returning({ id: notifications.id })
        .get();
      return { id: added.id, channel, content, attempts: 1 };
    });
  }

  async end(end: NotificationEnd, entry: AuditEntry | undefined): Promise<void> {
    const { id, attempts, state, at, dueAt, answer, next } = end;
    const isTaken = and(
      eq(notifications.id, id),
      eq(notifications.attempts, attempts),
      eq(notifications.state, "waiting"),
    );
    const over = state === "waiting" ? { dueAt: dueAt ?? at } : { endedAt: at };
    await this.#database.transact(
      async (queries) => {
        const set = { state, answer, ...over };
        const found = await queries
          .update(notifications)
          .set(set)
          .where(isTaken)
          .returning({ id: notifications.id });
        if (found.length === 0) return;
        if (next) {
          const content = JSON.stringify(next.content);
          await enqueue(queries, { channel: next.channel, content, createdAt: at, dueAt: at });
        }
        if (state !== "waiting") await raiseEpoch(queries, "alarms");
        if (entry) await this.#audit.append(queries, entry);
      },
      { maxAttempts: BACKGROUND_ATTEMPTS },
    );
    await this.#changes.expire();
  }

  async page({ channel, before, limit }: Parameters<NotificationQueue["page"]>[0]): Promise<Notification[]> {
    const isWanted = and(
      channel === undefined ? undefined : eq(notifications.channel, channel),
      before === undefined ? undefined : lt(notifications.id, before),
    );
    const rows = await this.#database.read((queries) =>
      queries.select().from(notifications).where(isWanted).orderBy(desc(notifications.id)).limit(limit),
    );
    return rows.map((stored) => {
      const { id, content, attempts, createdAt, dueAt, endedAt, answer, ...row } = checkRow(
        notifications,
        stored,
      ).row;
      const state = STATES.find((each) => each === row.state) ?? "failed";
      return {
        ...{ id, channel: row.channel, content: readContent(content), attempts, state, createdAt, dueAt },
        ...{ endedAt: endedAt ?? undefined, answer: answer ?? undefined },
      };
    });
  }
}

/** What is left to tell of alarms that had not ended when the message was written: an end has a message of its own. */
async function withoutEnded(queries: Queries, content: Content): Promise<Content | undefined> {
  const lasting = content.items.filter(
    ({ news, alarm }) => news !== "resolved" && !conditionOf(alarm.condition).isEvent,
  );
  if (lasting.length === 0) return content;
  const { condition, subject, state } = alarms;
  const subjects = [...new Set(lasting.map(({ alarm }) => alarm.subject))];
  const rows = await queries
    .select({ condition, subject })
    .from(alarms)
    .where(and(inArray(subject, subjects), eq(state, "resolved")));
  const over = new Set(rows.map((row) => `${row.condition} ${row.subject}`));
  const items = content.items.filter((each) => !lasting.includes(each) || !over.has(alarmKey(each.alarm)));
  if (items.length === content.items.length) return content;
  return items.length === 0 && content.omitted === 0 ? undefined : { ...content, items };
}

/** How long a channel must wait that was told too often within a minute; every attempt counts. */
async function waitMsOf(queries: Queries, channel: string, now: number): Promise<number> {
  const { triedAt, attempts } = notifications;
  const isRecent = and(eq(notifications.channel, channel), gt(triedAt, now - MINUTE_MS), lte(triedAt, now));
  const rows = await queries
    .select({ triedAt: sql<number>`${triedAt}`, attempts })
    .from(notifications)
    .where(isRecent)
    .orderBy(triedAt);
  const excess = rows.reduce((sum, row) => sum + row.attempts, 0) - MAX_PER_MINUTE;
  if (excess < 0) return 0;
  let left = 0;
  const last = rows.find((row) => (left += row.attempts) > excess);
  return Math.max(1, (last?.triedAt ?? now) + MINUTE_MS - now);
}

/** Lets a message wait, and what comes meanwhile join it. */
async function putOff(
  queries: Queries,
  { id, attempts }: Pick<typeof notifications.$inferSelect, "id" | "attempts">,
  content: Content,
  dueAt: number,
): Promise<void> {
  const more = attempts > 0 ? {} : { content: JSON.stringify({ ...content, isDigest: true }) };
  await queries
    .update(notifications)
    .set({ dueAt, ...more })
    .where(eq(notifications.id, id));
}
