import { drizzle, type SqliteRemoteDatabase } from "drizzle-orm/sqlite-proxy";
import { type Clock, systemClock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import type { ServiceEvent, StoreOperation } from "../events.ts";

/** Runs statements of one engine, `?` standing for each parameter. */
export interface Sql {
  /**
   * The rows of one statement, each an array of its columns; none for a statement that returns no rows.
   *
   * @throws {SqlFailure} when the engine refuses it.
   */
  query(text: string, parameters: readonly unknown[]): Promise<unknown[][]>;
  /**
   * Runs statements that write, whose rows nobody asks for, and of which none looks at what another has written: by one
   * message to an engine to which the way is long. Where it is missing, one after the other is as fast. Throws as `query`.
   */
  together?(statements: readonly Statement[]): Promise<void>;
}

/** A statement, `?` standing for each parameter. */
export interface Statement {
  readonly text: string;
  readonly parameters: readonly unknown[];
}

/** How a transaction is run. */
export interface TransactionOptions {
  /** Whether it only reads: then it reads one snapshot, and waits for no writer. Default false. */
  readonly isReadOnly?: boolean;
  /**
   * How often it is tried while other processes write. Few for what can be done later; default: for three seconds, which is
   * the most on PostgreSQL, where each attempt waits for a second.
   */
  readonly maxAttempts?: number;
  /**
   * Whether it is right whatever others write between its statements, as one statement alone is: then an engine may run it
   * beside theirs. It seals nothing, for a change of the master key must not miss it. Default false.
   */
  readonly isIndependent?: boolean;
  /** How long one statement may take where the engine has a limit, in milliseconds; default the engine's. */
  readonly statementMs?: number;
}

/**
 * How often a transaction is tried for what is done in the background, and again later: about a tenth of a second on SQLite,
 * and as long as any other on PostgreSQL.
 */
export const BACKGROUND_ATTEMPTS = 16;

/** All that the stores need of a SQL engine. */
export interface SqlEngine {
  /** For statements that read: each sees what is committed, also while a transaction is open, and nothing else. */
  readonly reads: Sql;
  /**
   * Runs `work` as one transaction in which no other process and no other transaction of this process writes; on the
   * disk when it resolves. Nothing remains of it when `work` throws, which is passed on.
   *
   * While other processes write it is tried again as a whole, so `work` must bear repeating. It must await nothing but
   * its own statements: every other transaction of this process that writes waits for it, one that it would begin itself
   * for ever.
   */
  transaction<T>(work: (sql: Sql) => Promise<T>, options?: TransactionOptions): Promise<T>;
}

/** That an engine has refused a statement. */
export class SqlFailure extends Error {
  /** The engine's own code. */
  readonly code: string;
  /** Whether it only waited for others in vain, and the same may work a moment later. */
  readonly isBusy: boolean;

  constructor(code: string, isBusy: boolean, options: ErrorOptions) {
    super(code, options);
    this.code = code;
    this.isBusy = isBusy;
  }
}

/** The failure of an engine that `error` is or, wrapped by Drizzle, has as its cause; undefined for anything else. */
export function sqlFailureOf(error: unknown): SqlFailure | undefined {
  if (error instanceof SqlFailure) return error;
  // Drizzle's message quotes the parameters and goes no further.
  return error instanceof Error && error.cause instanceof SqlFailure ? error.cause : undefined;
}

/** Drizzle's queries over one engine or one transaction of it; `batch` is `Sql.together`, and gives no rows. */
export type Queries = Pick<
  SqliteRemoteDatabase,
  "select" | "insert" | "update" | "delete" | "values" | "batch"
>;

/** What a store tells of a query. */
export type Queried = Omit<Extract<ServiceEvent, { type: "store.queried" }>, "type">;

/** Is told of each query that has ended, how long it took, and what the engine has failed with. */
export type QueryObserver = (operation: StoreOperation, durationMs: number, failure?: SqlFailure) => void;

/** The transactions that others may run beside. */
const INDEPENDENT = new WeakSet<Queries>();

/**
 * `rows` by `keyOf`. Independent transactions that write the same rows do so in this order: in two orders each would wait for
 * what the other holds, until the engine undoes one.
 */
export function inLockOrder<T>(rows: Iterable<T>, keyOf: (row: T) => string): T[] {
  const keyed = Array.from(rows, (row) => ({ row, key: keyOf(row) }));
  return keyed.toSorted((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key))).map(({ row }) => row);
}

/** Throws for a transaction that others may run beside: what it is about to do must keep them out. */
export function refuseIndependent(transaction: Queries): void {
  if (INDEPENDENT.has(transaction)) throw new Error("an independent transaction seals nothing");
}

