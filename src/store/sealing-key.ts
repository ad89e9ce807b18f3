import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";

/** How many bytes a master key has. */
export const MASTER_KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const PROOF = new Secret("accesstoken-service");

/** Where a sealed value stands. A ciphertext that is moved elsewhere does not open there. */
export interface SealedPlace {
  readonly table: string;
  readonly row: string;
  readonly column: string;
}

/** Which of two keys one is, while one takes the place of the other. */
export type KeyRole = "old" | "new";

/**
 * Seals what goes to the disk, with AES-256-GCM under a key derived from one master key.
 *
 * A sealed text is `<key id>.<base64url of nonce, ciphertext and tag>`. The key id says which master key opens it
 * and nothing about the key.
 */
export class SealingKey {
  readonly keyId: string;
  readonly #masterKey: Uint8Array;
  readonly #sealingKey: Uint8Array;

  /** `masterKey` has `MASTER_KEY_BYTES` bytes. */
  constructor(masterKey: Uint8Array) {
    this.#masterKey = masterKey;
    this.#sealingKey = derive(masterKey, "seal");
    this.keyId = Buffer.from(derive(masterKey, "id")).toString("hex").slice(0, 8);
  }

  /** One of a new random master key. */
  static random(): SealingKey {
    return new SealingKey(randomBytes(MASTER_KEY_BYTES));
  }

  /** The sealed text of `secret` for `place`; each call gives another. */
  seal(secret: Secret, place: SealedPlace): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", this.#sealingKey, nonce);
    cipher.setAAD(this.#context(place));
    const sealed = Buffer.concat([
      nonce,
      cipher.update(secret.reveal(), "utf8"),
      cipher.final(),
      cipher.getAuthTag(),
    ]);
    return `${this.keyId}.${sealed.toString("base64url")}`;
  }

  /**
   * The secret that was sealed for `place`.
   *
   * @throws {ServiceError} `store_unusable` when it was sealed under another key, for another place, or was changed.
   */
  open(text: string, place: SealedPlace): Secret {
    const sealed = keyIdOf(text) === this.keyId ? bodyOf(text) : undefined;
    if (!sealed || sealed.length < NONCE_BYTES + TAG_BYTES) throw cannotOpen(place);
    try {
      const decipher = createDecipheriv("aes-256-gcm", this.#sealingKey, sealed.subarray(0, NONCE_BYTES));
      decipher.setAAD(this.#context(place));
      decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
      const plain = Buffer.concat([
        decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)),
        decipher.final(),
      ]);
      return new Secret(plain.toString("utf8"));
    } catch {
      throw cannotOpen(place);
    }
  }

  /** A text by which this key is known again. */
  keyCheck(): string {
    return this.seal(PROOF, this.#proofPlace);
  }

  /** Whether `proof` was made by this key. */
  matches(proof: string): boolean {
    return opens(() => this.open(proof, this.#proofPlace).equals(PROOF)) ?? false;
  }

  /** This master key, sealed under the one whose place it takes (`new`), or under the one that takes its place (`old`). */
  wrap(role: KeyRole, other: SealingKey): string {
    return other.seal(this.text(), wrappedPlace(this.keyId, role));
  }

  /** The key `keyId` that was wrapped in that role under this one; undefined when `wrapped` is none of it. */
  unwrap(keyId: string, role: KeyRole, wrapped: string): SealingKey | undefined {
    const text = opens(() => this.open(wrapped, wrappedPlace(keyId, role)));
    const key = text && new SealingKey(Buffer.from(text.reveal(), "hex"));
    return key?.keyId === keyId ? key : undefined;
  }

  /** The master key as a key file has it. */
  text(): Secret {
    return new Secret(Buffer.from(this.#masterKey).toString("hex"));
  }

  /** A key of its own for `purpose`, that only the holder of the master key can compute. */
  derive(purpose: "digest" | "backup"): Uint8Array {
    return derive(this.#masterKey, purpose);
  }

  get #proofPlace(): SealedPlace {
    return { table: "keyring", row: this.keyId, column: "proof" };
  }

  #context({ table, row, column }: SealedPlace): Buffer {
    return Buffer.from([this.keyId, table, row, column].join("\n"));
  }
}

/**
 * The id of the key under which a text says that it was sealed; empty for what is no sealed text. A damaged database may
 * give another type than it was given.
 */
export function keyIdOf(text: unknown): string {
  return typeof text === "string" ? (text.split(".", 1)[0] ?? "") : "";
}

/** The bytes in a sealed text; undefined when it is not written as we write it, to the last bit of its last character. */
function bodyOf(text: string): Buffer | undefined {
  const body = text.slice(text.indexOf(".") + 1);
  const bytes = Buffer.from(body, "base64url");
  return bytes.toString("base64url") === body ? bytes : undefined;
}

/** What `open` gives; undefined where that does not open, which throws `store_unusable`. */
export function tryOpen(open: () => Secret): Secret | undefined {
  try {
    return open();
  } catch (error) {
    if (error instanceof ServiceError && error.code === "store_unusable") return undefined;
    throw error;
  }
}

/** That a sealed text is damaged, moved, or of a key that this database does not have. */
export function cannotOpen({ table, row, column }: SealedPlace): ServiceError {
  return new ServiceError(
    "store_unusable",
    `数据库中的密文无法解开，请从备份恢复数据库或主密钥 (can't open ${table}.${column} of ${row}; restore the database or the master key)`,
  );
}

/** The role is part of it, so that nobody can make an old key the newest again by putting its row back. */
function wrappedPlace(row: string, role: KeyRole): SealedPlace {
  return { table: "keyring", row, column: `wrapped ${role}` };
}

function derive(masterKey: Uint8Array, purpose: string): Uint8Array {
  return new Uint8Array(
    hkdfSync("sha256", masterKey, "", `accesstoken-service ${purpose}`, MASTER_KEY_BYTES),
  );
}

/** What `work` gives, or undefined where it meets a text that does not open. */
function opens<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof ServiceError) return undefined;
    throw error;
  }
}
