import { inArray, sql } from "drizzle-orm";
import { type AuditEntry, type AuditRecord, SERVICE } from "../audit/audit-entry.ts";
import type {
  AuditFilter,
  AuditPage,
  AuditPruning,
  AuditStore,
  DenialCount,
  MinuteCount,
  UsageCount,
  UsageOf,
  UsageSum,
  VerifyResult,
  SteadyClock,
} from "../audit/audit-store.ts";
import type { Clock } from "../clock.ts";
import { BACKGROUND_ATTEMPTS, type Queries, type SqlDatabase } from "./sql.ts";
import type { AuditChain } from "./audit-chain.ts";
import { AuditListing } from "./audit-listing.ts";
import { isUntouched, pruneAudit, verifyChain } from "./audit-verification.ts";
import { claimDueWork } from "./due-work.ts";
import { dueWork } from "./schema.ts";
import { AuditCountTable } from "./sql-counts.ts";

const PRUNING = "audit_pruning";
const STEADY_SINCE = "audit clock since";
const STEADY_NOTED = "audit clock noted";
const PROBED: AuditEntry = {
  ...SERVICE,
  action: "audit.pruned",
  app: "",
  outcome: "ok",
  tokenDigest: "",
  detail: {},
};

/** The audit in a SQL database: entries in a chain, counts beside it. */
export class SqlAuditStore implements AuditStore {
  readonly #database: SqlDatabase;
  readonly #chain: AuditChain;
  readonly #clock: Clock;
  readonly #counts: AuditCountTable;
  readonly #entries: AuditListing;

  constructor(database: SqlDatabase, chain: AuditChain, clock: Clock) {
    this.#database = database;
    this.#chain = chain;
    this.#clock = clock;
    this.#counts = new AuditCountTable(database);
    this.#entries = new AuditListing(database);
  }

  /** Ties the audit to the rest of the database, once in its life. Before anything is written. */
  async begin(): Promise<void> {
    if (
      await this.#database.snapshot(
        async (queries) => (await this.#chain.ends(queries)).revisions.audit !== undefined,
      )
    )
      return;
    await this.#database.transact((queries) =>
      this.#chain.begin(queries, () => isUntouched(queries, this.#chain)),
    );
  }

  append(entry: AuditEntry): Promise<void> {
    return this.#database.transact((queries) => this.#chain.append(queries, entry));
  }

  addCounts(counts: readonly MinuteCount[]): Promise<void> {
    const options = { maxAttempts: BACKGROUND_ATTEMPTS, isIndependent: true };
    return this.#database.transact((queries) => this.#counts.add(queries, counts), options);
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

  sumUsage(asked: UsageOf): Promise<UsageSum[]> {
    return this.#counts.sumUsage(asked);
  }

  sumMinutes(since: number): ReturnType<AuditStore["sumMinutes"]> {
    return this.#counts.sumMinutes(since);
  }

  listDenials(filter: AuditFilter, page: AuditPage): Promise<DenialCount[]> {
    return this.#counts.listDenials(filter, page);
  }

  verify(): Promise<VerifyResult> {
    return verifyChain(this.#database, this.#chain);
  }

  claimPruning(everyMs: number): Promise<number> {
    const now = this.#clock.now();
    return this.#inBackground((queries) => claimDueWork(queries, PRUNING, now, everyMs));
  }

  async steadyClock(): Promise<SteadyClock | undefined> {
    const isWanted = inArray(dueWork.name, [STEADY_SINCE, STEADY_NOTED]);
    const rows = await this.#database.read((queries) => queries.select().from(dueWork).where(isWanted));
    const at = (name: string) => rows.find((row) => row.name === name)?.dueAt;
    const [since, notedAt] = [at(STEADY_SINCE), at(STEADY_NOTED)];
    return since === undefined || notedAt === undefined ? undefined : { since, notedAt };
  }

  noteSteadyClock({ since, notedAt }: SteadyClock): Promise<void> {
    return this.#inBackground(async (queries) => {
      await queries
        .insert(dueWork)
        .values([
          { name: STEADY_SINCE, dueAt: since },
          { name: STEADY_NOTED, dueAt: notedAt },
        ])
        .onConflictDoUpdate({ target: dueWork.name, set: { dueAt: sql`excluded.due_at` } });
    });
  }

  prune(before: number): Promise<AuditPruning> {
    return pruneAudit(this.#database, this.#chain, this.#counts, before);
  }

  /** Writes an entry and a count, and takes them back. Throws what keeps it from that. */
  async probe(): Promise<void> {
    const undone = new Error("undone");
    const probing = this.#inBackground(async (queries) => {
      await this.#chain.tryAppend(queries, PROBED);
      await this.#counts.add(queries, [{ minute: 0, kind: "usage", key: "", n: 0 }]);
      throw undone;
    });
    await probing.catch((error: unknown) => {
      if (error !== undone) throw error;
    });
  }

  /** For what can be done later: soon gives up while the database is busy. */
  #inBackground<T>(work: (queries: Queries) => Promise<T>): Promise<T> {
    return this.#database.transact(work, { maxAttempts: BACKGROUND_ATTEMPTS });
  }
}
