import { and, desc, eq, like, or, type SQL, sql } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import type { AuditFilter, ReadCount, ReadKey, RefusalCount, RefusalKey } from "../../audit/audit-store.ts";
import type { Clock } from "../../clock.ts";
import type { Transaction } from "./statement.ts";
import { AUDIT_WINDOW, type AuditWindow, fillPage } from "./audit-listing.ts";
import { auditReads, auditRefusals } from "./schema.ts";

const MINUTE_MS = 60_000;

/** The columns of the primary keys, in their order, by which pages are found. */
const READ_KEY = [
  auditReads.minute,
  auditReads.client,
  auditReads.environment,
  auditReads.action,
  auditReads.app,
];
const REFUSAL_KEY = [
  auditRefusals.minute,
  auditRefusals.address,
  auditRefusals.client,
  auditRefusals.route,
  auditRefusals.code,
];

/** The counts of reads and refusals in SQLite. */
export class AuditCountTables {
  readonly #database: BunSQLiteDatabase;
  readonly #clock: Clock;

  constructor(database: BunSQLiteDatabase, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  /** Adds to what is counted. */
  addReads(transaction: Transaction, counts: readonly ReadCount[]): void {
    if (counts.length === 0) return;
    const set = { count: sql`${auditReads.count} + excluded.count` };
    const insert = transaction.insert(auditReads).values([...counts]);
    insert.onConflictDoUpdate({ target: READ_KEY, set }).run();
  }

  /** Adds to what is counted. */
  addRefusals(transaction: Transaction, counts: readonly RefusalCount[]): void {
    if (counts.length === 0) return;
    const set = { count: sql`${auditRefusals.count} + excluded.count` };
    const insert = transaction.insert(auditRefusals).values([...counts]);
    insert.onConflictDoUpdate({ target: REFUSAL_KEY, set }).run();
  }

  /** See `AuditStore.listReads`. */
  listReads(
    filter: AuditFilter,
    { limit, after }: { readonly limit: number; readonly after?: ReadKey | undefined },
  ): Promise<ReadCount[]> {
    const { client, environment, action, app } = auditReads;
    const isWanted = and(
      filter.client === undefined ? undefined : eq(client, filter.client),
      filter.environment === undefined ? undefined : eq(environment, filter.environment),
      filter.action === undefined
        ? undefined
        : or(eq(action, filter.action), like(action, `${filter.action} %`)),
      filter.app === undefined ? undefined : eq(app, filter.app),
    );
    return fillPage<ReadCount, ReadKey | undefined>(this.#clock, { limit, from: after }, (from, most) =>
      this.#window({ table: auditReads, key: READ_KEY, filter, isWanted, from, most }),
    );
  }

  /** See `AuditStore.listRefusals`. */
  listRefusals(
    filter: AuditFilter,
    { limit, after }: { readonly limit: number; readonly after?: RefusalKey | undefined },
  ): Promise<RefusalCount[]> {
    const isWanted = filter.client === undefined ? undefined : eq(auditRefusals.client, filter.client);
    return fillPage<RefusalCount, RefusalKey | undefined>(this.#clock, { limit, from: after }, (from, most) =>
      this.#window({ table: auditRefusals, key: REFUSAL_KEY, filter, isWanted, from, most }),
    );
  }

  /** One window, the newest first. The columns are called in the database as the fields are. */
  #window<Row, Key extends MinuteKey>(place: WindowPlace<Key>): AuditWindow<Row, Key> {
    const { table, key, isWanted, most } = place;
    const { top, bottom } = boundsOf(place);
    const order = sql.join(
      key.map((column) => desc(column)),
      sql`, `,
    );
    const isBelow = top && compare(key, sql`<`, top);
    const isAbove = (end: object | undefined) => end && compare(key, sql`>=`, end);
    const isBehind = and(isBelow, isAbove(bottom)) ?? sql`true`;
    const [next] = this.#database.all<Key>(
      sql`select * from ${table} where ${isBehind} order by ${order} limit 1 offset ${AUDIT_WINDOW - 1}`,
    );
    const isInWindow = and(isBelow, isAbove(next ?? bottom), isWanted) ?? sql`true`;
    const rows = this.#database.all<Row>(
      sql`select * from ${table} where ${isInWindow} order by ${order} limit ${most}`,
    );
    return { rows, next };
  }
}

type KeyColumn = (typeof READ_KEY)[number] | (typeof REFUSAL_KEY)[number];

interface MinuteKey {
  readonly minute: number;
}

interface WindowPlace<Key> {
  readonly table: typeof auditReads | typeof auditRefusals;
  readonly key: readonly KeyColumn[];
  readonly filter: AuditFilter;
  readonly isWanted: SQL | undefined;
  readonly from: Key | undefined;
  readonly most: number;
}

/** Time as a part of the key: told in any other way, the index would be used for the time alone. */
function boundsOf({ key, filter, from }: WindowPlace<MinuteKey>): { top?: object; bottom?: object } {
  const { since, until } = filter;
  const isFromWithin = from && (until === undefined || from.minute < until);
  const top = isFromWithin ? from : until === undefined ? undefined : firstOf(key, until);
  // A minute counts when any of it is within.
  const bottom = since === undefined ? undefined : firstOf(key, since - MINUTE_MS + 1);
  return { ...(top ? { top } : {}), ...(bottom ? { bottom } : {}) };
}

/** What no key of that minute, or of a later one, is below. */
function firstOf(key: readonly KeyColumn[], minute: number): object {
  const lowest = key.map(({ name, dataType }) => [
    name,
    dataType === "number" ? Number.MIN_SAFE_INTEGER : "",
  ]);
  return { ...Object.fromEntries(lowest), minute };
}

/** The whole key is compared at once, as the index has it. */
function compare(columns: readonly KeyColumn[], operator: SQL, key: object): SQL {
  const values: Readonly<Record<string, unknown>> = { ...key };
  const bounds = columns.map((column) => sql`${values[column.name]}`);
  return sql`(${sql.join([...columns], sql`, `)}) ${operator} (${sql.join(bounds, sql`, `)})`;
}
