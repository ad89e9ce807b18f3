import { peek, SQL } from "bun";
import { Semaphore } from "../../access/semaphore.ts";
import { systemClock } from "../../clock.ts";
import type { StoreFailure } from "../../events.ts";
import {
  type Sql,
  type SqlEngine,
  SqlFailure,
  sqlFailureOf,
  type TransactionOptions,
  withoutNul,
} from "../sql.ts";
import { postgresText, togetherText } from "./statement-text.ts";

/** How long a statement may take, and the way to it; milliseconds. */
const DEADLINE_MS = 2000;
const STEPS = 4;
/** How long the server has to confirm that it has stopped a statement, before its line counts as dead. */
const CANCEL_MS = 500;
/** Where nobody has looked for so long whether the server is back, as in a start, everybody tries. Milliseconds. */
const UNLOOKED_MS = 5000;
/** How often a caller waits for others to finish writing, each time for `lock_timeout`. */
const MAX_ATTEMPTS = 3;
const POOL_SIZE = 8;
/** Of these two are for the transactions that write, and one for looking what has changed: neither waits for the others. */
const MAX_BESIDE = POOL_SIZE - 3;
/** Keeps all writers of the database apart. Any number that nobody else locks. */
const WRITE_LOCK = "SELECT pg_advisory_xact_lock(6112014)";

/** What a server that follows another answers to the begin of a transaction that is to write; elsewhere it means anything. */
const FOLLOWS = "0A000";
/** What such a server answers to a statement that writes: the code of every failure because of it. */
export const IS_STANDBY = "25006";

/** By this name of its connections a server knows that a service uses the database. */
export const PROGRAM = "accesstoken";

