import type { Database } from "bun:sqlite";
import { eq } from "drizzle-orm";
import { type BunSQLiteDatabase, drizzle } from "drizzle-orm/bun-sqlite";
import type { KeyRow, KeyTable } from "../keyring.ts";
import type { SealingKey } from "../sealing-key.ts";
import { raiseEpoch } from "./sqlite-changes.ts";
import type { Transaction } from "./statement.ts";
import { keyring } from "./schema.ts";

/** The database's record of its master keys, in SQLite. Throws what SQLite throws. */
export class SqliteKeyTable implements KeyTable {
  readonly #database: BunSQLiteDatabase;
  readonly #epoch: () => number;

  constructor(database: Database) {
    this.#database = drizzle({ client: database });
    const query = database.query<{ number: number }, []>("SELECT number FROM revisions WHERE name = 'keys'");
    this.#epoch = () => query.get()?.number ?? 0;
  }

  version(): number {
    return this.#epoch();
  }

  rows(): readonly KeyRow[] {
    return this.#database.select().from(keyring).all();
  }
}

/** Writes down a key of the database, made at `now` (epoch milliseconds). */
export function insertKey(transaction: Transaction, key: SealingKey, now: number): void {
  transaction.insert(keyring).values({ keyId: key.keyId, proof: key.keyCheck(), createdAt: now }).run();
  raiseEpoch(transaction, "keys");
}

/** Writes down that `next` takes the place of `current`: from now on a process that has one of them has both. */
export function insertSuccessor(
  transaction: Transaction,
  current: SealingKey,
  next: SealingKey,
  now: number,
): void {
  insertKey(transaction, next, now);
  const wrap = (key: SealingKey, wrapped: string) =>
    transaction.update(keyring).set({ wrapped }).where(eq(keyring.keyId, key.keyId)).run();
  wrap(next, next.wrap("new", current));
  wrap(current, current.wrap("old", next));
}

/** Forgets `old`, and with it the way by which it led to the key that has taken its place. */
export function dropPredecessor(transaction: Transaction, old: SealingKey): void {
  transaction.delete(keyring).where(eq(keyring.keyId, old.keyId)).run();
  transaction.update(keyring).set({ wrapped: null }).run();
  raiseEpoch(transaction, "keys");
}
