import { closeSync, fsyncSync, mkdirSync, openSync } from "node:fs";
import { dirname, resolve } from "node:path";

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
  const folder = dirname(resolve(path));
  const outermost = mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (outermost === undefined) return;
  for (let made = folder; made.length >= outermost.length; made = dirname(made)) syncFolderOf(made);
}
