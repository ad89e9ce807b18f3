import { is } from "drizzle-orm";
import { getTableConfig, SQLiteTable } from "drizzle-orm/sqlite-core";
import type { VerifyResult } from "../audit/audit-store.ts";
import { ServiceError } from "../errors.ts";
import { type CopyAuditOptions, noteCopy } from "./copy-audit.ts";
import { type CopiedTable, type CopySide, databaseOf } from "./copy-side.ts";
import { COMPATIBLE_FROM, raiseCompatibleFrom } from "./epochs.ts";
import type { PostgresAddress } from "./postgres/postgres-engine.ts";
import { withPostgresSide } from "./postgres/postgres-side.ts";
import { SEALED_COLUMNS } from "./resealing.ts";
import * as schema from "./schema.ts";
import { withoutNul } from "./sql.ts";
import { withSqliteSide } from "./sqlite/sqlite-side.ts";

/** A database of either engine: the path of a file, or a PostgreSQL. */
export type DatabasePlace = { readonly path: string } | { readonly address: PostgresAddress };

/** What is copied where. */
export interface CopyOptions extends CopyAuditOptions {
  readonly from: DatabasePlace;
  readonly to: DatabasePlace;
  /** Called with every thousand rows. */
  readonly onProgress?: (progress: CopyProgress) => void;
}

/** How far a copy is: rows of one table that were written, or read again and compared. */
export interface CopyProgress {
  readonly step: "copying" | "comparing";
  readonly table: string;
  readonly rows: number;
}

/** What was copied. */
export interface CopiedRows {
  /** How many rows each table has, on both sides. */
  readonly tables: Readonly<Record<string, number>>;
  /** The ids of the master keys that the database is sealed under. */
  readonly keyIds: readonly string[];
  /** Texts whose NUL characters were replaced, because the target keeps none. */
  readonly textsWithNul: number;
}

/** What was copied, and what is to be said of the copy. */
export interface CopyReport extends CopiedRows {
  /** What the copy's audit chain says, which ends with an entry of the copy; undefined where the master key that opens it is not here. */
  readonly audit: VerifyResult | undefined;
}

/** A row of most tables has some hundred bytes, and one with large texts may have two megabytes. */
const AT_ONCE = 1000;
const LARGE_AT_ONCE = 20;

const TABLES: readonly CopiedTable[] = Object.values(schema)
  .filter((table) => is(table, SQLiteTable))
  .map((table) => {
    const { name, columns } = getTableConfig(table);
    return {
      name,
      columns: columns.map((column) => ({ name: column.name, isText: column.dataType === "string" })),
      isNumbered: columns.some(({ primary, dataType }) => primary && dataType === "number"),
      atOnce: SEALED_COLUMNS.some(({ table: own, isLarge }) => own === name && isLarge)
        ? LARGE_AT_ONCE
        : AT_ONCE,
    };
  });

/**
 * Copies a whole database into an empty one of the other engine, sealed texts as they are, and compares the two. Where the
 * master key is here, the copy's audit goes on with who made it.
 *
 * It is one transaction on either side: a copy that is interrupted has written nothing, and can be begun again. Nobody
 * else writes to either meanwhile.
 *
 * @throws {ServiceError} `store_unusable` when the source is in use or not of this version, the target is not empty,
 * either can't be used, or the copy is not the same. The target is as it was then.
 */
export function copyStore(options: CopyOptions): Promise<CopyReport> {
  const { from, to } = options;
  return withSide(from, "source", async (source) => {
    if (!(await source.isCurrent())) throw notCurrent(source);
    return withSide(to, "target", async (target) => {
      const copied = await copySide(source, target, options);
      return { ...copied, audit: await noteCopy(source, target, options) };
    });
  });
}

function withSide<T>(
  place: DatabasePlace,
  role: "source" | "target",
  work: (side: CopySide) => Promise<T>,
): Promise<T> {
  return "path" in place
    ? withSqliteSide(place.path, role, work)
    : withPostgresSide(place.address, role, work);
}

/**
 * Copies one open database into another as `copyStore` does, and leaves it to the caller to end the transactions of both.
 * `source` is of this version, and stands still as far as it sees itself. Throws as `copyStore`.
 */
export async function copySide(
  source: CopySide,
  target: CopySide,
  options: Pick<CopyOptions, "clock" | "onProgress">,
): Promise<CopiedRows> {
  return new Copy(source, target, options).run();
}

class Copy {
  readonly #source: CopySide;
  readonly #target: CopySide;
  readonly #options: Pick<CopyOptions, "clock" | "onProgress">;
  #textsWithNul = 0;

  constructor(source: CopySide, target: CopySide, options: Pick<CopyOptions, "clock" | "onProgress">) {
    this.#source = source;
    this.#target = target;
    this.#options = options;
  }

