import { and, asc, gt, lte, sql } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import type { AuditFault, AuditPruning } from "../../audit/audit-store.ts";
import type { Clock } from "../../clock.ts";
import type { AuditChain } from "./audit-chain.ts";
import type { Transaction } from "./revisions.ts";
import { AUDIT_PIECE, findStart } from "./audit-verification.ts";
import { auditEntries, auditReads, auditRefusals } from "./schema.ts";
import { ATTEMPTS_FEW, runStatement } from "./statement.ts";

/**
 * Drops one piece of each: the oldest entries up to the first that is from `before` or later, and the oldest counts.
 *
 * Only what fits the chain is dropped: otherwise an entry could be got rid of by making it look old.
 */
export async function pruneAudit(
  database: BunSQLiteDatabase,
  chain: AuditChain,
  clock: Clock,
  before: number,
): Promise<AuditPruning> {
  const run = <T>(work: (transaction: Transaction) => T) =>
    runStatement(clock, () => database.transaction(work, { behavior: "immediate" }), ATTEMPTS_FEW);
  const reads = await run((transaction) => dropCounts(transaction, auditReads, before));
  const refusals = await run((transaction) => dropCounts(transaction, auditRefusals, before));
  const { dropped, fault } = await run((transaction) => dropEntries(transaction, chain, before));
  const isDone = Math.max(reads, refusals, dropped) < AUDIT_PIECE;
  return { entries: dropped, isDone, fault };
}

function dropCounts(
  transaction: Transaction,
  table: typeof auditReads | typeof auditRefusals,
  before: number,
): number {
  const oldest = sql`rowid in (select rowid from ${table} where ${table.minute} < ${before} limit ${AUDIT_PIECE})`;
  return transaction.delete(table).where(oldest).returning({ minute: table.minute }).all().length;
}

function dropEntries(
  transaction: Transaction,
  chain: AuditChain,
  before: number,
): { dropped: number; fault: AuditFault | undefined } {
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
