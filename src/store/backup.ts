import { Database, SQLiteError } from "bun:sqlite";
import { createHmac } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import type { AuditActor } from "../audit/audit-entry.ts";
import type { Clock } from "../clock.ts";
import { ServiceError, systemCodeOf } from "../errors.ts";
import { VERSION } from "../version.ts";
import { DATABASE, fileDigest, writeArchive } from "./backup-archive.ts";
import { FORMAT, type Manifest, signed } from "./backup-manifest.ts";
import { type CopySide, databaseOf } from "./copy-side.ts";
import { type CopyProgress, copySide, type DatabasePlace, notCurrent } from "./copy-store.ts";
import { readDataKeys } from "./data-keys.ts";
import { fileStamp, syncFolderOf, unwritable } from "./durable-files.ts";
import { givenKey, type KeyOptions, missingKey, wrongKey } from "./given-key.ts";
import type { Keyring } from "./keyring.ts";
import { placeOf } from "./postgres/address.ts";
import { withPostgresSide } from "./postgres/postgres-side.ts";
import { SEALED_COLUMNS, type SealedColumn } from "./resealing.ts";
import type { SealingKey } from "./sealing-key.ts";
import { keyringUnder } from "./sql-key-table.ts";
import { appliedMigrations, inspectDatabase, MIGRATIONS } from "./sqlite/open-database.ts";
import { sideOver, withSqliteSide } from "./sqlite/sqlite-side.ts";
import { isBusy, runStatement } from "./sqlite/statement.ts";
import type { Store } from "./store.ts";
import { inTempFolder } from "./temp-folder.ts";

/** What is backed up, and where to. */
export interface BackupOptions extends Pick<KeyOptions, "masterKey" | "masterKeyFile"> {
  readonly from: DatabasePlace;
  /** The archive: a new file; or with `isFolder` where it is put, named after the moment and the installation. */
  readonly path: string;
  readonly isFolder?: boolean;
  readonly clock: Clock;
  /** Called with every thousand rows, of a PostgreSQL. */
  readonly onProgress?: (progress: CopyProgress) => void;
}

/** What was backed up. */
export interface BackupReport {
  readonly path: string;
  /** Of the archive. */
  readonly bytes: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  /** The master keys that it is sealed under: a restore needs the first of them. */
  readonly keyIds: readonly string[];
  /** By table. */
  readonly rows: Readonly<Record<string, number>>;
  /** The last entry of the audit in it; 0 for none. */
  readonly auditEntryId: number;
  /** Whether the database is as this version makes it: one of an earlier version is backed up as it is. */
  readonly isCurrent: boolean;
}

/**
 * Makes an archive of the whole database while services run on it: a snapshot of one moment, checked, never the master key.
 *
 * It has its name once it is whole and on the disk, for its owner alone. A failure leaves nothing behind, and what a killed
 * one has left, the next one in that folder takes away. SQLite copies in one go, with this process's event loop: a process
 * that serves lets another one do it. Memory does not grow with the database.
 *
 * @throws {ServiceError} `store_unusable` with the next step.
 */
export async function createBackup(options: BackupOptions): Promise<BackupReport> {
  const { from, path: place, isFolder = false, clock } = options;
  if (!isFolder && existsSync(place)) throw taken(place);
  if ("path" in from) await requireDatabase(from.path, clock);
  const key = givenKey({ ...options, onKeyCreated: noop });
  if (!key) throw missingKey({ ...options, onKeyCreated: noop });
  return inTempFolder(isFolder ? place : dirname(place), clock, async (folder) => {
    const createdAt = clock.now();
    const copy = join(folder, DATABASE);
    await copyDatabase(copy, options);
    const { installation, ...facts } = await examine(copy, key, options);
    const manifest = signed(key, {
      ...{ format: FORMAT, version: VERSION, engine: "path" in from ? "sqlite" : "postgres" },
      ...facts,
      ...(await fileDigest(copy)),
      created_at: createdAt,
    });
    const archive = join(folder, "archive");
    await writeArchive(archive, manifest, copy);
    const path = isFolder ? join(place, backupName(createdAt, installation)) : place;
    publish(archive, path);
    const { key_ids: keyIds, rows, audit, schema } = manifest;
    const isCurrent = schema.length === MIGRATIONS.length;
    return { path, bytes: statSync(path).size, createdAt, keyIds, rows, auditEntryId: audit.id, isCurrent };
  });
}

