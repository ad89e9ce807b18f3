import { eq, gt, lte, or, TransactionRollbackError } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import { type AuditEntry, type AuditRecord, SERVICE } from "../../audit/audit-entry.ts";
import type {
  AuditFilter,
  AuditPage,
  AuditPruning,
  AuditStore,
  DenialCount,
  MinuteCount,
  UsageCount,
  VerifyResult,
} from "../../audit/audit-store.ts";
import type { Clock } from "../../clock.ts";
import type { AuditChain } from "./audit-chain.ts";
import { AuditListing } from "./audit-listing.ts";
import { pruneAudit, verifyChain } from "./audit-verification.ts";
import { dueWork } from "./schema.ts";
import { AuditCountTable } from "./sqlite-counts.ts";
import { BACKGROUND_ATTEMPTS, runStatement, type Transaction } from "./statement.ts";

const PRUNING = "audit_pruning";
const PROBED: AuditEntry = {
  ...SERVICE,
  action: "audit.pruned",
  app: "",
  outcome: "ok",
  tokenDigest: "",
  detail: {},
};

/** The audit in SQLite: entries in a chain, counts beside it. */
export class SqliteAuditStore implements AuditStore {
  readonly #database: BunSQLiteDatabase;
  readonly #chain: AuditChain;
  readonly #clock: Clock;
  readonly #counts: AuditCountTable;
  readonly #entries: AuditListing;

  constructor(database: BunSQLiteDatabase, chain: AuditChain, clock: Clock) {
    this.#database = database;
    this.#chain = chain;
    this.#clock = clock;
    this.#counts = new AuditCountTable(database, clock);
    this.#entries = new AuditListing(database, clock);
  }

  append(entry: AuditEntry): Promise<void> {
    return this.#change((transaction) => this.#chain.append(transaction, entry));
  }

  addCounts(counts: readonly MinuteCount[]): Promise<void> {
    return this.#change((transaction) => this.#counts.add(transaction, counts), BACKGROUND_ATTEMPTS);
  }

  list(filter: AuditFilter, page: AuditPage): Promise<AuditRecord[]> {
    return this.#entries.newestFirst(filter, page);
  }

  walk(filter: AuditFilter): AsyncIterableIterator<readonly AuditRecord[]> {
    return this.#entries.walk(filter);
  }

  listUsage(filter: AuditFilter, page: AuditPage): Promise<UsageCount[]> {
    return this.#counts.listUsage(filter, page);
  }

  listDenials(filter: AuditFilter, page: AuditPage): Promise<DenialCount[]> {
    return this.#counts.listDenials(filter, page);
  }

  verify(): Promise<VerifyResult> {
    return verifyChain(this.#database, this.#chain, this.#clock);
  }

  claimPruning(everyMs: number): Promise<number> {
    const now = this.#clock.now();
    const dueAt = now + everyMs;
    const isDue = or(lte(dueWork.dueAt, now), gt(dueWork.dueAt, dueAt));
    return this.#change((transaction) => {
      const claimed = transaction
        .insert(dueWork)
        .values({ name: PRUNING, dueAt })
        // What is due later than any claim could say was written under a clock that has been set back since.
        .onConflictDoUpdate({ target: dueWork.name, set: { dueAt }, ...(isDue ? { setWhere: isDue } : {}) })
        .returning()
        .get();
      if (claimed) return 0;
      const [current] = transaction.select().from(dueWork).where(eq(dueWork.name, PRUNING)).all();
      return Math.max(1, (current?.dueAt ?? 0) - now);
    }, BACKGROUND_ATTEMPTS);
  }

  prune(before: number): Promise<AuditPruning> {
    return pruneAudit(this.#database, this.#chain, this.#counts, this.#clock, before);
  }

  /** Writes an entry and a count, and takes them back. Throws what SQLite throws. */
  probe(): void {
    try {
      this.#database.transaction(
        (transaction) => {
          this.#chain.tryAppend(transaction, PROBED);
          this.#counts.add(transaction, [{ minute: 0, kind: "usage", key: "", n: 0 }]);
          transaction.rollback();
        },
        { behavior: "immediate" },
      );
    } catch (error) {
      if (!(error instanceof TransactionRollbackError)) throw error;
    }
  }

  #change<T>(work: (transaction: Transaction) => T, attemptsMost?: number): Promise<T> {
    const change = () => this.#database.transaction(work, { behavior: "immediate" });
    return runStatement(this.#clock, change, attemptsMost);
  }
}
