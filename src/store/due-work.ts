import { eq, gt, lte, or } from "drizzle-orm";
import { dueWork } from "./schema.ts";
import type { Queries } from "./sql.ts";

/**
 * Takes the next round of what is done once in `everyMs` among all processes: 0, or how long it is until the next is due,
 * in milliseconds. Part of a transaction.
 */
export async function claimDueWork(
  queries: Queries,
  name: string,
  now: number,
  everyMs: number,
): Promise<number> {
  const dueAt = now + everyMs;
  // What is due later than any claim could say was written under a clock that has been set back since.
  const isDue = or(lte(dueWork.dueAt, now), gt(dueWork.dueAt, dueAt));
  const claimed = await queries
    .insert(dueWork)
    .values({ name, dueAt })
    .onConflictDoUpdate({ target: dueWork.name, set: { dueAt }, ...(isDue ? { setWhere: isDue } : {}) })
    .returning()
    .get();
  if (claimed) return 0;
  const [current] = await queries.select().from(dueWork).where(eq(dueWork.name, name));
  return Math.max(1, (current?.dueAt ?? 0) - now);
}