/** Notes in the database itself that it was backed up, by whom: when, even if the audit can't be written. Throws as the two stores. */
export async function noteBackup(
  { audit, milestones }: Pick<Store, "audit" | "milestones">,
  { path, bytes, createdAt, keyIds, auditEntryId }: BackupReport,
  actor: AuditActor,
): Promise<void> {
  const file = basename(path);
  await milestones.reach("backup", { at: createdAt, detail: { file, bytes } });
  await audit.append({
    ...actor,
    ...{ action: "backup.created", app: "", outcome: "ok", tokenDigest: "" },
    detail: { file, bytes, entry: auditEntryId, keys: keyIds },
  });
}

/** Whether there is a database of this version. Throws `store_unusable` where that can't be found out. */
export async function isReady(place: DatabasePlace): Promise<boolean> {
  if ("address" in place) return withPostgresSide(place.address, "snapshot", (side) => side.isCurrent());
  const { exists, pending } = inspectDatabase(place.path, false);
  return exists && pending.length === 0;
}

/**
 * The name of a backup that was made at `at`, epoch milliseconds, in a folder of many. `installation` is whose it is; undefined
 * for a database of an earlier version, which does not tell.
 */
function backupName(at: number, installation: string | undefined): string {
  return `accesstoken-${fileStamp(at)}${installation === undefined ? "" : `-${installation}`}.tar.gz`;
}

const NAME = /^accesstoken-\d{8}T\d{6}Z-([0-9a-f]{8})\.tar\.gz$/;

/**
 * Removes the oldest backups of the installation that has made the one in the path `made`, so that `keep` with that one are
 * left, and returns the paths of those that are gone. Those that are named after a later time, as by a clock that was ahead,
 * stay and don't count; others' stay as well. Throws what the file system throws.
 */
