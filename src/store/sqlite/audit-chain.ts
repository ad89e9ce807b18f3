import { eq, sql } from "drizzle-orm";
import { createHmac } from "node:crypto";
import { type AuditEntry, AuditFailure } from "../../audit/audit-entry.ts";
import type { ChainBreak } from "../../audit/audit-store.ts";
import type { Clock } from "../../clock.ts";
import type { ErrorCode } from "../../errors.ts";
import { isBusy, sqliteErrorOf, type Transaction, unusable } from "./statement.ts";
import { auditEnds, auditEntries } from "./schema.ts";

/** An entry as its row has it: `detail` is text. */
export type EntryRow = typeof auditEntries.$inferSelect;

/** An entry's place in the chain. */
export interface ChainLink {
  readonly entryId: number;
  readonly hash: string;
}

/** An end of the chain as its row has it. */
export interface ChainEnd extends ChainLink {
  /** Whether we wrote it: its digest fits. */
  readonly isTrue: boolean;
}

/** What comes before the first entry of all. */
const START: ChainLink = { entryId: 0, hash: "0".repeat(64) };
/** Stands for the hash before, where the row that should tell it was tampered with: no entry has it, so it never fits. */
const UNKNOWN_HASH = "f".repeat(64);

/** What the chain works with. */
export interface AuditChainParts {
  /** 32 bytes. */
  readonly key: Uint8Array;
  readonly clock: Clock;
  /** Called when an entry could not be written, in whosever transaction it was. */
  readonly onFailed?: ((code: ErrorCode) => void) | undefined;
}

/**
 * Chains the audit's entries: each holds a keyed digest of the hash before and of itself, and both ends of the chain
 * are written down under the same key. Whoever changes, removes, inserts or moves an entry without the key is found out.
 */
export class AuditChain {
  readonly #parts: AuditChainParts;

  constructor(parts: AuditChainParts) {
    this.#parts = parts;
  }

  /**
   * Writes `entry` at the end of the chain, as part of a transaction that was begun with `immediate`.
   *
   * @throws {AuditFailure} when it can't be written: let it pass, so that all of the transaction is undone.
   */
  append(transaction: Transaction, entry: AuditEntry): void {
    try {
      this.tryAppend(transaction, entry);
    } catch (error) {
      const failure = sqliteErrorOf(error);
      if (!failure || isBusy(failure)) throw error;
      const cause = unusable(failure);
      this.#parts.onFailed?.(cause.code);
      throw new AuditFailure(cause);
    }
  }

  /** As `append`; a failure is not reported, and thrown as it came. */
  tryAppend(transaction: Transaction, entry: AuditEntry): void {
    const last = this.end(transaction, "last");
    const newest = this.newestId(transaction);
    const isNew = !last && newest === 0 && !this.end(transaction, "first");
    // Where the end was tampered with, the service goes on, and the gap stays to be found.
    const previous = isNew ? START : last?.isTrue ? last : { entryId: newest, hash: UNKNOWN_HASH };
    const unchained = {
      id: Math.max(previous.entryId, newest) + 1,
      at: this.#parts.clock.now(),
      ...columnsOf(entry),
    };
    const hash = this.#hash(previous.hash, unchained);
    transaction
      .insert(auditEntries)
      .values({ ...unchained, hash })
      .run();
    if (isNew) this.setEnd(transaction, "first", START);
    this.setEnd(transaction, "last", { entryId: unchained.id, hash });
  }

  /** The highest id that an entry has or, as far as SQLite itself remembers, ever had; 0 for none. */
  newestId(transaction: Transaction): number {
    const query = sql`select max(id) as id from ${auditEntries} union all select seq from sqlite_sequence where name = 'audit_entries'`;
    const rows = transaction.all<{ readonly id: number | null }>(query);
    return Math.max(...rows.map(({ id }) => id ?? 0));
  }

  /** An end of the chain; undefined when its row is missing. */
  end(transaction: Transaction, name: "first" | "last"): ChainEnd | undefined {
    const row = transaction.select().from(auditEnds).where(eq(auditEnds.name, name)).get();
    return row && { entryId: row.entryId, hash: row.hash, isTrue: row.mac === this.#mac(name, row) };
  }

  /** Writes down where an end of the chain is. */
  setEnd(transaction: Transaction, name: "first" | "last", { entryId, hash }: ChainLink): void {
    const set = { entryId, hash, mac: this.#mac(name, { entryId, hash }) };
    transaction
      .insert(auditEnds)
      .values({ name, ...set })
      .onConflictDoUpdate({ target: auditEnds.name, set })
      .run();
  }

  /** Follows the chain from `from` through `rows`: the last that fits, and the first that does not. */
  follow(
    from: ChainLink,
    rows: readonly EntryRow[],
  ): { readonly reached: ChainLink; readonly fault: ChainBreak | undefined } {
    let reached: ChainLink = { entryId: from.entryId, hash: from.hash };
    for (const row of rows) {
      if (row.hash !== this.#hash(reached.hash, row)) return { reached, fault: this.#faultOf(row) };
      reached = { entryId: row.id, hash: row.hash };
    }
    return { reached, fault: undefined };
  }

  #faultOf(row: EntryRow): ChainBreak {
    const isAfterForgery = row.hash === this.#hash(UNKNOWN_HASH, row);
    const message = isAfterForgery
      ? "写入该条之前，链尾记录已被改动 (the note of the chain's end had been tampered with before this entry was written)"
      : "与前一条不相接：该条被改动、插入或移动过，或其前有条目被删除 (does not follow from the one before: it was changed, inserted or moved, or one before it was removed)";
    return { id: row.id, message };
  }

  #hash(previous: string, row: Omit<EntryRow, "hash">): string {
    const { id, at, client, environment, address, action, app, outcome, traceId, tokenDigest, detail } = row;
    const fields = [id, at, client, environment, address, action, app, outcome, traceId, tokenDigest, detail];
    return this.#digest(previous + JSON.stringify(fields));
  }

  /** The name is part of it, so that one end can't be put in the place of the other. */
  #mac(name: string, { entryId, hash }: ChainLink): string {
    return this.#digest(JSON.stringify(["end", name, entryId, hash]));
  }

  #digest(text: string): string {
    return createHmac("sha256", this.#parts.key).update(text).digest("hex");
  }
}

/** As SQLite gives it back: half a character that JSON can carry is replaced when it is stored. */
function columnsOf({ detail, client, environment, address, action, app, outcome, ...rest }: AuditEntry) {
  return {
    client: client.toWellFormed(),
    environment: environment.toWellFormed(),
    address: address.toWellFormed(),
    action,
    app: app.toWellFormed(),
    outcome: outcome.toWellFormed(),
    traceId: rest.traceId.toWellFormed(),
    tokenDigest: rest.tokenDigest.toWellFormed(),
    detail: JSON.stringify(detail),
  };
}
