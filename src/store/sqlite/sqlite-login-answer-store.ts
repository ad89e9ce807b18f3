import { and, eq, gt, isNull, lte, or } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import type { Clock } from "../../clock.ts";
import type { IdempotencyState, IdempotencyStore } from "../../login/login.ts";
import type { Secret } from "../../secret.ts";
import type { Keyring } from "../keyring.ts";
import type { SealedPlace } from "../sealing-key.ts";
import { loginAnswers } from "./schema.ts";
import { runStatement } from "./statement.ts";

/** Answers to one-time codes in SQLite, sealed, and dropped when they have expired. */
export class SqliteIdempotencyStore implements IdempotencyStore {
  readonly #database: BunSQLiteDatabase;
  readonly #keyring: Keyring;
  readonly #clock: Clock;

  constructor(database: BunSQLiteDatabase, keyring: Keyring, clock: Clock) {
    this.#database = database;
    this.#keyring = keyring;
    this.#clock = clock;
  }

  async begin(key: string, now: number, expiresAt: number): Promise<IdempotencyState> {
    // What expires so late was written under a clock that was set back since. A little later than ours is good: this
    // call may have waited for the lock while another had it.
    const isExpired = or(
      lte(loginAnswers.expiresAt, now),
      gt(loginAnswers.expiresAt, expiresAt + (expiresAt - now)),
    );
    const known = await runStatement(this.#clock, () =>
      this.#database.transaction(
        (transaction) => {
          transaction.delete(loginAnswers).where(isExpired).run();
          const found = transaction.select().from(loginAnswers).where(eq(loginAnswers.key, key)).get();
          if (!found) transaction.insert(loginAnswers).values({ key, expiresAt }).run();
          return found;
        },
        { behavior: "immediate" },
      ),
    );
    return known ? this.#stateOf(key, known.answer) : { state: "ours" };
  }

  async find(key: string, now: number) {
    const isValid = and(eq(loginAnswers.key, key), gt(loginAnswers.expiresAt, now));
    const known = await runStatement(this.#clock, () =>
      this.#database.select().from(loginAnswers).where(isValid).get(),
    );
    return known && this.#stateOf(key, known.answer);
  }

  async complete(key: string, answer: Secret): Promise<void> {
    await runStatement(this.#clock, () =>
      this.#database.transaction(
        (transaction) => {
          const set = { answer: this.#keyring.seal(answer, place(key)) };
          transaction.update(loginAnswers).set(set).where(eq(loginAnswers.key, key)).run();
        },
        { behavior: "immediate" },
      ),
    );
  }

  async release(key: string): Promise<void> {
    const isOpen = and(eq(loginAnswers.key, key), isNull(loginAnswers.answer));
    await runStatement(this.#clock, () => this.#database.delete(loginAnswers).where(isOpen).run());
  }

  #stateOf(key: string, answer: string | null): Exclude<IdempotencyState, { state: "ours" }> {
    if (answer === null) return { state: "under_way" };
    return { state: "answered", answer: this.#keyring.open(answer, place(key)) };
  }
}

function place(key: string): SealedPlace {
  return { table: "login_answers", row: key, column: "answer" };
}
