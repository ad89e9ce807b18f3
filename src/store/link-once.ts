import { linkSync, unlinkSync } from "node:fs";

/** Gives the file `draft` the name `path` unless there is one of that name, at one moment, and takes its own name away. */
export function linkOnce(draft: string, path: string): void {
  try {
    linkSync(draft, path);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  } finally {
    unlinkSync(draft);
  }
}
