import { randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  existsSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { ServiceError, systemCodeOf } from "../errors.ts";
import { Secret } from "../secret.ts";
import { denialOfMaking, makeFolderOf, syncFolderOf } from "./durable-files.ts";
import { MASTER_KEY_BYTES, SealingKey } from "./sealing-key.ts";

/** The bytes of a master key written as 64 hex digits or as base64; undefined when it is neither. */
export function parseMasterKey(text: Secret): Uint8Array | undefined {
  const trimmed = text.reveal().trim();
  const isHex = /^[0-9a-fA-F]{64}$/.test(trimmed);
  if (!isHex && !/^[A-Za-z0-9+/_-]{43}=?$/.test(trimmed)) return undefined;
  const bytes = Buffer.from(trimmed, isHex ? "hex" : "base64");
  return bytes.length === MASTER_KEY_BYTES ? bytes : undefined;
}

/**
 * The text of the key file, or undefined when there is none.
 *
 * @throws {ServiceError} `store_unusable` when it is there and can't be read.
 */
export function readKeyFile(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch {
    throw new ServiceError(
      "store_unusable",
      `MASTER_KEY_FILE ${path}: 无法读取，请检查权限 (can't be read; check its owner and mode)`,
    );
  }
}

/** How a key file is called before it has its name; the process that writes it is in it. */
const TEMP_FILE = /^\.(\d+)-[0-9a-f]{12}\.key$/;

/** Where a process writes what will be the key file `path`. Each call gives another. */
function tempFileOf(path: string): string {
  return join(dirname(path), `.${process.pid}-${randomBytes(6).toString("hex")}.key`);
}

/**
 * Makes a key file with a new random key, readable by its owner alone, and returns its text.
 *
 * It is on the disk under its name before this returns, whole or not at all. When another process makes one at the
 * same moment, that one stays and is returned.
 *
 * @throws {ServiceError} `store_unusable` when it can't be written.
 */
export function createKeyFile(path: string): string {
  const text = `${randomBytes(MASTER_KEY_BYTES).toString("hex")}\n`;
  const draft = tempFileOf(path);
  try {
    makeFolderOf(path);
    const file = openSync(draft, "wx", 0o600);
    writeSync(file, text);
    fsyncSync(file);
    closeSync(file);
    createExclusive(draft, path);
    syncFolderOf(path);
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = systemCodeOf(error);
    throw uncreatable(path, code);
  }
}

/** Looks whether `createKeyFile` could make it. Throws as that does. */
export function checkKeyCanBeMade(path: string): void {
  const code = denialOfMaking(path);
  if (code !== undefined) throw uncreatable(path, code);
}

function uncreatable(path: string, code: string): ServiceError {
  return new ServiceError("store_unusable", `MASTER_KEY_FILE ${path}: 无法创建 (can't be created: ${code})`);
}

/** Gives the file `draft` the name `path` unless there is one of that name, at one moment, and takes its own name away. */
function createExclusive(draft: string, path: string): void {
  try {
    linkSync(draft, path);
  } catch (error) {
    if (systemCodeOf(error) !== "EEXIST") throw error;
  } finally {
    unlinkSync(draft);
  }
}

/**
 * Writes `key`, which is or was the one in the file `path`, beside it as `<path>.<key id>`, for its owner alone, and
 * returns that path. Older backups of the database need it.
 *
 * @throws {ServiceError} `store_unusable` when it can't be written, or something else is there.
 */
export function backupKey(path: string, key: SealingKey): string {
  const kept = `${path}.${key.keyId}`;
  naming(kept, () => {
    const { uid, gid } = statSync(path);
    writeOnce(kept, key, { uid, gid, mode: 0o600 });
    chmodSync(kept, 0o600);
  });
  return kept;
}

/**
 * Writes `key` into the file `path`, for its owner alone, who is that of the file `beside` where there is one. One that is
 * there already must hold that key.
 *
 * @throws {ServiceError} `store_unusable` when it can't be written, or something else is there.
 */
export function writeKey(path: string, key: SealingKey, beside?: string): void {
  naming(path, () => {
    const { uid, gid } = beside !== undefined && existsSync(beside) ? statSync(beside) : NOBODY;
    writeOnce(path, key, { uid, gid, mode: 0o600 });
  });
}

const NOBODY = { uid: undefined, gid: undefined };

/** Takes away the file `path` if it holds `key`, for good when it returns. */
export function removeKey(path: string, key: SealingKey): void {
  naming(path, () => {
    if (!holds(path, key)) return;
    rmSync(path, { force: true });
    syncFolderOf(path);
  });
}

/**
 * Puts `to` in the place of `from` in the key file, all or nothing, on the disk when it returns. Whose the file is and
 * who may read it stays. Nothing is done when `to` is there already.
 *
 * @throws {ServiceError} `store_unusable` when it can't be written, or holds neither of them.
 */
export function replaceKey(path: string, from: SealingKey, to: SealingKey): void {
  naming(path, () => {
    // A link stays one: what it leads to is replaced.
    const real = realpathSync(path);
    if (holds(real, to)) return;
    if (!holds(real, from)) throw occupied(path);
    const { uid, gid, mode } = statSync(real);
    const draft = writeTempFile(real, to, { uid, gid, mode: mode & 0o777 });
    try {
      renameSync(draft, real);
    } catch (error) {
      unlinkSync(draft);
      throw error;
    }
    syncFolderOf(real);
  });
}

/**
 * Removes what processes that were killed have left half written in the folder of `path`: each holds a master key.
 *
 * Those of processes that still run stay. Does nothing where the folder can't be read or written.
 */
export function removeTempFiles(path: string): void {
  const folder = dirname(path);
  try {
    for (const name of readdirSync(folder)) {
      const pid = Number(TEMP_FILE.exec(name)?.[1] ?? Number.NaN);
      if (pid > 0 && !isRunning(pid)) unlinkSync(join(folder, name));
    }
  } catch {
    // A key on a read-only mount is as good as any; and what another process has removed meanwhile is gone.
  }
}

/** Whether a process of that number runs on this machine. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // The process of another user runs, too.
    return systemCodeOf(error) === "EPERM";
  }
}

/** The key in the file `path`; undefined when there is no file. */
export function keyIn(path: string): SealingKey | undefined {
  const text = readKeyFile(path);
  if (text === undefined) return undefined;
  const bytes = parseMasterKey(new Secret(text));
  if (!bytes) throw occupied(path);
  return new SealingKey(bytes);
}

interface Owner {
  /** Undefined for the user that runs this. */
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  readonly mode: number;
}

function holds(path: string, key: SealingKey): boolean {
  return keyIn(path)?.keyId === key.keyId;
}

function writeOnce(path: string, key: SealingKey, owner: Owner): void {
  if (!existsSync(path)) {
    const draft = writeTempFile(path, key, owner);
    createExclusive(draft, path);
    syncFolderOf(path);
  }
  if (!holds(path, key)) throw occupied(path);
}

function writeTempFile(path: string, key: SealingKey, { uid, gid, mode }: Owner): string {
  const draft = tempFileOf(path);
  const file = openSync(draft, "wx", 0o600);
  try {
    writeSync(file, `${key.text().reveal()}\n`);
    // Root may run the rotation: the service must still be able to read it.
    const isOthers = uid !== process.getuid?.() || gid !== process.getgid?.();
    if (uid !== undefined && gid !== undefined && isOthers) fchownSync(file, uid, gid);
    fchmodSync(file, mode);
    fsyncSync(file);
  } catch (error) {
    unlinkSync(draft);
    throw error;
  } finally {
    closeSync(file);
  }
  return draft;
}

function naming<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    const code = systemCodeOf(error);
    throw new ServiceError(
      "store_unusable",
      `${path}: 无法写入，没有丢失任何数据；请检查权限，密钥须以目录而非单个文件挂载 (can't be written: ${code}; nothing is lost; check owner and mode of its folder, and mount a folder rather than the one file)`,
    );
  }
}

function occupied(path: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${path}: 内容是别的密钥，请移走该文件后再次执行 (holds another key; move it away and run it again)`,
  );
}

/** Those of the files that others than their owner may read or write, a line for each with what to do. */
export function warnOfFilePermissions(paths: readonly string[]): string[] {
  const wide = paths.filter((path) => existsSync(path) && (statSync(path).mode & 0o077) !== 0);
  return wide.map(
    (path) => `${path}: 其他用户可以访问该文件，请执行 chmod 600 (others may access this file; chmod 600 it)`,
  );
}
