import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import { type AuditEntry, type AuditRecord, SERVICE } from "../../audit/audit-entry.ts";
import type {
  AuditFilter,
  AuditPruning,
  AuditStore,
  VerifyResult,
  ReadCount,
  ReadKey,
  RefusalCount,
  RefusalKey,
} from "../../audit/audit-store.ts";
import type { Clock } from "../../clock.ts";
import type { AuditChain } from "./audit-chain.ts";
import { BACKGROUND_ATTEMPTS, runStatement, type Transaction } from "./statement.ts";
import { AuditCountTables } from "./audit-count-tables.ts";
import { AuditListing } from "./audit-listing.ts";
import { pruneAudit, verifyChain } from "./audit-verification.ts";

const UNDONE = Symbol("undone");
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
  readonly #counts: AuditCountTables;
  readonly #entries: AuditListing;

  constructor(database: BunSQLiteDatabase, chain: AuditChain, clock: Clock) {
    this.#database = database;
    this.#chain = chain;
    this.#clock = clock;
    this.#counts = new AuditCountTables(database, clock);
    this.#entries = new AuditListing(database, clock);
  }

  append(entry: AuditEntry): Promise<void> {
    return this.#change((transaction) => this.#chain.append(transaction, entry));
  }

  addReads(counts: readonly ReadCount[]): Promise<void> {
    return this.#change((transaction) => this.#counts.addReads(transaction, counts), BACKGROUND_ATTEMPTS);
  }

  addRefusals(counts: readonly RefusalCount[]): Promise<void> {
    return this.#change((transaction) => this.#counts.addRefusals(transaction, counts), BACKGROUND_ATTEMPTS);
  }

  list(filter: AuditFilter, page: { limit: number; before?: number | undefined }): Promise<AuditRecord[]> {
    return this.#entries.newestFirst(filter, page);
  }

  listForward(filter: AuditFilter, page: { limit: number; after: number }): Promise<AuditRecord[]> {
    return this.#entries.oldestFirst(filter, page);
  }

  listReads(filter: AuditFilter, page: { limit: number; after?: ReadKey | undefined }): Promise<ReadCount[]> {
    return this.#counts.listReads(filter, page);
  }

  listRefusals(
    filter: AuditFilter,
    page: { limit: number; after?: RefusalKey | undefined },
  ): Promise<RefusalCount[]> {
    return this.#counts.listRefusals(filter, page);
  }

  verify(): Promise<VerifyResult> {
    return verifyChain(this.#database, this.#chain, this.#clock);
  }

  prune(before: number): Promise<AuditPruning> {
    return pruneAudit(this.#database, this.#chain, this.#clock, before);
  }

  async probe(): Promise<void> {
    const minute = 0;
    const read = { minute, client: "", environment: "", action: "", app: "", count: 0 };
    const refusal = { minute, address: "", client: "", route: "", code: 0, count: 0 };
    try {
      await this.#change((transaction) => {
        this.#chain.tryAppend(transaction, PROBED);
        this.#counts.addReads(transaction, [read]);
        this.#counts.addRefusals(transaction, [refusal]);
        // Whatever is thrown undoes the transaction.
        throw new Error("undone", { cause: UNDONE });
      }, BACKGROUND_ATTEMPTS);
    } catch (error) {
      if (!(error instanceof Error && error.cause === UNDONE)) throw error;
    }
  }

  #change(work: (transaction: Transaction) => void, attemptsMost?: number): Promise<void> {
    const change = () => this.#database.transaction(work, { behavior: "immediate" });
    return runStatement(this.#clock, change, attemptsMost);
  }
}
