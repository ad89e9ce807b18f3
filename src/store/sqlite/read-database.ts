import { systemCodeOf } from "../../errors.ts";
import { Database, SQLiteError, type SQLQueryBindings } from "bun:sqlite";
import {
  accessSync,
  constants,
  copyFileSync,
  existsSync,
  mkdtempSync,
  rmSync,
  statfsSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { type Sql, type SqlEngine, SqlFailure } from "../sql.ts";
import { realPathOf } from "./database-files.ts";
import { appliedMigrations, openToRead } from "./open-database.ts";
import { isBusy } from "./statement.ts";

/** What is at the path of a database, as far as reading it shows. */
export type FoundDatabase =
  /** Nothing; or an empty file, or one without a table, as a first start leaves it that was cut off. */
  | { readonly kind: "missing" | "empty" }
  /** SQLite's code, or the system's, for why it can't be read. */
  | { readonly kind: "unreadable" | "damaged"; readonly code: string }
  /** Tables of another program. */
  | { readonly kind: "foreign" }
  | { readonly kind: "open"; readonly database: ReadDatabase };

/** A database that is read, and never written. */
export interface ReadDatabase {
  readonly engine: SqlEngine;
  readonly applied: readonly string[];
  /** Whether it is a copy: of one that nobody uses and that can't be read in its place without leaving files behind. */
  readonly isCopy: boolean;
  close(): void;
}

/**
 * Opens the database at `path` and changes nothing: afterwards there are the same files as before, with the same bytes but
 * for the index of a log that is in use.
 *
 * While a log and its index are there it is opened for reading alone, beside a service that runs. Where neither is there,
 * SQLite makes both, writes nothing to them, and removes them again under its own lock; for that it must be allowed to
 * write. Whatever else there is, as a log without its index or a file system that is read-only, is looked at in a copy.
 */
export function readDatabase(path: string): FoundDatabase {
  const file = realPathOf(path);
  try {
    const facts = statSync(file, { throwIfNoEntry: false });
    if (!facts) return { kind: "missing" };
    if (!facts.isFile()) return { kind: "unreadable", code: "EISDIR" };
    if (facts.size === 0 && !existsSync(`${file}-journal`)) return { kind: "empty" };
    const [hasLog, hasIndex, hasJournal] = ["-wal", "-shm", "-journal"].map((end) => existsSync(file + end));
    const isBare = !hasLog && !hasIndex && !hasJournal && mayWrite(dirname(file)) && mayWrite(file);
    if (!isBare && !(hasLog && hasIndex)) return readCopy(file, true);
    const found = attempt(() => openToRead(file));
    // A full disk, or one that can't be written, has no room for an index.
    return found.kind === "unreadable" ? readCopy(file, true) : found;
  } catch (error) {
    return { kind: "unreadable", code: systemCodeOf(error) };
  }
}

/** As `readDatabase`, of the file alone, without the log beside it. */
export function readWithoutLog(path: string): FoundDatabase {
  try {
    return readCopy(realPathOf(path), false);
  } catch (error) {
    return { kind: "unreadable", code: systemCodeOf(error) };
  }
}

/** What is wrong with the pages and rows of a database, at most three of a table; nothing when it is whole. */
export async function* faultsOf({ engine }: ReadDatabase): AsyncGenerator<string[]> {
  const tables = await engine.reads.query(
    "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1",
    [],
  );
  for (const [name] of tables) {
    const quoted = String(name).replaceAll("'", "''");
    const rows = await engine.reads
      .query(`PRAGMA integrity_check('${quoted}')`, [])
      .catch((error: unknown) => [[`${String(name)}: ${systemCodeOf(error)}`]]);
    yield rows
      .map(([text]) => String(text))
      .filter((text) => text !== "ok")
      .slice(0, 3);
  }
  const orphans = await engine.reads.query("PRAGMA foreign_key_check", []);
  yield orphans.slice(0, 3).map(([table]) => `foreign key of ${String(table)}`);
}

function attempt(open: () => Database, folder?: string): FoundDatabase {
  let database: Database | undefined;
  const close = () => {
    database?.close();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  };
  try {
    database = open();
    const hasTables = database.query("SELECT 1 FROM sqlite_master LIMIT 1").get() !== null;
    const applied = appliedMigrations(database);
    if (applied.length === 0) {
      close();
      return { kind: hasTables ? "foreign" : "empty" };
    }
    return {
      kind: "open",
      database: { engine: engineOver(database), applied, isCopy: folder !== undefined, close },
    };
  } catch (error) {
    close();
    const code = systemCodeOf(error);
    const isDamage = /^SQLITE_(NOTADB|CORRUPT|ERROR|FORMAT)/.test(code);
    return { kind: isDamage ? "damaged" : "unreadable", code };
  }
}

function readCopy(file: string, hasLog: boolean): FoundDatabase {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-doctor-"));
  try {
    const files = [file, ...(hasLog ? [`${file}-wal`, `${file}-journal`] : [])].filter((each) =>
      existsSync(each),
    );
    const { bavail, bsize } = statfsSync(folder);
    const size = files.reduce((sum, each) => sum + statSync(each).size, 0);
    if (size > (bavail * bsize) / 2)
      throw Object.assign(new Error("too large to be copied"), { code: "ENOSPC" });
    for (const each of files) copyFileSync(each, join(folder, basename(each)), constants.COPYFILE_FICLONE);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  const copy = join(folder, basename(file));
  return attempt(() => new Database(copy, { create: false, readwrite: true }), folder);
}

/** Statements one after the other on one connection, which nobody else uses. */
function engineOver(database: Database): SqlEngine {
  const reads: Sql = {
    query: async (text, parameters) => {
      try {
        return database
          .query<unknown, SQLQueryBindings[]>(text)
          .values(...(parameters as SQLQueryBindings[]));
      } catch (error) {
        if (!(error instanceof SQLiteError)) throw error;
        throw new SqlFailure(error.code ?? "SQLITE_ERROR", isBusy(error), { cause: error });
      }
    },
  };
  return {
    reads,
    transaction: async (work, { isReadOnly = false } = {}) => {
      if (!isReadOnly) throw new Error("this database is only read");
      database.run("BEGIN");
      try {
        return await work(reads);
      } finally {
        database.run("ROLLBACK");
      }
    },
  };
}

function mayWrite(place: string): boolean {
  try {
    accessSync(place, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
