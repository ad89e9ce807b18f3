import type { Database } from "bun:sqlite";
import { sql } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import { revisions } from "./schema.ts";

/** What drizzle gives to the work of a transaction. */
export type Transaction = Parameters<Parameters<BunSQLiteDatabase["transaction"]>[0]>[0];

/** Numbers by which a process sees at one cheap look whether something has changed in any process. */
export class Revisions {
  readonly #find: (name: string) => { number: number } | null;

  constructor(database: Database) {
    const query = database.query<{ number: number }, [string]>("SELECT number FROM revisions WHERE name = ?");
    this.#find = (name) => query.get(name);
  }

  /** The number of `name`; 0 while it was never raised. Throws what SQLite throws. */
  current(name: string): number {
    return this.#find(name)?.number ?? 0;
  }

  /** Raises the number of `name`, with the rest of the transaction. */
  raise(transaction: Transaction, name: string): void {
    transaction
      .insert(revisions)
      .values({ name, number: 1 })
      .onConflictDoUpdate({ target: revisions.name, set: { number: sql`${revisions.number} + 1` } })
      .run();
  }
}
