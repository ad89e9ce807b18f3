import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { VerifyResult } from "../audit/audit-store.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import { AuditChain } from "./audit-chain.ts";
import { verifyChain } from "./audit-verification.ts";
import { DATABASE, readManifest, tampered, unpackArchive } from "./backup-archive.ts";
import { isSigned, type Manifest, newer } from "./backup-manifest.ts";
import { openSealed } from "./examine.ts";
import { givenKey, type KeyOptions, originOf } from "./given-key.ts";
import { keyIn } from "./key-file.ts";
import type { SealingKey } from "./sealing-key.ts";
import { SqlAuditStore } from "./sql-audit-store.ts";
import { MIGRATIONS } from "./sqlite/open-database.ts";
import { REMEMBERED_ENTRY } from "./sqlite/statement.ts";
import { type UnlockedDatabase, unlockDatabase } from "./sqlite/unlock.ts";
import { inTempFolder } from "./temp-folder.ts";

/** Which backup is tried, and where its master key may be. */
export interface DrillOptions extends Pick<KeyOptions, "masterKey" | "masterKeyFile"> {
  readonly archive: string;
  readonly clock: Clock;
}

/** What a backup was found to be. */
export interface DrillReport {
  readonly manifest: Manifest;
  /** How many texts are sealed, and where those are that don't open: `table.column row`. */
  readonly sealed: number;
  readonly damaged: readonly string[];
  readonly audit: VerifyResult;
  /** The migrations that this version has added to it. */
  readonly migrated: readonly string[];
}

/** A backup that was unpacked, brought to this version and tried: an open database of nobody else's. */
export interface TriedBackup extends DrillReport {
  readonly unlocked: UnlockedDatabase;
  readonly chain: AuditChain;
}

/** Whether a restore brings back all that was there. */
export function isWhole({ damaged, audit }: DrillReport): boolean {
  return damaged.length === 0 && audit.isIntact;
}

/**
 * Restores a backup on trial, into a folder for temporary files that is gone afterwards. No database of a service is touched.
 *
 * @throws {ServiceError} `store_unusable` when it is no whole, unchanged backup that this version reads, or its master key is not here.
 */
export function verifyBackup(options: DrillOptions): Promise<DrillReport> {
  const { clock } = options;
  return inTempFolder(tmpdir(), clock, (folder) =>
    withTriedBackup(folder, options, true, async ({ manifest, sealed, damaged, audit, migrated }) => ({
      ...{ manifest, sealed, damaged, audit, migrated },
    })),
  );
}

/**
 * Unpacks a backup into `folder`, brings it to this version and tries it, and runs `work` with it. With `takesFormer`
 * a former master key that is kept beside the key file is good as well. Throws as `verifyBackup`, and what `work` throws.
 */
export async function withTriedBackup<T>(
  folder: string,
  options: DrillOptions,
  takesFormer: boolean,
  work: (tried: TriedBackup) => Promise<T>,
): Promise<T> {
  const { archive, clock } = options;
  const key = keyOf(await readManifest(archive), options, takesFormer);
  const known = MIGRATIONS.map(({ name }) => name);
  const path = join(folder, DATABASE);
  const manifest = await unpackArchive(archive, path, (each) => {
    if (!isSigned(key, each)) throw tampered(archive);
    if (!each.schema.every((name) => known.includes(name))) throw newer(archive, each);
  });
  const unlocked = await unlockDatabase({
    ...{ path, masterKey: key.text(), masterKeyFile: "", clock },
    onKeyCreated: () => undefined,
  });
  try {
    const { sql, keyring } = unlocked;
    const chain = new AuditChain({ key: keyring.auditKey(), clock, remembered: REMEMBERED_ENTRY });
    await new SqlAuditStore(sql, chain, clock).begin();
    return await work({
      ...{ manifest, ...(await openSealed(sql, keyring)), unlocked, chain },
      audit: await verifyChain(sql, chain),
      migrated: known.filter((name) => !manifest.schema.includes(name)),
    });
  } finally {
    unlocked.close();
  }
}

function keyOf({ key_ids: keyIds }: Manifest, options: DrillOptions, takesFormer: boolean): SealingKey {
  const own = { ...options, onKeyCreated: () => undefined };
  const [id = ""] = keyIds;
  const given = givenKey(own);
  if (given?.keyId === id) return given;
  const kept = `${options.masterKeyFile}.${id}`;
  const isKept = /^[0-9a-f]{8}$/.test(id) && existsSync(kept);
  const former = isKept && takesFormer ? keyIn(kept) : undefined;
  if (former?.keyId === id) return former;
  throw new ServiceError(
    "store_unusable",
    `${options.archive}: 需要主密钥 ${shown(id)}，而${originOf(own)}${given ? `是 ${given.keyId}` : "不存在"} (needs the master key ${shown(id)}, and ${originOf(own)} ${given ? `is ${given.keyId}` : "is not there"})`,
    {
      hint: isKept
        ? `该密钥就在 ${kept}：请在停止服务后将其复制为主密钥文件 (it is in ${kept}: with the service stopped, copy that file to be the key file)`
        : "请放好该密钥，或执行 accesstoken master-key import <文件> 导入 (put that key there, or: accesstoken master-key import <file>)",
    },
  );
}

function shown(keyId: string): string {
  return /^[\w-]{1,20}$/.test(keyId) ? keyId : "?";
}
