import { Database, SQLiteError, type SQLQueryBindings } from "bun:sqlite";
import { ServiceError } from "../../errors.ts";
import { type CopiedTable, columnList, type CopySide, inUse, unusableSide } from "../copy-side.ts";
import type { Sql } from "../sql.ts";
import {
  appliedMigrations,
  createDatabase,
  inspectDatabase,
  migrate,
  MIGRATIONS,
  openDatabase,
} from "./open-database.ts";
import { isBusy, REMEMBERED_ENTRY } from "./statement.ts";

/**
 * Runs `work` on the database in one transaction, in which nobody else writes. As a source it is only read, and refused
 * while another process has it open; as a target it is made where it is not there, and all of it is undone when `work`
 * throws or this process ends.
 *
 * @throws {ServiceError} `store_unusable` when it can't be used; what `work` throws.
 */
export async function withSqliteSide<T>(
  path: string,
  role: "source" | "target",
  work: (side: CopySide) => Promise<T>,
): Promise<T> {
  const place = `file:${path}`;
  let database: Database | undefined;
  try {
    prepare(path, place, role);
    database =
      role === "source" ? new Database(path, { create: false, readwrite: true }) : openDatabase(path);
    // Every process that has a database with a write-ahead log open keeps a lock of it, which this one needs for itself.
    if (role === "source") database.run("PRAGMA locking_mode = EXCLUSIVE");
    database.run("BEGIN EXCLUSIVE");
    const result = await work(new SqliteSide(place, database));
    database.run(role === "source" ? "ROLLBACK" : "COMMIT");
    return result;
  } catch (error) {
    if (database?.inTransaction) database.run("ROLLBACK");
    if (error instanceof SQLiteError && isBusy(error)) throw inUse(place);
    throw error instanceof SQLiteError ? unusableSide(place, error.code ?? "SQLITE_ERROR") : error;
  } finally {
    if (role === "target") emptyLog(database);
    database?.close();
  }
}

function prepare(path: string, place: string, role: "source" | "target"): void {
  const { exists } = inspectDatabase(path);
  if (role === "target") createDatabase(path, false);
  else if (!exists) throw new ServiceError("store_unusable", `${place}: 数据库不存在 (there is no database)`);
}

/** So that the one file is the whole database. */
function emptyLog(database: Database | undefined): void {
  try {
    database?.run("PRAGMA wal_checkpoint(TRUNCATE)");
  } catch {
    // What is committed is safe in the log as well.
  }
}

/** A database of nobody else's as a side of a copy, outside any transaction. */
export function sideOver(place: string, database: Database): CopySide {
  return new SqliteSide(place, database);
}

class SqliteSide implements CopySide {
  readonly place: string;
  readonly sql: Sql;
  readonly remembered = REMEMBERED_ENTRY;
  readonly keepsNul = true;
  readonly migrations = MIGRATIONS.map(({ name }) => name);
  readonly #database: Database;

  constructor(place: string, database: Database) {
    this.place = place;
    this.#database = database;
    this.sql = { query: async (text, parameters) => this.#query(text, parameters) };
  }

  async tables(): Promise<string[]> {
    const rows = this.#query(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1",
    );
    return rows.map(([name]) => String(name));
  }

  async isCurrent(): Promise<boolean> {
    return appliedMigrations(this.#database).length === MIGRATIONS.length;
  }

  async migrate(now: number): Promise<void> {
    migrate(this.#database, now);
  }

  async *rows(table: CopiedTable): AsyncIterable<unknown[][]> {
    const text = `SELECT rowid, ${columnList(table)} FROM "${table.name}" WHERE rowid > ? ORDER BY rowid LIMIT ${table.atOnce}`;
    for (let after: unknown = Number.MIN_SAFE_INTEGER; ;) {
      const rows = this.#query(text, [after]);
      if (rows.length === 0) return;
      after = rows.at(-1)?.[0];
      yield rows.map((row) => row.slice(1));
    }
  }

  async insert(table: CopiedTable, rows: readonly (readonly unknown[])[]): Promise<void> {
    const values = table.columns.map(() => "?").join(", ");
    const text = `INSERT INTO "${table.name}" (${columnList(table)}) VALUES (${values})`;
    for (const row of rows) this.#query(text, row);
  }

  async counter({ name }: CopiedTable): Promise<number> {
    const [row] = this.#query("SELECT max(seq) FROM sqlite_sequence WHERE name = ?", [name]);
    return Number(row?.[0] ?? 0);
  }

  async setCounter({ name }: CopiedTable, id: number): Promise<void> {
    const [row] = this.#query("SELECT sql LIKE '%AUTOINCREMENT%' FROM sqlite_master WHERE name = ?", [name]);
    // The others go on from the highest id that is there.
    if (row?.[0] !== 1) return;
    this.#query("DELETE FROM sqlite_sequence WHERE name = ?", [name]);
    this.#query("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", [name, id]);
  }

  #query(text: string, parameters: readonly unknown[] = []): unknown[][] {
    return this.#database
      .query<unknown, SQLQueryBindings[]>(text)
      .values(...(parameters as SQLQueryBindings[]));
  }
}
