import type { Database } from "bun:sqlite";
import { drizzle } from "drizzle-orm/bun-sqlite";
import { randomBytes } from "node:crypto";
import type { Clock } from "../../clock.ts";
import { ServiceError } from "../../errors.ts";
import { Secret } from "../../secret.ts";
import { Keyring } from "../keyring.ts";
import { createKeyFile, parseMasterKey, readKeyFile } from "../key-file.ts";
import { MASTER_KEY_BYTES, type SealedPlace, SealingKey } from "../sealing-key.ts";
import { type DatabaseInspection, inspectDatabase, migrate, openDatabase } from "./open-database.ts";
import { runStatement, type Transaction } from "./statement.ts";
import { dataKeys } from "./schema.ts";
import { insertKey, SqliteKeyTable } from "./sqlite-key-table.ts";

/** Where the database is and what seals it. */
export interface UnlockOptions {
  readonly path: string;
  /** The master key itself; wins over the file. */
  readonly masterKey: Secret | undefined;
  readonly masterKeyFile: string;
  readonly clock: Clock;
  /** Called once a new master key has been made, with its path: losing it loses the data. */
  readonly onKeyCreated: (path: string) => void;
}

/** An open database and the keys to it. */
export interface UnlockedDatabase {
  readonly database: Database;
  readonly keyring: Keyring;
}

/** Somebody may change the key between two looks: at the key file, and at the database. */
const MAX_LOOKS = 3;

/**
 * Opens the database, or makes it, brings it to the newest schema and proves its key.
 *
 * The database and the key are looked at before anything is written, so that a wrong key, a damaged file or one from
 * a newer version is left as it is.
 *
 * @throws {ServiceError} `store_unusable` with the next step.
 */
export async function unlockDatabase(options: UnlockOptions): Promise<UnlockedDatabase> {
  const { path, clock } = options;
  const key = await findKey(options);
  const database = await runStatement(clock, () => openDatabase(path));
  try {
    await runStatement(clock, () => migrate(database, clock.now()));
    const readKey = () => (options.masterKey ? key : readKeyQuietly(options.masterKeyFile));
    const keyring = new Keyring({ table: new SqliteKeyTable(database), key, readKey });
    await runStatement(clock, () => proveKey(database, keyring, key, options));
    return { database, keyring };
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Moves the log into the database file, so that a copy of that one file is a whole backup, and lets go of it. */
export function closeDatabase(database: Database): void {
  try {
    database.run("PRAGMA wal_checkpoint(TRUNCATE)");
  } catch {
    // What is committed is safe in the log as well; the next start moves it.
  }
  database.close();
}

/** The key that this process was given, if it opens the database. */
async function findKey(options: UnlockOptions): Promise<SealingKey> {
  for (let look = 1; ; look++) {
    const { keys } = await runStatement(options.clock, () => inspectDatabase(options.path));
    const key = givenKey(options, keys);
    const row = keys.find(({ keyId }) => keyId === key.keyId);
    if (keys.length === 0 || (row && key.matches(row.proof))) return key;
    if (look < MAX_LOOKS) continue;
    throw row ? damagedProof(options) : wrongKey(options);
  }
}

/** Makes a key file when the database is new and there is none. */
function givenKey(options: UnlockOptions, keys: DatabaseInspection["keys"]): SealingKey {
  const { masterKey, masterKeyFile } = options;
  let text = masterKey ?? secretOf(readKeyFile(masterKeyFile));
  if (!text) {
    if (keys.length > 0) {
      throw new ServiceError(
        "store_unusable",
        `${originOf(options)}: 主密钥不存在，而数据库已加密；请放回原来的主密钥文件 (missing, but the database is sealed; put the original key file back)`,
      );
    }
    text = secretOf(createKeyFile(masterKeyFile));
    options.onKeyCreated(masterKeyFile);
  }
  const bytes = text && parseMasterKey(text);
  if (bytes) return new SealingKey(bytes);
  throw new ServiceError(
    "store_unusable",
    `${originOf(options)}: 不是有效的主密钥，应为64位十六进制或base64的32字节 (not a master key: 32 bytes as 64 hex digits or base64)`,
  );
}

/** What the key file has now; undefined when that is no key. */
function readKeyQuietly(path: string): SealingKey | undefined {
  try {
    const text = secretOf(readKeyFile(path));
    const bytes = text && parseMasterKey(text);
    return bytes && new SealingKey(bytes);
  } catch {
    // Who needs it finds that there is none, and says so.
    return undefined;
  }
}

/** Writes down, once, which key seals this database; a process that came second with another key is turned away. */
function proveKey(database: Database, keyring: Keyring, key: SealingKey, options: UnlockOptions): void {
  drizzle({ client: database }).transaction(
    (transaction) => {
      if (keyring.reread().length === 0) {
        insertKey(transaction, key, options.clock.now());
        keyring.reread();
      }
      if (!keyring.current) throw wrongKey(options);
      keyring.use(ensureDataKeys(transaction, keyring));
    },
    { behavior: "immediate" },
  );
}

/**
 * The keys that outlive a change of the master key. They are made once; the digest key as it was derived from the
 * master key before there were any, so that what it has named keeps its name.
 */
function ensureDataKeys(transaction: Transaction, keyring: Keyring) {
  const rows = transaction.select().from(dataKeys).all();
  const ensure = (name: string, make: () => Uint8Array | undefined): Uint8Array => {
    const standing = rows.find((row) => row.name === name);
    if (standing) return Buffer.from(keyring.open(standing.value, dataKeyPlace(name)).reveal(), "hex");
    const made = rows.length === 0 ? make() : undefined;
    if (!made) throw missingDataKey(name);
    const value = keyring.seal(new Secret(Buffer.from(made).toString("hex")), dataKeyPlace(name));
    transaction.insert(dataKeys).values({ name, value }).run();
    return made;
  };
  return {
    digest: ensure("digest", () => keyring.current?.derive("digest")),
    audit: ensure("audit", () => randomBytes(MASTER_KEY_BYTES)),
  };
}

function dataKeyPlace(row: string): SealedPlace {
  return { table: "data_keys", row, column: "value" };
}

function originOf({ masterKey, masterKeyFile }: UnlockOptions): string {
  return masterKey ? "MASTER_KEY" : `MASTER_KEY_FILE ${masterKeyFile}`;
}

function wrongKey(options: UnlockOptions): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${originOf(options)}: 与数据库不匹配，请使用创建该数据库时的主密钥，更换过主密钥的则使用新的；较早的备份需要当时保留的 master.key.<id> (does not open this database; use the key that it was made with, or the new one if it was rotated; an older backup needs the master.key.<id> that was kept then)`,
  );
}

function damagedProof(options: UnlockOptions): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${originOf(options)}: 数据库中主密钥的记录已损坏，请从备份恢复数据库 (the database's proof of this key is damaged; restore the database from a backup)`,
  );
}

function missingDataKey(name: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `数据库缺少数据密钥 ${name}，请从备份恢复数据库 (the data key ${name} is missing in the database; restore it from a backup)`,
  );
}

function secretOf(text: string | undefined): Secret | undefined {
  return text === undefined ? undefined : new Secret(text);
}
