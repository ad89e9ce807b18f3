import { setImmediate as nextTurn } from "node:timers/promises";
import { and, asc, gt, lte, min } from "drizzle-orm";
import type { ChainBreak, AuditPruning, VerifyResult } from "../../audit/audit-store.ts";
import { beijingDay } from "../../clock.ts";
import type { Queries, SqlDatabase } from "../sql.ts";
import type { AuditChain, ChainEnds, ChainLink } from "./audit-chain.ts";
import { BACKGROUND_ATTEMPTS } from "./statement.ts";
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
export async function verifyChain(database: SqlDatabase, chain: AuditChain): Promise<VerifyResult> {
  let reached: ChainLink | undefined;
  let entries = 0;
  for (;;) {
    // One snapshot for a piece and both ends, so that what others do in between is no fault.
    const before = reached;
    const step = await database.snapshot((queries) => look(queries, chain, before));
    entries += step.looked;
    reached = step.reached ?? reached;
    if (step.fault || step.isLast) {
      const last = reached && reached.entryId > 0 ? { id: reached.entryId, hash: reached.hash } : undefined;
      return { isIntact: !step.fault, entries, fault: step.fault, last };
    }
    await nextTurn();
  }
}

async function look(queries: Queries, chain: AuditChain, before: ChainLink | undefined): Promise<Step> {
  const ends = await chain.ends(queries);
  const { first, fault } = await findStart(queries, ends);
  if (!first) return { looked: 0, reached: undefined, fault, isLast: true };
  // What was pruned meanwhile was dropped by us, or the note of the start would not be true.
  const from = before && before.entryId >= first.entryId ? before : first;
  const rows = await pieceAfter(queries, from);
  const step = chain.follow(from, rows);
  const isLast = rows.length < AUDIT_PIECE;
  const looked = rows.length;
  if (step.fault || !isLast) return { looked, ...step, isLast };
  return { looked, reached: step.reached, fault: faultOfEnd(ends, step.reached), isLast };
}

/**
 * Where the chain begins: the entry before the first that is kept. Neither that nor a fault while there has never been an
 * entry.
 */
async function findStart(
  queries: Queries,
  { first, last, newest }: ChainEnds,
): Promise<{ readonly first?: ChainLink; readonly fault?: ChainBreak }> {
  const [row] = await queries.select({ id: min(auditEntries.id) }).from(auditEntries);
  const oldest = row?.id ?? undefined;
  if (!first && newest === 0 && !last) return {};
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

function faultOfEnd({ last }: ChainEnds, { entryId, hash }: ChainLink): ChainBreak | undefined {
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
  database: SqlDatabase,
  chain: AuditChain,
  counts: AuditCountTable,
  before: number,
): Promise<AuditPruning> {
  const run = <T>(work: (queries: Queries) => Promise<T>) =>
    database.transact(work, { maxAttempts: BACKGROUND_ATTEMPTS });
  const usage = await run((queries) => counts.drop(queries, "usage", before, AUDIT_PIECE));
  const denials = await run((queries) => counts.drop(queries, "denial", before, AUDIT_PIECE));
  const calls = await run((queries) => counts.dropCalls(queries, beijingDay(before), AUDIT_PIECE));
  const { dropped, fault } = await run((queries) => dropEntries(queries, chain, before));
  const isDone = Math.max(usage, denials, calls, dropped) < AUDIT_PIECE;
  return { entries: dropped, isDone, fault };
}

async function dropEntries(
  queries: Queries,
  chain: AuditChain,
  before: number,
): Promise<{ dropped: number; fault: ChainBreak | undefined }> {
  const { first, fault: faultOfStart } = await findStart(queries, await chain.ends(queries));
  if (!first) return { dropped: 0, fault: faultOfStart };
  const rows = await pieceAfter(queries, first);
  const kept = rows.findIndex(({ at }) => at >= before);
  const old = kept === -1 ? rows : rows.slice(0, kept);
  const { reached, fault } = chain.follow(first, old);
  if (reached.entryId === first.entryId) return { dropped: 0, fault };
  const isDropped = and(gt(auditEntries.id, first.entryId), lte(auditEntries.id, reached.entryId));
  const dropped = await queries.delete(auditEntries).where(isDropped).returning({ id: auditEntries.id });
  await chain.putEnd(queries, "first", reached);
  return { dropped: dropped.length, fault };
}

/** The entries behind `link`, as many as are looked at in one go. */
function pieceAfter(queries: Queries, { entryId }: ChainLink) {
  return queries
    .select()
    .from(auditEntries)
    .where(gt(auditEntries.id, entryId))
    .orderBy(asc(auditEntries.id))
    .limit(AUDIT_PIECE);
}
