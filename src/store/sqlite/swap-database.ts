import { Database, SQLiteError } from "bun:sqlite";
import {
  closeSync,
  constants,
  existsSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Clock } from "../../clock.ts";
import { ServiceError, systemCodeOf } from "../../errors.ts";
import { fileStamp, syncFolderOf } from "../durable-files.ts";
import { realPathOf } from "./database-files.ts";
import { unopenable } from "./open-database.ts";
import { isBusy } from "./statement.ts";

/** Who opened the old file before it lost its name tries it for less than this; who tries later finds the new one. Milliseconds. */
const GRACE_MS = 500;

/** What a database's old file is called after a restore. */
const KEPT = ".before-restore-";

/** A database that no other process can open, until it is let go. */
export interface HeldDatabase {
  /** Its connection; undefined where there is none, or it is damaged so that SQLite does not open it. */
  readonly database: Database | undefined;
  readonly isDamaged: boolean;
}

/**
 * Runs `work` while no other process has the database in `path` open, or can open it; there may be none.
 *
 * @throws {ServiceError} `store_unusable` when a process has it open, or it can't be opened; what `work` throws.
 */
export async function whileHeld<T>(path: string, work: (held: HeldDatabase) => Promise<T>): Promise<T> {
  let database: Database | undefined;
  let isDamaged = false;
  try {
    if (existsSync(path)) {
      database = new Database(path, { create: false, readwrite: true });
      // Every process that has a database with a write-ahead log open keeps a lock of it, which this one needs for itself.
      database.run("PRAGMA locking_mode = EXCLUSIVE");
      database.run("BEGIN EXCLUSIVE");
      database.query("SELECT count(*) FROM sqlite_master").get();
      database.run("COMMIT");
    } else if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) throw danglingLink(path);
  } catch (error) {
    database?.close();
    database = undefined;
    if (!(error instanceof SQLiteError)) throw error;
    if (isBusy(error)) throw inUse(path);
    if (!/^SQLITE_(NOTADB|CORRUPT|FORMAT)/.test(error.code ?? ""))
      throw unopenable(path, error.code ?? "SQLITE_ERROR");
    isDamaged = true;
  }
  try {
    return await work({ database, isDamaged });
  } finally {
    database?.close();
  }
}

/**
 * Puts the whole database in the file `draft`, which nobody uses, in the place of the held one in `path`, and returns where
 * the old one is kept; undefined where there was none. Both are on the disk when it resolves.
 *
 * At every moment there is the old or the new one under that name. A process that was about to open the old one finds the
 * new one.
 *
 * The folder is the service's user's, who may put something else in the place of the draft that root has made: what was not
 * made by this process is never handed over, and never passes for the restored database.
 *
 * @throws {ServiceError} `store_unusable` when a database was made meanwhile where there was none, or the draft is another's.
 */
export async function swapDatabase(
  path: string,
  draft: string,
  held: HeldDatabase,
  clock: Clock,
): Promise<string | undefined> {
  const real = realPathOf(path);
  // As long as it is open, no other file gets its number.
  const own = openOwn(draft);
  try {
    handOver(own, draft, existsSync(real) ? real : dirname(real));
    const kept = swap(path, draft, own, held, clock.now());
    if (held.database) await clock.sleep(GRACE_MS);
    return kept;
  } finally {
    closeSync(own);
  }
}

/** Does it with the draft that is open as `own`. Returns where the old database is kept, if there was one. */
function swap(
  path: string,
  draft: string,
  own: number,
  { database, isDamaged }: HeldDatabase,
  now: number,
): string | undefined {
  const real = realPathOf(path);
  if (!database && !isDamaged) {
    try {
      linkSync(draft, real);
    } catch (error) {
      if (systemCodeOf(error) === "EEXIST") throw inUse(path);
      throw error;
    }
    requireOwn(real, own);
    syncFolderOf(real);
    return undefined;
  }
  const isEmpty = statSync(real).size === 0;
  // Its log goes into the one file, which is the whole database then; and the connection touches no file beside it any more.
  database?.run("PRAGMA journal_mode = DELETE");
  database?.run("PRAGMA journal_mode = MEMORY");
  requireOwn(draft, own);
  const stamp = fileStamp(now);
  let kept = `${real}${KEPT}${stamp}`;
  for (let n = 2; existsSync(kept); n++) kept = `${real}${KEPT}${stamp}-${n}`;
  if (!isEmpty) {
    linkSync(real, kept);
    syncFolderOf(real);
  }
  for (const end of ["-wal", "-shm", "-journal"]) {
    if (!existsSync(real + end)) continue;
    // Of a damaged one it may be what can still be saved.
    if (isDamaged) renameSync(real + end, kept + end);
    else rmSync(real + end, { force: true });
  }
  renameSync(draft, real);
  requireOwn(real, own);
  syncFolderOf(real);
  return isEmpty ? undefined : kept;
}

/** Takes away the second name of a database whose swap was killed before it was done: the file is kept under its first. */
export function removeSecondNames(path: string): void {
  const real = realPathOf(path);
  const own = statSync(real, { throwIfNoEntry: false });
  if (!own) return;
  const folder = dirname(real);
  for (const name of readdirSync(folder)) {
    if (!name.startsWith(basename(real) + KEPT)) continue;
    const { ino, dev } = statSync(join(folder, name));
    if (ino === own.ino && dev === own.dev) rmSync(join(folder, name));
  }
}

/**
 * Makes the open file `own` whose service that of `like` is, and has it on the disk: root may do this. It must be one that this
 * user has made, under no other name than `path`.
 */
function handOver(own: number, path: string, like: string): void {
  const { uid, gid } = statSync(like);
  const found = fstatSync(own);
  if (!found.isFile() || found.uid !== process.geteuid?.() || found.nlink !== 1) throw exchanged(path);
  if (uid !== found.uid || gid !== found.gid) fchownSync(own, uid, gid);
  fsyncSync(own);
}

/** Opens what has this name for writing, but for a link. */
function openOwn(path: string): number {
  try {
    return openSync(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (systemCodeOf(error) === "ELOOP") throw exchanged(path);
    throw error;
  }
}

/** Looks whether the file that has this name is still the open one. */
function requireOwn(path: string, own: number): void {
  const { ino, dev } = fstatSync(own);
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found?.ino !== ino || found.dev !== dev) throw exchanged(path);
}

function exchanged(path: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${path}: 恢复期间被其他进程换成了别的文件，备份没有恢复（原数据库不在原处时，在 *${KEPT}<时间>）；请查明该目录的用户有哪些进程在运行，再重新执行 (another process has put something else in its place during the restore, and the backup was not restored; where the old database is not in its place, it is *${KEPT}<time>; find out which processes of the folder's owner run, and do it again)`,
  );
}

function inUse(path: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `DATABASE_URL file:${path}: 正被其他进程使用，未作任何改动；请先停止服务 (another process is using it, and nothing was changed; stop the service first)`,
  );
}

function danglingLink(path: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `DATABASE_URL file:${path}: 该链接指向的文件不存在，未作任何改动；请修正或删除该链接 (a link that leads nowhere, and nothing was changed; mend or remove it)`,
  );
}
