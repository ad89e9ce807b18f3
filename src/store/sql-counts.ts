import { and, count, desc, eq, gte, inArray, like, lt, max, min, sql, sum } from "drizzle-orm";
import { ANY_APP } from "../access/client.ts";
import { denialOf, isCountOf, OTHER, usageOf } from "../audit/audit-counts.ts";
import type {
  AuditFilter,
  AuditPage,
  CountKind,
  DenialCount,
  MinuteCount,
  UsageCount,
  UsageOf,
  UsageSum,
} from "../audit/audit-store.ts";
import type { CallCount, CallCountStore, HourOfCalls, Piece } from "../audit/call-counts.ts";
import { hourOf } from "../clock.ts";
import type { HourlyCount } from "../credentials/refresh-log.ts";
import type { Platform } from "../errors.ts";
import { BACKGROUND_ATTEMPTS, inLockOrder, type Queries, type SqlDatabase } from "./sql.ts";
import { AUDIT_WINDOW, fillPage } from "./audit-listing.ts";
import { checkRow } from "./damaged-rows.ts";
import { callCounts, counts } from "./schema.ts";
import { addHourly } from "./sql-refresh-log-store.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** Among so many counts the ids of a time are looked up; where there are more, the search goes through all. */
const MAX_BOUNDED = 100_000;

/** What hands a value out, a signature made with it included, and what is a call through the gateway. */
const SERIES_OF = [
  ["token:read", "uses"],
  ["token:refresh", "uses"],
  ["ticket:", "uses"],
  ["api:call", "gateway"],
] as const;

/** The audit's counts in a SQL database, both kinds in one table. */
export class AuditCountTable {
  readonly #database: SqlDatabase;

  constructor(database: SqlDatabase) {
    this.#database = database;
  }

  /** Adds to what is counted. */
  async add(queries: Queries, added: readonly MinuteCount[]): Promise<void> {
    // PostgreSQL refuses to update a row twice in one statement.
    const sums = new Map<string, MinuteCount>();
    for (const row of added) {
      const name = `${row.kind} ${row.minute} ${row.key}`;
      sums.set(name, { ...row, n: row.n + (sums.get(name)?.n ?? 0) });
    }
    if (sums.size === 0) return;
    const named = inLockOrder(sums, ([name]) => name).map(([, row]) => row);
    await queries
      .insert(counts)
      // Each gets the next id, and a page has the highest first.
      .values(named.toSorted((a, b) => a.minute - b.minute))
      .onConflictDoUpdate({
        target: [counts.kind, counts.minute, counts.key],
        set: { n: sql`${counts.n} + excluded.n` },
      });
    await addHourly(queries, [...sums.values()].flatMap(hourlyOf));
  }

