import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import type { Keyring } from "./keyring.ts";
import { keyIn, parseMasterKey, writeKey } from "./key-file.ts";
import { SealingKey } from "./sealing-key.ts";

/** Where the key is now, and where the new one is to be found. */
export interface NewKeyOptions {
  /** The key itself, when it is in the environment: only its owner can change it there. */
  readonly masterKey: Secret | undefined;
  /** Where the new key is, or is put, in that case. */
  readonly newKeyFile: string | undefined;
}

/**
 * The key that a rotation should change to: the one that an earlier run has begun with; otherwise the one in the new
 * key's file, which is made when it is missing; otherwise a random one.
 *
 * @throws {ServiceError} `invalid_parameter` when `newKeyFile` is missing, not wanted, or holds a key that can't be it.
 */
export function chooseNewKey(keyring: Keyring, options: NewKeyOptions): SealingKey {
  const { masterKey, newKeyFile } = options;
  const begun = keyring.old && keyring.current;
  if (!masterKey) {
    if (newKeyFile !== undefined) throw needless();
    return begun ?? SealingKey.random();
  }
  if (newKeyFile === undefined) {
    if (begun && isGiven(begun, masterKey)) return begun;
    throw missing();
  }
  const existing = keyIn(newKeyFile);
  if (!begun && existing && existing.keyId === keyring.current?.keyId) throw same(newKeyFile);
  const key = begun ?? existing ?? SealingKey.random();
  if (!existing) writeKey(newKeyFile, key);
  requireNewKey(key, options);
  return key;
}

/**
 * Checks that an operator who has the old key in the environment has the new one too, before the old one is put out of
 * use.
 *
 * @throws {ServiceError} `invalid_parameter` when not.
 */
export function requireNewKey(key: SealingKey, { masterKey, newKeyFile }: NewKeyOptions): void {
  if (!masterKey || isGiven(key, masterKey)) return;
  const existing = newKeyFile === undefined ? undefined : keyIn(newKeyFile);
  if (existing?.keyId !== key.keyId) throw another(key.keyId);
}

/** Whether the text in the environment is `key`. */
export function isGiven(key: SealingKey, masterKey: Secret): boolean {
  const bytes = parseMasterKey(masterKey);
  return bytes !== undefined && new SealingKey(bytes).keyId === key.keyId;
}

function needless(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "--new-key-file: 主密钥在密钥文件中，新密钥会直接替换它，旧的另行保留；仅在使用MASTER_KEY时才需要该选项 (the master key is in a key file, which the new one replaces; the option is for MASTER_KEY only)",
  );
}

function missing(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "--new-key-file: 主密钥来自环境变量MASTER_KEY，请指定存放新密钥的文件，不存在则生成 (the master key is in MASTER_KEY: name the file with the new one; it is made when it is missing)",
  );
}

function same(path: string): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    `--new-key-file ${path}: 与当前主密钥相同 (holds the key that is in use)`,
  );
}

function another(keyId: string): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    `--new-key-file: 正在进行的轮换使用另一新密钥（${keyId}），请指定存放它的文件，或一个尚不存在的路径 (a rotation to another new key, ${keyId}, is under way: name the file that holds it, or a path where none is)`,
  );
}
