import { constants as sqlite, type Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import type { Clock } from "../../clock.ts";
import { ServiceError } from "../../errors.ts";
import { Keyring } from "../keyring.ts";
import {
  damagedProof,
  givenKey,
  type KeyOptions,
  makeKey,
  missingKey,
  originOf,
  proveKey,
  readKeyQuietly,
  wrongKey,
} from "../given-key.ts";
import { removeTempFiles } from "../key-file.ts";
import type { SealingKey } from "../sealing-key.ts";
import { type Queried, SqlDatabase } from "../sql.ts";
import { DatabaseFiles } from "./database-files.ts";
import { copyBeforeMigration } from "./copy-before-migration.ts";
import {
  createDatabase,
  type DatabaseInspection,
  inspectDatabase,
  isFirstDatabase,
  migrate,
  NEWEST_MIGRATION,
  openDatabase,
} from "./open-database.ts";
import { runStatement } from "./statement.ts";
import { SqliteEngine } from "./sqlite-engine.ts";
import { SqlKeyTable } from "../sql-key-table.ts";

/** Where the database is and what seals it. */
export interface UnlockOptions extends KeyOptions {
  readonly path: string;
  readonly clock: Clock;
  /** Called after each query. */
  readonly onQueried?: ((queried: Queried) => void) | undefined;
  /**
   * Whether a database is made although there is a master key already, so that one must have been lost: then it begins
   * with anonymous access ended. Default false.
   */
  readonly newDatabase?: boolean;
  /** Called once a new database has been made, with its path. */
  readonly onDatabaseCreated?: ((path: string) => void) | undefined;
  /** Called once a copy was made of a database that was then migrated, with the copy's path. */
  readonly onDatabaseCopied?: ((path: string) => void) | undefined;
  /** Called when a file of the open database was deleted or replaced, with its path. */
  readonly onDatabaseLost?: ((path: string) => void) | undefined;
}

/** An open database and the keys to it. */
export interface UnlockedDatabase {
  /** For what SQLite alone can do, and for what must be read without waiting. */
  readonly database: Database;
  readonly files: DatabaseFiles;
  readonly sql: SqlDatabase;
  readonly keyring: Keyring;
  /** Moves the log into the database file, so that a copy of that one file is a whole backup, and lets go of it. */
  readonly close: () => void;
}

/** About two minutes: another process may be copying a large database before it migrates it. */
const MIGRATION_ATTEMPTS = 1500;

/** Somebody may change the key between two looks: at the key file, and at the database. */
const MAX_LOOKS = 3;

/**
 * Opens the database, or makes it, brings it to the newest schema and proves its key.
 *
 * The database and the key are looked at before anything is written, so that a wrong key, a damaged file or one from
 * a newer version is left as it is. A new database is on the disk before its key: where there is a key and no database,
 * that was lost, whenever a first start was cut off.
 *
 * Looking at it, opening it and migrating it come before there is an engine, and need SQLite's own pragmas and files:
 * they stay synchronous.
 *
 * @throws {ServiceError} `store_unusable` with the next step.
 */
export async function unlockDatabase(options: UnlockOptions): Promise<UnlockedDatabase> {
  const { path, clock } = options;
  const { key: given, exists, pending } = await findKey(options);
  if (!exists || !given) await runStatement(clock, () => createDatabase(path, !given));
  const key = given ?? makeKey(options);
  const database = await runStatement(clock, () => openDatabase(path));
  let engine: SqliteEngine | undefined;
  try {
    const begin = () => {
      // Where the start that was told to begin anew was cut off, the next one finds a database and knows nothing of that.
      if (given && !isFirstDatabase(database)) endAnonymousAccess(database);
    };
    let copy: string | undefined;
    const beforeUpgrade = () => (copy = copyBeforeMigration(path, NEWEST_MIGRATION, clock.now()));
    const isNew = await runStatement(
      clock,
      () => migrate(database, clock.now(), { begin, beforeUpgrade }),
      pending.length === 0 ? undefined : MIGRATION_ATTEMPTS,
    );
    if (copy !== undefined) options.onDatabaseCopied?.(copy);
    if (isNew) options.onDatabaseCreated?.(path);
    const readKey = () => (options.masterKey ? key : readKeyQuietly(options.masterKeyFile));
    const files = new DatabaseFiles(path, options.onDatabaseLost);
    engine = new SqliteEngine(path, database, clock, () => files.check());
    const close = () => {
      engine?.close();
      closeDatabase(database, files);
    };
    const sql = new SqlDatabase(engine, (operation, durationMs, failure) =>
      options.onQueried?.({
        operation,
        durationMs,
        failure: failure && (failure.isBusy ? "busy" : "refused"),
      }),
    );
    const keyring = new Keyring({ table: new SqlKeyTable(sql), key, readKey });
    await sql.transact((queries) => proveKey(queries, keyring, options, clock.now()));
    if (!options.masterKey) removeTempFiles(options.masterKeyFile);
    return { database, files, sql, keyring, close };
  } catch (error) {
    engine?.close();
    database.close();
    throw error;
  }
}

/** In the database that takes the place of a lost one: its clients are gone, and nobody else may have what they had. */
function endAnonymousAccess(database: Database): void {
  database.run("UPDATE settings SET value = 'off' WHERE name = 'anonymous'");
}

/** Where one of `files` is another's by now, nothing is done by its name: SQLite would take away the new one's log. */
function closeDatabase(database: Database, files: DatabaseFiles): void {
  const lost = files.look();
  try {
    if (lost !== undefined) database.fileControl(sqlite.SQLITE_FCNTL_PERSIST_WAL, 1);
    // A log that was only deleted is still open here, and so what is in it can still be saved.
    if (lost === undefined || (lost.endsWith("-wal") && !existsSync(lost))) {
      database.run("PRAGMA wal_checkpoint(TRUNCATE)");
    }
  } catch {
    // What is committed is safe in the log as well; the next start moves it.
  }
  database.close();
}

/**
 * The key that this process was given, if it opens the database; undefined where both are still to be made. Makes nothing.
 *
 * @throws {ServiceError} `store_unusable` with the next step.
 */
export async function findKey(
  options: UnlockOptions,
): Promise<{ readonly key: SealingKey | undefined } & Pick<DatabaseInspection, "exists" | "pending">> {
  for (let look = 1; ; look++) {
    // The key first: where it is there, so was the database.
    const key = givenKey(options);
    const { exists, keys, pending } = await runStatement(options.clock, () => inspectDatabase(options.path));
    const row = keys.find(({ keyId }) => keyId === key?.keyId);
    if (key && !exists && !options.newDatabase) throw lostDatabase(options);
    if (keys.length === 0 || (row && key?.matches(row.proof))) return { key, exists, pending };
    if (look < MAX_LOOKS) continue;
    throw !key ? missingKey(options) : row ? damagedProof(options) : wrongKey(options);
  }
}

function lostDatabase(options: UnlockOptions): ServiceError {
  return new ServiceError(
    "store_unusable",
    `DATABASE_URL file:${options.path}: 数据库不存在或为空，而主密钥（${originOf(options)}）已存在；请检查路径和挂载，或从备份恢复；确要新建时加 --new-database (there is no database, or an empty file, but its master key ${originOf(options)} is there: check path and mounts, or restore a backup; to begin anew, give --new-database)`,
  );
}
