import type { Database } from "bun:sqlite";
import initial from "../../../drizzle/0000_initial.sql" with { type: "text" };
import engine from "../../../drizzle/0001_engine.sql" with { type: "text" };
import access from "../../../drizzle/0002_access.sql" with { type: "text" };
import gateway from "../../../drizzle/0003_gateway.sql" with { type: "text" };

/** Every migration that drizzle-kit generated, in order, embedded so that the binary needs no folder. */
export const MIGRATIONS: readonly { readonly name: string; readonly sql: string }[] = [
  { name: "0000_initial", sql: initial },
  { name: "0001_engine", sql: engine },
  { name: "0002_access", sql: access },
  { name: "0003_gateway", sql: gateway },
];

/** The names of the migrations that `database` has had; empty for a new one. */
export function appliedMigrations(database: Database): string[] {
  const table = database
    .query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'")
    .get();
  if (!table) return [];
  return database
    .query<{ name: string }, []>("SELECT name FROM migrations ORDER BY name")
    .all()
    .map(({ name }) => name);
}

/** Brings `database` to the newest schema in one transaction. Another process that does the same waits its turn. */
export function migrate(database: Database, now: number): void {
  const bringUp = database.transaction(() => {
    const applied = new Set(appliedMigrations(database));
    if (applied.size === 0) {
      database.run(
        "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)",
      );
    }
    for (const { name, sql } of MIGRATIONS) {
      if (applied.has(name)) continue;
      for (const statement of sql.split("--> statement-breakpoint")) database.run(statement);
      database.query("INSERT INTO migrations (name, applied_at) VALUES (?, ?)").run(name, now);
    }
  });
  bringUp.immediate();
}
