import { setImmediate as nextTurn } from "node:timers/promises";
import { and, asc, gt, lte, min } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import type { ChainBreak, AuditPruning, VerifyResult } from "../../audit/audit-store.ts";
import type { Clock } from "../../clock.ts";
import type { AuditChain, ChainLink } from "./audit-chain.ts";
import { BACKGROUND_ATTEMPTS, runStatement, type Transaction } from "./statement.ts";
import { auditEntries } from "./schema.ts";
import type { AuditCountTable } from "./sqlite-counts.ts";

/** How many entries are looked at, or dropped, before others have a turn. */
const AUDIT_PIECE = 1000;

/** One piece of the walk. */
interface Step {
  readonly looked: number;
  /** Undefined where there is no chain yet, or where it begins can't be told. */
  readonly reached: ChainLink | undefined;
  readonly fault: ChainBreak | undefined;
  readonly isLast: boolean;
}

/** Walks the whole chain, also while others write to it and prune it. */
export async function verifyChain(
  database: BunSQLiteDatabase,
  chain: AuditChain,
  clock: Clock,
): Promise<VerifyResult> {
  let reached: ChainLink | undefined;
  let entries = 0;
  for (;;) {
    // One snapshot for a piece and both ends, so that what others do in between is no fault.
    const step = await runStatement(clock, () =>
      database.transaction((transaction) => look(transaction, chain, reached)),
    );
    entries += step.looked;
    reached = step.reached ?? reached;
    if (step.fault || step.isLast) {
      const last = reached && reached.entryId > 0 ? { id: reached.entryId, hash: reached.hash } : undefined;
      return { isIntact: !step.fault, entries, fault: step.fault, last };
    }
    await nextTurn();
  }
}

function look(transaction: Transaction, chain: AuditChain, before: ChainLink | undefined): Step {
  const { first, fault } = findStart(transaction, chain);
  if (!first) return { looked: 0, reached: undefined, fault, isLast: true };
  // What was pruned meanwhile was dropped by us, or the note of the start would not be true.
  const from = before && before.entryId >= first.entryId ? before : first;
  const rows = transaction
    .select()
    .from(auditEntries)
    .where(gt(auditEntries.id, from.entryId))
    .orderBy(asc(auditEntries.id))
    .limit(AUDIT_PIECE)
    .all();
  const step = chain.follow(from, rows);
  const isLast = rows.length < AUDIT_PIECE;
  const looked = rows.length;
  if (step.fault || !isLast) return { looked, ...step, isLast };
  return { looked, reached: step.reached, fault: faultOfEnd(transaction, chain, step.reached), isLast };
}

/**
 * Where the chain begins: the entry before the first that is kept. Neither that nor a fault while there has never been an
 * entry.
 */
function findStart(
  transaction: Transaction,
  chain: AuditChain,
): { readonly first?: ChainLink; readonly fault?: ChainBreak } {
  const first = chain.end(transaction, "first");
  const oldest =
    transaction
      .select({ id: min(auditEntries.id) })
      .from(auditEntries)
      .get()?.id ?? undefined;
  if (!first && chain.newestId(transaction) === 0 && !chain.end(transaction, "last")) return {};
  if (!first?.isTrue) {
    const message =
      "链首记录缺失或被改动，其前可能有条目被删除 (the note of the chain's start is missing or was changed; entries may have been removed)";
    return { fault: { id: oldest ?? 0, message } };
  }
  if (oldest !== undefined && oldest <= first.entryId) {
    const message = "链首之前被插入了条目 (an entry was inserted before the chain's start)";
    return { fault: { id: oldest, message } };
  }
  return { first };
}

function faultOfEnd(
  transaction: Transaction,
  chain: AuditChain,
  { entryId, hash }: ChainLink,
): ChainBreak | undefined {
  const last = chain.end(transaction, "last");
  if (last?.isTrue && last.entryId === entryId && last.hash === hash) return undefined;
  if (!last?.isTrue) {
    const message =
      "链尾记录缺失或被改动，其后可能有条目被删除 (the note of the chain's end is missing or was changed; entries may have been removed)";
    return { id: entryId + 1, message };
  }
  const message =
    "末尾的条目与链尾记录不符：有条目被删除，或链尾记录被换成旧的 (the last entries don't fit the note of the chain's end: some were removed, or an older note was put there)";
  return { id: last.entryId === entryId ? entryId : Math.min(entryId, last.entryId) + 1, message };
}

/**
 * Drops one piece of each: the oldest entries up to the first that is from `before` or later, and the oldest counts.
 *
 * Only what fits the chain is dropped: otherwise an entry could be got rid of by making it look old.
 */
export async function pruneAudit(
  database: BunSQLiteDatabase,
  chain: AuditChain,
  counts: AuditCountTable,
  clock: Clock,
  before: number,
): Promise<AuditPruning> {
  const run = <T>(work: (transaction: Transaction) => T) =>
    runStatement(clock, () => database.transaction(work, { behavior: "immediate" }), BACKGROUND_ATTEMPTS);
  const usage = await run((transaction) => counts.drop(transaction, "usage", before, AUDIT_PIECE));
  const denials = await run((transaction) => counts.drop(transaction, "denial", before, AUDIT_PIECE));
  const { dropped, fault } = await run((transaction) => dropEntries(transaction, chain, before));
  const isDone = Math.max(usage, denials, dropped) < AUDIT_PIECE;
  return { entries: dropped, isDone, fault };
}

function dropEntries(
  transaction: Transaction,
  chain: AuditChain,
  before: number,
): { dropped: number; fault: ChainBreak | undefined } {
  const { first, fault: faultOfStart } = findStart(transaction, chain);
  if (!first) return { dropped: 0, fault: faultOfStart };
  const rows = transaction
    .select()
    .from(auditEntries)
    .where(gt(auditEntries.id, first.entryId))
    .orderBy(asc(auditEntries.id))
    .limit(AUDIT_PIECE)
    .all();
  const kept = rows.findIndex(({ at }) => at >= before);
  const old = kept === -1 ? rows : rows.slice(0, kept);
  const { reached, fault } = chain.follow(first, old);
  if (reached.entryId === first.entryId) return { dropped: 0, fault };
  const isDropped = and(gt(auditEntries.id, first.entryId), lte(auditEntries.id, reached.entryId));
  const dropped = transaction.delete(auditEntries).where(isDropped).returning({ id: auditEntries.id }).all();
  chain.setEnd(transaction, "first", reached);
  return { dropped: dropped.length, fault };
}
