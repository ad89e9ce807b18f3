import { and, eq, gt, inArray, lt, lte, or, sql } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import type { AuditEntry } from "../../audit/audit-entry.ts";
import type { Clock } from "../../clock.ts";
import { type Backoff, MAX_SKEW_MS, type StoredFailure } from "../../credentials/backoff.ts";
import {
  type BlockingUse,
  MAX_PENDING_MS,
  type PacingStore,
  type UseAnswer,
  type UseRequest,
} from "../../credentials/pacing-store.ts";
import type { AuditChain } from "./audit-chain.ts";
import { pacing } from "./schema.ts";
import { runStatement, type Transaction } from "./statement.ts";

/** How long after its end a backoff still says how many failures there were in a row. */
const REMEMBERED_MS = 86_400_000;
const PRUNE_EVERY_MS = 60_000;

const isUse = inArray(pacing.reason, ["used", "pending"]);

/** Backoffs and budgets in SQLite. What they hold is what WeChat said of us, and nothing secret. */
export class SqlitePacingStore implements PacingStore {
  readonly #database: BunSQLiteDatabase;
  readonly #clock: Clock;
  readonly #audit: AuditChain;
  #prunedAt = Number.NEGATIVE_INFINITY;

  constructor(database: BunSQLiteDatabase, clock: Clock, audit: AuditChain) {
    this.#database = database;
    this.#clock = clock;
    this.#audit = audit;
  }

  async find(keys: readonly string[]): Promise<Backoff[]> {
    const isOne = inArray(pacing.key, [...keys]);
    const rows = await runStatement(this.#clock, () =>
      this.#database.select().from(pacing).where(isOne).all(),
    );
    return rows.map(({ reason, detail, ...row }) => ({
      ...row,
      reason: reason === "circuit_open" || reason === "quota" ? reason : "exponential",
      failure: JSON.parse(detail ?? "") as StoredFailure,
    }));
  }

  async put({ failure, ...backoff }: Backoff): Promise<void> {
    const row = { ...backoff, detail: JSON.stringify(failure) };
    await this.#write((transaction) => {
      transaction.insert(pacing).values(row).onConflictDoUpdate({ target: pacing.key, set: row }).run();
      this.#prune(transaction);
    });
  }

  async remove(seen: readonly Backoff[]): Promise<void> {
    const isSeen = seen.map(({ key, since, until }) =>
      and(eq(pacing.key, key), eq(pacing.since, since), eq(pacing.until, until)),
    );
    if (isSeen.length === 0) return;
    await runStatement(this.#clock, () =>
      this.#database
        .delete(pacing)
        .where(or(...isSeen))
        .run(),
    );
  }

  async unblock(keys: readonly string[], entry: AuditEntry): Promise<void> {
    await this.#write((transaction) => {
      transaction
        .delete(pacing)
        .where(inArray(pacing.key, [...keys]))
        .run();
      this.#audit.append(transaction, entry);
    });
  }

  use({ limits, now, until, isPending, note }: UseRequest): Promise<UseAnswer> {
    return this.#write((transaction): UseAnswer => {
      const blocked = limits.flatMap(({ key, most, from }, limit) => {
        const rows = transaction
          .select()
          .from(pacing)
          .where(isUseOf(key, from, now))
          .orderBy(pacing.since)
          .all();
        const blocking = blockingUse(rows, most, now);
        return blocking ? [{ limit, ...blocking }] : [];
      });
      if (blocked.length > 0) return { blocked };
      const id = crypto.randomUUID();
      const uses = [...new Set(limits.map(({ key }) => `${key}#${id}`))];
      const row = { reason: isPending ? "pending" : "used", detail: note, count: 1, since: now, until };
      if (uses.length > 0)
        transaction
          .insert(pacing)
          .values(uses.map((key) => ({ key, ...row })))
          .run();
      this.#prune(transaction);
      return { uses };
    });
  }

  async settle(uses: readonly string[]): Promise<void> {
    const isOne = inArray(pacing.key, [...uses]);
    await runStatement(this.#clock, () =>
      this.#database.update(pacing).set({ reason: "used" }).where(isOne).run(),
    );
  }

  async giveBack(uses: readonly string[]): Promise<void> {
    const isOne = inArray(pacing.key, [...uses]);
    await runStatement(this.#clock, () => this.#database.delete(pacing).where(isOne).run());
  }

  async countUses(key: string, from: number, now: number): Promise<number> {
    const count = sql<number | null>`sum(${pacing.count})`;
    const row = await runStatement(this.#clock, () =>
      this.#database
        .select({ count })
        .from(pacing)
        .where(isUseOf(key, from, now))
        .get(),
    );
    return row?.count ?? 0;
  }

  #write<T>(work: (transaction: Transaction) => T): Promise<T> {
    return runStatement(this.#clock, () => this.#database.transaction(work, { behavior: "immediate" }));
  }

  /** Deletes what counts for nothing any more, once a minute at most. */
  #prune(transaction: Transaction): void {
    if (this.#clock.monotonic() < this.#prunedAt + PRUNE_EVERY_MS) return;
    this.#prunedAt = this.#clock.monotonic();
    const now = this.#clock.now();
    transaction
      .delete(pacing)
      .where(or(lt(pacing.until, now - REMEMBERED_MS), and(isUse, lt(pacing.until, now))))
      .run();
  }
}

/** The rows of a budget's uses; one from the future was written under a clock that was set back since. */
function isUseOf(key: string, from: number, now: number) {
  return and(
    gt(pacing.key, `${key}#`),
    lt(pacing.key, `${key}$`),
    gt(pacing.since, from),
    lte(pacing.since, now + MAX_SKEW_MS),
  );
}

/** The use of `rows`, oldest first, that must leave the window before another fits; undefined when one fits now. */
function blockingUse(
  rows: readonly (typeof pacing.$inferSelect)[],
  most: number,
  now: number,
): Omit<BlockingUse, "limit"> | undefined {
  const total = (each: typeof rows) => each.reduce((sum, { count }) => sum + count, 0);
  const excess = total(rows) - most;
  if (excess < 0) return undefined;
  let left = 0;
  const blocking = rows.find(({ count }) => (left += count) > excess);
  const isFinal = ({ reason, since }: (typeof rows)[number]) =>
    reason === "used" || since <= now - MAX_PENDING_MS;
  return {
    since: blocking?.since ?? now,
    note: blocking?.detail ?? undefined,
    isPending: total(rows.filter(isFinal)) < most,
  };
}
