import { getTableColumns, type SQL, sql } from "drizzle-orm";
import type { SQLiteColumn, SQLiteTable } from "drizzle-orm/sqlite-core";

/** No column of ours holds a larger number than an instant can be. */
export const MAX_NUMBER = 8_640_000_000_000_000;

/**
 * A row, or some columns of it, without what the columns can't hold: SQLite keeps anything in any column, also what a broken
 * disk or a hand at the file put there. In its place stands null where the column may be null, else `""` or 0.
 */
export function checkRow<Row extends object>(
  table: SQLiteTable,
  row: Row,
): { readonly row: Row; readonly damaged: readonly string[] } {
  const cells = row as Readonly<Record<string, unknown>>;
  const damaged = columnsOf(table).filter(
    ({ key, dataType, notNull }) => key in cells && !isFit(cells[key], dataType, notNull),
  );
  if (damaged.length === 0) return { row, damaged: [] };
  const neutral = damaged.map(({ key, dataType, notNull }) => [key, notNull ? NEUTRAL[dataType] : null]);
  return {
    row: { ...row, ...Object.fromEntries(neutral) },
    damaged: damaged.map(({ name }) => name),
  };
}

interface Column {
  readonly key: string;
  readonly name: string;
  readonly dataType: string;
  readonly notNull: boolean;
}

/** Looked up once: there may be very many rows. */
const COLUMNS = new WeakMap<SQLiteTable, readonly Column[]>();

function columnsOf(table: SQLiteTable): readonly Column[] {
  const known = COLUMNS.get(table);
  if (known) return known;
  const columns = Object.entries(getTableColumns(table)).map(([key, { name, dataType, notNull }]) => ({
    ...{ key, name, dataType, notNull },
  }));
  COLUMNS.set(table, columns);
  return columns;
}

/** What stands for a cell that can't be read and must not be null. */
const NEUTRAL: Readonly<Record<string, unknown>> = { string: "", number: 0, boolean: false };

function isFit(value: unknown, dataType: string, notNull: boolean): boolean {
  if (value === null) return !notNull;
  if (dataType !== "number") return typeof value === dataType;
  return Number.isInteger(value) && Math.abs(Number(value)) <= MAX_NUMBER;
}

/** The highest number in a column, whatever else stands there; null for none. */
export function highest(column: SQLiteColumn): SQL<number | null> {
  return sql`max(case when ${column} between 0 and ${MAX_NUMBER} then ${column} end)`;
}

/** The whole number in a column, 0 where none stands: as `checkRow` says it. */
export function readable(column: SQLiteColumn): SQL<number> {
  const isWhole = sql`${column} between 0 and ${MAX_NUMBER} and ${column} = cast(${column} as bigint)`;
  return sql`case when ${isWhole} then ${column} else 0 end`;
}

/** One more than the number in a column; 1 where none stands that could be raised, so that it moves in any case. */
export function raised(column: SQLiteColumn): SQL<number> {
  return sql`case when ${column} between 0 and ${MAX_NUMBER} then ${column} + 1 else 1 end`;
}

/** Tells of damaged rows, of each once while it is damaged in the same way. */
export class DamageReports {
  readonly #report: (key: string) => void;
  readonly #known = new Map<string, string>();

  /** `report` is called with what names the row; nothing secret. */
  constructor(report: (key: string) => void = () => undefined) {
    this.#report = report;
  }

  /** Tells of the row of that key if any of it is damaged. */
  note(key: string, damaged: readonly string[]): void {
    const damage = damaged.join();
    if ((this.#known.get(key) ?? "") === damage) return;
    if (damage === "") this.#known.delete(key);
    else this.#known.set(key, damage);
    if (damage !== "") this.#report(key);
  }
}
