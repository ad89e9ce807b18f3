import { eq } from "drizzle-orm";
import { Keyring, type KeyRow, type KeyTable } from "./keyring.ts";
import type { SealingKey } from "./sealing-key.ts";
import type { Queries, SqlDatabase } from "./sql.ts";
import { raiseEpoch } from "./epochs.ts";
import { keyring, revisions } from "./schema.ts";

/** The database's record of its master keys. Throws as `SqlDatabase.read`; in a transaction, what Drizzle throws. */
export class SqlKeyTable implements KeyTable {
  readonly #database: SqlDatabase;

  constructor(database: SqlDatabase) {
    this.#database = database;
  }

  async version(transaction?: Queries): Promise<number> {
    const isKeys = eq(revisions.name, "keys");
    const [row] = await this.#read(transaction, (queries) => queries.select().from(revisions).where(isKeys));
    return row?.number ?? 0;
  }

  async rows(transaction?: Queries): Promise<readonly KeyRow[]> {
    return this.#read(transaction, (queries) => queries.select().from(keyring));
  }

  async #read<T>(transaction: Queries | undefined, work: (queries: Queries) => PromiseLike<T>): Promise<T> {
    return transaction ? work(transaction) : this.#database.read(work);
  }
}

/** The keys of a database that `key` leads to; none where it is not one of them. Throws as `Keyring.reread`. */
export async function keyringUnder(database: SqlDatabase, key: SealingKey): Promise<Keyring> {
  const found = new Keyring({ table: new SqlKeyTable(database), key, readKey: () => key });
  await found.reread();
  return found;
}

/** Writes down a key of the database, made at `now` (epoch milliseconds). */
export async function insertKey(queries: Queries, key: SealingKey, now: number): Promise<void> {
  await queries.insert(keyring).values({ keyId: key.keyId, proof: key.keyCheck(), createdAt: now });
  await raiseEpoch(queries, "keys");
}

/** Writes down that `next` takes the place of `current`: from now on a process that has one of them has both. */
export async function insertSuccessor(
  queries: Queries,
  current: SealingKey,
  next: SealingKey,
  now: number,
): Promise<void> {
  await insertKey(queries, next, now);
  const wrap = async (key: SealingKey, wrapped: string) => {
    await queries.update(keyring).set({ wrapped }).where(eq(keyring.keyId, key.keyId));
  };
  await wrap(next, next.wrap("new", current));
  await wrap(current, current.wrap("old", next));
}

/** Forgets `old`, and with it the way by which it led to the key that has taken its place. */
export async function dropPredecessor(queries: Queries, old: SealingKey): Promise<void> {
  await queries.delete(keyring).where(eq(keyring.keyId, old.keyId));
  await queries.update(keyring).set({ wrapped: null });
  await raiseEpoch(queries, "keys");
}

/** Writes down that the database is encrypted under `key` alone; whoever has another one has nothing by it. */
export async function replaceKeys(queries: Queries, key: SealingKey, now: number): Promise<void> {
  await queries.delete(keyring);
  await insertKey(queries, key, now);
}
