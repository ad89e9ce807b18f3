import { asc, gt, type SQL, sql } from "drizzle-orm";
import { createHmac } from "node:crypto";
import { type AuditEntry, AuditFailure } from "../audit/audit-entry.ts";
import type { ChainBreak } from "../audit/audit-store.ts";
import type { Clock } from "../clock.ts";
import type { ServiceError } from "../errors.ts";
import { type Queries, sqlFailureOf, unusable, withoutNul } from "./sql.ts";
import { MAX_NUMBER } from "./damaged-rows.ts";
import { auditEnds, auditEntries, revisions } from "./schema.ts";

/** An entry as its row has it: `detail` is text. */
export type EntryRow = typeof auditEntries.$inferSelect;
type EndRow = typeof auditEnds.$inferSelect;

/** An entry's place in the chain. */
export interface ChainLink {
  readonly entryId: number;
  readonly hash: string;
}

/** What most entries are about: the epochs of their changes are part of the chain's tie. */
const TIED_TOPICS = ["clients", "apps"] as const;
type TiedTopic = (typeof TIED_TOPICS)[number];
type Epochs = Readonly<Record<TiedTopic, number>>;

/** An end of the chain as its row has it. */
export interface ChainEnd extends ChainLink {
  /** Whether we wrote it: its digest fits. */
  readonly isTrue: boolean;
}

/** The last entry that was tied to the rest of the database. */
interface ChainTie extends ChainEnd {
  /** How often clients and apps had been changed when it was written. */
  readonly epochs: Epochs;
}

/** What the rest of the database says of the audit. An unreadable number is -1. */
interface Revisions extends Epochs {
  /** The last entry that was written; undefined before the first look of a version that notes it. */
  readonly audit: number | undefined;
}

/** What comes before the first entry of all. */
const START: ChainLink = { entryId: 0, hash: "0".repeat(64) };
/** Stands for the hash before, where the row that should tell it was tampered with: no entry has it, so it never fits. */
const UNKNOWN_HASH = "f".repeat(64);

/** `tie` is a row of its own, so that a version that knows nothing of it finds both ends as it wrote them. */
type EndName = "first" | "last" | "tie";
/** How many entries are looked at in one go. */
export const AUDIT_PIECE = 1000;

/** Both ends of the chain; undefined where its row is missing. */
export interface ChainEnds {
  readonly first: ChainEnd | undefined;
  readonly last: ChainEnd | undefined;
  /** Behind `last` where a version that knows of no tie went on. */
  readonly tie: ChainTie | undefined;
  /** The highest id that an entry has or, as far as the database remembers, ever had; 0 for none. */
  readonly newest: number;
  readonly revisions: Revisions;
}

/** In `revisions`, beside the topics: the id of the last entry. */
export const AUDIT = "audit";
/** The highest id that an entry has. */
const NEWEST = sql`select max(id) from ${auditEntries} where id <= ${MAX_NUMBER}`;

function numberOf(value: unknown): number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MAX_NUMBER
    ? value
    : -1;
}

/** What the chain works with. */
export interface AuditChainParts {
  /** 32 bytes. */
  readonly key: Uint8Array;
  readonly clock: Clock;
  /** Selects the highest id that the engine itself remembers of an entry, where it does. */
  readonly remembered?: SQL | undefined;
  /** Whether the engine keeps a NUL in a text; default true. */
  readonly keepsNul?: boolean | undefined;
  /** Called when an entry could not be written, in whosever transaction it was. */
  readonly onFailed?: ((failure: ServiceError) => void) | undefined;
}

/**
 * Chains the audit's entries: each holds a keyed digest of the hash before and of itself, and both ends of the chain
 * are written down under the same key. Whoever changes, removes, inserts or moves an entry without the key is found out.
 *
 * The chain is tied to the rest of the database, so that an older audit does not fit in it: `revisions` has the id of the
 * last entry, and the tie's digest covers the epochs of clients and apps, which every change of them raises. A process of
 * the version before may go on without a tie while others start with this one: what follows from the tied entry is ours.
 */
export class AuditChain {
  readonly #parts: AuditChainParts;

  constructor(parts: AuditChainParts) {
    this.#parts = parts;
  }

  /**
   * Writes `entry` at the end of the chain, as part of a transaction that was begun with `immediate`. `raised` is the topic
   * whose epoch the same transaction has raised once.
   *
   * @throws {AuditFailure} when it can't be written: let it pass, so that all of the transaction is undone.
   */
  async append(queries: Queries, entry: AuditEntry, raised?: TiedTopic): Promise<void> {
    try {
      await this.tryAppend(queries, entry, raised);
    } catch (error) {
      const failure = sqlFailureOf(error);
      if (!failure || failure.isBusy) throw error;
      throw this.#report(failure.code);
    }
  }

