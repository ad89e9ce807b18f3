import {
  chmodSync,
  closeSync,
  existsSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import { linkOnce } from "./link-once.ts";
import { DRAFT, draftOf, parseMasterKey, readKeyFile } from "./master-key.ts";
import { SealingKey } from "./sealing-key.ts";

/**
 * Writes `key`, which is or was the one in the file `path`, beside it as `<path>.<key id>`, for its owner alone, and
 * returns that path. Older backups of the database need it.
 *
 * @throws {ServiceError} `store_unusable` when it can't be written, or something else is there.
 */
export function keepKey(path: string, key: SealingKey): string {
  const kept = `${path}.${key.keyId}`;
  naming(kept, () => {
    const { uid, gid } = statSync(path);
    writeOnce(kept, key, { uid, gid, mode: 0o600 });
    chmodSync(kept, 0o600);
  });
  return kept;
}

/**
 * Writes `key` into the file `path`, for its owner alone. One that is there already must hold that key.
 *
 * @throws {ServiceError} `store_unusable` when it can't be written, or something else is there.
 */
export function placeKey(path: string, key: SealingKey): void {
  naming(path, () => writeOnce(path, key, { uid: undefined, gid: undefined, mode: 0o600 }));
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
    const draft = writeDraft(real, to, { uid, gid, mode: mode & 0o777 });
    try {
      renameSync(draft, real);
    } catch (error) {
      unlinkSync(draft);
      throw error;
    }
    syncFolder(real);
  });
}

/**
 * Removes what rotations that were killed have left half written in the folder of `path`: each holds a master key.
 *
 * Those of processes that still run stay.
 */
export function removeDrafts(path: string): void {
  const folder = dirname(path);
  for (const name of readdirSync(folder)) {
    const pid = Number(DRAFT.exec(name)?.[1] ?? Number.NaN);
    if (pid > 0 && !isRunning(pid)) unlinkSync(join(folder, name));
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Somebody else's process runs, too.
    return error instanceof Error && "code" in error && error.code === "EPERM";
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
  /** Undefined for whoever runs this. */
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  readonly mode: number;
}

function holds(path: string, key: SealingKey): boolean {
  return keyIn(path)?.keyId === key.keyId;
}

function writeOnce(path: string, key: SealingKey, owner: Owner): void {
  if (!existsSync(path)) {
    const draft = writeDraft(path, key, owner);
    linkOnce(draft, path);
    syncFolder(path);
  }
  if (!holds(path, key)) throw occupied(path);
}

function writeDraft(path: string, key: SealingKey, { uid, gid, mode }: Owner): string {
  const draft = draftOf(path);
  const file = openSync(draft, "wx", 0o600);
  try {
    writeSync(file, `${key.text().reveal()}\n`);
    // Whoever runs the rotation, the service must be able to read it.
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

function syncFolder(path: string): void {
  const folder = openSync(dirname(path), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function naming<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
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
