import { ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import { ensureDataKeys } from "./data-keys.ts";
import { createKeyFile, parseMasterKey, readKeyFile } from "./key-file.ts";
import type { Keyring } from "./keyring.ts";
import { SealingKey } from "./sealing-key.ts";
import type { Queries } from "./sql.ts";
import { insertKey } from "./sql-key-table.ts";

/** Where this process has its master key. */
export interface KeyOptions {
  /** The master key itself; wins over the file. */
  readonly masterKey: Secret | undefined;
  readonly masterKeyFile: string;
  /** Where the key is that takes its place on many machines; undefined where that is not to be looked at. */
  readonly nextKeyFile?: string | undefined;
  /** Called once a new master key has been made, with its path: losing it loses the data. */
  readonly onKeyCreated: (path: string) => void;
}

/**
 * The key that this process was given; undefined where there is none.
 *
 * @throws {ServiceError} `store_unusable` when it is none, or can't be read.
 */
export function givenKey(options: KeyOptions): SealingKey | undefined {
  const text = options.masterKey ?? secretOf(readKeyFile(options.masterKeyFile));
  return text && sealingKeyOf(text, options);
}

/** Makes the key file, or takes the one that another process has made at the same moment. */
export function makeKey(options: KeyOptions): SealingKey {
  const text = createKeyFile(options.masterKeyFile);
  options.onKeyCreated(options.masterKeyFile);
  return sealingKeyOf(new Secret(text), options);
}

function sealingKeyOf(text: Secret, options: KeyOptions): SealingKey {
  const bytes = parseMasterKey(text);
  if (bytes) return new SealingKey(bytes);
  throw new ServiceError(
    "store_unusable",
    `${originOf(options)}: 不是有效的主密钥，应为64位十六进制或base64的32字节 (not a master key: 32 bytes as 64 hex digits or base64)`,
  );
}

/** What the key file has now; undefined when that is no key. */
export function readKeyQuietly(path: string): SealingKey | undefined {
  try {
    const text = secretOf(readKeyFile(path));
    const bytes = text && parseMasterKey(text);
    return bytes && new SealingKey(bytes);
  } catch {
    // Who needs it finds that there is none, and says so.
    return undefined;
  }
}

/**
 * Writes down, once, which key seals this database; a process that came second with another key is turned away. Part of a
 * transaction. `now` is in epoch milliseconds.
 *
 * @throws {ServiceError} `store_unusable` when the key does not open the database.
 */
export async function proveKey(
  queries: Queries,
  keyring: Keyring,
  options: KeyOptions,
  now: number,
): Promise<void> {
  if ((await keyring.reread(queries)).length === 0) {
    await insertKey(queries, keyring.given, now);
    await keyring.reread(queries);
  }
  if (!keyring.current) throw refusedKey(options);
  keyring.use(await ensureDataKeys(queries, keyring));
}

/** That the key does not open the database, which has one. */
export function refusedKey(options: KeyOptions): ServiceError {
  return options.nextKeyFile === undefined ? wrongKey(options) : changedKey(options);
}

/** Where the key came from, for a message. */
export function originOf({ masterKey, masterKeyFile }: KeyOptions): string {
  return masterKey ? "MASTER_KEY" : `MASTER_KEY_FILE ${masterKeyFile}`;
}

/** That the database is sealed, and no key was given. */
export function missingKey(options: KeyOptions): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${originOf(options)}: 主密钥不存在，而数据库已加密；请放回原来的主密钥文件 (missing, but the database is sealed; put the original key file back)`,
  );
}

/** That the key is not the database's. */
export function wrongKey(options: KeyOptions): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${originOf(options)}: 与数据库不匹配，请使用创建该数据库时的主密钥，更换过主密钥的则使用新的；较早的备份需要当时保留的 master.key.<id> (does not open this database; use the key that it was made with, or the new one if it was rotated; an older backup needs the master.key.<id> that was kept then)`,
  );
}

/** That the key is not the database's, which may have been changed while this machine was away. */
function changedKey(options: KeyOptions): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${originOf(options)}: 与数据库不匹配；若主密钥已在其他机器上更换，请把新密钥文件放到 ${options.nextKeyFile} 后再启动，否则请使用创建该数据库时的主密钥；较早的备份需要当时保留的 master.key.<id> (does not open this database: if the master key was changed on other machines, put the file with the new one at ${options.nextKeyFile} and start again; otherwise use the key that the database was made with; an older backup needs the master.key.<id> that was kept then)`,
  );
}

/** That the database does not know its key any more. */
export function damagedProof(options: KeyOptions): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${originOf(options)}: 数据库中主密钥的记录已损坏，请从备份恢复数据库 (the database's proof of this key is damaged; restore the database from a backup)`,
  );
}

function secretOf(text: string | undefined): Secret | undefined {
  return text === undefined ? undefined : new Secret(text);
}
