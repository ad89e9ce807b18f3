import { and, count, desc, eq, gte, inArray, lt, max, min, sql } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import { denialOf, usageOf } from "../../audit/audit-counts.ts";
import type {
  AuditFilter,
  AuditPage,
  CountKind,
  DenialCount,
  MinuteCount,
  UsageCount,
} from "../../audit/audit-store.ts";
import type { CallCount, CallCountStore } from "../../audit/call-counts.ts";
import type { Clock } from "../../clock.ts";
import type { Platform } from "../../errors.ts";
import { AUDIT_WINDOW, fillPage } from "./audit-listing.ts";
import { callCounts, counts } from "./schema.ts";
import { BACKGROUND_ATTEMPTS, runStatement, type Transaction } from "./statement.ts";

const MINUTE_MS = 60_000;
/** Among so many counts the ids of a time are looked up; where there are more, the search goes through all. */
const MAX_BOUNDED = 100_000;

/** The audit's counts in SQLite, both kinds in one table. */
export class AuditCountTable {
  readonly #database: BunSQLiteDatabase;
  readonly #clock: Clock;

  constructor(database: BunSQLiteDatabase, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  /** Adds to what is counted. */
  add(transaction: Transaction, added: readonly MinuteCount[]): void {
    if (added.length === 0) return;
    transaction
      .insert(counts)
      .values([...added])
      .onConflictDoUpdate({
        target: [counts.kind, counts.minute, counts.key],
        set: { n: sql`${counts.n} + excluded.n` },
      })
      .run();
  }

  /** See `AuditStore.listUsage`. */
  listUsage(filter: AuditFilter, page: AuditPage): Promise<UsageCount[]> {
    const { client, environment, action, app } = filter;
    return this.#page("usage", filter, page, (row) => {
      const found = usageOf(row);
      const isWanted =
        (client === undefined || found.client === client) &&
        (environment === undefined || found.environment === environment) &&
        (app === undefined || found.app === app) &&
        (action === undefined || found.action === action || found.action.startsWith(`${action} `));
      return isWanted ? [found] : [];
    });
  }

  /** See `AuditStore.listDenials`. */
  listDenials(filter: AuditFilter, page: AuditPage): Promise<DenialCount[]> {
    return this.#page("denial", filter, page, (row) => {
      const found = denialOf(row);
      return filter.client === undefined || found.client === filter.client ? [found] : [];
    });
  }

  /** Drops up to so many counts of a kind from before `before`, and answers how many it dropped. */
  drop(transaction: Transaction, kind: CountKind, before: number, limit: number): number {
    const oldest = transaction
      .select({ id: counts.id })
      .from(counts)
      .where(and(eq(counts.kind, kind), lt(counts.minute, before)))
      .limit(limit);
    return transaction.delete(counts).where(inArray(counts.id, oldest)).returning({ id: counts.id }).all()
      .length;
  }

  async #page<Count>(
    kind: CountKind,
    { since, until }: AuditFilter,
    { limit, before }: AuditPage,
    toCounts: (row: typeof counts.$inferSelect & MinuteCount) => Count[],
  ): Promise<Count[]> {
    // A minute counts when any of it is within.
    const from = since === undefined ? undefined : since - MINUTE_MS + 1;
    const bounds = await this.#bounds(kind, from, until);
    const isInTime = ({ minute }: MinuteCount) =>
      (from === undefined || minute >= from) && (until === undefined || minute < until);
    const start = Math.min(before ?? Infinity, bounds.last + 1);
    return fillPage(this.#clock, { limit, from: start }, (below, most) => {
      const rows = this.#database
        .select()
        .from(counts)
        .where(and(eq(counts.kind, kind), lt(counts.id, below), gte(counts.id, bounds.first)))
        .orderBy(desc(counts.id))
        .limit(AUDIT_WINDOW)
        .all();
      const found = rows
        .map((row) => ({ ...row, kind }))
        .filter(isInTime)
        .flatMap(toCounts);
      const next = rows.length < AUDIT_WINDOW ? undefined : rows.at(-1)?.id;
      return { rows: found.slice(0, most), next };
    });
  }

  /** The ids between which the counts of a time lie; the index alone says so. */
  async #bounds(
    kind: CountKind,
    from: number | undefined,
    until: number | undefined,
  ): Promise<{ first: number; last: number }> {
    const all = { first: 0, last: Number.MAX_SAFE_INTEGER - 1 };
    if (from === undefined) return all;
    const isWithin = and(
      eq(counts.kind, kind),
      gte(counts.minute, from),
      until === undefined ? undefined : lt(counts.minute, until),
    );
    const within = this.#database
      .select({ id: counts.id })
      .from(counts)
      .where(isWithin)
      .limit(MAX_BOUNDED)
      .as("within");
    const bounds = await runStatement(this.#clock, () =>
      this.#database
        .select({ first: min(within.id), last: max(within.id), size: count() })
        .from(within)
        .get(),
    );
    return bounds?.size === MAX_BOUNDED ? all : { first: bounds?.first ?? 0, last: bounds?.last ?? -1 };
  }
}

/** Counts of upstream calls in SQLite. */
export class SqliteCallCountStore implements CallCountStore {
  readonly #database: BunSQLiteDatabase;
  readonly #clock: Clock;

  constructor(database: BunSQLiteDatabase, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  async add(added: readonly CallCount[]): Promise<void> {
    const target = [callCounts.platform, callCounts.appId, callCounts.endpoint, callCounts.day];
    const addAll = (transaction: Transaction) => {
      for (const row of added) {
        const set = { calls: sql`${callCounts.calls} + ${row.calls}` };
        transaction.insert(callCounts).values(row).onConflictDoUpdate({ target, set }).run();
      }
    };
    const change = () => this.#database.transaction(addAll, { behavior: "immediate" });
    await runStatement(this.#clock, change, BACKGROUND_ATTEMPTS);
  }

  async ofApp(platform: Platform, appId: string, day: string): Promise<CallCount[]> {
    const isOfApp = and(
      eq(callCounts.platform, platform),
      eq(callCounts.appId, appId),
      eq(callCounts.day, day),
    );
    const rows = await runStatement(this.#clock, () =>
      this.#database.select().from(callCounts).where(isOfApp).all(),
    );
    return rows.map((row) => ({ ...row, platform }));
  }
}