export function pruneBackups(made: string, keep: number): string[] {
  const [folder, [, own]] = [dirname(made), NAME.exec(basename(made)) ?? []];
  const earlier = readdirSync(folder)
    .filter((name) => own !== undefined && NAME.exec(name)?.[1] === own && name < basename(made))
    .map((name) => join(folder, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile())
    .toSorted();
  const gone = earlier.slice(0, Math.max(0, earlier.length - (keep - 1)));
  for (const path of gone) rmSync(path, { force: true });
  return gone;
}

async function copyDatabase(copy: string, options: BackupOptions): Promise<void> {
  const { from, clock, onProgress } = options;
  if ("address" in from) {
    await withPostgresSide(from.address, "snapshot", async (source) => {
      if (!(await source.isCurrent())) throw notCurrent(source);
      const progress = onProgress ? { onProgress } : {};
      return withSqliteSide(copy, "target", (target) => copySide(source, target, { clock, ...progress }));
    });
    return;
  }
  // For its owner alone from the first byte on.
  closeSync(openSync(copy, "wx", 0o600));
  await runStatement(clock, () => {
    // One that may only read would leave the files beside it behind.
    using database = new Database(from.path, { create: false, readwrite: true });
    try {
      database.query("VACUUM INTO ?").run(copy);
    } catch (error) {
      if (!(error instanceof SQLiteError) || isBusy(error)) throw error;
      const { code = "SQLITE_ERROR" } = error;
      throw /^SQLITE_(NOTADB|CORRUPT)/.test(code) ? damaged(options) : unwritable(options.path, code);
    }
  });
}

/** Looks whether a copy is whole and opens under `key`, and tells what is in it. */
async function examine(
  path: string,
  key: SealingKey,
  options: BackupOptions,
): Promise<Pick<Manifest, "schema" | "key_ids" | "rows" | "audit"> & { installation: string | undefined }> {
  using database = new Database(path, { readwrite: true, create: false });
  const verdict = database.query<{ integrity_check: string }, []>("PRAGMA integrity_check(1)").get();
  if (verdict?.integrity_check !== "ok") throw damaged(options);
  const side = sideOver(`file:${path}`, database);
  const keyring = await keyringUnder(databaseOf(side), key);
  if (!keyring.current) throw wrongKey({ ...options, onKeyCreated: noop });
  for (const column of SEALED_COLUMNS) await openOne(side, database, keyring, column);
  const rows: Record<string, number> = {};
  for (const table of await side.tables()) {
    const [count] = await side.sql.query(`SELECT count(*) FROM "${table}"`, []);
    rows[table] = Number(count?.[0]);
  }
  const [last] = rows["audit_ends"]
    ? await side.sql.query("SELECT entry_id, hash FROM audit_ends WHERE name = 'last'", [])
    : [];
  const schema = appliedMigrations(database);
  return {
    installation: schema.length === MIGRATIONS.length ? await installationOf(side, keyring) : undefined,
    schema,
    key_ids: [key.keyId, ...keyring.keyIds.filter((id) => id !== key.keyId)],
    rows,
    audit: last ? { id: Number(last[0]), hash: String(last[1]) } : { id: 0, hash: "" },
  };
}

/**
 * Which installation a database is of, as eight digits: the same on both engines and under any master key. A restored one is
 * another, so that it removes no backup that was made before.
 */
async function installationOf(side: CopySide, keyring: Keyring): Promise<string> {
  const { audit } = await databaseOf(side).read((queries) => readDataKeys(queries, keyring));
  const [restored] = await side.sql.query("SELECT at FROM milestones WHERE name = 'restored'", []);
  const hash = createHmac("sha256", audit).update(`installation ${Number(restored?.[0] ?? 0)}`);
  return hash.digest("hex").slice(0, 8);
}

/** So many are tried of a column, the newest first: a single text may be damaged, and the service lives with that. */
const TRIED = 20;

async function openOne(
  { sql }: CopySide,
  database: Database,
  keyring: Keyring,
  { table, column, key }: SealedColumn,
): Promise<void> {
  // A database of an earlier version is backed up as it is.
  const isThere = database.query("SELECT 1 FROM pragma_table_info(?) WHERE name = ?").get(table, column);
  if (!isThere) return;
  const rows = await sql.query(
    `SELECT ${[column, ...key].join(", ")} FROM ${table} WHERE ${column} IS NOT NULL ORDER BY rowid DESC LIMIT ${TRIED}`,
    [],
  );
  const failures: ServiceError[] = [];
  for (const [text, ...names] of rows) {
    try {
      await keyring.open(String(text), { table, row: names.join(":"), column });
      return;
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      failures.push(error);
    }
  }
  const [first] = failures;
  if (first) throw first;
}

/** Gives the whole file `draft` the name `path`, unless something has it, and has both on the disk. */
function publish(draft: string, path: string): void {
  const file = openSync(draft, "r+");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  try {
    linkSync(draft, path);
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === "EEXIST") throw taken(path);
    // As on FAT and some mounts of networks.
    if (!/^(EPERM|ENOTSUP|EOPNOTSUPP|ENOSYS|EMLINK)$/.test(code)) throw error;
    if (existsSync(path)) throw taken(path);
    renameSync(draft, path);
  }
  syncFolderOf(path);
}

function noop(): void {}

function taken(path: string): ServiceError {
  return new ServiceError(
    "conflict",
    `${path}: 文件已存在，未覆盖；请换一个名称，或给出目录 (is there already and was left as it is; choose another name, or give a folder)`,
  );
}

async function requireDatabase(path: string, clock: Clock): Promise<void> {
  const { exists } = await runStatement(clock, () => inspectDatabase(path, false));
  if (!exists) throw new ServiceError("store_unusable", `file:${path}: 数据库不存在 (there is no database)`);
}

function damaged({ from }: BackupOptions): ServiceError {
  const place = "path" in from ? `file:${from.path}` : placeOf(from.address);
  return new ServiceError(
    "store_unusable",
    `${place}: 数据库已损坏，未生成备份；请从较早的备份恢复 (the database is damaged, and no backup was made; restore an earlier one)`,
  );
}
