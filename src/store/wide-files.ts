import { existsSync, statSync } from "node:fs";

/** Those of the files that others than their owner may read or write, a line for each with what to do. */
export function warnOfWideFiles(paths: readonly string[]): string[] {
  const wide = paths.filter((path) => existsSync(path) && (statSync(path).mode & 0o077) !== 0);
  return wide.map(
    (path) => `${path}: 其他用户可以访问该文件，请执行 chmod 600 (others may access this file; chmod 600 it)`,
  );
}