  /** As `append`; a failure is not reported, and thrown as it came. */
  async tryAppend(queries: Queries, entry: AuditEntry, raised?: TiedTopic): Promise<void> {
    const ends = await this.ends(queries);
    const row = await this.#link(queries, entry, ends, raised);
    const link = { entryId: row.id, hash: row.hash };
    const written = [this.#endRow("last", link), this.#tieRow(link, ends.revisions)];
    await queries.batch([
      queries.insert(auditEntries).values(row),
      putNewest(queries, row.id),
      ...written.map((end) => putEnd(queries, end)),
    ]);
  }

  /** Where the chain begins and ends, as the database has it. */
  async ends(queries: Queries): Promise<ChainEnds> {
    const { remembered = sql`select 0` } = this.#parts;
    // In one statement, because it is read while all other writers wait.
    const rows = await queries.values<
      [source: string, name: string, number: unknown, hash: string, mac: string]
    >(
      sql`select 'end', name, entry_id, hash, mac from ${auditEnds}
        union all select 'revision', name, number, '', '' from ${revisions}
        union all select 'newest', '', (${NEWEST}), '', '' union all select 'newest', '', (${remembered}), '', ''`,
    );
    const of = (source: string) => rows.filter(([each]) => each === source);
    return this.#endsOf(
      of("end").map(([, name, entryId, hash, mac]) => ({ name, entryId: entryId as number, hash, mac })),
      of("newest").map(([, , id]) => id),
      of("revision").map(([, name, number]) => ({ name, number })),
    );
  }

  /**
   * Ties the audit to the rest of the database, where that was never done: in a new one, and in one of a version that did
   * not. `isUntouched` says whether nothing was ever changed in it. What was emptied or set back before stays to be found.
   */
  async begin(queries: Queries, isUntouched: () => Promise<boolean>): Promise<void> {
    const ends = await this.ends(queries);
    const { first, last, tie, newest } = ends;
    if (ends.revisions.audit !== undefined) return;
    const isNew = !first && !last && newest === 0 && (await isUntouched());
    if (!isNew && (!last?.isTrue || tie)) return;
    const link = last ?? START;
    const written = isNew ? [this.#endRow("first", START), this.#endRow("last", START)] : [];
    await queries.batch([
      putNewest(queries, Math.max(newest, link.entryId)),
      ...[...written, this.#tieRow(link, ends.revisions)].map((end) => putEnd(queries, end)),
    ]);
  }

  /** Writes down that the entry behind `link` is the first that is kept. */
  async putStart(queries: Queries, link: ChainLink): Promise<void> {
    await putEnd(queries, this.#endRow("first", link));
  }

  /** Why the end is not that of the audit of this database; undefined when it is. `raised` as for `append`. */
  async faultOfTie(queries: Queries, ends: ChainEnds, raised?: TiedTopic): Promise<ChainBreak | undefined> {
    const { first, last, tie, revisions: now } = ends;
    if (!last) return undefined;
    const isTied = tie?.isTrue && tie.entryId === now.audit;
    const untied = isTied ? await this.#countUntied(queries, first, tie, last) : undefined;
    if (!tie || untied === undefined) {
      const id = Math.min(last.entryId, now.audit ?? last.entryId) + 1;
      const message = `链尾是第 ${last.entryId} 条，而数据库记得的最后一条是 ${now.audit ?? "?"}：其后的条目被删除，或审计被换成旧的 (the chain ends at entry ${last.entryId}, but the last one that the database remembers is ${now.audit ?? "?"}: entries were removed, or an older audit was put there)`;
      return { id, message };
    }
    let unexplained = untied;
    for (const topic of TIED_TOPICS) {
      const epoch = now[topic] - (topic === raised ? 1 : 0);
      // Each entry goes with one change at most.
      const changes = epoch - tie.epochs[topic];
      if (changes >= 0 && changes <= unexplained) {
        unexplained -= changes;
        continue;
      }
      const message = `${topic} 的修订号为 ${epoch}，而审计的最后一条对应 ${tie.epochs[topic]}：审计被换成旧的，或修订号被改动 (the revision of ${topic} is ${epoch}, but the last entry belongs to ${tie.epochs[topic]}: an older audit was put there, or the revision was changed)`;
      return { id: last.entryId + 1, message };
    }
    return undefined;
  }

  /** The entries behind `link`, as many as are looked at in one go. */
  entriesAfter(queries: Queries, { entryId }: ChainLink): Promise<EntryRow[]> {
    const isAfter = gt(auditEntries.id, entryId);
    return queries
      .select()
      .from(auditEntries)
      .where(isAfter)
      .orderBy(asc(auditEntries.id))
      .limit(AUDIT_PIECE);
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

  /** How many entries follow from the tied one to the last; undefined where it is not they that lead there. */
  async #countUntied(
    queries: Queries,
    first: ChainEnd | undefined,
    tie: ChainTie,
    last: ChainEnd,
  ): Promise<number | undefined> {
    // What was pruned was looked at before.
    let reached: ChainLink = first?.isTrue && first.entryId > tie.entryId ? first : tie;
    let count = reached.entryId - tie.entryId;
    while (reached.entryId < last.entryId) {
      const rows = await this.entriesAfter(queries, reached);
      const { fault, reached: next } = this.follow(reached, rows);
      if (fault || rows.length === 0) return undefined;
      count += rows.length;
      reached = next;
    }
    return reached.entryId === last.entryId && reached.hash === last.hash ? count : undefined;
  }

  /** The row of `entry` behind what the database has. */
  async #link(
    queries: Queries,
    entry: AuditEntry,
    ends: ChainEnds,
    raised: TiedTopic | undefined,
  ): Promise<EntryRow> {
    const { last, tie, newest } = ends;
    // Where the end was tampered with, the service goes on, and the gap stays to be found.
    const isFormer = !tie && ends.revisions.audit === undefined;
    const isWhole = last?.isTrue && (isFormer || !(await this.faultOfTie(queries, ends, raised)));
    const previous = isWhole ? last : { entryId: newest, hash: UNKNOWN_HASH };
    const id = Math.max(previous.entryId, newest) + 1;
    const unchained = { id, at: this.#parts.clock.now(), ...columnsOf(entry, this.#parts.keepsNul ?? true) };
    const hash = this.#hash(previous.hash, unchained);
    return { ...unchained, hash };
  }

  #endsOf(
    rows: readonly EndRow[],
    newest: readonly unknown[],
    numbers: readonly { readonly name: string; readonly number: unknown }[],
  ): ChainEnds {
    const rowOf = (name: EndName) => rows.find((row) => row.name === name);
    const number = (name: string) => {
      const found = numbers.find((row) => row.name === name);
      return found && numberOf(found.number);
    };
    const audit = number(AUDIT);
    return {
      first: this.#endOf(rowOf("first")),
      last: this.#endOf(rowOf("last")),
      tie: this.#tieOf(rowOf("tie")),
      newest: Math.max(0, ...newest.map(numberOf), audit ?? 0),
      revisions: { audit, clients: number("clients") ?? 0, apps: number("apps") ?? 0 },
    };
  }

  #endOf(row: EndRow | undefined, epochs?: Epochs): ChainEnd | undefined {
    if (!row) return undefined;
    const { name, entryId, hash, mac } = row;
    const isTrue = mac === this.#mac(name, row, epochs);
    return { entryId: Math.max(0, numberOf(entryId)), hash, isTrue };
  }

  #tieOf(row: EndRow | undefined): ChainTie | undefined {
    const [, clients = "", apps = ""] = /^(\d{1,15})\.(\d{1,15})\./.exec(row?.mac ?? "") ?? [];
    const epochs = { clients: Number(clients), apps: Number(apps) };
    const end = this.#endOf(row, epochs);
    return end && { ...end, epochs };
  }

