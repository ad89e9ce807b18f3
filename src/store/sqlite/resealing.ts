import type { Database } from "bun:sqlite";
import { ServiceError } from "../../errors.ts";
import type { Secret } from "../../secret.ts";
import type { Keyring } from "../keyring.ts";
import type { SealedPlace, SealingKey } from "../sealing-key.ts";

/** So many texts are encrypted between two reports of progress. */
const CHUNK = 1000;

/** What was done to the texts of a database. */
export interface Resealed {
  readonly resealed: number;
  /** Texts that did not open and were cleared. */
  readonly damaged: readonly SealedPlace[];
}

interface SealedRow {
  readonly id: number;
  readonly name: string;
  readonly text: string;
}

/** A text as it was read, and what is to take its place while it is still the same. */
interface Replacement {
  readonly column: SealedColumn;
  readonly id: number;
  readonly from: string;
  readonly to: string;
}

/**
 * Encrypts every sealed text of a database under one key.
 *
 * Encrypting takes several times as long as writing, so `prepare` does it while others write, and `apply` only
 * exchanges the texts that are still the same, and encrypts those that are not.
 */
export class Resealing {
  readonly #database: Database;
  readonly #keyring: Keyring;
  readonly #key: SealingKey;
  readonly #prepared: Replacement[] = [];

  /** `keyring` opens the texts; `key` seals them. */
  constructor(database: Database, keyring: Keyring, key: SealingKey) {
    this.#database = database;
    this.#keyring = keyring;
    this.#key = key;
  }

  /**
   * Encrypts the next texts of `column`, from behind the row `after` on, and writes nothing. Returns the last row that
   * it has looked at; undefined when there are no more.
   *
   * @throws {ServiceError} `store_unusable` when one does not open that can't be cleared.
   */
  prepare(column: SealedColumn, after: number): number | undefined {
    const rows = this.#rowsOf(column, after, CHUNK);
    for (const { id, name, text } of rows) {
      const secret = this.#open(column, name, text);
      if (!secret) continue;
      this.#prepared.push({ column, id, from: text, to: this.#key.seal(secret, placeIn(column, name)) });
    }
    return rows.length < CHUNK ? undefined : rows.at(-1)?.id;
  }

  /** How many texts are encrypted and not written yet. */
  get preparedCount(): number {
    return this.#prepared.length;
  }

  /**
   * Writes what was prepared, and encrypts and clears the rest. Part of a transaction that was begun with `immediate`.
   *
   * @throws {ServiceError} `store_unusable` when one does not open that can't be cleared: let it pass, so that all of
   * the transaction is undone.
   */
  apply(): Resealed {
    let resealed = 0;
    for (const each of this.#prepared) resealed += this.#exchange(each);
    this.#prepared.length = 0;
    const damaged: SealedPlace[] = [];
    for (const column of SEALED_COLUMNS) {
      for (const { id, name, text } of this.#rowsOf(column, 0, -1)) {
        const secret = this.#open(column, name, text);
        if (secret) {
          const to = this.#key.seal(secret, placeIn(column, name));
          resealed += this.#exchange({ column, id, from: text, to });
        } else {
          this.#database.query(`${column.forget} WHERE rowid = ?`).run(id);
          damaged.push(placeIn(column, name));
        }
      }
    }
    return { resealed, damaged };
  }

  /** Those that are not sealed under the key; -1 for all. */
  #rowsOf({ table, column, rowName }: SealedColumn, after: number, limit: number): SealedRow[] {
    const prefix = `${this.#key.keyId}.`;
    return this.#database
      .query<SealedRow, [number, string, number]>(
        `SELECT rowid AS id, ${rowName} AS name, ${column} AS text FROM ${table}
         WHERE rowid > ? AND ${column} IS NOT NULL AND substr(${column}, 1, ${prefix.length}) <> ? ORDER BY rowid LIMIT ?`,
      )
      .all(after, prefix, limit);
  }

  #exchange({ column: { table, column }, id, from, to }: Replacement): number {
    const update = `UPDATE ${table} SET ${column} = ? WHERE rowid = ? AND ${column} = ?`;
    return this.#database.query(update).run(to, id, from).changes;
  }

  #open(column: SealedColumn, name: string, text: string): Secret | undefined {
    try {
      return this.#keyring.open(text, placeIn(column, name));
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code !== "store_unusable") throw error;
      if (column.forget !== undefined) return undefined;
      throw new ServiceError(
        "store_unusable",
        `${column.table}.${column.column}（${name}）无法解密，主密钥轮换已停止，没有丢失任何数据；请修复后再次执行 (does not open, so the rotation has stopped; nothing is lost; fix it and run it again)`,
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

/** Every sealed column but those of the keyring itself. A new one must be added, or a rotation loses what is in it. */
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
