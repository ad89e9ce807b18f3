import type { Database } from "bun:sqlite";
import { ServiceError } from "../../errors.ts";
import type { Keyring } from "../keyring.ts";
import type { SealedPlace } from "../sealing-key.ts";

/** So many texts are sealed anew in one transaction: a few milliseconds for which other processes wait. */
const MAX_BATCH = 100;

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
        const rows = this.#rowsOf(column, after, MAX_BATCH);
        const damaged = rows.filter((row) => !this.#reseal(column, row));
        return {
          resealed: rows.length - damaged.length,
          damaged: damaged.map(({ name }) => placeIn(column, name)),
          reached: rows.length < MAX_BATCH ? undefined : rows.at(-1)?.id,
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

/** A column whose texts are sealed. Its parts are SQL. */
export interface SealedColumn {
  readonly table: "data_keys" | "apps" | "credentials" | "login_answers";
  readonly column: string;
  /** Gives what the row is called in a `SealedPlace`. */
  readonly rowName: string;
  /** Makes a row without what can't be opened; undefined where nothing can take its place. */
  readonly forget: string | undefined;
}

/** Every sealed column but those of the keyring itself. Whoever seals a new one adds it, or a new master key does not open it. */
export const SEALED_COLUMNS: readonly SealedColumn[] = [
  { table: "data_keys", column: "value", rowName: "name", forget: undefined },
  {
    table: "apps",
    column: "secret",
    rowName: "platform || ':' || app_id || ':' || agent",
    forget: undefined,
  },
  {
    table: "credentials",
    column: "value",
    rowName: "platform || ':' || app_id || ':' || slot || ':' || kind",
    forget:
      "UPDATE credentials SET value = NULL, issued_at = NULL, expires_at = NULL, renew_left_ms = NULL, is_rejected = 0, value_digest = NULL",
  },
  {
    table: "credentials",
    column: "dead_value",
    rowName: "platform || ':' || app_id || ':' || slot || ':' || kind",
    forget: "UPDATE credentials SET dead_value = NULL",
  },
  { table: "login_answers", column: "answer", rowName: "key", forget: "DELETE FROM login_answers" },
];

/** Where a text of `column` stands. */
function placeIn({ table, column }: SealedColumn, row: string): SealedPlace {
  return { table, row, column };
}
