import { argon2, createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { promisify } from "node:util";
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import type { DatabasePlace } from "./copy-store.ts";
import { makeFolderOf } from "./durable-files.ts";
import { backupKey, keyIn, parseMasterKey, replaceKey, writeKey } from "./key-file.ts";
import { withPostgresSide } from "./postgres/postgres-side.ts";
import { SealingKey } from "./sealing-key.ts";
import { inspectDatabase } from "./sqlite/open-database.ts";

/** What a passphrase costs to try: the second recommendation of RFC 9106, for machines with little memory. */
const COST = { memory: 65_536, passes: 3, parallelism: 4 };
/** More than these nobody has written, and a file must not make us work for hours. */
const MAX_COST = { memory: 1_048_576, passes: 20, parallelism: 16 };
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEX_A_GROUP = 8;
const TITLE = "accesstoken-service master key, encrypted under a passphrase";

/**
 * The master key as a text that may be printed and typed again: encrypted under a passphrase, with AES-256-GCM under a key of
 * argon2id. `now` is in epoch milliseconds.
 */
export async function exportKey(key: SealingKey, passphrase: Secret, now: number): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", await derive(passphrase, salt, COST), nonce);
  cipher.setAAD(Buffer.from(key.keyId));
  const sealed = Buffer.concat([
    nonce,
    cipher.update(Buffer.from(key.text().reveal(), "hex")),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
  const { memory, passes, parallelism } = COST;
  return [
    TITLE,
    "",
    `key-id: ${key.keyId}`,
    `exported: ${new Date(now).toISOString()}`,
    "import: accesstoken master-key import <this file> --passphrase-file <file>",
    "",
    `argon2id: m=${memory} t=${passes} p=${parallelism}`,
    `salt: ${grouped(salt)}`,
    `sealed: ${grouped(sealed)}`,
    `check: ${checkOf(salt, sealed)}`,
    "",
  ].join("\n");
}

/**
 * The master key in such a text. Blanks, the case of letters and what stands around the lines do not matter.
 *
 * @throws {ServiceError} `store_unusable` when it is none, was mistyped, or the passphrase is another one.
 */
export async function importKey(text: string, passphrase: Secret): Promise<SealingKey> {
  const field = (name: string) => new RegExp(`^\\W*${name}:(.*)$`, "m").exec(text)?.[1]?.trim() ?? "";
  const [memory = 0, passes = 0, parallelism = 0] = field("argon2id").match(/\d+/g)?.map(Number) ?? [];
  const cost = { memory, passes, parallelism };
  const [salt, sealed] = [bytesOf(field("salt")), bytesOf(field("sealed"))];
  const keyId = field("key-id");
  const isWhole =
    salt.length === SALT_BYTES && sealed.length > NONCE_BYTES + TAG_BYTES && /^[0-9a-f]{8}$/.test(keyId);
  const isBearable = (["memory", "passes", "parallelism"] as const).every(
    (name) => cost[name] > 0 && cost[name] <= MAX_COST[name],
  );
  if (!text.includes(TITLE) || !isWhole || !isBearable) throw noExport();
  if (field("check").toLowerCase() !== checkOf(salt, sealed)) throw mistyped();
  const decipher = createDecipheriv(
    "aes-256-gcm",
    await derive(passphrase, salt, cost),
    sealed.subarray(0, NONCE_BYTES),
  );
  decipher.setAAD(Buffer.from(keyId));
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  try {
    const bytes = Buffer.concat([
      decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)),
      decipher.final(),
    ]);
    const parsed = parseMasterKey(new Secret(bytes.toString("hex")));
    if (parsed) return new SealingKey(parsed);
  } catch {
    // The tag does not fit.
  }
  throw wrongPassphrase();
}

/** What was done with an imported key. */
export interface ImportReport {
  readonly keyId: string;
  /** Whether the key file held that key already. */
  readonly wasThere: boolean;
  /** Where the key is kept that the file held before; undefined where it held none. */
  readonly kept: string | undefined;
  /** Whether there is a database here, which it opens. */
  readonly isProven: boolean;
}

