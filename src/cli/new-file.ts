import { closeSync, fsyncSync, openSync, unlinkSync, writeSync } from "node:fs";
import { usageError } from "./arguments.ts";

/** A file of `--out` that only its owner may read. It is there, empty, before the service is asked. */
export class NewFile {
  readonly #path: string;
  #descriptor: number | undefined;

  /** Makes it. Throws `invalid_parameter` when it can't, or when there is one already. */
  constructor(path: string) {
    this.#path = path;
    try {
      this.#descriptor = openSync(path, "wx", 0o600);
    } catch (error) {
      const { code = "unknown" } = error as { code?: string };
      throw usageError(
        code === "EEXIST"
          ? "--out: 文件已存在 (the file exists already)"
          : `--out: 无法创建文件 (the file can't be made: ${code})`,
      );
    }
  }

  /** Adds to its end. */
  write(content: string | Uint8Array): void {
    const bytes = Buffer.from(content);
    for (let at = 0; at < bytes.length;) at += writeSync(this.#open, bytes, at);
  }

  /** Has it on the disk, and closes it. */
  finish(): void {
    fsyncSync(this.#open);
    this.#close();
  }

  /** Closes it if need be, and removes it. */
  discard(): void {
    this.#close();
    unlinkSync(this.#path);
  }

  get #open(): number {
    if (this.#descriptor === undefined) throw new Error("the file is closed");
    return this.#descriptor;
  }

  #close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}