  /** See `AuditStore.listUsage`. */
  listUsage(filter: AuditFilter, page: AuditPage): Promise<UsageCount[]> {
    const { client, environment, action, app, apps } = filter;
    const isOfApps = (name: string) =>
      apps === undefined || (apps === "any" ? name !== ANY_APP && name !== OTHER : apps.includes(name));
    return this.#page("usage", filter, page, (row) => {
      const found = usageOf(row);
      const isWanted =
        (client === undefined || isCountOf(client, found.client)) &&
        (environment === undefined || found.environment === environment) &&
        (app === undefined || found.app === app) &&
        isOfApps(found.app) &&
        (action === undefined || found.action === action || found.action.startsWith(`${action} `));
      return isWanted ? [found] : [];
    });
  }

  /** See `AuditStore.sumUsage`. */
  async sumUsage({ client, app, since, until = Infinity }: UsageOf): Promise<UsageSum[]> {
    const sums = new Map<string, UsageSum>();
    const isUsage = eq(counts.kind, "usage");
    // It is the last name of a key. What matches beside it is sorted out below.
    const isOfApp = app === undefined ? undefined : like(counts.key, `%${app}`);
    const [newest] = await this.#database.read((queries) =>
      queries
        .select({ minute: max(counts.minute) })
        .from(counts)
        .where(isUsage),
    );
    // By the hour: a busy day has more counts than one statement should read.
    const end = Math.min((newest?.minute ?? -1) + 1, until);
    for (let hour = since - MINUTE_MS + 1; hour < end; hour += HOUR_MS) {
      const before = Math.min(hour + HOUR_MS, end);
      const isWithin = and(isUsage, gte(counts.minute, hour), lt(counts.minute, before), isOfApp);
      const rows = await this.#database.read((queries) =>
        queries
          .select({ key: counts.key, n: sum(counts.n).mapWith(Number) })
          .from(counts)
          .where(isWithin)
          .groupBy(counts.key),
      );
      for (const row of rows) {
        const found = usageOf({ ...row, id: 0, minute: hour, kind: "usage" });
        if (client !== undefined && !isCountOf(client, found.client)) continue;
        if (app !== undefined && found.app !== app) continue;
        const of = { client: found.client, environment: found.environment, app: found.app };
        const name = Object.values(of).join(" ");
        sums.set(name, { ...of, count: (sums.get(name)?.count ?? 0) + found.count });
      }
    }
    return [...sums.values()].toSorted((a, b) => b.count - a.count);
  }

  /** See `AuditStore.sumMinutes`. */
  async sumMinutes(since: number): Promise<{ minute: number; usage: number; denials: number }[]> {
    const { kind, minute, n } = counts;
    const rows = await this.#database.read((queries) =>
      queries
        .select({ kind, minute, n: sum(n).mapWith(Number) })
        .from(counts)
        .where(and(inArray(kind, ["usage", "denial"]), gte(minute, since)))
        .groupBy(kind, minute),
    );
    const of = (wanted: string, at: number) =>
      rows.find((row) => row.kind === wanted && row.minute === at)?.n ?? 0;
    return [...new Set(rows.map((row) => row.minute))]
      .toSorted((a, b) => a - b)
      .map((at) => ({ minute: at, usage: of("usage", at), denials: of("denial", at) }));
  }

  /** See `AuditStore.listDenials`. */
  listDenials(filter: AuditFilter, page: AuditPage): Promise<DenialCount[]> {
    return this.#page("denial", filter, page, (row) => {
      const found = denialOf(row);
      return filter.client === undefined || found.client === filter.client ? [found] : [];
    });
  }

  /** Drops up to so many counts of a kind from before `before`, and answers how many it dropped. */
  async drop(queries: Queries, kind: CountKind, before: number, limit: number): Promise<number> {
    const oldest = queries
      .select({ id: counts.id })
      .from(counts)
      .where(and(eq(counts.kind, kind), lt(counts.minute, before)))
      .limit(limit);
    const dropped = await queries
      .delete(counts)
      .where(inArray(counts.id, oldest))
      .returning({ id: counts.id });
    return dropped.length;
  }

  /** As `drop`, for counts of upstream calls from before `day`. */
  async dropCalls(queries: Queries, day: string, limit: number): Promise<number> {
    const { platform, appId, endpoint } = callCounts;
    const names = { platform, appId, endpoint, day: callCounts.day };
    const oldest = queries.select(names).from(callCounts).where(lt(callCounts.day, day)).limit(limit);
    const dropped = await queries
      .delete(callCounts)
      .where(sql`(${platform}, ${appId}, ${endpoint}, ${callCounts.day}) in ${oldest}`)
      .returning({ calls: callCounts.calls });
    return dropped.length;
  }

  async #page<Count>(
    kind: CountKind,
    { since, until }: AuditFilter,
    { limit, before }: AuditPage,
    toCounts: (row: typeof counts.$inferSelect & MinuteCount) => Count[],
  ): Promise<Count[]> {
    // A minute counts when any of it is within.
    const from = since === undefined ? undefined : since - MINUTE_MS + 1;
    const bounds = await this.#bounds(kind, from, until);
    const isInTime = ({ minute }: MinuteCount) =>
      (from === undefined || minute >= from) && (until === undefined || minute < until);
    const start = Math.min(before ?? Infinity, bounds.last + 1);
    return fillPage({ limit, from: start }, async (below, most) => {
      const isBetween = and(eq(counts.kind, kind), lt(counts.id, below), gte(counts.id, bounds.first));
      const rows = await this.#database.read((queries) =>
        queries.select().from(counts).where(isBetween).orderBy(desc(counts.id)).limit(AUDIT_WINDOW),
      );
      const found = rows
        .filter((row) => checkRow(counts, row).damaged.length === 0)
        .map((row) => ({ ...row, kind }))
        .filter(isInTime)
        .flatMap(toCounts);
      const next = rows.length < AUDIT_WINDOW ? undefined : rows.at(-1)?.id;
      return { rows: found.slice(0, most), next };
    });
  }

  /** The ids between which the counts of a time lie; the index alone says so. */
  async #bounds(
    kind: CountKind,
    from: number | undefined,
    until: number | undefined,
  ): Promise<{ first: number; last: number }> {
    const all = { first: 0, last: Number.MAX_SAFE_INTEGER - 1 };
    if (from === undefined) return all;
    const isWithin = and(
      eq(counts.kind, kind),
      gte(counts.minute, from),
      until === undefined ? undefined : lt(counts.minute, until),
    );
    const [bounds] = await this.#database.read((queries) => {
      const ids = queries.select({ id: counts.id }).from(counts).where(isWithin).limit(MAX_BOUNDED);
      const within = ids.as("within");
      return queries.select({ first: min(within.id), last: max(within.id), size: count() }).from(within);
    });
    return bounds?.size === MAX_BOUNDED ? all : { first: bounds?.first ?? 0, last: bounds?.last ?? -1 };
  }
}