/** What the server does by itself for a client that is gone. In milliseconds. */
const SESSION = {
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

/** Connects to a server as this service does; `program` is what the server knows it as. */
export function connect({ url, password }: PostgresAddress, max: number, program = PROGRAM): SQL {
  return new SQL({
    url,
    max,
    ...(password ? { password } : {}),
    // Named statements do not pass a pooler.
    prepare: false,
    bigint: true,
    connectionTimeout: 5,
    connection: { ...SESSION, application_name: program },
  });
}

/** A connection, or a transaction on one. */
export type Client = Pick<SQL, "unsafe">;

/** A statement of the SQL port, to be sent when it is awaited; what it gives is for `plainRows`. */
export function statementOf(client: Client, text: string, parameters: readonly unknown[]) {
  return sent(client, postgresText(text), parameters);
}

function sent(client: Client, text: string, parameters: readonly unknown[]) {
  return client.unsafe(text, parameters.map(toPostgres)).values();
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
 * they do on SQLite, unless they are independent; what only reads never waits. Row locks taken in the order of commits,
 * in place of this lock, brought little where they were tried: between nothing and about a third more changes, in short and
 * noisy runs of three processes on one machine. Each change ends the same chain of the audit, which alone keeps them apart
 * for most of their statements.
 *
 * Every statement has a deadline by which it is cancelled: otherwise one that was sent while the line was cut would run
 * after its caller was told that it failed.
 */
export class PostgresEngine implements SqlEngine {
  readonly reads: Sql;
  readonly #address: PostgresAddress;
  readonly #places = new Semaphore(MAX_BESIDE);
  #pool: SQL;
  /** Settles when the last transaction that was asked for has the lock of all writers, or has failed. Never rejects. */
  #last: Promise<unknown> = Promise.resolve();
  /** Settles when it has ended. Never rejects. */
  #lastEnded: Promise<unknown> = Promise.resolve();
  #isAway = false;
  /** By the monotonic clock. */
  #lookedAt = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(address: PostgresAddress) {
    this.#address = address;
    this.#pool = connect(address, POOL_SIZE);
    this.reads = {
      query: (text, parameters) =>
        this.#beside(() => {
          this.#refuseAway();
          return this.#run(this.#pool, postgresText(text), parameters);
        }),
    };
  }

  /**
   * Whether the server did not answer when it was asked last: until a `look` succeeds, everything else fails at once, as
   * long as there are any.
   */
  get isAway(): boolean {
    return this.#isAway;
  }

  /** As `reads.query`, and tried also while the server is away. */
  look(text: string, parameters: readonly unknown[] = []): Promise<unknown[][]> {
    this.#lookedAt = systemClock.monotonic();
    return this.#run(this.#pool, postgresText(text), parameters);
  }

  async transaction<T>(work: (sql: Sql) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    const { isReadOnly = false, maxAttempts = MAX_ATTEMPTS, isIndependent = false, statementMs } = options;
    if (isReadOnly)
      return this.#beside(() => this.#transaction("isolation level repeatable read read only", work));
    const attempt = async (onLocked?: () => void, former?: Promise<unknown>) => {
      for (let tried = 1; ;) {
        try {
          return await this.#transaction(
            // Whatever the server's default: a snapshot from before the lock would not have what the former has written.
            "isolation level read committed read write",
            async (sql) => {
              if (statementMs) await sql.query(`SET LOCAL statement_timeout = ${statementMs}`, []);
              if (onLocked) await lockWrites(sql).then(onLocked);
              return work(sql);
            },
            statementMs,
          );
        } catch (error) {
          // The lock is with the former one of this process, for as long as that takes.
          if (mayRepeat(error) && peek.status(former) === "pending") await former;
          else if (tried++ >= Math.min(maxAttempts, MAX_ATTEMPTS) || !mayRepeat(error)) throw error;
        }
      }
    };
    if (isIndependent) return this.#beside(attempt);
    // The next one begins while this one works, and waits at the server: it goes on as soon as this one is committed.
    const locked = Promise.withResolvers<void>();
    const former = this.#lastEnded;
    const result = this.#last.then(() => attempt(locked.resolve, former)).finally(locked.resolve);
    this.#last = locked.promise;
    this.#lastEnded = result.catch(noop);
    return result;
  }

  /** Puts new connections in the place of all: these lead to a server that can't be used. */
  reconnect(): void {
    this.#renew(this.#pool);
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

  async #transaction<T>(
    begin: string,
    work: (sql: Sql) => Promise<T>,
    statementMs = DEADLINE_MS,
  ): Promise<T> {
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
        const run = async (text: string, parameters: readonly unknown[]) => {
          if (!isOpen) throw new Error("the transaction has ended");
          return this.#run(client, text, parameters, statementMs);
        };
        return await work({
          query: (text, parameters) => run(postgresText(text), parameters),
          together: async (statements) => {
            await run(
              togetherText(statements),
              statements.flatMap(({ parameters }) => parameters),
            );
          },
        });
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
      if (failure) throw failure.error;
      const noted = this.#noted(error);
      const hasBegun = peek.status(begun.promise) === "fulfilled";
      if (hasBegun || sqlFailureOf(noted)?.code !== FOLLOWS) throw noted;
      this.#renew(pool);
      throw new SqlFailure(IS_STANDBY, true, {});
    } finally {
      isOpen = false;
    }
  }

  /** `text` is PostgreSQL's. */
  async #run(
    client: Client,
    text: string,
    parameters: readonly unknown[],
    deadlineMs = DEADLINE_MS,
  ): Promise<unknown[][]> {
    try {
      const query = sent(client, text, parameters);
      const rows = await this.#within(query, () => query.cancel(), deadlineMs);
      this.#isAway = false;
      return plainRows(rows);
    } catch (error) {
      throw this.#noted(error);
    }
  }

  /** What `work` gives if it does so in time. `cancel` may end it in order; where even that has no effect, the line is dead. */
  async #within<T>(work: PromiseLike<T>, cancel?: () => unknown, deadlineMs = DEADLINE_MS): Promise<T> {
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
      if (++step < STEPS) timer = setTimeout(next, deadlineMs / STEPS);
      else if (!cancel) giveUp();
      else {
        timer = setTimeout(giveUp, CANCEL_MS);
        cancel();
      }
    };
    let timer = setTimeout(next, deadlineMs / STEPS);
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
    const isLookedAt = systemClock.monotonic() - this.#lookedAt < UNLOOKED_MS;
    if (this.#isAway && isLookedAt) throw new SqlFailure("away", true, {});
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
  if (code === "away" || code === IS_STANDBY || isOfTheLine(code)) return "away";
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
