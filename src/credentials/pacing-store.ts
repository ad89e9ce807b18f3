import type { AuditEntry } from "../audit/audit-entry.ts";
import type { Backoff } from "./backoff.ts";
import type { Piece } from "../audit/call-counts.ts";

/** A budget: at most `most` uses that began after `from` (epoch milliseconds) under `key`. */
export interface Budget {
  readonly key: string;
  readonly most: number;
  readonly from: number;
}

/** A use of some budgets, to be counted in the store for all processes together. */
export interface UseRequest {
  readonly limits: readonly Budget[];
  readonly now: number;
  /** When the use expires and may be pruned; epoch milliseconds. */
  readonly until: number;
  /** Whether the use may still be given back, so that it is worth waiting for; see `PacingStore.settle`. */
  readonly isPending?: boolean;
  /** What the use was for; reported to those whom it blocks. */
  readonly note?: string | undefined;
}

/** What keeps a budget from being used: the use that must leave its window first. */
export interface BlockingUse {
  /** The index of the limit. */
  readonly limit: number;
  /** Epoch milliseconds. */
  readonly since: number;
  readonly note: string | undefined;
  /** Whether uses that may still be given back are to blame. */
  readonly isPending: boolean;
}

/** The rows that a use made, one for each budget; or what blocked it, and then nothing was written. */
export type UseAnswer =
  | { readonly uses: readonly string[]; readonly blocked?: undefined }
  | { readonly blocked: readonly BlockingUse[] };

/** How long a use may stay pending, in milliseconds; after that its process is presumed to have crashed. */
export const MAX_PENDING_MS = 10_000;

/**
 * Stores backoffs and uses of budgets for all processes. Prunes what has expired.
 *
 * Raises `backoffs` when a backoff is written or removed, unless it is of a secret that we don't hold. One that passes
 * by itself raises nothing.
 */
export interface PacingStore {
  /** The backoffs under `keys`, also those that expired within a day: they say how many failures came in a row. */
  find(keys: readonly string[]): Promise<Backoff[]>;
  /** The circuits and quotas that end after `now`, epoch milliseconds. */
  listRefusals(now: number): Promise<Backoff[]>;
  /** At most `limit` of all backoffs, as `find` gives them, with keys behind `after`. */
  page(after: string | undefined, limit: number): Promise<Piece<Backoff>>;
  /** Writes a backoff, replacing the one under its key. */
  put(backoff: Backoff): Promise<void>;
  /** Removes exactly these backoffs: one that another process wrote under the same key meanwhile stays. */
  remove(seen: readonly Backoff[]): Promise<void>;
  /** Removes whatever is under `keys`, and writes the audit entry in the same transaction. */
  unblock(keys: readonly string[], entry: AuditEntry): Promise<void>;
  /** Uses all the budgets, or none, in one transaction: concurrent processes never exceed a budget. */
  use(request: UseRequest): Promise<UseAnswer>;
  /** Makes pending uses final. */
  settle(uses: readonly string[]): Promise<void>;
  /** Gives uses back. */
  giveBack(uses: readonly string[]): Promise<void>;
  /** How often each of the budgets `keys` was used after `from`, epoch milliseconds both. One statement. */
  countUses(keys: readonly string[], from: number, now: number): Promise<number[]>;
  /** The same of each budget whose key begins with `prefix`, which ends in a colon, and that was used. */
  countUsesUnder(prefix: string, from: number, now: number): Promise<ReadonlyMap<string, number>>;
}
