import { Database, SQLiteError } from "bun:sqlite";
import { closeSync, existsSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { ServiceError } from "../../errors.ts";
import { appliedMigrations, MIGRATIONS } from "./migrations.ts";
import { BUSY_TIMEOUT_MS } from "./statement.ts";

/** What a database says about itself before anything is written to it. */
export interface DatabaseInspection {
  /** The keyring's rows; none for a new database. */
  readonly keys: readonly { readonly keyId: string; readonly proof: string }[];
  /** Whether it has every migration that this version knows. */
  readonly isMigrated: boolean;
}

const NEW: DatabaseInspection = { keys: [], isMigrated: false };

/**
 * Reads a database that may be damaged, foreign or too new, without changing a byte of it.
 *
 * @throws {ServiceError} `store_unusable` with the next step, when it should not be opened for writing.
 */
export function inspectDatabase(path: string): DatabaseInspection {
  if (!existsSync(path) || statSync(path).size === 0) return NEW;
  let database: Database | undefined;
  try {
    database = new Database(path, { readonly: true });
    database.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    // One moment for all that is looked at: another process may be making its tables just now.
    database.run("BEGIN");
    const verdict = database.query<{ quick_check: string }, []>("PRAGMA quick_check(1)").get();
    if (verdict?.quick_check !== "ok") throw damaged(path, "quick_check");
    const applied = appliedMigrations(database);
    const tables = database.query("SELECT 1 FROM sqlite_master LIMIT 1").get();
    if (tables && applied.length === 0) throw foreign(path);
    const known = new Set(MIGRATIONS.map(({ name }) => name));
    if (applied.some((name) => !known.has(name))) throw tooNew(path);
    if (applied.length === 0) return NEW;
    const keys = database
      .query<{ keyId: string; proof: string }, []>("SELECT key_id AS keyId, proof FROM keyring")
      .all();
    return { keys, isMigrated: applied.length === known.size };
  } catch (error) {
    if (!(error instanceof SQLiteError) || error.code?.startsWith("SQLITE_BUSY")) throw error;
    throw damaged(path, error.code ?? "SQLITE_ERROR");
  } finally {
    database?.close();
  }
}

/** Opens a database for reading and writing, and makes it, with its folder, for the owner alone. */
export function openDatabase(path: string): Database {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    if (!existsSync(path)) closeSync(openSync(path, "a", 0o600));
    const database = new Database(path, { create: false, readwrite: true });
    database.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    database.run("PRAGMA journal_mode = WAL");
    // Each acknowledged commit must outlive a power cut; NORMAL loses the last ones.
    database.run("PRAGMA synchronous = FULL");
    // What is overwritten is gone: a former master key must not open what is left of it in the file.
    database.run("PRAGMA secure_delete = ON");
    return database;
  } catch (error) {
    if (error instanceof SQLiteError && error.code?.startsWith("SQLITE_BUSY")) throw error;
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    throw new ServiceError(
      "store_unusable",
      `DATABASE_URL file:${path}: 无法打开或创建，请检查路径和权限 (can't be opened or created: ${code}; check path and permissions)`,
    );
  }
}

function damaged(path: string, reason: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `DATABASE_URL file:${path}: 数据库文件已损坏，未作任何改动；请从备份恢复，或移走该文件后重新启动 (damaged: ${reason}; nothing was changed; restore a backup, or move the file away and start again)`,
  );
}

function foreign(path: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `DATABASE_URL file:${path}: 不是本服务的数据库，请改用其他路径 (a database of another program; choose another path)`,
  );
}

function tooNew(path: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `DATABASE_URL file:${path}: 由更新版本创建，请升级本程序 (made by a newer version; upgrade this program)`,
  );
}
