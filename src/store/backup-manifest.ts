import { createHmac } from "node:crypto";
import { ServiceError } from "../errors.ts";
import type { SealingKey } from "./sealing-key.ts";

/** The format of archives that this version writes, and the newest that it reads. */
export const FORMAT = 1;

/** What an archive says of itself. In JSON as it is here: instants are epoch milliseconds. */
export interface Manifest {
  readonly format: number;
  /** Of the program that made it. */
  readonly version: string;
  /** The engine that it was made on; the file is SQLite's in any case. */
  readonly engine: "sqlite" | "postgres";
  /** The migrations of the file. */
  readonly schema: readonly string[];
  /** The master keys that it is sealed under; two while one takes the place of the other. */
  readonly key_ids: readonly string[];
  readonly rows: Readonly<Record<string, number>>;
  /** Of the file: its length, and its SHA-256 in hex. */
  readonly bytes: number;
  readonly sha256: string;
  /** The last entry of the audit's chain. */
  readonly audit: { readonly id: number; readonly hash: string };
  readonly created_at: number;
  /** Keyed digest of all of the above, hex: only a holder of the master key can make one. */
  readonly mac: string;
}

/** What a manifest's text says; undefined where it is none. Of a newer format only its number is known to be right. */
export function parseManifest(text: string): Manifest | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const manifest = value as Partial<Manifest> | null;
  if (typeof manifest !== "object" || manifest === null || !Number.isInteger(manifest.format))
    return undefined;
  // Nobody knows what a newer format has.
  if (Number(manifest.format) > FORMAT) return manifest as Manifest;
  const { schema, key_ids: keyIds, rows, bytes, sha256, audit, created_at: at, mac } = manifest;
  const areTexts = [schema, keyIds].every(
    (list) => Array.isArray(list) && list.every((each) => typeof each === "string"),
  );
  const areNumbers = [bytes, at, audit?.id].every((number) => Number.isSafeInteger(number));
  const isWhole = [sha256, mac, audit?.hash, manifest.version].every((each) => typeof each === "string");
  return areTexts && areNumbers && isWhole && typeof rows === "object" ? (manifest as Manifest) : undefined;
}

type Unsigned = Omit<Manifest, "mac">;

/** The manifest with its digest under `key`. */
export function signed(key: SealingKey, manifest: Unsigned): Manifest {
  return { ...manifest, mac: macOf(key, manifest) };
}

/** Whether a holder of `key` has made the manifest as it is. */
export function isSigned(key: SealingKey, { mac, ...manifest }: Manifest): boolean {
  return macOf(key, manifest) === mac;
}

function macOf(key: SealingKey, manifest: Unsigned): string {
  return createHmac("sha256", key.derive("backup")).update(JSON.stringify(manifest)).digest("hex");
}

/** That an archive was made by a version that knows more. */
export function newer(path: string, { version }: Pick<Manifest, "version">): ServiceError {
  const made = typeof version === "string" && /^[\w.+-]{1,40}$/.test(version) ? ` ${version}` : "";
  return new ServiceError(
    "store_unusable",
    `${path}: 由更新版本${made}生成，请升级本程序 (made by a newer version${made}; upgrade this program)`,
  );
}