  #endRow(name: "first" | "last", { entryId, hash }: ChainLink): EndRow {
    return { name, entryId, hash, mac: this.#mac(name, { entryId, hash }) };
  }

  #tieRow({ entryId, hash }: ChainLink, { clients, apps }: Epochs): EndRow {
    return { name: "tie", entryId, hash, mac: this.#mac("tie", { entryId, hash }, { clients, apps }) };
  }

  #report(code: string | undefined): AuditFailure {
    const cause = unusable(code);
    this.#parts.onFailed?.(cause);
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

  /** The name is part of it, so that one end can't be put in the place of the other. The epochs stand before it. */
  #mac(name: string, { entryId, hash }: ChainLink, epochs?: Epochs): string {
    const facts = ["end", name, entryId, hash];
    if (!epochs) return this.#digest(JSON.stringify(facts));
    const tie = TIED_TOPICS.map((topic) => epochs[topic]);
    return [...tie, this.#digest(JSON.stringify([...facts, ...tie]))].join(".");
  }

  #digest(text: string): string {
    return createHmac("sha256", this.#parts.key).update(text).digest("hex");
  }
}

/** Writes that the last entry of all is `id`. */
function putNewest(queries: Queries, id: number) {
  const set = { name: AUDIT, number: id };
  return queries.insert(revisions).values(set).onConflictDoUpdate({ target: revisions.name, set });
}

function putEnd(queries: Queries, set: EndRow) {
  return queries.insert(auditEnds).values(set).onConflictDoUpdate({ target: auditEnds.name, set });
}

/** As the engine gives it back: half a character that JSON can carry is replaced when it is stored. */
function columnsOf(entry: AuditEntry, keepsNul: boolean) {
  const { detail, via, client, environment, address, action, app, outcome, tokenDigest } = entry;
  const { traceId, parentTraceId } = entry;
  const kept = (text: string) => (keepsNul ? text.toWellFormed() : withoutNul(text.toWellFormed()));
  return {
    client: kept(client),
    environment: kept(environment),
    address: kept(address),
    action,
    app: kept(app),
    outcome: kept(outcome),
    traceId: kept(traceId),
    tokenDigest: kept(tokenDigest),
    // JSON leaves out what is undefined.
    detail: JSON.stringify({ ...detail, via, parent_trace_id: parentTraceId }),
  };
}
