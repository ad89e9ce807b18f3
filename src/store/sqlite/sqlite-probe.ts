import type { Database } from "bun:sqlite";
import type { Clock } from "../../clock.ts";
import { ServiceError } from "../../errors.ts";
import type { StoreFault } from "../store.ts";
import { appliedMigrations, MIGRATIONS } from "./migrations.ts";
import { ATTEMPTS_FEW, runStatement } from "./statement.ts";

const NO_KEY =
  "数据库缺少主密钥的记录或与当前主密钥不匹配，请从备份恢复数据库或主密钥 (the database's proof of the master key is missing or does not open; restore the database or the master key)";
const NOT_MIGRATED =
  "数据库迁移不完整，请从备份恢复，或用本版本重新启动 (migrations are missing; restore a backup, or start again with this version)";

/**
 * What keeps an open database from being used, found out by doing: it writes and commits, opens the proof of the
 * master key and reads which migrations were applied. Empty when all is well. Never throws.
 */
export async function probeDatabase(
  database: Database,
  proveKey: () => boolean,
  clock: Clock,
): Promise<readonly StoreFault[]> {
  const checks: readonly (readonly [StoreFault["part"], () => string | undefined])[] = [
    ["database", () => write(database)],
    ["key", () => (proveKey() ? undefined : NO_KEY)],
    ["migrations", () => (isMigrated(database) ? undefined : NOT_MIGRATED)],
  ];
  const faults: StoreFault[] = [];
  for (const [part, check] of checks) {
    const message = await runStatement(clock, check, ATTEMPTS_FEW).catch(messageOf);
    if (message !== undefined) faults.push({ part, message });
  }
  return faults;
}

/** The user version is in the header page and means nothing to us; SQLite writes it even when it stays the same. */
function write(database: Database): undefined {
  const standing = database.query<{ user_version: number }, []>("PRAGMA user_version").get()?.user_version;
  database.run(`PRAGMA user_version = ${standing ?? 0}`);
}

function isMigrated(database: Database): boolean {
  const applied = new Set(appliedMigrations(database));
  return MIGRATIONS.every(({ name }) => applied.has(name));
}

function messageOf(error: unknown): string {
  return error instanceof ServiceError ? error.message : "数据库检查失败 (the database can't be checked)";
}