  async run(): Promise<CopiedRows> {
    const target = this.#target;
    const keyIds = await keyIdsOf(this.#source);
    if (keyIds.length === 0) throw notCurrent(this.#source);
    await requireEmpty(target);
    await target.migrate(this.#options.clock.now());
    const copied = new Map<string, Contents>();
    for (const table of TABLES) copied.set(table.name, await this.#copy(table));
    for (const table of TABLES) {
      const was = copied.get(table.name);
      const is = await this.#look(table);
      if (was?.rows !== is.rows || was.sum !== is.sum)
        throw different(target, table, was?.rows ?? 0, is.rows);
    }
    await this.#carryCompatibleFrom();
    return {
      tables: Object.fromEntries([...copied].map(([name, { rows }]) => [name, rows])),
      keyIds,
      textsWithNul: this.#textsWithNul,
    };
  }

  async #copy(table: CopiedTable): Promise<Contents> {
    const { sql } = this.#target;
    // What the migrations have put there is the source's, too.
    await sql.query(
      `DELETE FROM "${table.name}"${table.name === "revisions" ? ` WHERE ${IS_COPIED}` : ""}`,
      [],
    );
    const contents = new Contents();
    for await (const read of this.#source.rows(table)) {
      const rows = read.filter((row) => isCopied(table, row)).map((row) => this.#cells(table, row));
      contents.add(rows);
      await this.#target.insert(table, rows);
      this.#options.onProgress?.({ step: "copying", table: table.name, rows: contents.rows });
    }
    if (table.isNumbered) await this.#carryCounter(table);
    return contents;
  }

  /** An id that was given once must not be given again. */
  async #carryCounter(table: CopiedTable): Promise<void> {
    const [row] = await this.#target.sql.query(`SELECT max(id) FROM "${table.name}"`, []);
    const highest = Math.max(Number(row?.[0] ?? 0), await this.#source.counter(table));
    if (highest > 0) await this.#target.setCounter(table, highest);
  }

  /** Whom the source shuts out, the target does. */
  async #carryCompatibleFrom(): Promise<void> {
    const { sql, migrations } = this.#source;
    const [row] = await sql.query(`SELECT number FROM revisions WHERE name = '${COMPATIBLE_FROM}'`, []);
    const from = migrations[Number(row?.[0] ?? 0)];
    const number = this.#target.migrations.findIndex((name) => name.slice(4) === from?.slice(4));
    if (number > 0)
      await databaseOf(this.#target).transact((queries) => raiseCompatibleFrom(queries, number));
  }

  async #look(table: CopiedTable): Promise<Contents> {
    const contents = new Contents();
    for await (const rows of this.#target.rows(table)) {
      contents.add(rows.filter((row) => isCopied(table, row)));
      this.#options.onProgress?.({ step: "comparing", table: table.name, rows: contents.rows });
    }
    return contents;
  }

  /** A row as the target can hold it. SQLite may have anything in any column. */
  #cells({ name, columns }: CopiedTable, row: readonly unknown[]): unknown[] {
    return columns.map((column, n) => {
      const value = row[n];
      const isFit = column.isText ? typeof value === "string" : Number.isSafeInteger(value);
      if (value !== null && !isFit) throw damaged(this.#source, `${name}.${column.name}`);
      if (this.#target.keepsNul || typeof value !== "string") return value;
      const kept = withoutNul(value.toWellFormed());
      if (kept !== value) this.#textsWithNul++;
      return kept;
    });
  }
}

/** The number of the oldest migration that a process must know is of the engine's own migrations. */
const IS_COPIED = `name <> '${COMPATIBLE_FROM}'`;

function isCopied({ name, columns }: CopiedTable, row: readonly unknown[]): boolean {
  return (
    name !== "revisions" || row[columns.findIndex((column) => column.name === "name")] !== COMPATIBLE_FROM
  );
}

/** How many rows there are, and a sum of them in which their order does not matter. */
class Contents {
  rows = 0;
  sum = 0n;

  add(rows: readonly (readonly unknown[])[]): void {
    for (const row of rows) this.sum ^= Bun.hash.wyhash(JSON.stringify(row));
    this.rows += rows.length;
  }
}

async function keyIdsOf({ sql }: CopySide): Promise<string[]> {
  return (await sql.query("SELECT key_id FROM keyring ORDER BY created_at", [])).map(([id]) => String(id));
}

async function requireEmpty(target: CopySide): Promise<void> {
  const tables = await target.tables();
  if (tables.length === 0) return;
  const full: string[] = [];
  for (const name of tables) {
    const [row] = await target.sql.query(`SELECT count(*) FROM "${name}"`, []);
    if (row?.[0] !== 0) full.push(`${name} ${Number(row?.[0])}`);
  }
  const list = (full.length > 0 ? full : tables).join(", ");
  throw new ServiceError(
    "store_unusable",
    `${target.place}: 目标数据库不为空，未作任何改动；其中有：${list} (the target is not empty, and nothing was changed; it has: ${list})`,
  );
}

/** That a database is not of this version, and can't be copied. */
export function notCurrent({ place }: CopySide): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${place}: 不是本版本的完整数据库，请先用本版本启动一次服务再停止 (not a whole database of this version; start the service on it once with this version, and stop it)`,
  );
}

function damaged({ place }: CopySide, column: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${place}: ${column} 中有损坏的值，未复制任何内容；请修复该行或恢复备份 (a value in ${column} is damaged; nothing was copied; mend that row or restore a backup)`,
  );
}

function different({ place }: CopySide, { name }: CopiedTable, was: number, is: number): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${place}: ${name} 复制后不一致，已撤销；源${was}行，目标${is}行 (${name} differs after the copy, which was undone: ${was} rows in the source, ${is} in the target)`,
  );
}
