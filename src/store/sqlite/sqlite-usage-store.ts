import { and, eq, sql } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import type { Usage, UsageStore } from "../../audit/usage.ts";
import type { Clock } from "../../clock.ts";
import type { Platform } from "../../errors.ts";
import { usage } from "./schema.ts";
import { runStatement } from "./statement.ts";

/** Counts of upstream calls in SQLite. */
export class SqliteUsageStore implements UsageStore {
  readonly #database: BunSQLiteDatabase;
  readonly #clock: Clock;

  constructor(database: BunSQLiteDatabase, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  async add(usages: readonly Usage[]): Promise<void> {
    const target = [usage.platform, usage.appId, usage.endpoint, usage.day];
    await runStatement(this.#clock, () =>
      this.#database.transaction(
        (transaction) => {
          for (const row of usages) {
            const set = { calls: sql`${usage.calls} + ${row.calls}` };
            transaction.insert(usage).values(row).onConflictDoUpdate({ target, set }).run();
          }
        },
        { behavior: "immediate" },
      ),
    );
  }

  async ofApp(platform: Platform, appId: string, day: string): Promise<Usage[]> {
    const isOfApp = and(eq(usage.platform, platform), eq(usage.appId, appId), eq(usage.day, day));
    const rows = await runStatement(this.#clock, () =>
      this.#database.select().from(usage).where(isOfApp).all(),
    );
    return rows.map((row) => ({ ...row, platform }));
  }
}
