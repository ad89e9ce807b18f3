import type { AuditEntry, AuditRecord } from "./audit-entry.ts";

/** What is counted per minute: what clients did, and what callers were denied. */
export type CountKind = "usage" | "denial";

/** A count as it is kept. */
export interface MinuteCount {
  /** Epoch milliseconds at which the minute began. */
  readonly minute: number;
  readonly kind: CountKind;
  /** The names that it is a count for, as `AuditCounts` joins them. */
  readonly key: string;
  readonly n: number;
}

/** How often a client did something in a minute that is too frequent to be recorded one by one. */
export interface UsageCount {
  /** Ascending; the order of pages. */
  readonly id: number;
  readonly minute: number;
  /** `(other)` for what was not counted separately; `*` in counts of former versions. */
  readonly client: string;
  readonly environment: string;
  /** A grant's action, as `token:read`; with a family of paths behind it, as `api:call /cgi-bin/user`, for calls. */
  readonly action: string;
  /** The app's public name; `(other)` for what was not counted separately, `*` for an app that we don't hold. */
  readonly app: string;
  readonly count: number;
}

/** Whose use is summed, in every name of theirs, or the use of which app; and since which minute, before which one. */
export interface UsageOf {
  readonly client?: string;
  readonly app?: string;
  readonly since: number;
  readonly until?: number;
}

/** How often a client did something on an app, whatever and when. */
export type UsageSum = Pick<UsageCount, "client" | "environment" | "app" | "count">;

/** How often a caller was denied something in a minute. */
export interface DenialCount {
  /** Ascending; the order of pages. */
  readonly id: number;
  readonly minute: number;
  /** `(other)` for what was not counted separately; `*` in counts of former versions. */
  readonly address: string;
  /** The client's name; empty for an unidentified caller. */
  readonly client: string;
  /** The route's pattern; `(other)` for what was not counted separately, `*` in counts of former versions. */
  readonly route: string;
  /** As in the envelope. */
  readonly code: number;
  readonly count: number;
}

/** A page, the newest first: at most `limit`, with ids below `before` where it is given. */
export interface AuditPage {
  readonly limit: number;
  readonly before?: number | undefined;
}

/** Which entries or counts; undefined fields do not filter. */
export interface AuditFilter {
  readonly app?: string | undefined;
  /** Only what is about one of these apps, or about any app. */
  readonly apps?: readonly string[] | "any" | undefined;
  readonly client?: string | undefined;
  readonly environment?: string | undefined;
  readonly action?: string | undefined;
  /** Of entries: `tokenDigest` of the token concerned. */
  readonly tokenDigest?: string | undefined;
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

/** The result of verifying the whole chain. */
export interface VerifyResult {
  readonly isIntact: boolean;
  /** How many entries were checked. */
  readonly entries: number;
  /** Undefined when intact. */
  readonly fault: ChainBreak | undefined;
  /**
   * The last entry that fits; kept elsewhere, it reveals a database that was rolled back. Undefined for an empty chain.
   */
  readonly last: { readonly id: number; readonly hash: string } | undefined;
}

/** What one step of pruning did. */
export interface AuditPruning {
  /** How many entries it deleted. */
  readonly entries: number;
  /** Whether nothing is left to delete, or what is left can't be deleted. */
  readonly isDone: boolean;
  /** Where the chain does not fit: what was tampered with is never deleted. */
  readonly fault: ChainBreak | undefined;
}

/** How long the wall clock has gone on without a jump, over restarts too. Epoch milliseconds. */
export interface SteadyClock {
  readonly since: number;
  /** When a process last saw that. */
  readonly notedAt: number;
}

/** Where the audit is kept. All processes write to one chain. */
export interface AuditStore {
  /**
   * Writes an entry at the end of the chain. On the disk when it resolves.
   *
   * @throws {ServiceError} an `AuditFailure` when the entry is refused; what the store throws when it can't be used at all.
   */
  append(entry: AuditEntry): Promise<void>;
  /** Adds to the counts, in one transaction. Gives up early while the store is busy: it can be done later. */
  addCounts(counts: readonly MinuteCount[]): Promise<void>;
  /** Entries, the newest first. */
  list(filter: AuditFilter, page: AuditPage): Promise<AuditRecord[]>;
  /**
   * Every entry, the oldest first, in pieces of at most 1,000.
   *
   * Pieces may be empty, so that a search that finds little shows progress. Yields to other work after each.
   */
  walk(filter: AuditFilter): AsyncIterableIterator<readonly AuditRecord[]>;
  /** Counts of use, the newest first. An action matches with any family of paths behind it. */
  listUsage(filter: AuditFilter, page: AuditPage): Promise<UsageCount[]>;
  /** How often it was done by each client on each app, most often first. */
  sumUsage(asked: UsageOf): Promise<UsageSum[]>;
  /** How much was done and denied in each minute since `since` (epoch milliseconds) in which there was any, by everybody. */
  sumMinutes(
    since: number,
  ): Promise<{ readonly minute: number; readonly usage: number; readonly denials: number }[]>;
  /** Counts of denials, likewise; filtered by client and time only. */
  listDenials(filter: AuditFilter, page: AuditPage): Promise<DenialCount[]>;
  /** Verifies the whole chain, in pieces that don't block others for long. */
  verify(): Promise<VerifyResult>;
  /**
   * Claims the next round of pruning: 0 when the caller has it, else the milliseconds until it is due, because a
   * process has claimed it less than `everyMs` ago.
   */
  claimPruning(everyMs: number): Promise<number>;
  /** What was noted of the clock last; undefined where nothing was. */
  steadyClock(): Promise<SteadyClock | undefined>;
  noteSteadyClock(clock: SteadyClock): Promise<void>;
  /**
   * Deletes up to 1,000 entries, and as many counts of each kind and of upstream calls, from before `before` (epoch
   * milliseconds).
   */
  prune(before: number): Promise<AuditPruning>;
}
