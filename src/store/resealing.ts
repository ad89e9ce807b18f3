import { type AuditEntry, commandLineActor } from "../audit/audit-entry.ts";
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

/** So many texts are read, and written, by one statement; so many of those that may have a megabyte each. */
const PAGE_SIZE = 2000;
const PAGE_SIZE_OF_LARGE = 20;

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
    for await (const rows of this.#pagesOf(sql, column)) {
      for (const { text, place } of rows) {
        const sealed = await this.#seal(column, place, text);
        if (sealed !== undefined) this.#prepared.set(text, { place, sealed });
      }
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
      for await (const rows of this.#pagesOf(sql, column)) {
        const written: string[][] = [];
        for (const { text, key, place } of rows) {
          const sealed = await this.#seal(column, place, text);
          if (sealed !== undefined) written.push([sealed, ...key]);
          else {
            const isRow = column.key.map((name) => `${name} = ?`).join(" AND ");
            await sql.query(`${column.forget} WHERE ${isRow}`, key);
            damaged.push(place);
          }
        }
        if (written.length > 0) await sql.query(updateOf(column, written.length), written.flat());
        resealed += written.length;
      }
    }
    return { resealed, damaged };
  }

  async #seal(column: SealedColumn, place: SealedPlace, text: string): Promise<string | undefined> {
    const prepared = this.#prepared.get(text);
    if (prepared && isSame(prepared.place, place)) return prepared.sealed;
    const secret = await this.#open(column, place, text);
    return secret && this.#key.seal(secret, place);
  }

  /** Those that are not sealed under the key, in the order of their keys. */
  async *#pagesOf(
    sql: Pick<Sql, "query">,
    { table, column, key, isLarge }: SealedColumn,
  ): AsyncIterable<SealedRow[]> {
    const pageSize = isLarge ? PAGE_SIZE_OF_LARGE : PAGE_SIZE;
    const prefix = `${this.#key.keyId}.`;
    const isOld = `${column} IS NOT NULL AND substr(${column}, 1, ${prefix.length}) <> ?`;
    const isAfter = `(${key.join(", ")}) > (${key.map(() => "?").join(", ")})`;
    for (let after: readonly string[] | undefined; ;) {
      const rows = (await sql.query(
        `SELECT ${[column, ...key].join(", ")} FROM ${table} WHERE ${isOld}${after ? ` AND ${isAfter}` : ""}
         ORDER BY ${key.join(", ")} LIMIT ${pageSize}`,
        [prefix, ...(after ?? [])],
      )) as string[][];
      yield rows.map(([text = "", ...names]) => {
        return { text, key: names, place: { table, row: names.join(":"), column } };
      });
      if (rows.length < pageSize) return;
      after = rows.at(-1)?.slice(1);
    }
  }

  async #open(column: SealedColumn, place: SealedPlace, text: string): Promise<Secret | undefined> {
    const secret = await this.#keyring.tryOpen(text, place);
    if (!secret && column.forget === undefined)
      throw new ServiceError(
        "store_unusable",
        `${place.table}.${place.column}（${place.row}）无法解密，主密钥轮换已停止，没有丢失任何数据；请修复后再次执行 (${place.table}.${place.column} of ${place.row} does not open, so the rotation has stopped; nothing is lost; fix it and run it again)`,
      );
    return secret;
  }
}

/** Writes `count` texts, each with the key of its row behind it. */
function updateOf({ table, column, key }: SealedColumn, count: number): string {
  const row = `(${["?", ...key.map(() => "?")].join(", ")})`;
  const isRow = key.map((name, n) => `${table}.${name} = written.column${n + 2}`).join(" AND ");
  return `UPDATE ${table} SET ${column} = written.column1
    FROM (VALUES ${Array.from({ length: count }, () => row).join(", ")}) AS written WHERE ${isRow}`;
}