/** What a count of use adds to those of its app and hour. */
function hourlyOf(count: MinuteCount): HourlyCount[] {
  if (count.kind !== "usage") return [];
  const { action, app, count: n } = usageOf({ ...count, id: 0 });
  const series = SERIES_OF.find(([prefix]) => action.startsWith(prefix))?.[1];
  return series && isApp(app) ? [{ app, hour: hourOf(count.minute), series, n }] : [];
}

/** Whether it is the name of an app that we hold, and not of all others together. */
function isApp(name: string): boolean {
  return !["", "*", OTHER].includes(name);
}

/** Counts of upstream calls in a SQL database. */
export class SqlCallCountStore implements CallCountStore {
  readonly #database: SqlDatabase;

  constructor(database: SqlDatabase) {
    this.#database = database;
  }

  async add(added: readonly HourOfCalls[]): Promise<void> {
    const target = [callCounts.platform, callCounts.appId, callCounts.endpoint, callCounts.day];
    const addAll = async (queries: Queries) => {
      const nameOf = ({ platform, appId, endpoint, day }: HourOfCalls) =>
        [platform, appId, endpoint, day].join(" ");
      for (const { hour: _hour, ...row } of inLockOrder(added, nameOf)) {
        const set = { calls: sql`${callCounts.calls} + ${row.calls}` };
        await queries.insert(callCounts).values(row).onConflictDoUpdate({ target, set });
      }
      const ofHours = added.filter(({ appId }) => isApp(appId));
      await addHourly(
        queries,
        ofHours.map(({ appId, hour, calls }) => ({ app: appId, hour, series: "calls", n: calls })),
      );
    };
    await this.#database.transact(addAll, { maxAttempts: BACKGROUND_ATTEMPTS, isIndependent: true });
  }

  async ofApps(appIds: readonly string[], day: string): Promise<CallCount[]> {
    const { platform, appId } = callCounts;
    // Both platforms are named, so that the index of a day is used.
    const isEither = inArray(platform, ["weixin", "wecom"]);
    const isOne = and(eq(callCounts.day, day), isEither, inArray(appId, [...appIds]));
    const rows = await this.#database.read((queries) => queries.select().from(callCounts).where(isOne));
    return rows.map(toCallCount);
  }

  async pageOfDay(day: string, after: string | undefined, limit: number): Promise<Piece<CallCount>> {
    const { platform, appId, endpoint } = callCounts;
    const names = (after ?? "  ").split(" ");
    const isBehind = sql`(${platform}, ${appId}, ${endpoint}) > (${sql.join(
      names.map((name) => sql`${name}`),
      sql`, `,
    )})`;
    const rows = await this.#database.read((queries) =>
      queries
        .select()
        .from(callCounts)
        .where(and(eq(callCounts.day, day), isBehind))
        .orderBy(platform, appId, endpoint)
        .limit(limit),
    );
    const last = rows.length < limit ? undefined : rows.at(-1);
    return {
      items: rows.map(toCallCount),
      next: last && [last.platform, last.appId, last.endpoint].join(" "),
    };
  }
}

function toCallCount(row: typeof callCounts.$inferSelect): CallCount {
  const platform: Platform = row.platform === "wecom" ? "wecom" : "weixin";
  return { ...checkRow(callCounts, row).row, platform };
}
