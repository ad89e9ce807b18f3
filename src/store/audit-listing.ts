import { setImmediate as nextTurn } from "node:timers/promises";
import { and, asc, desc, eq, gt, gte, inArray, lt, lte, max, min, ne } from "drizzle-orm";
import type { AuditAction, AuditRecord } from "../audit/audit-entry.ts";
import type { AuditFilter, AuditPage } from "../audit/audit-store.ts";
import type { SqlDatabase } from "./sql.ts";
import type { EntryRow } from "./audit-chain.ts";
import { checkRow } from "./damaged-rows.ts";
import { auditEntries } from "./schema.ts";

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
  { limit, from }: { readonly limit: number; readonly from: Place },
  look: (from: Place, most: number) => Promise<AuditWindow<Row, Place>>,
): Promise<Row[]> {
  const page: Row[] = [];
  for (let place = from; ; await nextTurn()) {
    const { rows, next } = await look(place, limit - page.length);
    page.push(...rows);
    if (next === undefined || page.length >= limit) return page;
    place = next;
  }
}

const { id, at } = auditEntries;

/** Pages of the audit's entries. */
export class AuditListing {
  readonly #database: SqlDatabase;

  constructor(database: SqlDatabase) {
    this.#database = database;
  }

  /** See `AuditStore.list`. */
  async newestFirst(filter: AuditFilter, { limit, before }: AuditPage): Promise<AuditRecord[]> {
    const bounds = await this.#bounds(filter);
    const from = Math.min(before ?? Infinity, bounds.last + 1);
    return fillPage({ limit, from }, (from, most) => {
      const isBetween = (end = bounds.first) => and(lt(id, from), gte(id, end));
      return this.#window(filter, { isBetween, order: desc(id), most });
    });
  }

  /** See `AuditStore.walk`. */
  async *walk(filter: AuditFilter): AsyncGenerator<readonly AuditRecord[], undefined> {
    const bounds = await this.#bounds(filter);
    for (let place: number | undefined = bounds.first - 1; place !== undefined; await nextTurn()) {
      const from: number = place;
      const isBetween = (end = bounds.last) => and(gt(id, from), lte(id, end));
      const { rows, next } = await this.#window(filter, { isBetween, order: asc(id), most: AUDIT_WINDOW });
      yield rows;
      place = next;
    }
  }

  /** The ids between which the time of `filter` lies; the index alone tells. */
  async #bounds({ since, until }: AuditFilter): Promise<{ first: number; last: number }> {
    const all = { first: Number.MIN_SAFE_INTEGER, last: Number.MAX_SAFE_INTEGER - 1 };
    // Without a beginning that would be a walk through most of the table.
    if (since === undefined) return all;
    const isWithin = and(gte(at, since), until === undefined ? undefined : lt(at, until));
    const [bounds] = await this.#database.read((queries) =>
      queries
        .select({ first: min(id), last: max(id) })
        .from(auditEntries)
        .where(isWithin),
    );
    return { first: bounds?.first ?? 0, last: bounds?.last ?? -1 };
  }

  async #window(
    filter: AuditFilter,
    { isBetween, order, most }: WindowPlace,
  ): Promise<AuditWindow<AuditRecord, number>> {
    const last = await this.#database.read((queries) =>
      queries
        .select({ id })
        .from(auditEntries)
        .where(isBetween())
        .orderBy(order)
        .limit(1)
        .offset(AUDIT_WINDOW - 1),
    );
    const next = last[0]?.id;
    const isWanted = and(isBetween(next), passes(filter));
    const rows = await this.#database.read((queries) =>
      queries.select().from(auditEntries).where(isWanted).orderBy(order).limit(most),
    );
    return { rows: rows.map(toRecord), next };
  }
}

type Condition = ReturnType<typeof and>;

interface WindowPlace {
  /** From where the window begins to `end`, or as far as the page may go. One bound: of two, SQLite may search by the far one. */
  readonly isBetween: (end?: number) => Condition;
  readonly order: ReturnType<typeof asc>;
  readonly most: number;
}

function passes({ app, apps, client, ...filter }: AuditFilter): Condition {
  const { environment, action, tokenDigest, since, until } = filter;
  const isOfApps = apps === "any" ? ne(auditEntries.app, "") : apps && inArray(auditEntries.app, [...apps]);
  return and(
    isOfApps,
    app === undefined ? undefined : eq(auditEntries.app, app),
    client === undefined ? undefined : eq(auditEntries.client, client),
    environment === undefined ? undefined : eq(auditEntries.environment, environment),
    action === undefined ? undefined : eq(auditEntries.action, action),
    tokenDigest === undefined ? undefined : eq(auditEntries.tokenDigest, tokenDigest),
    since === undefined ? undefined : gte(at, since),
    until === undefined ? undefined : lt(at, until),
  );
}

function toRecord(stored: EntryRow): AuditRecord {
  const { action, detail, ...row } = checkRow(auditEntries, stored).row;
  return { ...row, action: action as AuditAction, detail: parseDetail(detail) };
}

/** Whoever tampered with the text is told of by `verify`; here it must not keep the other entries from being seen. */
function parseDetail(text: string): Record<string, unknown> {
  try {
    const detail: unknown = JSON.parse(text);
    if (typeof detail === "object" && detail !== null) return { ...detail };
  } catch {
    // As for anything else that is no object.
  }
  return { unreadable: true };
}
