import type { Database } from "bun:sqlite";
import { ServiceError } from "../../errors.ts";
import type { Keyring } from "../keyring.ts";
import type { SealedPlace } from "../sealing-key.ts";
import { placeIn, SEALED_COLUMNS, type SealedColumn } from "./sealed-columns.ts";

/** So many texts are sealed anew in one transaction: a few milliseconds for which other processes wait. */
const BATCH_MOST = 100;

/** What one batch did. */
export interface Batch {
  readonly resealed: number;
  /** Texts that did not open and were forgotten. */
  readonly damaged: readonly SealedPlace[];
  /** The last row that was looked at; undefined when there are no more. */
  readonly reached: number | undefined;
}

interface SealedRow {
  readonly id: number;
  readonly name: string;
  readonly text: string;
}

/** Seals what is sealed under other keys under the newest. Each call is one transaction, or belongs in one. */
export class Resealing {
  readonly #database: Database;
  readonly #keyring: Keyring;

  constructor(database: Database, keyring: Keyring) {
    this.#database = database;
    this.#keyring = keyring;
  }

  /**
   * Seals the next texts of `column` anew, from behind the row `after` on, in a transaction of its own.
   *
   * @throws {ServiceError} `store_unusable` when one does not open in whose place nothing can be put; then this batch
   * changes nothing.
   */
  run(column: SealedColumn, after: number): Batch {
    return this.#database
      .transaction((): Batch => {
        const rows = this.#rowsOf(column, after, BATCH_MOST);
        const damaged = rows.filter((row) => !this.#reseal(column, row));
        return {
          resealed: rows.length - damaged.length,
          damaged: damaged.map(({ name }) => placeIn(column, name)),
          reached: rows.length < BATCH_MOST ? undefined : rows.at(-1)?.id,
        };
      })
      .immediate();
  }

  /** Whether any text is not sealed under the newest key. */
  isAnyLeft(): boolean {
    return SEALED_COLUMNS.some((column) => this.#rowsOf(column, 0, 1).length > 0);
  }

  /**
   * Opens every text in whose place nothing could be put.
   *
   * @throws {ServiceError} `store_unusable` at the first that does not open.
   */
  check(): void {
    for (const column of SEALED_COLUMNS.filter(({ forget }) => forget === undefined)) {
      const query = `SELECT rowid AS id, ${column.rowName} AS name, ${column.column} AS text FROM ${column.table}`;
      for (const { name, text } of this.#database.query<SealedRow, []>(query).all()) {
        this.#open(column, name, text);
      }
    }
  }

  #rowsOf({ table, column, rowName }: SealedColumn, after: number, most: number): SealedRow[] {
    const prefix = `${this.#keyring.current?.keyId ?? ""}.`;
    return this.#database
      .query<SealedRow, [number, string, number]>(
        `SELECT rowid AS id, ${rowName} AS name, ${column} AS text FROM ${table}
         WHERE rowid > ? AND ${column} IS NOT NULL AND substr(${column}, 1, ${prefix.length}) <> ? ORDER BY rowid LIMIT ?`,
      )
      .all(after, prefix, most);
  }

  /** False when the text did not open, and is gone now. */
  #reseal(column: SealedColumn, { id, name, text }: SealedRow): boolean {
    const secret = this.#open(column, name, text);
    if (!secret) {
      this.#database.query(`${column.forget} WHERE rowid = ?`).run(id);
      return false;
    }
    const sealed = this.#keyring.seal(secret, placeIn(column, name));
    this.#database
      .query(`UPDATE ${column.table} SET ${column.column} = ? WHERE rowid = ? AND ${column.column} = ?`)
      .run(sealed, id, text);
    return true;
  }

  #open(column: SealedColumn, name: string, text: string) {
    try {
      return this.#keyring.open(text, placeIn(column, name));
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code !== "store_unusable") throw error;
      if (column.forget !== undefined) return undefined;
      throw new ServiceError(
        "store_unusable",
        `${column.table}.${column.column}（${name}）无法解开，主密钥轮换已停止，没有丢失任何数据；请修复后再次执行 (does not open, so the rotation has stopped; nothing is lost; put it right and run it again)`,
      );
    }
  }
}
