import { type Database, SQLiteError, type SQLQueryBindings } from "bun:sqlite";
import type { Clock } from "../../clock.ts";
import { type Sql, type SqlEngine, SqlFailure, sqlFailureOf, type TransactionOptions } from "../sql.ts";
import { openDatabase } from "./open-database.ts";
import { isBusy } from "./statement.ts";

/**
 * So long a caller waits for other processes to finish writing, its turn in this process included; one whose turn comes
 * later is tried once. Milliseconds.
 */
const MAX_WAIT_MS = 3000;
/** The pauses between so many are longer than that. */
const MAX_ATTEMPTS = 700;

/**
 * SQLite behind the SQL port.
 *
 * Single statements that read, transactions that read and transactions that write have a connection each: an asynchronous
 * transaction lets other code of this process run in its midst, which must neither see what is not committed nor write
 * into it. So nothing that only reads waits for a writer.
 */
export class SqliteEngine implements SqlEngine {
  readonly reads: Sql;
  readonly #clock: Clock;
  readonly #writing: Lane;
  readonly #reading: Lane;

  /**
   * `reader` is open on the database in `path`, and no transaction on it may outlast a turn of the event loop. `checkFiles`
   * is called before a transaction that writes, and after its commit; what it throws is what the transaction throws.
   */
  constructor(path: string, reader: Database, clock: Clock, checkFiles: () => void) {
    this.#clock = clock;
    this.#writing = new Lane(() => {
      const database = openDatabase(path);
      // SQLite would wait for the lock with the event loop, once for each transaction that is queued.
      database.run("PRAGMA busy_timeout = 0");
      return database;
    }, checkFiles);
    this.#reading = new Lane(() => {
      const database = openDatabase(path);
      database.run("PRAGMA query_only = ON");
      return database;
    }, noop);
    this.reads = {
      query: (text, parameters) =>
        this.#retry(MAX_ATTEMPTS, clock.monotonic(), async () => {
          this.#writing.refuseClosed();
          return execute(reader, text, parameters);
        }),
    };
  }

  transaction<T>(work: (sql: Sql) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    const { isReadOnly = false, maxAttempts = MAX_ATTEMPTS } = options;
    const [lane, begin] = isReadOnly ? [this.#reading, "BEGIN"] : [this.#writing, "BEGIN IMMEDIATE"];
    const askedAt = this.#clock.monotonic();
    return lane.next(() => this.#retry(maxAttempts, askedAt, () => lane.run(begin, work)));
  }

  /** Closes what this has opened. A transaction that is open is undone, and fails. */
  close(): void {
    this.#writing.close();
    this.#reading.close();
  }

  /** Tries `work` again while another process holds the lock, soon at first: most locks are held for less than a millisecond. */
  async #retry<T>(maxAttempts: number, since: number, work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        const isLast = attempt >= maxAttempts || this.#clock.monotonic() - since > MAX_WAIT_MS;
        if (!sqlFailureOf(error)?.isBusy || isLast) throw error;
        await this.#clock.sleep(Math.min(attempt, 5) * (1 + Math.random()));
      }
    }
  }
}

/** A connection, opened when it is needed, on which one transaction runs after the other. */
class Lane {
  readonly #openDatabase: () => Database;
  readonly #checkFiles: () => void;
  #database: Database | undefined;
  /** Settles when the last transaction that was asked for has ended. Never rejects. */
  #last: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(open: () => Database, checkFiles: () => void) {
    this.#openDatabase = open;
    this.#checkFiles = checkFiles;
  }

  /** Runs `work` after all that was asked for before. */
  next<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.then(noop, noop);
    return result;
  }

  /** Runs `work` in a transaction. */
  async run<T>(begin: string, work: (sql: Sql) => Promise<T>): Promise<T> {
    const database = this.#open();
    this.#checkFiles();
    execute(database, begin, []);
    let isOpen = true;
    const sql: Sql = {
      query: async (text, parameters) => {
        if (!isOpen) throw new Error("the transaction has ended");
        this.refuseClosed();
        return execute(database, text, parameters);
      },
    };
    try {
      const result = await work(sql);
      this.refuseClosed();
      execute(database, "COMMIT", []);
      // Before anybody is told: files may have been deleted or replaced meanwhile.
      this.#checkFiles();
      return result;
    } catch (error) {
      // After some failures, as of a full disk, SQLite has undone it by itself.
      if (!this.#isClosed && database.inTransaction) execute(database, "ROLLBACK", []);
      throw error;
    } finally {
      isOpen = false;
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#database?.close();
  }

  /** Throws once it is closed, what a transaction of it throws then. */
  refuseClosed(): void {
    if (this.#isClosed) throw new SqlFailure("closed", false, {});
  }

  #open(): Database {
    this.refuseClosed();
    try {
      this.#database ??= this.#openDatabase();
      return this.#database;
    } catch (error) {
      throw failureOf(error);
    }
  }
}

function noop(): void {}

function execute(database: Database, text: string, parameters: readonly unknown[]): unknown[][] {
  try {
    return database.query<unknown, SQLQueryBindings[]>(text).values(...(parameters as SQLQueryBindings[]));
  } catch (error) {
    throw failureOf(error);
  }
}

function failureOf(error: unknown): unknown {
  if (!(error instanceof SQLiteError)) return error;
  return new SqlFailure(error.code ?? "SQLITE_ERROR", isBusy(error), { cause: error });
}
