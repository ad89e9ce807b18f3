import { eq, sql } from "drizzle-orm";
import { createHmac } from "node:crypto";
import { type AuditEntry, AuditFailure } from "../../audit/audit-entry.ts";
import type { ChainBreak } from "../../audit/audit-store.ts";
import type { Clock } from "../../clock.ts";
import type { ErrorCode } from "../../errors.ts";
import { type Queries, sqlFailureOf, unusable } from "../sql.ts";
import { isBusy, sqliteErrorOf, type Transaction } from "./statement.ts";
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

type EndName = "first" | "last";

/** Both ends of the chain; undefined where its row is missing. */
export interface ChainEnds {
  readonly first: ChainEnd | undefined;
  readonly last: ChainEnd | undefined;
  /** The highest id that an entry has or, as far as the database remembers, ever had; 0 for none. */
  readonly newest: number;
}

/** The highest id that an entry has, and the highest that SQLite remembers. */
const NEWEST = sql`select max(id) from ${auditEntries} union all select seq from sqlite_sequence where name = 'audit_entries'`;

function newestOf(rows: readonly (readonly [number | null])[]): number {
  return Math.max(...rows.map(([id]) => id ?? 0));
}

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
      throw this.#report(failure.code);
    }
  }

  /** As `append`, in a transaction of the SQL port. */
  async appendTo(queries: Queries, entry: AuditEntry): Promise<void> {
    try {
      await this.tryAppendTo(queries, entry);
    } catch (error) {
      const failure = sqlFailureOf(error);
      if (!failure || failure.isBusy) throw error;
      throw this.#report(failure.code);
    }
  }

  /** As `tryAppend`, in a transaction of the SQL port. */
  async tryAppendTo(queries: Queries, entry: AuditEntry): Promise<void> {
    const { row, isNew, last } = this.#link(entry, await this.ends(queries));
    await queries.insert(auditEntries).values(row);
    if (isNew) await this.putEnd(queries, "first", START);
    await this.putEnd(queries, "last", last);
  }

  /** Where the chain begins and ends, as the database has it. */
  async ends(queries: Queries): Promise<ChainEnds> {
    const rows = await queries.select().from(auditEnds);
    const end = (name: EndName) => this.#endOf(rows.find((row) => row.name === name));
    const newest = newestOf(await queries.values<[number | null]>(NEWEST));
    return { first: end("first"), last: end("last"), newest };
  }

  /** Writes down where an end of the chain is. */
  async putEnd(queries: Queries, name: EndName, link: ChainLink): Promise<void> {
    const set = this.#columnsOfEnd(name, link);
    await queries
      .insert(auditEnds)
      .values({ name, ...set })
      .onConflictDoUpdate({ target: auditEnds.name, set });
  }

  /** As `append`; a failure is not reported, and thrown as it came. */
  tryAppend(transaction: Transaction, entry: AuditEntry): void {
    const { row, isNew, last } = this.#link(entry, {
      first: this.#end(transaction, "first"),
      last: this.#end(transaction, "last"),
      newest: this.#newestId(transaction),
    });
    transaction.insert(auditEntries).values(row).run();
    if (isNew) this.#setEnd(transaction, "first", START);
    this.#setEnd(transaction, "last", last);
  }

  #newestId(transaction: Transaction): number {
    return newestOf(transaction.values<[number | null]>(NEWEST));
  }

  #end(transaction: Transaction, name: EndName): ChainEnd | undefined {
    const row = transaction.select().from(auditEnds).where(eq(auditEnds.name, name)).get();
    return this.#endOf(row);
  }

  #setEnd(transaction: Transaction, name: EndName, link: ChainLink): void {
    const set = this.#columnsOfEnd(name, link);
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

  /** The row of `entry` behind what the database has, and whether it is the first of all. */
  #link(
    entry: AuditEntry,
    { first, last, newest }: ChainEnds,
  ): { readonly row: EntryRow; readonly isNew: boolean; readonly last: ChainLink } {
    const isNew = !last && newest === 0 && !first;
    // Where the end was tampered with, the service goes on, and the gap stays to be found.
    const previous = isNew ? START : last?.isTrue ? last : { entryId: newest, hash: UNKNOWN_HASH };
    const id = Math.max(previous.entryId, newest) + 1;
    const unchained = { id, at: this.#parts.clock.now(), ...columnsOf(entry) };
    const hash = this.#hash(previous.hash, unchained);
    return { row: { ...unchained, hash }, isNew, last: { entryId: id, hash } };
  }

  #endOf(row: typeof auditEnds.$inferSelect | undefined): ChainEnd | undefined {
    return row && { entryId: row.entryId, hash: row.hash, isTrue: row.mac === this.#mac(row.name, row) };
  }

  #columnsOfEnd(name: EndName, { entryId, hash }: ChainLink) {
    return { entryId, hash, mac: this.#mac(name, { entryId, hash }) };
  }

  #report(code: string | undefined): AuditFailure {
    const cause = unusable(code);
    this.#parts.onFailed?.(cause.code);
    return new AuditFailure(cause);
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