/**
 * Makes `key` that of the key file in `path`; another one that is there is kept beside it as `<path>.<key id>`.
 *
 * @throws {ServiceError} `store_unusable` when a database is here that it does not open, or the file can't be written.
 */
export async function installKey(
  key: SealingKey,
  path: string,
  database: DatabasePlace,
): Promise<ImportReport> {
  const isProven = await opensDatabase(key, database);
  if (isProven === false) throw foreignKey(key);
  const standing = existsSync(path) ? keyIn(path) : undefined;
  const wasThere = standing?.keyId === key.keyId;
  let kept: string | undefined;
  if (!standing) {
    makeFolderOf(path);
    writeKey(path, key, dirname(path));
  } else if (!wasThere) {
    kept = backupKey(path, standing);
    replaceKey(path, standing, key);
  }
  return { keyId: key.keyId, wasThere, kept, isProven: isProven ?? false };
}

/** Whether `key` opens the database; undefined where there is none yet. Throws `store_unusable` where that can't be found out. */
export async function opensDatabase(key: SealingKey, place: DatabasePlace): Promise<boolean | undefined> {
  const rows = await keyRows(place);
  if (rows.length === 0) return undefined;
  return rows.some(({ keyId, proof }) => keyId === key.keyId && key.matches(proof));
}

async function keyRows(place: DatabasePlace): Promise<readonly { keyId: string; proof: string }[]> {
  if ("path" in place) return inspectDatabase(place.path, false).keys;
  return withPostgresSide(place.address, "snapshot", async (side) => {
    if (!(await side.tables()).includes("keyring")) return [];
    const rows = await side.sql.query("SELECT key_id, proof FROM keyring", []);
    return rows.map(([keyId, proof]) => ({ keyId: String(keyId), proof: String(proof) }));
  });
}

function derive(passphrase: Secret, nonce: Buffer, cost: typeof COST): Promise<Buffer> {
  const message = Buffer.from(passphrase.reveal().normalize("NFKC"));
  return promisify(argon2)("argon2id", { message, nonce, tagLength: 32, ...cost });
}

function grouped(bytes: Buffer): string {
  return (bytes.toString("hex").match(new RegExp(`.{1,${HEX_A_GROUP}}`, "g")) ?? []).join(" ");
}

function bytesOf(text: string): Buffer {
  const hex = text.replaceAll(/\s/g, "");
  return Buffer.from(/^([0-9a-f]{2})*$/i.test(hex) ? hex : "", "hex");
}

/** So that a mistyped digit is told from another passphrase. */
function checkOf(...parts: readonly Buffer[]): string {
  return createHash("sha256").update(Buffer.concat(parts)).digest("hex").slice(0, HEX_A_GROUP);
}

function noExport(): ServiceError {
  return new ServiceError(
    "store_unusable",
    "不是 accesstoken master-key export 导出的文件 (not a file of accesstoken master-key export)",
  );
}

function mistyped(): ServiceError {
  return new ServiceError(
    "store_unusable",
    "salt、sealed或check有误，请与原件逐字核对 (salt, sealed or check is mistyped; compare them with the original, digit by digit)",
  );
}

function wrongPassphrase(): ServiceError {
  return new ServiceError(
    "store_unusable",
    "口令不正确，未作任何改动 (the passphrase is another one; nothing was changed)",
  );
}

function foreignKey({ keyId }: SealingKey): ServiceError {
  return new ServiceError(
    "store_unusable",
    `主密钥 ${keyId} 打不开本机的数据库，未作任何改动 (the master key ${keyId} does not open the database that is here; nothing was changed)`,
    {
      hint: "若要恢复用该密钥加密的备份，请停止服务、移走现有数据库后再导入，然后执行 accesstoken restore (to restore a backup that is sealed under it: stop the service, move the database away, import again, then accesstoken restore)",
    },
  );
}
