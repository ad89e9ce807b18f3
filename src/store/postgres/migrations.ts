import { ServiceError } from "../../errors.ts";
import { COMPATIBLE_FROM } from "../epochs.ts";
import type { Sql, SqlEngine } from "../sql.ts";
import initial from "../../../drizzle/postgres/0000_initial.sql" with { type: "text" };
import environments from "../../../drizzle/postgres/0001_environments.sql" with { type: "text" };
import console from "../../../drizzle/postgres/0002_console.sql" with { type: "text" };
import callsOfDay from "../../../drizzle/postgres/0003_calls_of_day.sql" with { type: "text" };
import operations from "../../../drizzle/postgres/0004_operations.sql" with { type: "text" };
import platforms from "../../../drizzle/postgres/0005_platforms.sql" with { type: "text" };

/** Every migration that drizzle-kit generated, in order, embedded so that the binary needs no folder. */
export const MIGRATIONS: readonly { readonly name: string; readonly sql: string }[] = [
  { name: "0000_initial", sql: initial },
  { name: "0001_environments", sql: environments },
  { name: "0002_console", sql: console },
  { name: "0003_calls_of_day", sql: callsOfDay },
  { name: "0004_operations", sql: operations },
  { name: "0005_platforms", sql: platforms },
];

/** How long one statement of a migration may take, as the index of a large table. Changes by others wait for about 3 s meanwhile, then fail as busy. Milliseconds. */
const STATEMENT_MS = 600_000;

/** The number of the newest migration that this version knows. */
export const NEWEST_MIGRATION = MIGRATIONS.length - 1;
/** The number of the migration from which on a process knows third-party platforms. */
export const PLATFORMS_MIGRATION = MIGRATIONS.findIndex(({ name }) => name === "0005_platforms");

/** What the migrations make. */
const MADE = MIGRATIONS.flatMap(({ sql }) => [...sql.matchAll(/^CREATE (TABLE|FUNCTION) "(\w+)"/gm)]);
const namesOf = (kind: string) => MADE.flatMap(([, made, name = ""]) => (made === kind ? [name] : []));
/** The tables of this version's database. */
export const OWN_TABLES: readonly string[] = ["migrations", ...namesOf("TABLE")];
/** Its functions: none of them has parameters. */
export const OWN_FUNCTIONS: readonly string[] = namesOf("FUNCTION");

/**
 * Brings the database to the newest schema in one transaction, while which no other process writes. Returns whether it had
 * no table yet. `now` is in epoch milliseconds.
 *
 * `migrations` are those that this version knows, `others` tables of other programs that may be there.
 *
 * A newer version may have gone further: this one runs beside it, unless that version says that it must not.
 *
 * @throws {ServiceError} `store_unusable` when it is not ours, or such a version was there.
 */
export function migrate(
  engine: SqlEngine,
  now: number,
  migrations = MIGRATIONS,
  others: readonly string[] = [],
): Promise<boolean> {
  const work = async (sql: Sql) => {
    const pending = new Set(await pendingMigrations(sql, migrations, others));
    const isNew = pending.size === migrations.length;
    if (isNew)
      await sql.query(
        'CREATE TABLE "migrations" ("name" text PRIMARY KEY, "applied_at" bigint NOT NULL)',
        [],
      );
    for (const { name, sql: text } of migrations) {
      if (!pending.has(name)) continue;
      for (const statement of text.split("--> statement-breakpoint")) await sql.query(statement, []);
      await sql.query("INSERT INTO migrations (name, applied_at) VALUES (?, ?)", [name, now]);
    }
    return isNew;
  };
  return engine.transaction(work, { statementMs: STATEMENT_MS });
}

/**
 * The names of `migrations` that the database has not had, in order.
 *
 * @throws {ServiceError} `store_unusable` as `migrate`.
 */
export async function pendingMigrations(
  sql: Sql,
  migrations = MIGRATIONS,
  others: readonly string[] = [],
): Promise<string[]> {
  const applied = new Set(await appliedMigrations(sql));
  if (applied.size === 0) {
    if ((await tablesOf(sql)).some((name) => !others.includes(name))) throw foreign();
  } else {
    const [from] = await sql.query("SELECT number FROM revisions WHERE name = ?", [COMPATIBLE_FROM]);
    if (Number(from?.[0] ?? 0) > NEWEST_MIGRATION) throw tooNew();
  }
  return migrations.flatMap(({ name }) => (applied.has(name) ? [] : [name]));
}

/** Whether the database has every migration that this version knows. */
export async function isMigrated(sql: Sql): Promise<boolean> {
  const applied = new Set(await appliedMigrations(sql));
  return MIGRATIONS.every(({ name }) => applied.has(name));
}

/** The tables and views of the schema, whosever they are. */
export async function tablesOf(sql: Sql): Promise<string[]> {
  const rows = await sql.query(
    "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY 1",
    [],
  );
  return rows.map(([name]) => String(name));
}

/** The names of the migrations that the database has had. */
export async function appliedMigrations(sql: Sql): Promise<string[]> {
  if (!(await tablesOf(sql)).includes("migrations")) return [];
  return (await sql.query("SELECT name FROM migrations ORDER BY name", [])).map(([name]) => String(name));
}

function foreign(): ServiceError {
  return new ServiceError(
    "store_unusable",
    "DATABASE_URL: 该数据库已有其他程序的表，请改用空数据库 (the database has tables of another program; choose an empty one)",
  );
}

function tooNew(): ServiceError {
  return new ServiceError(
    "store_unusable",
    "DATABASE_URL: 数据库已由更新版本升级，本版本不能再使用，请升级本程序 (a newer version has migrated the database, and this one can't be used with it any more; upgrade this program)",
  );
}
