import { SQLiteError } from "bun:sqlite";
import { createHash, randomBytes } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import type { Clock } from "../clock.ts";
import { ServiceError, systemCodeOf } from "../errors.ts";
import { unwritable } from "./durable-files.ts";
import { isRunning } from "./key-file.ts";

/** A process of another machine, as another container, may just be using one: it is left for so long. Milliseconds. */
const FOREIGN_MS = 86_400_000;
const TEMP_FOLDER = /^\.accesstoken-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}$/;
const HOST = createHash("sha256").update(hostname()).digest("hex").slice(0, 8);

/**
 * Runs `work` with a new folder in the folder `parent`, for its owner alone and gone when it ends; and takes away those that
 * killed processes have left there.
 *
 * @throws {ServiceError} `store_unusable` when the file system or SQLite refuses; what else `work` throws.
 */
export async function inTempFolder<T>(
  parent: string,
  clock: Clock,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = join(
    resolve(parent),
    `.accesstoken-${HOST}-${process.pid}-${randomBytes(4).toString("hex")}`,
  );
  try {
    removeLeftFolders(parent, clock.now());
    mkdirSync(folder, { mode: 0o700 });
    return await work(folder);
  } catch (error) {
    if (error instanceof ServiceError || !isOfTheDisk(error)) throw error;
    throw unwritable(parent, systemCodeOf(error));
  } finally {
    remove(folder);
  }
}

/** What can't be removed now is later, by `removeLeftFolders`; it must not hide why the work failed. */
function remove(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch {
    // As on a file system that is read-only: even a folder that is not there.
  }
}

function isOfTheDisk(error: unknown): boolean {
  return error instanceof SQLiteError || (error instanceof Error && "syscall" in error);
}

/**
 * Takes away what processes of this user that are gone have left in `parent`. What can't be removed stays: it is in nobody's way.
 * Throws what the file system throws when `parent` can't be read.
 */
export function removeLeftFolders(parent: string, now: number): void {
  for (const name of readdirSync(parent)) {
    const [, host, pid] = TEMP_FOLDER.exec(name) ?? [];
    if (pid === undefined) continue;
    const path = join(parent, name);
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found?.uid !== process.geteuid?.()) continue;
    const isOld = now - (found?.mtimeMs ?? 0) > FOREIGN_MS;
    if (host === HOST ? isRunning(Number(pid)) : !isOld) continue;
    try {
      rmSync(path, { recursive: true, force: true });
    } catch {
      // The work itself tells what it lacks.
    }
  }
}
