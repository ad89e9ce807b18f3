import { and, eq, gt, isNull, lte, or } from "drizzle-orm";
import type { IdempotencyState, IdempotencyStore } from "../login/login.ts";
import type { Secret } from "../secret.ts";
import type { Keyring } from "./keyring.ts";
import type { SqlDatabase } from "./sql.ts";
import type { SealedPlace } from "./sealing-key.ts";
import { loginAnswers } from "./schema.ts";

/** Answers to one-time codes in a SQL database, sealed, and dropped when they have expired. */
export class SqlIdempotencyStore implements IdempotencyStore {
  readonly #database: SqlDatabase;
  readonly #keyring: Keyring;

  constructor(database: SqlDatabase, keyring: Keyring) {
    this.#database = database;
    this.#keyring = keyring;
  }

  async begin(key: string, now: number, expiresAt: number): Promise<IdempotencyState> {
    // What expires so late was written under a clock that was set back since. A little later than ours is good: this
    // call may have waited for the lock while another had it.
    const isExpired = or(
      lte(loginAnswers.expiresAt, now),
      gt(loginAnswers.expiresAt, expiresAt + (expiresAt - now)),
    );
    const known = await this.#database.transact(async (queries) => {
      await queries.delete(loginAnswers).where(isExpired);
      const [found] = await queries.select().from(loginAnswers).where(eq(loginAnswers.key, key));
      if (!found) await queries.insert(loginAnswers).values({ key, expiresAt });
      return found;
    });
    return known ? this.#stateOf(key, known.answer) : { state: "ours" };
  }

  async find(key: string, now: number) {
    const isValid = and(eq(loginAnswers.key, key), gt(loginAnswers.expiresAt, now));
    const [known] = await this.#database.read((queries) =>
      queries.select().from(loginAnswers).where(isValid),
    );
    return known && this.#stateOf(key, known.answer);
  }

  async complete(key: string, expiresAt: number, answer: Secret): Promise<void> {
    await this.#database.transact(async (queries) => {
      const sealingKey = await this.#keyring.sealingKey(queries);
      const set = { answer: sealingKey.seal(answer, place(key)) };
      await queries.update(loginAnswers).set(set).where(isOf(key, expiresAt));
    });
  }

  async release(key: string, expiresAt: number): Promise<void> {
    const isOpen = and(isOf(key, expiresAt), isNull(loginAnswers.answer));
    await this.#database.transact(async (queries) => {
      await queries.delete(loginAnswers).where(isOpen);
    });
  }

  async #stateOf(key: string, answer: string | null): Promise<Exclude<IdempotencyState, { state: "ours" }>> {
    if (answer === null) return { state: "under_way" };
    return { state: "answered", answer: await this.#keyring.open(answer, place(key)) };
  }
}

/** The end of a right tells it from the one that was taken after it. */
function isOf(key: string, expiresAt: number) {
  return and(eq(loginAnswers.key, key), eq(loginAnswers.expiresAt, expiresAt));
}

function place(key: string): SealedPlace {
  return { table: "login_answers", row: key, column: "answer" };
}
