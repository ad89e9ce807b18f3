import { and, eq, gt, inArray, lt, lte, ne, or, sql } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import type { AuditEntry } from "../../audit/audit-entry.ts";
import { beijingDay, type Clock, untilMidnightInBeijing } from "../../clock.ts";
import { type Pause, PAUSE_SKEW_MS, type PauseStore, type StoredFailure } from "../../credentials/backoff.ts";
import type { AuditChain } from "./audit-chain.ts";
import { forcedRefreshes, pauses } from "./schema.ts";
import { runStatement } from "./statement.ts";
import {
  MAX_FORCED_PER_DAY,
  FORCED_PAUSE_MS,
  type ForcedRefreshCount,
  type ForcedRefreshes,
} from "../../credentials/throttles.ts";

/** How long after its end a pause still says how many failures there were in a row. */
const FORGOTTEN_MS = 86_400_000;

/** Pauses in SQLite. What they hold is what WeChat said of us, and nothing secret. */
export class SqlitePauseStore implements PauseStore {
  readonly #database: BunSQLiteDatabase;
  readonly #clock: Clock;
  readonly #audit: AuditChain;

  constructor(database: BunSQLiteDatabase, clock: Clock, audit: AuditChain) {
    this.#database = database;
    this.#clock = clock;
    this.#audit = audit;
  }

  async find(keys: readonly string[]): Promise<Pause[]> {
    const isOne = inArray(pauses.key, [...keys]);
    const rows = await runStatement(this.#clock, () =>
      this.#database.select().from(pauses).where(isOne).all(),
    );
    return rows.map(({ reason, failure, ...row }) => ({
      ...row,
      reason: reason === "circuit" || reason === "quota" ? reason : "ladder",
      failure: JSON.parse(failure) as StoredFailure,
    }));
  }

  async put({ failure, ...pause }: Pause): Promise<void> {
    const row = { ...pause, failure: JSON.stringify(failure) };
    await runStatement(this.#clock, () =>
      this.#database.transaction(
        (transaction) => {
          transaction.insert(pauses).values(row).onConflictDoUpdate({ target: pauses.key, set: row }).run();
          // A pause long over counts for nothing; whoever tries many secrets must not fill the table.
          transaction
            .delete(pauses)
            .where(lt(pauses.until, pause.since - FORGOTTEN_MS))
            .run();
        },
        { behavior: "immediate" },
      ),
    );
  }

  async claim(pause: Pause): Promise<Pause | undefined> {
    const { failure, since, ...rest } = pause;
    const row = { ...rest, since, failure: JSON.stringify(failure) };
    const isExpired = or(lte(pauses.until, since), gt(pauses.since, since + PAUSE_SKEW_MS));
    const claimed = await runStatement(this.#clock, () =>
      this.#database
        .insert(pauses)
        .values(row)
        .onConflictDoUpdate({ target: pauses.key, set: row, ...(isExpired ? { setWhere: isExpired } : {}) })
        .returning({ key: pauses.key })
        .get(),
    );
    if (claimed) return undefined;
    const [standing] = await this.find([pause.key]);
    return standing ?? this.claim(pause);
  }

  async remove(keys: readonly string[], entry?: AuditEntry): Promise<void> {
    const isOne = inArray(pauses.key, [...keys]);
    await runStatement(this.#clock, () =>
      this.#database.transaction(
        (transaction) => {
          transaction.delete(pauses).where(isOne).run();
          if (entry) this.#audit.append(transaction, entry);
        },
        { behavior: "immediate" },
      ),
    );
  }
}

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
      or(ne(forcedRefreshes.day, day), lt(count, MAX_FORCED_PER_DAY)),
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
    const isUsedUp = standing?.day === day && standing.count >= MAX_FORCED_PER_DAY;
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
