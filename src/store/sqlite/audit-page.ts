import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../../clock.ts";
import { runStatement } from "./statement.ts";

/** How many rows of a long table are gone through before others have a turn. */
export const AUDIT_WINDOW = 1000;

/** What one window of a table has. */
export interface AuditWindow<Row, Place> {
  /** Those that were asked for, in order. */
  readonly rows: readonly Row[];
  /** Where the next window begins; undefined after the last. */
  readonly next: NonNullable<Place> | undefined;
}

/**
 * Fills a page of at most `limit` rows from one window after the other: a filter that few rows pass makes the search
 * long, and a database that is read without a wait would hold up everybody else meanwhile.
 */
export async function fillPage<Row, Place>(
  clock: Clock,
  { limit, from }: { readonly limit: number; readonly from: Place },
  look: (from: Place, most: number) => AuditWindow<Row, Place>,
): Promise<Row[]> {
  const page: Row[] = [];
  for (let place = from; ; await nextTurn()) {
    const start = place;
    const { rows, next } = await runStatement(clock, () => look(start, limit - page.length));
    page.push(...rows);
    if (next === undefined || page.length >= limit) return page;
    place = next;
  }
}
