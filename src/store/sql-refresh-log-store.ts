import { setImmediate as nextTurn } from "node:timers/promises";
import { and, count, desc, eq, gte, inArray, lt, lte, max, or, sql } from "drizzle-orm";
import { type Clock, hourOf } from "../clock.ts";
import {
  type HistoryLimits,
  type HourlyCount,
  REFRESH_TRIGGERS,
  type RefreshAttempt,
  type RefreshLogStore,
  SERIES,
} from "../credentials/refresh-log.ts";
import { checkRow } from "./damaged-rows.ts";
import { claimDueWork } from "./due-work.ts";
import { hourlyCounts, refreshLog } from "./schema.ts";
import { BACKGROUND_ATTEMPTS, inLockOrder, type Queries, type SqlDatabase } from "./sql.ts";

const PRUNING = "refresh_log_pruning";
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** How many rows of each are deleted at once. */
const PIECE = 1000;

/** The attempts to obtain credentials in a SQL database, and what is counted by the hour. */
export class SqlRefreshLogStore implements RefreshLogStore {
  readonly #database: SqlDatabase;
  readonly #clock: Clock;

  constructor(database: SqlDatabase, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  async add(attempts: readonly RefreshAttempt[]): Promise<void> {
    if (attempts.length === 0) return;
    await this.#inBackground(async (queries) => {
      await queries.insert(refreshLog).values([...attempts]);
      await addHourly(
        queries,
        attempts.map(({ app, at, outcome }) => {
          const series = outcome === "ok" ? "refreshes" : "failures";
          return { app, hour: hourOf(at), series, n: 1 };
        }),
      );
    });
  }

  async list(
    app: string,
    { from, to, limit }: { readonly from: number; readonly to: number; readonly limit: number },
  ): Promise<RefreshAttempt[]> {
    const isWanted = and(eq(refreshLog.app, app), gte(refreshLog.at, from), lt(refreshLog.at, to));
    const rows = await this.#database.read((queries) =>
      queries.select().from(refreshLog).where(isWanted).orderBy(desc(refreshLog.id)).limit(limit),
    );
    return rows.flatMap((stored) => {
      const { row, damaged } = checkRow(refreshLog, stored);
      const { id: _id, errcode, generation, ...attempt } = row;
      const trigger = REFRESH_TRIGGERS.find((each) => each === row.trigger);
      if (damaged.length > 0 || !trigger) return [];
      return [{ ...attempt, trigger, errcode: errcode ?? undefined, generation: generation ?? undefined }];
    });
  }

  async listHours(
    apps: readonly string[],
    { from, to }: { readonly from: number; readonly to: number },
  ): Promise<HourlyCount[]> {
    const { app, hour } = hourlyCounts;
    const isWanted = and(inArray(app, [...apps]), gte(hour, from), lt(hour, to));
    const rows = await this.#database.read((queries) => queries.select().from(hourlyCounts).where(isWanted));
    return rows.flatMap((row) => {
      const series = SERIES.find((each) => each === row.series);
      return series && checkRow(hourlyCounts, row).damaged.length === 0 ? [{ ...row, series }] : [];
    });
  }

  claimPruning(everyMs: number): Promise<number> {
    return this.#inBackground((queries) => claimDueWork(queries, PRUNING, this.#clock.now(), everyMs));
  }

  async firstHour(from: number, most: number): Promise<number> {
    const { hour } = hourlyCounts;
    let left = most;
    // By the day, so that nothing else waits while they are counted.
    for (let end = hourOf(this.#clock.now()) + HOUR_MS; end > from; end -= DAY_MS, await nextTurn()) {
      const isOfDay = and(gte(hour, end - DAY_MS), lt(hour, end));
      const hours = await this.#database.read((queries) =>
        queries
          .select({ hour, n: count() })
          .from(hourlyCounts)
          .where(isOfDay)
          .groupBy(hour)
          .orderBy(desc(hour)),
      );
      for (const each of hours) if ((left -= each.n) < 0) return each.hour + HOUR_MS;
    }
    return from;
  }

  async prune({ attemptsFrom, hoursFrom, maxAttempts }: HistoryLimits): Promise<boolean> {
    const { id, at } = refreshLog;
    // Ids go up by one, so what is that far behind the newest is too much. It takes no count of them all.
    const [newest] = await this.#database.read((queries) => queries.select({ id: max(id) }).from(refreshLog));
    const isOld = or(lt(at, attemptsFrom), lte(id, (newest?.id ?? 0) - maxAttempts));
    const attempts = await this.#inBackground(async (queries) => {
      const old = queries.select({ id }).from(refreshLog).where(isOld).limit(PIECE);
      return queries.delete(refreshLog).where(inArray(id, old)).returning({ id });
    });
    const { app, hour, series } = hourlyCounts;
    const hours = await this.#inBackground(async (queries) => {
      const old = queries
        .select({ app, hour, series })
        .from(hourlyCounts)
        .where(lt(hour, hoursFrom))
        .limit(PIECE);
      return queries
        .delete(hourlyCounts)
        .where(sql`(${app}, ${hour}, ${series}) in ${old}`)
        .returning({ hour });
    });
    return Math.max(attempts.length, hours.length) < PIECE;
  }

  /** Beside what others write, and given up soon: it can be done later. */
  #inBackground<T>(work: (queries: Queries) => Promise<T>): Promise<T> {
    return this.#database.transact(work, { maxAttempts: BACKGROUND_ATTEMPTS, isIndependent: true });
  }
}

/** Adds to what is counted by the hour, in a transaction. */
export async function addHourly(queries: Queries, added: readonly HourlyCount[]): Promise<void> {
  const sums = new Map<string, HourlyCount>();
  for (const each of added) {
    const key = `${each.app} ${each.hour} ${each.series}`;
    sums.set(key, { ...each, n: each.n + (sums.get(key)?.n ?? 0) });
  }
  if (sums.size === 0) return;
  const rows = inLockOrder(sums, ([key]) => key).map(([, row]) => row);
  await queries
    .insert(hourlyCounts)
    .values(rows)
    .onConflictDoUpdate({
      target: [hourlyCounts.app, hourlyCounts.hour, hourlyCounts.series],
      set: { n: sql`${hourlyCounts.n} + excluded.n` },
    });
}
