import { Database, SQLiteError } from "bun:sqlite";
import { accessSync, closeSync, constants, existsSync, fsyncSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { ServiceError, systemCodeOf } from "../../errors.ts";
import { type DatabaseFiles, lostMessage, realPathOf } from "./database-files.ts";
import { denialOfMaking, makeFolderOf, syncFolderOf } from "../durable-files.ts";
import { BACKGROUND_ATTEMPTS, type Queries, type SqlDatabase } from "../sql.ts";
import { BUSY_TIMEOUT_MS, runStatement } from "./statement.ts";
import initial from "../../../drizzle/sqlite/0000_initial.sql" with { type: "text" };
import engine from "../../../drizzle/sqlite/0001_engine.sql" with { type: "text" };
import access from "../../../drizzle/sqlite/0002_access.sql" with { type: "text" };
import gateway from "../../../drizzle/sqlite/0003_gateway.sql" with { type: "text" };
import house from "../../../drizzle/sqlite/0004_house.sql" with { type: "text" };
import hardening from "../../../drizzle/sqlite/0005_hardening.sql" with { type: "text" };
import cluster from "../../../drizzle/sqlite/0006_cluster.sql" with { type: "text" };
import environments from "../../../drizzle/sqlite/0007_environments.sql" with { type: "text" };
import console from "../../../drizzle/sqlite/0008_console.sql" with { type: "text" };
import callsOfDay from "../../../drizzle/sqlite/0009_calls_of_day.sql" with { type: "text" };
import operations from "../../../drizzle/sqlite/0010_operations.sql" with { type: "text" };
import platforms from "../../../drizzle/sqlite/0011_platforms.sql" with { type: "text" };
import type { Clock } from "../../clock.ts";
import type { StoreFault } from "../../ops/readiness.ts";

/** What a database says about itself before anything is written to it. */
export interface DatabaseInspection {
  /** Whether there is one, be it without a table: a first start that was cut off leaves it so. */
  readonly exists: boolean;
  /** The keyring's rows; none for a new database. */
  readonly keys: readonly { readonly keyId: string; readonly proof: string }[];
  /** The migrations of this version that it has not had. */
  readonly pending: readonly string[];
}

/** The user version of a database that was made before its master key was. */
const FIRST = 1;

/**
 * Reads a database that may be damaged, foreign or too new, without changing what is in it. All of it is read, unless
 * `isWhole` is false.
 *
 * @throws {ServiceError} `store_unusable` with the next step, when it should not be opened for writing.
 */
export function inspectDatabase(path: string, isWhole = true): DatabaseInspection {
  try {
    return inspect(path, isWhole);
  } catch (error) {
    if (!(error instanceof SQLiteError) || error.code !== "SQLITE_READONLY_ROLLBACK") throw error;
    // A first start was cut off in the midst of the switch to a write-ahead log: whoever may write takes that back.
    rollBack(path);
    return inspect(path, isWhole);
  }
}

function inspect(path: string, isWhole: boolean): DatabaseInspection {
  let database: Database | undefined;
  try {
    const facts = statSync(path, { throwIfNoEntry: false });
    if (!facts || (facts.size === 0 && !existsSync(`${realPathOf(path)}-journal`)))
      return { ...nothing(), exists: false };
    if (!facts.isFile()) throw unopenable(path, "EISDIR");
    // SQLite would begin with what it may only read, and make files beside it that nobody may write.
    if (denialOf(path)) throw unopenable(path, "EACCES");
    database = openToRead(path);
    // One moment for all that is looked at: another process may be making its tables just now.
    database.run("BEGIN");
    const verdict = isWhole
      ? database.query<{ quick_check: string }, []>("PRAGMA quick_check(1)").get()?.quick_check
      : "ok";
    if (verdict !== "ok") throw damaged(path, "quick_check");
    const applied = appliedMigrations(database);
    const tables = database.query("SELECT 1 FROM sqlite_master LIMIT 1").get();
    if (tables && applied.length === 0) throw foreign(path);
    const known = new Set(MIGRATIONS.map(({ name }) => name));
    if (applied.some((name) => !known.has(name))) throw tooNew(path);
    if (applied.length === 0) return nothing();
    const keys = database
      .query<{ keyId: string; proof: string }, []>("SELECT key_id AS keyId, proof FROM keyring")
      .all();
    return { exists: true, keys, pending: [...known].filter((name) => !applied.includes(name)) };
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    const code = systemCodeOf(error);
    if (code.startsWith("SQLITE_BUSY") || code === "SQLITE_READONLY_ROLLBACK") throw error;
    // Anything else that SQLite says is about who may do what with the files, or about the disk.
    throw /^SQLITE_(NOTADB|CORRUPT|ERROR|FORMAT)/.test(code) ? damaged(path, code) : unopenable(path, code);
  } finally {
    database?.close();
  }
}

/**
 * Opens a database to read it, and leaves no file beside it when it is closed. Where there is neither log nor index SQLite makes
 * both, and takes them away again for whoever may write.
 */
export function openToRead(path: string): Database {
  const isBare = ["-wal", "-shm", "-journal"].every((end) => !existsSync(realPathOf(path) + end));
  const database = new Database(path, isBare ? { create: false, readwrite: true } : { readonly: true });
  database.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
  database.run("PRAGMA query_only = ON");
  return database;
}

/** Of a database without a table. */
function nothing(): DatabaseInspection {
  return { exists: true, keys: [], pending: MIGRATIONS.map(({ name }) => name) };
}

function rollBack(path: string): void {
  try {
    using database = new Database(path, { create: false, readwrite: true });
    database.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    database.query("SELECT 1 FROM sqlite_master LIMIT 1").get();
  } catch (error) {
    const code = systemCodeOf(error);
    if (code.startsWith("SQLITE_BUSY")) throw error;
    throw unopenable(path, code);
  }
}

/**
 * Makes the database, with its folder, for the owner alone, unless it is there. On the disk, and in use with a
 * write-ahead log, when it returns. `isFirst` says that there is no master key yet: nothing was lost, which the database
 * remembers for whoever completes it.
 */
export function createDatabase(path: string, isFirst: boolean): void {
  try {
    makeFolderOf(path);
    const file = openSync(path, "a", 0o600);
    fsyncSync(file);
    closeSync(file);
    using database = openDatabase(path);
    if (isFirst) database.run(`PRAGMA user_version = ${FIRST}`);
    // SQLite leaves it to chance whether the end of its rollback journal is on the disk, too.
    syncFolderOf(path);
  } catch (error) {
    if (error instanceof ServiceError || systemCodeOf(error).startsWith("SQLITE_BUSY")) throw error;
    throw unopenable(path, systemCodeOf(error));
  }
}

/** Looks whether `createDatabase` could make it. Throws as that does. */
export function checkDatabaseCanBeMade(path: string): void {
  const code = denialOfMaking(path);
  if (code !== undefined) throw unopenable(path, code);
}

/** The service has some hundred statements; Bun keeps the first 20 prepared, and prepares the others at each use. */
Database.MAX_QUERY_CACHE_SIZE = 200;

/** Whether the database was made before there was a master key. */
export function isFirstDatabase(database: Database): boolean {
  return database.query<{ user_version: number }, []>("PRAGMA user_version").get()?.user_version === FIRST;
}

/** Opens a database that is there for reading and writing. */
export function openDatabase(path: string): Database {
  try {
    const database = openSame(path);
    database.run("PRAGMA journal_mode = WAL");
    // Each acknowledged commit must outlive a power cut; NORMAL loses the last ones.
    database.run("PRAGMA synchronous = FULL");
    // What is overwritten is gone: a former master key must not open what is left of it in the file.
    database.run("PRAGMA secure_delete = ON");
    return database;
  } catch (error) {
    const code = systemCodeOf(error);
    if (code.startsWith("SQLITE_BUSY")) throw error;
    throw unopenable(path, code);
  }
}

/** How often a file may be replaced between two looks at it. */
const MAX_REPLACED = 5;

/**
 * Opens the file that has that name. A restore gives the name to another one while it keeps everybody out: who has opened the
 * old one by then, and would have its lock only now, must not write to it, or touch the files beside it that are the new one's.
 */
function openSame(path: string): Database {
  for (let attempt = 1; ; attempt++) {
    const before = statOf(path)?.ino;
    const database = new Database(path, { create: false, readwrite: true });
    try {
      database.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
      database.run("BEGIN");
      database.query("SELECT 1 FROM sqlite_master LIMIT 1").get();
      const isSame = statOf(path)?.ino === before;
      database.run("ROLLBACK");
      if (isSame || attempt === MAX_REPLACED) return database;
    } catch (error) {
      database.close();
      throw error;
    }
    database.close();
  }
}

/** That the files can't be used as they lie there: it names the one that is in the way, whose it is, and who we are. */
export function unopenable(path: string, code: string): ServiceError {
  const { zh, en } = whatIsInTheWay(path);
  return new ServiceError(
    "store_unusable",
    `DATABASE_URL file:${path}: 无法打开或创建，${zh} (can't be opened or created: ${code}; ${en})`,
  );
}

function whatIsInTheWay(path: string): { readonly zh: string; readonly en: string } {
  const denial = denialOf(path);
  if (denial) {
    const { place, code } = denial;
    const facts = statOf(place);
    const owner = facts
      ? `uid ${facts.uid}, mode ${(facts.mode & 0o7777).toString(8).padStart(4, "0")}`
      : code;
    const user = `uid ${process.geteuid?.() ?? "?"}`;
    const isReadOnly = code === "EROFS";
    return {
      zh: `${place}（${owner}）${isReadOnly ? "位于只读文件系统" : "不允许本进程访问"}，本进程为 ${user}；文件内容未必有损，请修正属主、权限或挂载`,
      en: `${place} (${owner}) ${isReadOnly ? "is on a read-only file system" : "does not let this process in"}, which is ${user}; nothing is known to be damaged; fix owner, mode or mount`,
    };
  }
  return statOf(path)?.isDirectory()
    ? { zh: "该路径是目录，请指定文件", en: "it is a folder; name a file" }
    : { zh: "请检查路径、磁盘空间和权限", en: "check path, disk space and permissions" };
}

/** The first of folder, database and its companions that this process may not read and write; those that are missing don't count. */
function denialOf(path: string): { readonly place: string; readonly code: string } | undefined {
  const { R_OK, W_OK, X_OK } = constants;
  const file = realPathOf(path);
  for (const place of [dirname(file), file, `${file}-wal`, `${file}-shm`]) {
    try {
      accessSync(place, place === dirname(file) ? R_OK | W_OK | X_OK : R_OK | W_OK);
    } catch (error) {
      if (systemCodeOf(error) !== "ENOENT") return { place, code: systemCodeOf(error) };
    }
  }
  return undefined;
}

function statOf(place: string) {
  try {
    return statSync(place, { throwIfNoEntry: false });
  } catch {
    return undefined;
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

/** Every migration that drizzle-kit generated, in order, embedded so that the binary needs no folder. */
export const MIGRATIONS: readonly { readonly name: string; readonly sql: string }[] = [
  { name: "0000_initial", sql: initial },
  { name: "0001_engine", sql: engine },
  { name: "0002_access", sql: access },
  { name: "0003_gateway", sql: gateway },
  { name: "0004_house", sql: house },
  { name: "0005_hardening", sql: hardening },
  { name: "0006_cluster", sql: cluster },
  { name: "0007_environments", sql: environments },
  { name: "0008_console", sql: console },
  { name: "0009_calls_of_day", sql: callsOfDay },
  { name: "0010_operations", sql: operations },
  { name: "0011_platforms", sql: platforms },
];

/** The number of the newest migration that this version knows. */
export const NEWEST_MIGRATION = MIGRATIONS.length - 1;
/** The number of the migration from which on a process knows third-party platforms. */
export const PLATFORMS_MIGRATION = MIGRATIONS.findIndex(({ name }) => name === "0011_platforms");

/** The names of the migrations that `database` has had; empty for a new one. */
export function appliedMigrations(database: Database): string[] {
  const table = database
    .query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'")
    .get();
  if (!table) return [];
  return database
    .query<{ name: string }, []>("SELECT name FROM migrations ORDER BY name")
    .all()
    .map(({ name }) => name);
}

/** What is done with a migration, in its transaction. */
export interface MigrationSteps {
  /** Once a database has its first tables. */
  readonly begin?: () => void;
  /** Before the schema of one that has tables is changed; nothing is written yet. */
  readonly beforeUpgrade?: () => void;
}

/**
 * Brings `database` to the newest schema in one transaction. Another process that does the same waits its turn. Returns
 * whether it had no table yet.
 */
export function migrate(
  database: Database,
  now: number,
  { begin, beforeUpgrade }: MigrationSteps = {},
): boolean {
  const bringUp = database.transaction(() => {
    const applied = new Set(appliedMigrations(database));
    if (applied.size === 0) {
      database.run(
        "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)",
      );
    } else if (MIGRATIONS.some(({ name }) => !applied.has(name))) beforeUpgrade?.();
    for (const { name, sql } of MIGRATIONS) {
      if (applied.has(name)) continue;
      for (const statement of sql.split("--> statement-breakpoint")) database.run(statement);
      database.query("INSERT INTO migrations (name, applied_at) VALUES (?, ?)").run(name, now);
    }
    if (applied.size === 0) begin?.();
    return applied.size === 0;
  });
  return bringUp.immediate();
}

const NO_KEY =
  "数据库缺少主密钥的记录或与当前主密钥不匹配，请从备份恢复数据库或主密钥 (the database's proof of the master key is missing or does not open; restore the database or the master key)";
const NOT_MIGRATED =
  "数据库迁移不完整，请从备份恢复，或用本版本重新启动 (migrations are missing; restore a backup, or start again with this version)";

const AUDIT_UNWRITABLE =
  "审计无法写入，变更操作将被拒绝，读取不受影响 (the audit can't be written: nothing can be changed, reads go on)";

/**
 * What keeps an open database from being used, found out by doing: it looks for its files, writes and commits, opens the proof of the
 * master key, reads which migrations were applied, and writes to the audit what it then takes back. Empty when all is
 * well. Never throws.
 */
export async function probeDatabase(
  {
    database,
    files,
    sql: store,
  }: { readonly database: Database; readonly files: DatabaseFiles; readonly sql: SqlDatabase },
  {
    proveKey,
    writeAudit,
  }: { readonly proveKey: () => Promise<boolean>; readonly writeAudit: () => Promise<void> },
  clock: Clock,
): Promise<readonly StoreFault[]> {
  const lost = files.look();
  if (lost !== undefined) return [{ part: "database", message: lostMessage(lost) }];
  const readMigrations = () => (isMigrated(database) ? undefined : NOT_MIGRATED);
  const checks: readonly (readonly [StoreFault["part"], () => Promise<string | undefined>])[] = [
    ["database", () => store.transact(write, { maxAttempts: BACKGROUND_ATTEMPTS })],
    ["key", async () => ((await proveKey()) ? undefined : NO_KEY)],
    ["migrations", () => runStatement(clock, readMigrations, BACKGROUND_ATTEMPTS)],
  ];
  const faults: StoreFault[] = [];
  for (const [part, check] of checks) {
    const message = await check().catch(messageOf);
    if (message !== undefined) faults.push({ part, message });
  }
  // Where nothing can be written, that is the reason.
  if (faults.some(({ part }) => part === "database")) return faults;
  const refused = await writeAudit().then(() => undefined, messageOf);
  if (refused !== undefined) faults.push({ part: "audit", message: `${AUDIT_UNWRITABLE}：${refused}` });
  return faults;
}

/** The user version is in the header page; SQLite writes it even when it stays the same. */
async function write(queries: Queries): Promise<undefined> {
  const [standing] = await queries.values<[number]>("PRAGMA user_version");
  await queries.values(`PRAGMA user_version = ${standing?.[0] ?? 0}`);
}

function isMigrated(database: Database): boolean {
  const applied = new Set(appliedMigrations(database));
  return MIGRATIONS.every(({ name }) => applied.has(name));
}

function messageOf(error: unknown): string {
  return error instanceof ServiceError ? error.message : "数据库检查失败 (the database can't be checked)";
}
