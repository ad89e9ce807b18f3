import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import type { Keyring } from "./keyring.ts";
import type { SealedPlace, SealingKey } from "./sealing-key.ts";
import type { Sql } from "./sql.ts";

/** What was done to the texts of a database. */
export interface Resealed {
  readonly resealed: number;
  /** Texts that did not open and were cleared. */
  readonly damaged: readonly SealedPlace[];
}

interface SealedRow {
  readonly text: string;
  readonly key: readonly string[];
  readonly place: SealedPlace;
}

/**
 * Encrypts every sealed text of a database under one key.
 *
 * Encrypting takes several times as long as writing, so `prepare` does it while others write, and `apply` only encrypts
 * what was written since.
 */
export class Resealing {
  readonly #keyring: Keyring;
  readonly #key: SealingKey;
  /** The new texts by the old ones. */
  readonly #prepared = new Map<string, { readonly place: SealedPlace; readonly sealed: string }>();

  /** `keyring` opens the texts; `key` seals them. */
  constructor(keyring: Keyring, key: SealingKey) {
    this.#keyring = keyring;
    this.#key = key;
  }

  /**
   * Encrypts the texts of `column`, and writes nothing.
   *
   * @throws {ServiceError} `store_unusable` when one does not open that can't be cleared.
   */
  async prepare(sql: Pick<Sql, "query">, column: SealedColumn): Promise<void> {
    for (const { text, place } of await this.#rowsOf(sql, column)) {
      const sealed = await this.#seal(column, place, text);
      if (sealed !== undefined) this.#prepared.set(text, { place, sealed });
    }
  }

  /** How many texts are encrypted and not written yet. */
  get preparedCount(): number {
    return this.#prepared.size;
  }

  /**
   * Puts every text under the key, and clears what does not open. Part of a transaction that writes.
   *
   * @throws {ServiceError} `store_unusable` when one does not open that can't be cleared: let it pass, so that all of
   * the transaction is undone.
   */
  async apply(sql: Sql): Promise<Resealed> {
    let resealed = 0;
    const damaged: SealedPlace[] = [];
    for (const column of SEALED_COLUMNS) {
      const isRow = column.key.map((name) => `${name} = ?`).join(" AND ");
      const update = `UPDATE ${column.table} SET ${column.column} = ? WHERE ${isRow}`;
      for (const { text, key, place } of await this.#rowsOf(sql, column)) {
        const sealed = await this.#seal(column, place, text);
        if (sealed === undefined) {
          await sql.query(`${column.forget} WHERE ${isRow}`, key);
          damaged.push(place);
        } else {
          await sql.query(update, [sealed, ...key]);
          resealed++;
        }
      }
    }
    this.#prepared.clear();
    return { resealed, damaged };
  }

  async #seal(column: SealedColumn, place: SealedPlace, text: string): Promise<string | undefined> {
    const prepared = this.#prepared.get(text);
    if (prepared && isSame(prepared.place, place)) return prepared.sealed;
    const secret = await this.#open(column, place, text);
    return secret && this.#key.seal(secret, place);
  }

  /** Those that are not sealed under the key. */
  async #rowsOf(sql: Pick<Sql, "query">, { table, column, key }: SealedColumn): Promise<SealedRow[]> {
    const prefix = `${this.#key.keyId}.`;
    const rows = await sql.query(
      `SELECT ${[column, ...key].join(", ")} FROM ${table}
       WHERE ${column} IS NOT NULL AND substr(${column}, 1, ${prefix.length}) <> ?`,
      [prefix],
    );
    return (rows as string[][]).map(([text = "", ...names]) => {
      return { text, key: names, place: { table, row: names.join(":"), column } };
    });
  }

  async #open(column: SealedColumn, place: SealedPlace, text: string): Promise<Secret | undefined> {
    try {
      return await this.#keyring.open(text, place);
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code !== "store_unusable") throw error;
      if (column.forget !== undefined) return undefined;
      throw new ServiceError(
        "store_unusable",
        `${place.table}.${place.column}（${place.row}）无法解密，主密钥轮换已停止，没有丢失任何数据；请修复后再次执行 (${place.table}.${place.column} of ${place.row} does not open, so the rotation has stopped; nothing is lost; fix it and run it again)`,
      );
    }
  }
}

function isSame(a: SealedPlace, b: SealedPlace): boolean {
  return a.row === b.row && a.column === b.column && a.table === b.table;
}

/** A column whose texts are sealed. Its parts are SQL. */
export interface SealedColumn {
  readonly table: "data_keys" | "apps" | "credentials" | "login_answers";
  readonly column: string;
  /** The primary key: with colons between, what the row is called in a `SealedPlace`. */
  readonly key: readonly string[];
  /** Makes a row without what can't be opened; undefined where nothing can take its place. */
  readonly forget: string | undefined;
}

const OF_CREDENTIAL = { table: "credentials", key: ["platform", "app_id", "slot", "kind"] } as const;

/** Every sealed column but those of the keyring itself. A new one must be added, or a rotation loses what is in it. */
export const SEALED_COLUMNS: readonly SealedColumn[] = [
  { table: "data_keys", column: "value", key: ["name"], forget: undefined },
  { table: "apps", column: "secret", key: ["platform", "app_id", "agent"], forget: undefined },
  {
    ...OF_CREDENTIAL,
    column: "value",
    forget:
      "UPDATE credentials SET value = NULL, issued_at = NULL, expires_at = NULL, renew_left_ms = NULL, is_rejected = 0, value_digest = NULL",
  },
  { ...OF_CREDENTIAL, column: "dead_value", forget: "UPDATE credentials SET dead_value = NULL" },
  { table: "login_answers", column: "answer", key: ["key"], forget: "DELETE FROM login_answers" },
];
