import { Database, SQLiteError } from "bun:sqlite";
import {
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { ServiceError, systemCodeOf } from "../../errors.ts";
import { fileStamp, syncFolderOf } from "../durable-files.ts";
import { realPathOf } from "./database-files.ts";
import { isBusy } from "./statement.ts";

/** So many copies are kept. */
const KEPT = 2;
/** Beside what copy and migration may take, as no file system can be filled to its last byte. */
const SPARE_BYTES = 1_048_576;
/** What a copy is called until it is whole, and SQLite's journal of it. */
const UNFINISHED = /\.tmp(-journal)?$/;

/**
 * Copies the database in `path` beside it, for its owner alone, before the migrations up to the number
 * `newest`: nothing else leads back to an older version. Returns the copy's path; it is on the disk then. It and the
 * newest of the others are kept. `now` is in epoch milliseconds.
 *
 * The caller has the write lock, so that what is copied is what is migrated; it has not written yet.
 *
 * @throws {ServiceError} `store_unusable` when there is no room for it; then nothing is left of it.
 */
export function copyBeforeMigration(path: string, newest: number, now: number): string {
  const file = realPathOf(path);
  const stamp = fileStamp(now);
  const copy = `${file}.before-${String(newest).padStart(4, "0")}-${stamp}`;
  const unfinished = `${copy}.tmp`;
  const removeUnfinished = () => copiesOf(file, UNFINISHED).forEach((left) => rmSync(left));
  try {
    // Of a process that was killed in the midst of it: nobody else has the lock.
    removeUnfinished();
    checkRoom(file);
    closeSync(openSync(unfinished, "wx", 0o600));
    using source = new Database(path, { readonly: true });
    source.run("VACUUM INTO ?", [unfinished]);
    const descriptor = openSync(unfinished, "r+");
    fsyncSync(descriptor);
    closeSync(descriptor);
    renameSync(unfinished, copy);
    syncFolderOf(copy);
  } catch (error) {
    removeUnfinished();
    if (error instanceof ServiceError || (error instanceof SQLiteError && isBusy(error))) throw error;
    throw notCopied(file, systemCodeOf(error));
  }
  // Those of a clock that was ahead would be the newest.
  const others = copiesOf(file, /$/).filter((each) => each !== copy);
  for (const old of others.slice(0, 1 - KEPT)) rmSync(old);
  return copy;
}

/** The copies that were made of `file` and whose names go on so, oldest first. */
function copiesOf(file: string, ending: RegExp): string[] {
  const start = `${RegExp.escape(basename(file))}\\.before-\\d{4}-(\\d{8}T\\d{6}Z)`;
  const pattern = new RegExp(`^${start}${ending.source}`);
  return readdirSync(dirname(file))
    .flatMap((name) => {
      const [, stamp] = pattern.exec(name) ?? [];
      return stamp === undefined ? [] : [{ name, stamp }];
    })
    .toSorted((a, b) => (a.stamp < b.stamp ? -1 : 1))
    .map(({ name }) => join(dirname(file), name));
}

/**
 * Looks whether there is room to copy the database in `path` beside itself, and to migrate it: the copy takes as much as the
 * database at most, and a migration that rewrites every table as much again.
 *
 * @throws {ServiceError} `store_unusable` when not.
 */
export function checkRoom(path: string): void {
  const file = realPathOf(path);
  const sizes = [file, `${file}-wal`].map((each) => statSync(each, { throwIfNoEntry: false })?.size ?? 0);
  const needed = 2 * sizes.reduce((sum, size) => sum + size, 0) + SPARE_BYTES;
  const { bavail, bsize } = statfsSync(dirname(file));
  if (bavail * bsize < needed)
    throw notCopied(file, `${megabytes(needed)} MB are needed, ${megabytes(bavail * bsize)} MB are free`);
}

function megabytes(bytes: number): string {
  return (bytes / 1_048_576).toFixed(1);
}

function notCopied(file: string, reason: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `DATABASE_URL file:${file}: 升级数据库前无法在其旁保存副本，未作任何改动；请检查该目录的磁盘空间和权限后重新启动 (the database can't be copied beside itself before it is migrated: ${reason}; nothing was changed; make room in its folder, check who may write there, and start again)`,
  );
}
