import { type CredentialName, type CredentialRecord, credentialKey } from "../../credentials/credential.ts";
import { ServiceError } from "../../errors.ts";
import type { Secret } from "../../secret.ts";
import type { Keyring } from "../keyring.ts";
import type { SealedPlace } from "../sealing-key.ts";
import type { credentials } from "./schema.ts";

/** The columns of a credential whose texts are sealed. */
export type SealedColumn = "value" | "dead_value";

/**
 * Seals the values of credentials and opens their rows.
 *
 * A value that can't be opened is as good as none: it can be obtained anew, and the next save takes its place.
 */
export class SealedCredentials {
  readonly #keyring: Keyring;
  readonly #onDamaged: (name: CredentialName) => void;
  /** By place, the text that was told of: one that stays is not told of at each read. */
  readonly #damaged = new Map<string, string>();

  /** `onDamaged` is called when a text can't be opened, once for each text in the life of this object. */
  constructor(keyring: Keyring, onDamaged: (name: CredentialName) => void) {
    this.#keyring = keyring;
    this.#onDamaged = onDamaged;
  }

  /** The text to be stored in a column of the credential's row; see `Keyring.seal`. */
  seal(name: CredentialName, column: SealedColumn, secret: Secret): string {
    return this.#keyring.seal(secret, place(name, column));
  }

  /** The digest by which an access token is known again; see `Keyring.tokenDigest`. */
  digest(token: Secret): string {
    return this.#keyring.tokenDigest(token);
  }

  /** What a row says. */
  toRecord(name: CredentialName, row: typeof credentials.$inferSelect): CredentialRecord {
    const { generation, issuedAt, expiresAt, renewLeftMs, isRejected } = row;
    const value = this.#open(name, "value", row.value);
    const isThere = value !== undefined && issuedAt !== null && expiresAt !== null;
    const renewal = renewLeftMs === null ? {} : { renewLeftMs };
    return {
      generation,
      credential: isThere ? { value, issuedAt, expiresAt, ...renewal } : undefined,
      isRejected,
      dead: this.#open(name, "dead_value", row.deadValue),
      wasSaved: row.firstSavedAt !== null,
      usedAt: row.usedAt ?? undefined,
    };
  }

  #open(name: CredentialName, column: SealedColumn, text: string | null): Secret | undefined {
    if (text === null) return undefined;
    const where = place(name, column);
    try {
      return this.#keyring.open(text, where);
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code !== "store_unusable") throw error;
      const key = `${where.row} ${column}`;
      if (this.#damaged.get(key) !== text) {
        this.#damaged.set(key, text);
        this.#onDamaged(name);
      }
      return undefined;
    }
  }
}

function place(name: CredentialName, column: SealedColumn): SealedPlace {
  return { table: "credentials", row: credentialKey(name), column };
}
