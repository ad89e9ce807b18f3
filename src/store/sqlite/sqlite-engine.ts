import { type Database, SQLiteError, type SQLQueryBindings } from "bun:sqlite";
import type { Clock } from "../../clock.ts";
import { type Sql, type SqlEngine, SqlFailure, sqlFailureOf, type TransactionOptions } from "../sql.ts";
import { openDatabase } from "./open-database.ts";
import { isBusy, MAX_ATTEMPTS } from "./statement.ts";

/** So long a caller waits for other processes to finish writing, its turn in this process included. Milliseconds. */
const MAX_WAIT_MS = 3000;

/**
 * SQLite behind the SQL port.
 *
 * Statements that read run on one connection. Transactions run on a second, one after the other: an asynchronous one
 * lets other code of this process run in its midst, which must neither see what is not committed nor write into it.
 */
export class SqliteEngine implements SqlEngine {
  readonly reads: Sql;
  readonly #path: string;
  readonly #clock: Clock;
  #writer: Database | undefined;
  /** Settles when the last transaction that was asked for has ended. Never rejects. */
  #last: Promise<void> = Promise.resolve();
  #isClosed = false;

  /** `reader` is open on the database in `path`, and no transaction on it may outlast a turn of the event loop. */
  constructor(path: string, reader: Database, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
    this.reads = {
      query: (text, parameters) =>
        this.#retry(MAX_ATTEMPTS, clock.monotonic(), async () => execute(reader, text, parameters)),
    };
  }

  transaction<T>(work: (sql: Sql) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    const { isReadOnly = false, maxAttempts = MAX_ATTEMPTS } = options;
    const askedAt = this.#clock.monotonic();
    const run = () => this.#retry(maxAttempts, askedAt, () => this.#run(work, isReadOnly));
    const result = this.#last.then(run);
    this.#last = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  /** Closes what this has opened. A transaction that is open is undone, and fails. */
  close(): void {
    this.#isClosed = true;
    this.#writer?.close();
  }

  async #run<T>(work: (sql: Sql) => Promise<T>, isReadOnly: boolean): Promise<T> {
    const writer = this.#open();
    execute(writer, isReadOnly ? "BEGIN" : "BEGIN IMMEDIATE", []);
    let isOpen = true;
    const sql: Sql = {
      query: async (text, parameters) => {
        if (!isOpen) throw new Error("the transaction has ended");
        return execute(writer, text, parameters);
      },
    };
    try {
      const result = await work(sql);
      execute(writer, "COMMIT", []);
      return result;
    } catch (error) {
      // After some failures, as of a full disk, SQLite has undone it by itself.
      if (!this.#isClosed && writer.inTransaction) execute(writer, "ROLLBACK", []);
      throw error;
    } finally {
      isOpen = false;
    }
  }

  #open(): Database {
    if (this.#isClosed) throw new SqlFailure("closed", false, {});
    try {
      this.#writer ??= openDatabase(this.#path);
      return this.#writer;
    } catch (error) {
      throw failureOf(error);
    }
  }

  /** Tries `work` again while another process holds the lock. SQLite itself waits only a moment, with the event loop. */
  async #retry<T>(maxAttempts: number, since: number, work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        const isLast = attempt >= maxAttempts || this.#clock.monotonic() - since > MAX_WAIT_MS;
        if (!sqlFailureOf(error)?.isBusy || isLast) throw error;
        await this.#clock.sleep(5 + Math.random() * 45);
      }
    }
  }
}

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
