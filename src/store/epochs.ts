import { lt } from "drizzle-orm";
import type { Topic } from "../changes.ts";
import { raised as raisedNumber } from "./damaged-rows.ts";
import { revisions } from "./schema.ts";
import type { Queries } from "./sql.ts";

/**
 * The row whose number is that of the oldest migration which processes must know to answer rightly. A migration raises it
 * where older code would not, as one that makes real tokens virtual; one that only adds leaves it.
 */
export const COMPATIBLE_FROM = "compatible_from";

/** The part of a change feed that stores tell of their own changes. */
export interface OwnChanges {
  /** Makes the feed know what this process has committed: when it resolves, or with the next look. Never rejects. */
  expire(): void | Promise<void>;
  /**
   * Where time is the database's: measures it anew when this machine's own clock was set since that was done last, and
   * says whether it was. Never rejects.
   */
  remeasure?(): Promise<boolean>;
}

/** Raises the epoch of a topic with the rest of the transaction, and returns the new one. Once that is committed, `expire` is to be called. */
export async function raiseEpoch(queries: Queries, topic: Topic): Promise<number> {
  const number = raisedNumber(revisions.number);
  const raised = await queries
    .insert(revisions)
    .values({ name: topic, number: 1 })
    .onConflictDoUpdate({ target: revisions.name, set: { number } })
    .returning({ number: revisions.number });
  return raised[0]?.number ?? 0;
}

/** Shuts out processes that don't know that migration, with the rest of the transaction: they stop when they see it. */
export async function raiseCompatibleFrom(queries: Queries, migration: number): Promise<void> {
  await queries
    .insert(revisions)
    .values({ name: COMPATIBLE_FROM, number: migration })
    .onConflictDoUpdate({
      target: revisions.name,
      set: { number: migration },
      setWhere: lt(revisions.number, migration),
    });
}
