import { SQL } from "bun";
import { Semaphore } from "../../access/semaphore.ts";
import type { StoreFailure } from "../../events.ts";
import {
  type Sql,
  type SqlEngine,
  SqlFailure,
  sqlFailureOf,
  type TransactionOptions,
  withoutNul,
} from "../sql.ts";
import { postgresText } from "./statement-text.ts";

/** How long a statement may take, and the way to it; milliseconds. */
const DEADLINE_MS = 2000;
const STEPS = 4;
/** How long the server has to confirm that it has stopped a statement, before its line counts as dead. */
const CANCEL_MS = 500;
/** How often a caller waits for others to finish writing, each time for `lock_timeout`. */
const MAX_ATTEMPTS = 3;
const POOL_SIZE = 8;
/** Of these one is for the transactions that write, and one for looking what has changed: neither waits for the others. */
const MAX_BESIDE = POOL_SIZE - 2;
/** Keeps all writers of the database apart. Any number that nobody else locks. */
const WRITE_LOCK = "SELECT pg_advisory_xact_lock(6112014)";

/** What the server does by itself for a client that is gone. In milliseconds. */
const SESSION = {
  application_name: "accesstoken",
  statement_timeout: DEADLINE_MS,
  lock_timeout: 1000,
  idle_in_transaction_session_timeout: 5000,
  idle_session_timeout: 0,
};

/** Where the server is, and how to get in. */
export interface PostgresAddress {
  /** Without a password. */
  readonly url: string;
  /** Asked for at each connection, so that it may be changed; undefined for none. */
  readonly password: (() => string) | undefined;
}

/** Connects to a server as this service does. */
export function connect({ url, password }: PostgresAddress, max: number): SQL {
  return new SQL({
    url,
    max,
    ...(password ? { password } : {}),
    // Named statements do not pass a pooler.
    prepare: false,
    bigint: true,
    connectionTimeout: 5,
    connection: SESSION,
  });
}

/** A connection, or a transaction on one. */
export type Client = Pick<SQL, "unsafe">;

/** A statement of the SQL port, to be sent when it is awaited; what it gives is for `plainRows`. */
export function statementOf(client: Client, text: string, parameters: readonly unknown[]) {
  return client.unsafe(postgresText(text), parameters.map(toPostgres)).values();
}

/** The rows of the SQL port in what the driver gives. */
export function plainRows(rows: unknown): unknown[][] {
  return Array.from(rows as unknown[][], (row) => row.map(toNumber));
}

/** Keeps all writers of the database apart for the rest of a transaction. */
export async function lockWrites(sql: Sql): Promise<void> {
  await sql.query(WRITE_LOCK, []);
}

/**
 * PostgreSQL behind the SQL port.
 *
 * Transactions that write take one lock of the database first, so they run one after the other over all processes, as
 * they do on SQLite, unless they are independent; what only reads never waits. Every statement has a deadline by which it is cancelled: otherwise one
 * that was sent while the line was cut would run after its caller was told that it failed.
 */
export class PostgresEngine implements SqlEngine {
  readonly reads: Sql;
  readonly #address: PostgresAddress;
  readonly #places = new Semaphore(MAX_BESIDE);
  #pool: SQL;
  /** Settles when the last transaction that was asked for has ended. Never rejects. */
  #last: Promise<unknown> = Promise.resolve();
  #isAway = false;
  #isClosed = false;

