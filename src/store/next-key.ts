import { existsSync, readFileSync, statSync } from "node:fs";
import { ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import type { KeyOptions } from "./given-key.ts";
import {
  backupKey,
  keyIn,
  parseMasterKey,
  removeKey,
  removeTempFiles,
  replaceKey,
  warnOfFilePermissions,
  writeKey,
} from "./key-file.ts";
import type { Keyring } from "./keyring.ts";
import { isGiven } from "./new-key.ts";
import { SealingKey } from "./sealing-key.ts";

/** The files of a master key and of the one that is to take its place. */
export interface KeyFiles extends Pick<KeyOptions, "masterKey" | "masterKeyFile"> {
  /** Where the next key is; there need not be one. */
  readonly nextKeyFile: string;
}

/** Who is told of what becomes of a key file. */
export interface KeyFileListeners {
  /** Called when the key in `path` was replaced by the one with that id. */
  readonly onKeyReplaced?: ((path: string, keyId: string) => void) | undefined;
  /** Called with what an operator must do; once for each. */
  readonly onKeyFault?: ((message: string) => void) | undefined;
}

/**
 * Makes the next key: a random one in `nextKeyFile`, which the owner of the key file alone may read; on the disk when this
 * returns. Returns its id.
 *
 * @throws {ServiceError} `conflict` when there is such a file already; `store_unusable` when it can't be written.
 */
export function createNextKey({ masterKeyFile, nextKeyFile }: KeyFiles): string {
  removeTempFiles(nextKeyFile);
  if (existsSync(nextKeyFile)) throw alreadyThere(nextKeyFile);
  const key = SealingKey.random();
  writeKey(nextKeyFile, key, masterKeyFile);
  return key.keyId;
}

/**
 * The key in the file of the next one; undefined when there is no file.
 *
 * @throws {ServiceError} `store_unusable` when it can't be read, or holds no key.
 */
export function nextKeyIn({ nextKeyFile: path }: Pick<KeyFiles, "nextKeyFile">): SealingKey | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as { readonly code?: unknown };
    if (code === "ENOENT") return undefined;
    throw unreadable(path, String(code));
  }
  const bytes = parseMasterKey(new Secret(text));
  if (!bytes) throw unreadable(path, "NO_KEY");
  return new SealingKey(bytes);
}

/**
 * Keeps the key files of a process in step with the database: the next key is at hand as soon as its file is there, and
 * goes into the key file once the database is encrypted under it.
 */
export class NextKey {
  readonly #files: KeyFiles;
  readonly #keyring: Keyring;
  readonly #tell: KeyFileListeners;
  /** The faults that were told. */
  readonly #told = new Set<string>();
  /** What the last look has failed with. */
  #failure = "";

  constructor(files: KeyFiles, keyring: Keyring, tell: KeyFileListeners = {}) {
    this.#files = files;
    this.#keyring = keyring;
    this.#tell = tell;
  }

  /** Looks at the file of the next key, and does what is due. Cheap while there is none. Never throws. */
  look(): void {
    const { nextKeyFile } = this.#files;
    let failure = "";
    this.#keyring.hold(undefined);
    try {
      const next = nextKeyIn(this.#files);
      this.#keyring.hold(next);
      if (!next) return;
      for (const message of warnOfFilePermissions([nextKeyFile])) this.#fault(message);
      if (next.keyId === this.#keyring.current?.keyId) this.#take(next);
    } catch (error) {
      failure = error instanceof ServiceError ? error.message : `${nextKeyFile}: ${String(error)}`;
      // Somebody may just be writing it.
      if (failure === this.#failure) this.#fault(failure);
    } finally {
      this.#failure = failure;
    }
  }

  /**
   * Puts `next` into the key file. Each step is on the disk before the one after it, and may be done again: until the file of
   * the next key is gone, a process starts by either.
   */
  #take(next: SealingKey): void {
    const { masterKey, masterKeyFile, nextKeyFile } = this.#files;
    if (masterKey) {
      if (!isGiven(next, masterKey)) this.#fault(environmentIsOld(nextKeyFile));
      return;
    }
    try {
      const before = keyIn(masterKeyFile);
      if (before && isSameFile(masterKeyFile, nextKeyFile)) return;
      if (!before) writeKey(masterKeyFile, next, nextKeyFile);
      else if (before.keyId !== next.keyId) {
        backupKey(masterKeyFile, before);
        replaceKey(masterKeyFile, before, next);
      }
      if (before?.keyId !== next.keyId) this.#tell.onKeyReplaced?.(masterKeyFile, next.keyId);
    } catch (error) {
      this.#fault(cannotMove(masterKeyFile, nextKeyFile));
      throw error;
    }
    try {
      removeKey(nextKeyFile, next);
    } catch (error) {
      this.#fault(cannotRemove(masterKeyFile, nextKeyFile));
      throw error;
    }
  }

  #fault(message: string): void {
    if (this.#told.has(message)) return;
    this.#told.add(message);
    this.#tell.onKeyFault?.(message);
  }
}

function isSameFile(one: string, other: string): boolean {
  const [a, b] = [statSync(one), statSync(other)];
  return a.dev === b.dev && a.ino === b.ino;
}

function alreadyThere(path: string): ServiceError {
  return new ServiceError(
    "conflict",
    `MASTER_KEY_NEXT_FILE ${path}: 该文件已存在，未作改动；请把它放到每台机器上，再执行 accesstoken master-key rotate --commit；不再需要它时请移走后重试 (is there already and stays as it is: put it on every machine, then run accesstoken master-key rotate --commit; where it is not wanted any more, move it away and run this again)`,
  );
}

function unreadable(path: string, code: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `MASTER_KEY_NEXT_FILE ${path}: 无法读取或不是密钥，请检查权限和内容 (can't be read, or is no key: ${code}; check its owner, mode and content)`,
  );
}

function cannotMove(path: string, next: string): string {
  return `MASTER_KEY_FILE ${path}: 主密钥已更换，但新密钥无法移入该文件；请自行把 ${next} 中的密钥放入其中，在此之前请保留后者，凭它也能启动 (the master key was changed, and the new one can't be moved there: put the key in ${next} there yourself, and until then keep that file, which also opens the database)`;
}

function cannotRemove(path: string, next: string): string {
  return `MASTER_KEY_NEXT_FILE ${next}: 新密钥已放入 ${path}，但本文件无法删除，请自行删除 (the new key is in ${path}, and this file can't be removed: remove it yourself)`;
}

function environmentIsOld(path: string): string {
  return `MASTER_KEY: 主密钥已更换，请在下次启动前把该变量设为 ${path} 中的密钥 (the master key was changed: set it to the key in ${path} before the next start; until then this file opens the database)`;
}
