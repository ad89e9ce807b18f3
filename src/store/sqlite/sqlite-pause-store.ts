import { gt, inArray, lt, lte, or } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import type { AuditEntry } from "../../audit/audit-entry.ts";
import type { Clock } from "../../clock.ts";
import { type Pause, PAUSE_SKEW_MS, type PauseStore, type StoredFailure } from "../../credentials/pause.ts";
import type { AuditChain } from "./audit-chain.ts";
import { pauses } from "./schema.ts";
import { runStatement } from "./statement.ts";

/** How long after its end a pause still says how many failures there were in a row. */
const FORGOTTEN_MS = 86_400_000;

/** Pauses in SQLite. What they hold is what WeChat said of us, and nothing secret. */
export class SqlitePauseStore implements PauseStore {
  readonly #database: BunSQLiteDatabase;
  readonly #clock: Clock;
  readonly #audit: AuditChain;

  constructor(database: BunSQLiteDatabase, clock: Clock, audit: AuditChain) {
    this.#database = database;
    this.#clock = clock;
    this.#audit = audit;
  }

  async find(keys: readonly string[]): Promise<Pause[]> {
    const isOne = inArray(pauses.key, [...keys]);
    const rows = await runStatement(this.#clock, () =>
      this.#database.select().from(pauses).where(isOne).all(),
    );
    return rows.map(({ reason, failure, ...row }) => ({
      ...row,
      reason: reason === "circuit" || reason === "quota" ? reason : "ladder",
      failure: JSON.parse(failure) as StoredFailure,
    }));
  }

  async put({ failure, ...pause }: Pause): Promise<void> {
    const row = { ...pause, failure: JSON.stringify(failure) };
    await runStatement(this.#clock, () =>
      this.#database.transaction(
        (transaction) => {
          transaction.insert(pauses).values(row).onConflictDoUpdate({ target: pauses.key, set: row }).run();
          // A pause long over counts for nothing; whoever tries many secrets must not fill the table.
          transaction
            .delete(pauses)
            .where(lt(pauses.until, pause.since - FORGOTTEN_MS))
            .run();
        },
        { behavior: "immediate" },
      ),
    );
  }

  async claim(pause: Pause): Promise<Pause | undefined> {
    const { failure, since, ...rest } = pause;
    const row = { ...rest, since, failure: JSON.stringify(failure) };
    const isOver = or(lte(pauses.until, since), gt(pauses.since, since + PAUSE_SKEW_MS));
    const claimed = await runStatement(this.#clock, () =>
      this.#database
        .insert(pauses)
        .values(row)
        .onConflictDoUpdate({ target: pauses.key, set: row, ...(isOver ? { setWhere: isOver } : {}) })
        .returning({ key: pauses.key })
        .get(),
    );
    if (claimed) return undefined;
    const [standing] = await this.find([pause.key]);
    return standing ?? this.claim(pause);
  }

  async remove(keys: readonly string[], entry?: AuditEntry): Promise<void> {
    const isOne = inArray(pauses.key, [...keys]);
    await runStatement(this.#clock, () =>
      this.#database.transaction(
        (transaction) => {
          transaction.delete(pauses).where(isOne).run();
          if (entry) this.#audit.append(transaction, entry);
        },
        { behavior: "immediate" },
      ),
    );
  }
}
