import { randomBytes } from "node:crypto";
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { linkOnce } from "./link-once.ts";
import { MASTER_KEY_BYTES } from "./sealing-key.ts";

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
export const DRAFT = /^\.(\d+)-[0-9a-f]{12}\.key$/;

/** Where a process writes what will be the key file `path`. Each call gives another. */
export function draftOf(path: string): string {
  return join(dirname(path), `.${process.pid}-${randomBytes(6).toString("hex")}.key`);
}

/**
 * Makes a key file with a new random key, readable by its owner alone, and returns its text.
 *
 * It is on the disk under its name before this returns, whole or not at all. When another process makes one at the
 * same moment, that one stands and is returned.
 *
 * @throws {ServiceError} `store_unusable` when it can't be written.
 */
export function createKeyFile(path: string): string {
  const text = `${randomBytes(MASTER_KEY_BYTES).toString("hex")}\n`;
  const draft = draftOf(path);
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const file = openSync(draft, "wx", 0o600);
    writeSync(file, text);
    fsyncSync(file);
    closeSync(file);
    linkOnce(draft, path);
    const folder = openSync(dirname(path), "r");
    fsyncSync(folder);
    closeSync(folder);
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    throw new ServiceError("store_unusable", `MASTER_KEY_FILE ${path}: 无法创建 (can't be created: ${code})`);
  }
}
