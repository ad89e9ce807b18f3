import { accessSync, closeSync, constants, existsSync, fsyncSync, mkdirSync, openSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { ServiceError, systemCodeOf } from "../errors.ts";

/** Has the names in the folder of `path` on the disk: a file is lost with its name, however often it was synced itself. */
export function syncFolderOf(path: string): void {
  const folder = openSync(dirname(resolve(path)), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** Makes the folder of `path`, and those around it, for the owner alone; on the disk when it returns. */
export function makeFolderOf(path: string): void {
  makeFolder(dirname(resolve(path)));
}

/** The same with the path of the folder itself. */
export function makeFolder(path: string): void {
  const folder = resolve(path);
  const outermost = mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (outermost === undefined) return;
  for (let made = folder; made.length >= outermost.length; made = dirname(made)) syncFolderOf(made);
}

/** The system's name for what keeps this process from making `path`, with the folders around it; undefined for nothing. */
export function denialOfMaking(path: string): string | undefined {
  let folder = dirname(resolve(path));
  while (!existsSync(folder) && folder !== dirname(folder)) folder = dirname(folder);
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    return systemCodeOf(error);
  }
}

/** That what is to be made can't be. `code` is the system's or SQLite's. */
export function unwritable(path: string, code: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${path}: 无法写入，没有留下任何文件；请检查目录、磁盘空间和权限 (can't be written: ${code}; nothing was left behind; check its folder, free space and permissions)`,
  );
}

/** A moment as it stands in the names of files, by which they sort: `20261201T041000Z`. `at` is in epoch milliseconds. */
export function fileStamp(at: number): string {
  return new Date(at).toISOString().replaceAll(/[-:]|\.\d+/g, "");
}
