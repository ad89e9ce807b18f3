import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";
import type { Platform } from "../errors.ts";
import { ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";

/** How many bytes a master key has. */
export const MASTER_KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Where a sealed value stands. A ciphertext that is moved elsewhere does not open there. */
export interface SealedPlace {
  readonly table: string;
  readonly row: string;
  readonly column: string;
}

/**
 * Seals what goes to the disk, with AES-256-GCM under keys derived from the master key.
 *
 * A sealed text is `<key id>.<base64url of nonce, ciphertext and tag>`. The key id says which master key opens it
 * and nothing about the key.
 */
export class Keyring {
  readonly keyId: string;
  readonly #sealingKey: Uint8Array;
  readonly #digestKey: Uint8Array;
  readonly #auditKey: Uint8Array;

  /** `masterKey` has `MASTER_KEY_BYTES` bytes. */
  constructor(masterKey: Uint8Array) {
    this.#sealingKey = derive(masterKey, "seal");
    this.#digestKey = derive(masterKey, "digest");
    this.#auditKey = derive(masterKey, "audit");
    this.keyId = Buffer.from(derive(masterKey, "id")).toString("hex").slice(0, 8);
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
    const [keyId, body = ""] = text.split(".", 2);
    const sealed = Buffer.from(body, "base64url");
    if (keyId !== this.keyId || sealed.length < NONCE_BYTES + TAG_BYTES) throw cannotOpen(place);
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

  /** A digest of an app's secret that only the holder of the master key can compute: 128 bits, base64url. */
  digest(platform: Platform, appId: string, secret: Secret): string {
    const text = [platform, appId, secret.reveal()].join("\n");
    return createHmac("sha256", this.#digestKey).update(text).digest("base64url").slice(0, 22);
  }

  /** What chains the entries of the audit: whoever has the database alone can't forge one. */
  auditKey(): Uint8Array {
    return this.#auditKey;
  }

  #context({ table, row, column }: SealedPlace): Buffer {
    return Buffer.from([this.keyId, table, row, column].join("\n"));
  }
}

function derive(masterKey: Uint8Array, purpose: string): Uint8Array {
  return new Uint8Array(
    hkdfSync("sha256", masterKey, "", `accesstoken-service ${purpose}`, MASTER_KEY_BYTES),
  );
}

function cannotOpen({ table, row, column }: SealedPlace): ServiceError {
  return new ServiceError(
    "store_unusable",
    `数据库中的密文无法解开，请从备份恢复数据库或主密钥 (can't open ${table}.${column} of ${row}; restore the database or the master key)`,
  );
}
