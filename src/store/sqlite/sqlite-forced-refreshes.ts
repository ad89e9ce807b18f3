import { and, eq, gt, lt, lte, ne, or, sql } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import type { Clock } from "../../clock.ts";
import {
  FORCED_A_DAY,
  FORCED_PAUSE_MS,
  type ForcedRefreshCount,
  type ForcedRefreshes,
} from "../../credentials/forced-refreshes.ts";
import { beijingDay, untilMidnightInBeijing } from "../../audit/beijing-day.ts";
import { forcedRefreshes } from "./schema.ts";
import { runStatement } from "./statement.ts";

/** The budget of forced refreshes in SQLite: taken by one conditional write, so no two processes take the same. */
export class SqliteForcedRefreshes implements ForcedRefreshes, ForcedRefreshCount {
  readonly #database: BunSQLiteDatabase;
  readonly #clock: Clock;

  constructor(database: BunSQLiteDatabase, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  async take(appId: string, now: number): Promise<number> {
    const day = beijingDay(now);
    const { count, lastAt } = forcedRefreshes;
    const mayTake = and(
      or(ne(forcedRefreshes.day, day), lt(count, FORCED_A_DAY)),
      // A last one far in the future was written under a clock that has been set back since.
      or(lte(lastAt, now - FORCED_PAUSE_MS), gt(lastAt, now + FORCED_PAUSE_MS)),
    );
    const set = {
      day,
      count: sql`CASE WHEN ${forcedRefreshes.day} = ${day} THEN ${count} + 1 ELSE 1 END`,
      lastAt: now,
    };
    const taken = await runStatement(this.#clock, () =>
      this.#database
        .insert(forcedRefreshes)
        .values({ appId, day, count: 1, lastAt: now })
        .onConflictDoUpdate({ target: forcedRefreshes.appId, set, ...(mayTake ? { setWhere: mayTake } : {}) })
        .returning()
        .get(),
    );
    if (taken) return 0;
    const standing = await runStatement(this.#clock, () =>
      this.#database.select().from(forcedRefreshes).where(eq(forcedRefreshes.appId, appId)).get(),
    );
    const isUsedUp = standing?.day === day && standing.count >= FORCED_A_DAY;
    return isUsedUp
      ? untilMidnightInBeijing(now)
      : Math.max(1000, (standing?.lastAt ?? 0) + FORCED_PAUSE_MS - now);
  }

  async takenToday(appId: string, now: number): Promise<number> {
    const isToday = and(eq(forcedRefreshes.appId, appId), eq(forcedRefreshes.day, beijingDay(now)));
    const row = await runStatement(this.#clock, () =>
      this.#database.select({ count: forcedRefreshes.count }).from(forcedRefreshes).where(isToday).get(),
    );
    return row?.count ?? 0;
  }
}
