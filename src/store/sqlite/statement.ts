import { SQLiteError } from "bun:sqlite";
import { sql } from "drizzle-orm";
import type { Clock } from "../../clock.ts";
import { busy, unusable } from "../sql.ts";

/** How long SQLite itself may block the event loop for a lock; the rest of the waiting is done by `runStatement`. */
export const BUSY_TIMEOUT_MS = 50;
/** See `AuditChainParts.remembered`: SQLite keeps the highest id that a row ever had. */
export const REMEMBERED_ENTRY = sql`select max(seq) from sqlite_sequence where name = 'audit_entries'`;
/** About three seconds, the one transaction of a key rotation included unless there are very many texts. */
const MAX_ATTEMPTS = 40;

/**
 * Runs one synchronous piece of database work, again while another process holds the lock: what comes before there is
 * an engine, and what SQLite alone can do. The stores go through the engine.
 *
 * The work must be one transaction, so that it can be repeated; it is tried `attemptsMost` times.
 *
 * @throws {ServiceError} `unavailable` when the lock stays taken; `store_unusable` when SQLite refuses for good.
 */
export async function runStatement<T>(clock: Clock, work: () => T, attemptsMost = MAX_ATTEMPTS): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof SQLiteError)) throw error;
      if (!isBusy(error)) throw unusable(error.code);
      if (attempt >= attemptsMost) {
        throw busy();
      }
      await clock.sleep(5 + Math.random() * 45);
    }
  }
}

/** Whether another process holds the lock, so that the same may work a moment later. */
export function isBusy(error: SQLiteError): boolean {
  return error.code?.startsWith("SQLITE_BUSY") === true || error.code?.startsWith("SQLITE_LOCKED") === true;
}