function isSame(a: SealedPlace, b: SealedPlace): boolean {
  return a.row === b.row && a.column === b.column && a.table === b.table;
}

/** What a rotation has done. */
export interface RotationReport {
  readonly oldKeyId: string;
  readonly newKeyId: string;
  /** Whether an earlier run had begun it, or done it. */
  readonly isResumed: boolean;
  /** Texts that this run has encrypted under the new key. */
  readonly resealed: number;
  /** What did not open even before, and was cleared. */
  readonly damaged: readonly SealedPlace[];
  /** Whether virtual tokens that were out are refused from now on. */
  readonly revokedVirtualTokens: boolean;
  /** Where the old key is kept; undefined when it came from the environment, and where every machine keeps its own. */
  readonly oldKeyFile: string | undefined;
}

/** What the audit says of it; `user` is who did it, and `detail` has `ids` and `facts`. */
export function rotationEntry(
  ids: { readonly old: string; readonly new: string },
  user: string,
  facts: AuditEntry["detail"],
): AuditEntry {
  return {
    ...commandLineActor(user),
    ...{ action: "master_key.rotated", app: "", outcome: "ok", tokenDigest: "" },
    detail: { ...ids, ...facts },
  };
}

/** A column whose texts are sealed. Its parts are SQL. */
export interface SealedColumn {
  readonly table:
    | ("data_keys" | "apps" | "credentials" | "login_answers")
    | ("callbacks" | "callback_targets" | "pushes" | "waiting_logins" | "login_codes")
    | ("notification_channels" | "authorization_codes" | "authorization_links");
  readonly column: string;
  /** The primary key, of texts: with colons between, what the row is called in a `SealedPlace`. */
  readonly key: readonly string[];
  /** Makes a row without what can't be opened; undefined where nothing can take its place. */
  readonly forget: string | undefined;
  /** Whether a text may have a megabyte, so that few are as much as a statement can take in its time. Default false. */
  readonly isLarge?: boolean;
}

const OF_CALLBACK = { table: "callbacks", key: ["app"] } as const;
const OF_TARGET = { table: "callback_targets", key: ["app", "name"], forget: undefined } as const;
const OF_PUSH = { table: "pushes", key: ["app", "dedupe_key"], isLarge: true } as const;
const OF_CHANNEL = { table: "notification_channels", key: ["name"], forget: undefined } as const;
const OF_CODE = { table: "authorization_codes", key: ["digest"] } as const;
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
  { table: "waiting_logins", column: "request", key: ["state"], forget: "DELETE FROM waiting_logins" },
  { table: "login_codes", column: "code", key: ["digest"], forget: "DELETE FROM login_codes" },
  { ...OF_CALLBACK, column: "token", forget: undefined },
  { ...OF_CALLBACK, column: "aes_key", forget: undefined },
  {
    ...OF_CALLBACK,
    column: "previous_token",
    forget: "UPDATE callbacks SET previous_token = NULL",
  },
  {
    ...OF_CALLBACK,
    column: "previous_aes_key",
    forget: "UPDATE callbacks SET previous_aes_key = NULL",
  },
  { ...OF_TARGET, column: "token" },
  { ...OF_TARGET, column: "aes_key" },
  { ...OF_TARGET, column: "hmac_key" },
  { ...OF_CHANNEL, column: "url" },
  { ...OF_CHANNEL, column: "secret" },
  { ...OF_PUSH, column: "request", forget: "UPDATE pushes SET request = NULL" },
  { ...OF_PUSH, column: "answer", forget: "UPDATE pushes SET answer = NULL" },
  {
    ...OF_CODE,
    column: "code",
    forget: "UPDATE authorization_codes SET code = NULL, state = 'failed'",
  },
  { ...OF_CODE, column: "answer", forget: "UPDATE authorization_codes SET answer = NULL" },
  {
    table: "authorization_links",
    column: "request",
    key: ["state"],
    forget: "DELETE FROM authorization_links",
  },
];
