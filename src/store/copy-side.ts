import type { SQL } from "drizzle-orm";
import { ServiceError } from "../errors.ts";
import { type Sql, SqlDatabase } from "./sql.ts";

/** A table as it is copied. */
export interface CopiedTable {
  readonly name: string;
  readonly columns: readonly CopiedColumn[];
  /** Whether the engine counts its ids up by itself. */
  readonly isNumbered: boolean;
  /** How many rows are read and written at once. */
  readonly atOnce: number;
}

/** A column of it. */
interface CopiedColumn {
  readonly name: string;
  /** Of texts, or of whole numbers. */
  readonly isText: boolean;
}

/** One end of a copy: an engine's database, all of it inside one transaction. */
export interface CopySide {
  /** For a message; without a password. */
  readonly place: string;
  readonly sql: Sql;
  /** See `AuditChainParts`. */
  readonly remembered?: SQL;
  readonly keepsNul: boolean;
  /** The names of the migrations that this version knows, in order: what follows the number is the same on both engines. */
  readonly migrations: readonly string[];
  /** The tables that are there. */
  tables(): Promise<string[]>;
  /** Whether it has exactly the migrations that this version knows. */
  isCurrent(): Promise<boolean>;
  /** Gives an empty database its tables. `now` is in epoch milliseconds. */
  migrate(now: number): Promise<void>;
  /** The rows of a table, some at a time, in any order. */
  rows(table: CopiedTable): AsyncIterable<unknown[][]>;
  insert(table: CopiedTable, rows: readonly (readonly unknown[])[]): Promise<void>;
  /** The highest id that the engine has ever given in a numbered table; 0 where it does not know. */
  counter(table: CopiedTable): Promise<number>;
  /** Makes the next id of a numbered table a higher one. */
  setCounter(table: CopiedTable, id: number): Promise<void>;
}

/** The queries of a side, all of them inside its transaction. */
export function databaseOf({ sql }: Pick<CopySide, "sql">): SqlDatabase {
  return new SqlDatabase({ reads: sql, transaction: (work) => work(sql) });
}

/** Which end it is: what nobody uses, what is written, what others go on with, or what another takes the place of. */
export type SideRole = "source" | "target" | "snapshot" | "replaced";

/** The columns of `table` for a statement. */
export function columnList({ columns }: CopiedTable): string {
  return columns.map(({ name }) => `"${name}"`).join(", ");
}

/** That a service is using the database that is to be copied. */
export function inUse(place: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${place}: 正被服务使用，请先停止服务，或复制其备份 (a service is using it; stop the service first, or copy a backup of it)`,
  );
}

/** That the database could not be used. */
export function unusableSide(place: string, code: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${place}: 无法使用，请检查地址、网络、用户名、密码、sslmode和磁盘空间 (can't be used: ${code}; check address, network, user, password, sslmode and disk space)`,
  );
}