  constructor(address: PostgresAddress) {
    this.#address = address;
    this.#pool = connect(address, POOL_SIZE);
    this.reads = {
      query: (text, parameters) =>
        this.#beside(() => {
          this.#refuseAway();
          return this.#run(this.#pool, text, parameters);
        }),
    };
  }

  /** Whether the server did not answer when it was asked last: until a `look` succeeds, everything else fails at once. */
  get isAway(): boolean {
    return this.#isAway;
  }

  /** As `reads.query`, and tried also while the server is away. */
  look(text: string, parameters: readonly unknown[] = []): Promise<unknown[][]> {
    return this.#run(this.#pool, text, parameters);
  }

  async transaction<T>(work: (sql: Sql) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    const { isReadOnly = false, maxAttempts = MAX_ATTEMPTS, isIndependent = false } = options;
    if (isReadOnly)
      return this.#beside(() => this.#transaction("isolation level repeatable read read only", work));
    const attempt = async () => {
      for (let tried = 1; ; tried++) {
        try {
          return await this.#transaction("read write", async (sql) => {
            if (!isIndependent) await lockWrites(sql);
            return work(sql);
          });
        } catch (error) {
          if (tried >= Math.min(maxAttempts, MAX_ATTEMPTS) || !mayRepeat(error)) throw error;
        }
      }
    };
    if (isIndependent) return this.#beside(attempt);
    const result = this.#last.then(attempt);
    this.#last = result.catch(noop);
    return result;
  }

  /** Lets go of every connection. What is open is undone, and fails. */
  close(): void {
    this.#isClosed = true;
    void this.#pool.close({ timeout: 0 });
  }

  /** Waits for a connection here, where waiting is not taken for a server that does not answer. */
  async #beside<T>(work: () => Promise<T>): Promise<T> {
    await this.#places.acquire();
    try {
      return await work();
    } finally {
      this.#places.release();
    }
  }

  async #transaction<T>(begin: string, work: (sql: Sql) => Promise<T>): Promise<T> {
    this.#refuseAway();
    const pool = this.#pool;
    let isOpen = true;
    let failure: { readonly error: unknown } | undefined;
    const begun = Promise.withResolvers<void>();
    const worked = Promise.withResolvers<void>();
    const committed = pool.begin(begin, async (client) => {
      begun.resolve();
      try {
        // A connection came after the caller was told that there is none.
        if (!isOpen) throw new SqlFailure("57014", true, {});
        const query: Sql["query"] = async (text, parameters) => {
          if (!isOpen) throw new Error("the transaction has ended");
          return this.#run(client, text, parameters);
        };
        return await work({ query });
      } catch (error) {
        failure = { error };
        throw error;
      } finally {
        isOpen = false;
        worked.resolve();
      }
    });
    committed.catch(noop);
    try {
      await this.#within(Promise.race([begun.promise, committed]));
      await Promise.race([worked.promise, committed]);
      return await this.#within(committed);
    } catch (error) {
      throw failure ? failure.error : this.#noted(error);
    } finally {
      isOpen = false;
    }
  }

  async #run(client: Client, text: string, parameters: readonly unknown[]): Promise<unknown[][]> {
    try {
      const query = statementOf(client, text, parameters);
      const rows = await this.#within(query, () => query.cancel());
      this.#isAway = false;
      return plainRows(rows);
    } catch (error) {
      throw this.#noted(error);
    }
  }

  /** What `work` gives if it does so in time. `cancel` may end it in order; where even that has no effect, the line is dead. */
  async #within<T>(work: PromiseLike<T>, cancel?: () => unknown): Promise<T> {
    const pool = this.#pool;
    const late = Promise.withResolvers<never>();
    late.promise.catch(noop);
    const giveUp = () => {
      this.#renew(pool);
      late.reject(new SqlFailure("deadline", true, {}));
    };
    // In steps: what came while this process was busy must be looked at before it counts as late.
    let step = 0;
    const next = () => {
      if (++step < STEPS) timer = setTimeout(next, DEADLINE_MS / STEPS);
      else if (!cancel) giveUp();
      else {
        timer = setTimeout(giveUp, CANCEL_MS);
        cancel();
      }
    };
    let timer = setTimeout(next, DEADLINE_MS / STEPS);
    try {
      return await Promise.race([work, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Puts new connections in the place of those of `pool`, which are dead and may not say so for minutes. */
  #renew(pool: SQL): void {
    this.#isAway = true;
    if (this.#pool !== pool || this.#isClosed) return;
    this.#pool = connect(this.#address, POOL_SIZE);
    void pool.close({ timeout: 0 });
  }

  #noted(error: unknown): unknown {
    const failure = failureOf(error);
    if (failure instanceof SqlFailure && isOfTheLine(failure.code)) this.#isAway = true;
    return failure;
  }

  #refuseAway(): void {
    if (this.#isClosed) throw new SqlFailure("closed", false, {});
    if (this.#isAway) throw new SqlFailure("away", true, {});
  }
}

function noop(): void {}

/** PostgreSQL keeps no NUL in a text. */
function toPostgres(value: unknown): unknown {
  return typeof value === "string" ? withoutNul(value) : value;
}

function toNumber(value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}

/** What the server, or the way to it, has failed with. What it says is left out: it may quote parameters. */
export function failureOf(error: unknown): unknown {
  if (error instanceof SqlFailure || !(error instanceof SQL.SQLError)) return tlsFailureOf(error);
  const { errno, code } = error as SQL.PostgresError;
  const state = typeof errno === "string" ? errno : code;
  return new SqlFailure(state, isPassing(state), {});
}

/** The failure of a certificate is a plain error with a code. */
function tlsFailureOf(error: unknown): unknown {
  const isPlain = error instanceof Error && !(error instanceof SqlFailure) && "code" in error;
  return isPlain ? new SqlFailure(String(error.code), false, {}) : error;
}

/** Whether the same may work a moment later: the line, the server's resources, its restart, locks, and what was cut short. */
function isPassing(code: string): boolean {
  return isOfTheLine(code) || /^(40|53[234]|55P03|57|25006|25P03)/.test(code);
}

/** What the metrics call a failure. */
export function kindOf({ code, isBusy }: SqlFailure): StoreFailure {
  if (code === "away" || isOfTheLine(code)) return "away";
  if (code === "deadline" || code === "57014") return "deadline";
  return isBusy ? "busy" : "refused";
}

/** Whether the server can't be reached at all. */
function isOfTheLine(code: string): boolean {
  return (
    /^(08|57P0|28|3D000)/.test(code) ||
    /_(CONNECTION_|IDLE_TIMEOUT|LIFETIME_TIMEOUT|QUERY_CANCELLED)/.test(code)
  );
}

/** Whether nothing of the transaction was done for certain, and it only waited for others. */
function mayRepeat(error: unknown): boolean {
  const code = sqlFailureOf(error)?.code;
  return code === "55P03" || code === "40001" || code === "40P01";
}