/** An engine's database as the stores use it: one set of queries, whichever the engine. */
export class SqlDatabase {
  readonly #engine: SqlEngine;
  readonly #observe: QueryObserver | undefined;
  readonly #reads: Queries;

  constructor(engine: SqlEngine, observe?: QueryObserver) {
    this.#engine = engine;
    this.#observe = observe;
    this.#reads = queriesOver(engine.reads);
  }

  /**
   * Runs one query that reads.
   *
   * @throws {ServiceError} `unavailable` while the database is busy; `store_unusable` when it refuses for good.
   */
  read<T>(work: (queries: Queries) => PromiseLike<T>): Promise<T> {
    return this.#run("read", () => work(this.#reads));
  }

  /** The rows of one statement that reads, written by hand; see `Sql.query`. Throws as `read`. */
  rows(text: string, parameters: readonly unknown[]): Promise<unknown[][]> {
    return this.#run("read", () => this.#engine.reads.query(text, parameters));
  }

  /** Runs queries that read, all of the same moment. Throws as `read`. */
  snapshot<T>(work: (queries: Queries) => Promise<T>): Promise<T> {
    return this.#run("read", () =>
      this.#engine.transaction((sql) => work(queriesOver(sql)), { isReadOnly: true }),
    );
  }

  /** Runs `work` as one transaction, `sql` being for what is written by hand; see `SqlEngine.transaction`. Throws as `read`, and what `work` throws. */
  transact<T>(
    work: (queries: Queries, sql: Sql) => Promise<T>,
    options?: Omit<TransactionOptions, "isReadOnly">,
  ): Promise<T> {
    const begin = (sql: Sql) => {
      const queries = queriesOver(sql);
      if (options?.isIndependent) INDEPENDENT.add(queries);
      return work(queries, sql);
    };
    return this.#run("write", () => this.#engine.transaction(begin, options));
  }

  async #run<T>(operation: StoreOperation, work: () => PromiseLike<T>): Promise<T> {
    const startedAt = systemClock.monotonic();
    const end = (failure?: SqlFailure) =>
      this.#observe?.(operation, systemClock.monotonic() - startedAt, failure);
    try {
      const result = await work();
      end();
      return result;
    } catch (error) {
      const failure = sqlFailureOf(error);
      end(failure);
      if (!failure) throw error;
      throw failure.isBusy ? busy() : unusable(failure.code);
    }
  }
}

function queriesOver(sql: Sql): Queries {
  return drizzle(
    async (text, parameters: unknown[], method) => {
      const rows = await sql.query(text, parameters);
      if (method !== "get") return { rows };
      // One row, and not an array of one; without any, Drizzle wants nothing at all, which its type does not know.
      return { rows: rows[0] as unknown[] };
    },
    async (batch) => {
      const statements = batch.map(({ sql: text, params }) => ({ text, parameters: params as unknown[] }));
      if (sql.together) await sql.together(statements);
      else for (const { text, parameters } of statements) await sql.query(text, parameters);
      return batch.map(() => ({ rows: [] }));
    },
  );
}

/** A text for an engine that keeps no NUL: what stands for anything unreadable takes its place. */
export function withoutNul(text: string): string {
  return text.replaceAll("\0", "\uFFFD");
}

/** How often what begins is tried again while the database is busy or can't be reached, and for how long. Milliseconds. */
export const BEGIN_RETRY_MS = 500;
export const MAX_BEGIN_MS = 30_000;

/**
 * Does `work`, which begins something, again while the database is busy, as when other machines begin at the same moment.
 *
 * @throws {ServiceError} `unavailable` when it still is after `maxMs`; and what else `work` throws.
 */
export async function patiently<T>(
  work: () => Promise<T>,
  { clock, maxMs = MAX_BEGIN_MS }: { readonly clock: Clock; readonly maxMs?: number | undefined },
): Promise<T> {
  for (const endsAt = clock.monotonic() + maxMs; ; await clock.sleep(BEGIN_RETRY_MS)) {
    try {
      return await work();
    } catch (error) {
      const isBusy =
        sqlFailureOf(error)?.isBusy ?? (error instanceof ServiceError && error.code === "unavailable");
      if (!isBusy) throw error;
      if (clock.monotonic() >= endsAt) throw busy();
    }
  }
}

/** The error of a caller that has waited for the database in vain. */
export function busy(): ServiceError {
  return new ServiceError("unavailable", "数据库正忙，请稍后重试 (the database is busy; try again later)", {
    retryAfterMs: 1000,
  });
}

/** The error of a caller when the database refuses for good. `code` is the engine's. */
export function unusable(code = "SQL_ERROR"): ServiceError {
  return new ServiceError(
    "store_unusable",
    `数据库无法使用，请检查磁盘空间和文件权限 (the database can't be used: ${code}; check disk space and file permissions)`,
  );
}
