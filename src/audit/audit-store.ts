import type { AuditEntry, AuditRecord } from "./audit-entry.ts";

/** How often a client did something in a minute that is too frequent to be written one by one. */
export interface ReadCount {
  /** Epoch milliseconds at which the minute began. */
  readonly minute: number;
  /** `*` where so many waited to be written that they were summed. */
  readonly client: string;
  readonly environment: string;
  /** A grant's action, as `token:read`; with a family of paths behind it, as `api:call /cgi-bin/user`, for calls. */
  readonly action: string;
  /** The app's public name; `*` where so many waited to be written that they were summed. */
  readonly app: string;
  readonly count: number;
}

/** How often a caller was refused in a minute. */
export interface RefusalCount {
  readonly minute: number;
  /** `*` where there were too many to tell apart. */
  readonly address: string;
  /** The client's name; empty when nobody was recognised. */
  readonly client: string;
  /** The route's pattern; `*` where there were too many. */
  readonly route: string;
  /** As in the envelope. */
  readonly code: number;
  readonly count: number;
}

/** Which count: where a page ended. */
export type ReadKey = Omit<ReadCount, "count">;
/** Which count: where a page ended. */
export type RefusalKey = Omit<RefusalCount, "count">;

/** Which entries or counts. What is undefined does not narrow. */
export interface AuditFilter {
  readonly app?: string | undefined;
  readonly client?: string | undefined;
  readonly environment?: string | undefined;
  readonly action?: string | undefined;
  /** Epoch milliseconds; from here on. */
  readonly since?: number | undefined;
  /** Epoch milliseconds; before this. */
  readonly until?: number | undefined;
}

/** Where the chain does not fit. */
export interface ChainBreak {
  /** The first entry that does not fit, or that is missing. */
  readonly id: number;
  /** Why, for a person. */
  readonly message: string;
}

/** What a look at the whole chain found. */
export interface VerifyResult {
  readonly isIntact: boolean;
  /** How many entries were looked at. */
  readonly entries: number;
  /** Undefined when intact. */
  readonly fault: ChainBreak | undefined;
  /**
   * The last entry that fits: write it down elsewhere, and a database that was set back to an older state can be told.
   * Undefined while there has been none.
   */
  readonly last: { readonly id: number; readonly hash: string } | undefined;
}

/** What one step of pruning did. */
export interface AuditPruning {
  /** How many entries it dropped. */
  readonly entries: number;
  /** Whether nothing is left to be dropped, or what is left can't be. */
  readonly isDone: boolean;
  /** Where the chain does not fit: what was tampered with is never dropped. */
  readonly fault: ChainBreak | undefined;
}

/** Where the audit is kept. All processes write to one chain. */
export interface AuditStore {
  /**
   * Writes an entry at the end of the chain. On the disk when it resolves.
   *
   * @throws {ServiceError} `auditFailure` when the entry is refused; what the store throws when it can't be used at all.
   */
  append(entry: AuditEntry): Promise<void>;
  /** Adds to the counts, in one transaction. Soon gives up while the store is busy: it can be done later. */
  addReads(counts: readonly ReadCount[]): Promise<void>;
  /** Adds to the counts, likewise. */
  addRefusals(counts: readonly RefusalCount[]): Promise<void>;
  /** Entries, the newest first, at most `limit`, with ids below `before` where it is given. */
  list(
    filter: AuditFilter,
    page: { readonly limit: number; readonly before?: number | undefined },
  ): Promise<AuditRecord[]>;
  /** Entries, the oldest first, at most `limit`, with ids above `after`: for an export in pieces. */
  listForward(
    filter: AuditFilter,
    page: { readonly limit: number; readonly after: number },
  ): Promise<AuditRecord[]>;
  /**
   * Counts of reads, the newest minute first, at most `limit`, those behind `after` where it is given. An action is found
   * with whatever stands behind it.
   */
  listReads(
    filter: AuditFilter,
    page: { readonly limit: number; readonly after?: ReadKey | undefined },
  ): Promise<ReadCount[]>;
  /** Counts of refusals, likewise. Client and time alone narrow. */
  listRefusals(
    filter: AuditFilter,
    page: { readonly limit: number; readonly after?: RefusalKey | undefined },
  ): Promise<RefusalCount[]>;
  /** Looks at the whole chain, in pieces that hold nobody up for long. */
  verify(): Promise<VerifyResult>;
  /** Drops up to 1,000 entries, and as many counts of each kind, from before `before` (epoch milliseconds). */
  prune(before: number): Promise<AuditPruning>;
  /** Whether an entry and counts could be written now: tries, and leaves nothing behind. Throws what keeps it from it. */
  probe(): Promise<void>;
}
