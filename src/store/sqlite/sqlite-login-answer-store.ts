import { and, eq, gt, isNull, lte, or } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import type { Clock } from "../../clock.ts";
import type { IdempotencyState, IdempotencyStore } from "../../login/login.ts";
import type { Secret } from "../../secret.ts";
import type { Keyring } from "../keyring.ts";
import type { SealedPlace } from "../sealing-key.ts";
import { loginAnswers } from "./schema.ts";
import { runStatement } from "./statement.ts";

/** Answers to one-time codes in SQLite, sealed, and dropped when their ten seconds are over. */
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
    // What ends so late was written under a clock that has been set back since. A little later than ours is good:
    // this call may have waited for the lock while another got its turn.
    const isExpired = or(
      lte(loginAnswers.expiresAt, now),
      gt(loginAnswers.expiresAt, expiresAt + (expiresAt - now)),
    );
    const standing = await runStatement(this.#clock, () =>
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
    if (!standing) return { state: "ours" };
    if (standing.answer === null) return { state: "under_way" };
    return { state: "answered", answer: this.#keyring.open(standing.answer, place(key)) };
  }

  async finish(key: string, answer: Secret): Promise<void> {
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

  async abandon(key: string): Promise<void> {
    const isOpen = and(eq(loginAnswers.key, key), isNull(loginAnswers.answer));
    await runStatement(this.#clock, () => this.#database.delete(loginAnswers).where(isOpen).run());
  }
}

function place(key: string): SealedPlace {
  return { table: "login_answers", row: key, column: "answer" };
}
