import { SQLiteError } from "bun:sqlite";
import type { Clock } from "../../clock.ts";
import { busy, unusable } from "../sql.ts";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";

/** How long SQLite itself may block the event loop for a lock; the rest of the waiting is done by `runStatement`. */
export const BUSY_TIMEOUT_MS = 50;
/** About three seconds: the one transaction of a key rotation takes one with 200,000 texts. */
export const MAX_ATTEMPTS = 40;
/** For what is done in the background, and again later: each attempt may hold everybody up for `BUSY_TIMEOUT_MS`. */
export const BACKGROUND_ATTEMPTS = 3;

/** The transaction of the SQL port that is open in this process; never rejects. */
let openTransaction: Promise<void> | undefined;

/**
 * Has `runStatement` wait for `transaction`, which an engine of this process has open: SQLite would wait for its lock with
 * the event loop, and so for nothing. Needless once every store works over the SQL port.
 */
export async function holdStatements(transaction: Promise<void>): Promise<void> {
  openTransaction = transaction;
  await transaction;
  if (openTransaction === transaction) openTransaction = undefined;
}

/**
 * Runs one synchronous piece of database work, again while another process holds the lock.
 *
 * The work must be one transaction, so that it can be repeated; it is tried `attemptsMost` times.
 *
 * @throws {ServiceError} `unavailable` when the lock stays taken; `store_unusable` when SQLite refuses for good.
 */
export async function runStatement<T>(clock: Clock, work: () => T, attemptsMost = MAX_ATTEMPTS): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    for (let open = openTransaction; open; open = openTransaction) await open;
    try {
      return work();
    } catch (error) {
      const failure = sqliteErrorOf(error);
      if (!failure) throw error;
      if (!isBusy(failure)) throw unusable(failure.code);
      if (attempt >= attemptsMost) {
        throw busy();
      }
      await clock.sleep(5 + Math.random() * 45);
    }
  }
}

/** What SQLite said, whether drizzle has wrapped it or not; undefined for what SQLite did not say. */
export function sqliteErrorOf(error: unknown): SQLiteError | undefined {
  if (error instanceof SQLiteError) return error;
  // The wrapper's message quotes the parameters and goes no further.
  return error instanceof Error && error.cause instanceof SQLiteError ? error.cause : undefined;
}

/** Whether another process holds the lock, so that the same may work a moment later. */
export function isBusy(error: SQLiteError): boolean {
  return error.code?.startsWith("SQLITE_BUSY") === true || error.code?.startsWith("SQLITE_LOCKED") === true;
}

/** What drizzle gives to the work of a transaction. */
export type Transaction = Parameters<Parameters<BunSQLiteDatabase["transaction"]>[0]>[0];
