import { setImmediate as nextTurn } from "node:timers/promises";
import { and, eq, gt, lte, min } from "drizzle-orm";
import type { ChainBreak, AuditPruning, VerifyResult } from "../audit/audit-store.ts";
import { beijingDay } from "../clock.ts";
import { BACKGROUND_ATTEMPTS, type Queries, type SqlDatabase } from "./sql.ts";
import { AUDIT_PIECE, type AuditChain, type ChainEnds, type ChainLink } from "./audit-chain.ts";
import { highest } from "./damaged-rows.ts";
import { apiKeys, apps, auditEntries, clients } from "./schema.ts";
import type { AuditCountTable } from "./sql-counts.ts";

/** One piece of the walk. */
interface Step {
  readonly looked: number;
  /** Undefined where there is no chain yet, or where it begins can't be told. */
  readonly reached: ChainLink | undefined;
  readonly fault: ChainBreak | undefined;
  readonly isLast: boolean;
  /** The latest time of an entry so far; epoch milliseconds. */
  readonly newestAt: number;
}

/** A clock may be set back by so much between a change and its entry. */
const MAX_CLOCK_STEP_MS = 60_000;
/** Where there was never an entry, any change is newer. */
const BEFORE_ALL = -MAX_CLOCK_STEP_MS;

/** Walks the whole chain, also while others write to it and prune it. */
export async function verifyChain(database: SqlDatabase, chain: AuditChain): Promise<VerifyResult> {
  let reached: ChainLink | undefined;
  let entries = 0;
  let newestAt = -Infinity;
  for (;;) {
    // One snapshot for a piece and both ends, so that what others do in between is no fault.
    const before = { link: reached, newestAt };
    const step = await database.snapshot((queries) => look(queries, chain, before));
    entries += step.looked;
    newestAt = step.newestAt;
    reached = step.reached ?? reached;
    if (step.fault || step.isLast) {
      const last = reached && reached.entryId > 0 ? { id: reached.entryId, hash: reached.hash } : undefined;
      return { isIntact: !step.fault, entries, fault: step.fault, last };
    }
    await nextTurn();
  }
}

async function look(
  queries: Queries,
  chain: AuditChain,
  before: { readonly link: ChainLink | undefined; readonly newestAt: number },
): Promise<Step> {
  const ends = await chain.ends(queries);
  const { first, fault } = await findStart(queries, ends);
  if (!first) return { looked: 0, reached: undefined, fault, isLast: true, newestAt: before.newestAt };
  // What was pruned meanwhile was dropped by us, or the note of the start would not be true.
  const from = before.link && before.link.entryId >= first.entryId ? before.link : first;
  const rows = await chain.entriesAfter(queries, from);
  const step = chain.follow(from, rows);
  const isLast = rows.length < AUDIT_PIECE;
  const looked = rows.length;
  const newestAt = Math.max(before.newestAt, ...rows.map(({ at }) => at));
  if (step.fault || !isLast) return { looked, ...step, isLast, newestAt };
  const isNone = step.reached.entryId === first.entryId;
  const nothingAt = first.entryId === 0 ? BEFORE_ALL : Infinity;
  const faultAtEnd =
    faultOfEnd(ends, step.reached) ??
    (await chain.faultOfTie(queries, ends)) ??
    (await faultOfChanges(queries, ends, isNone ? nothingAt : newestAt));
  return { looked, reached: step.reached, fault: faultAtEnd, isLast, newestAt };
}

/** What is newer of the clients, keys and apps than any entry: each of their changes has one. */
async function faultOfChanges(
  queries: Queries,
  { last, revisions }: ChainEnds,
  newestAt: number,
): Promise<ChainBreak | undefined> {
  const isManaged = eq(apps.source, "managed");
  const changes = {
    clients: await queries
      .select({ version: highest(clients.version), at: highest(clients.updatedAt) })
      .from(clients),
    keys: await queries
      .select({ at: highest(apiKeys.createdAt), revokedAt: highest(apiKeys.revokedAt) })
      .from(apiKeys),
    apps: await queries
      .select({ version: highest(apps.version), at: highest(apps.updatedAt) })
      .from(apps)
      .where(isManaged),
  };
  const isNewer = {
    clients: changes.clients.some(({ version }) => (version ?? 0) > revisions.clients),
    apps: changes.apps.some(({ version }) => (version ?? 0) > revisions.apps),
  };
  const times = [...changes.clients, ...changes.apps, ...changes.keys].flatMap((row) => [
    row.at ?? 0,
    "revokedAt" in row ? (row.revokedAt ?? 0) : 0,
  ]);
  if (!isNewer.clients && !isNewer.apps && Math.max(...times) <= newestAt + MAX_CLOCK_STEP_MS)
    return undefined;
  const message =
    "有客户端、密钥或应用的变更晚于最后一条审计记录：审计被换成旧的，或该变更绕过了审计 (clients, keys or apps have changed since the last entry: an older audit was put there, or they were changed past it)";
  return { id: (last?.entryId ?? 0) + 1, message };
}

/** Where the chain begins: the entry before the first that is kept. */
async function findStart(
  queries: Queries,
  { first }: ChainEnds,
): Promise<{ readonly first?: ChainLink; readonly fault?: ChainBreak }> {
  const [row] = await queries.select({ id: min(auditEntries.id) }).from(auditEntries);
  const oldest = row?.id ?? undefined;
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

/** Whether nothing that is audited was ever changed in the database. */
export async function isUntouched(queries: Queries, chain: AuditChain): Promise<boolean> {
  const ends = await chain.ends(queries);
  const isAtStart = ends.revisions.clients === 0 && ends.revisions.apps === 0;
  return isAtStart && (await faultOfChanges(queries, ends, BEFORE_ALL)) === undefined;
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
  const rows = await chain.entriesAfter(queries, first);
  const kept = rows.findIndex(({ at }) => at >= before);
  const old = kept === -1 ? rows : rows.slice(0, kept);
  const { reached, fault } = chain.follow(first, old);
  if (reached.entryId === first.entryId) return { dropped: 0, fault };
  const isDropped = and(gt(auditEntries.id, first.entryId), lte(auditEntries.id, reached.entryId));
  const dropped = await queries.delete(auditEntries).where(isDropped).returning({ id: auditEntries.id });
  await chain.putStart(queries, reached);
  return { dropped: dropped.length, fault };
}
