import {
  and,
  asc,
  count,
  desc,
  eq,
  gt,
  inArray,
  isNotNull,
  lt,
  lte,
  min,
  notExists,
  type SQL,
} from "drizzle-orm";
import type { AuditEntry } from "../audit/audit-entry.ts";
import {
  type Delivery,
  type DeliveryFigures,
  type DeliveryFilter,
  DELIVERY_STATES,
  type OpenDelivery,
} from "../callbacks/delivery-store.ts";
import type { AuditChain } from "./audit-chain.ts";
import {
  type DeliveryParts,
  END_OF_PUSH,
  freeLane,
  keepUntil,
  openDelivery,
  selectDeliveries,
  toDelivery,
} from "./delivery-rows.ts";
import { claimDueWork } from "./due-work.ts";
import { deliveries, pushes } from "./schema.ts";
import { BACKGROUND_ATTEMPTS } from "./sql.ts";

/** What the lists work with. */
export interface DeliveryListParts extends DeliveryParts {
  readonly audit: AuditChain;
}

const PRUNING = "delivery_pruning";
const PRUNE_EVERY_MS = 60_000;
/** So many pushes are deleted at once. */
const PIECE = 200;
const COUNTED = ["waiting", "dead"] as const;

/** What becomes of deliveries that wait again. */
export interface Replay {
  /** The targets that are pulled. */
  readonly pulled: ReadonlySet<string>;
  readonly now: number;
  readonly lifeMs: number;
  readonly knownMs: number;
}

/** What people and programs see of the queue, and do with it. */
export class DeliveryLists {
  readonly #parts: DeliveryListParts;

  constructor(parts: DeliveryListParts) {
    this.#parts = parts;
  }

  /** See `DeliveryStore.find`. */
  async find(filter: DeliveryFilter, id: number): Promise<OpenDelivery | undefined> {
    const isIt = and(isWanted(filter), eq(deliveries.id, id));
    const [row] = await this.#parts.database.read((queries) => selectDeliveries(queries).where(isIt));
    return row && openDelivery(row, this.#parts);
  }

  /** See `DeliveryStore.list`. */
  async list(
    filter: DeliveryFilter,
    { limit, before }: { readonly limit: number; readonly before?: number | undefined },
  ): Promise<Delivery[]> {
    // By state, as the index has them.
    const states = filter.state ? [filter.state] : DELIVERY_STATES;
    const isBefore = before === undefined ? undefined : lt(deliveries.id, before);
    const rows = await this.#parts.database.snapshot(async (queries) => {
      const found: Delivery[] = [];
      for (const state of states) {
        const isOne = and(isWanted({ ...filter, state }), isBefore);
        const some = await selectDeliveries(queries).where(isOne).orderBy(desc(deliveries.id)).limit(limit);
        found.push(...some.map(toDelivery));
      }
      return found;
    });
    return rows.toSorted((a, b) => b.id - a.id).slice(0, limit);
  }

  /** See `DeliveryStore.replay`. */
  replay(
    filter: DeliveryFilter,
    which:
      { readonly ids: readonly number[] } | { readonly limit: number; readonly after?: number | undefined },
    { pulled, now, lifeMs, knownMs }: Replay,
    entry: AuditEntry,
  ): Promise<readonly number[]> {
    return this.#parts.database.transact(async (queries, sql) => {
      const isOne =
        "ids" in which ? inArray(deliveries.id, [...which.ids]) : gt(deliveries.id, which.after ?? 0);
      const rows = await selectDeliveries(queries)
        .where(and(isWanted(filter), isOne, isNotNull(pushes.request)))
        .orderBy(asc(deliveries.id))
        .limit("ids" in which ? which.ids.length : which.limit);
      if (rows.length === 0) return [];
      await this.#parts.audit.append(queries, entry);
      const expiresAt = now + lifeMs;
      const again = { state: "waiting", attempts: 0, endedAt: null, error: null, expiresAt };
      const free = { leaseHolder: null, leaseExpiresAt: null };
      for (const isPulled of [true, false]) {
        const ids = rows.filter(({ target }) => pulled.has(target) === isPulled).map(({ id }) => id);
        const set = { ...again, ...free, dueAt: isPulled ? expiresAt : now };
        if (ids.length > 0) await queries.update(deliveries).set(set).where(inArray(deliveries.id, ids));
      }
      for (const push of rows) await keepUntil(sql, push, now + knownMs);
      return rows.map(({ id }) => id);
    });
  }

  /** See `DeliveryStore.drop`. */
  drop(filter: DeliveryFilter, id: number, now: number, entry: AuditEntry): Promise<boolean> {
    const isIt = and(isWanted(filter), eq(deliveries.id, id), inArray(deliveries.state, [...COUNTED]));
    return this.#parts.database.transact(async (queries, sql) => {
      const set = { state: "dropped", endedAt: now, leaseHolder: null, leaseExpiresAt: null };
      const [row] = await queries.update(deliveries).set(set).where(isIt).returning();
      if (!row) return false;
      await this.#parts.audit.append(queries, entry);
      await sql.query(END_OF_PUSH, [null, row.app, row.dedupeKey]);
      await freeLane(queries, row.id, now);
      return true;
    });
  }

  /** See `DeliveryStore.figures`. */
  figures(): Promise<DeliveryFigures> {
    return this.#parts.database.snapshot(async (queries) => {
      const counted = await queries
        .select({ state: deliveries.state, n: count(), oldestAt: min(deliveries.createdAt) })
        .from(deliveries)
        .where(inArray(deliveries.state, [...COUNTED]))
        .groupBy(deliveries.state);
      const of = (state: string) => counted.find((each) => each.state === state);
      return {
        ...{ waiting: of("waiting")?.n ?? 0, dead: of("dead")?.n ?? 0 },
        oldestAt: of("waiting")?.oldestAt ?? undefined,
      };
    });
  }

  /** See `DeliveryStore.prune`. */
  prune(now: number): Promise<boolean> {
    return this.#parts.database.transact(
      async (queries, sql) => {
        const isWaiting = and(
          eq(deliveries.app, pushes.app),
          eq(deliveries.dedupeKey, pushes.dedupeKey),
          eq(deliveries.state, "waiting"),
        );
        const waiting = queries.select({ id: deliveries.id }).from(deliveries).where(isWaiting);
        const old = await queries
          .select({ app: pushes.app, dedupeKey: pushes.dedupeKey })
          .from(pushes)
          .where(and(lte(pushes.expiresAt, now), notExists(waiting)))
          .limit(PIECE);
        for (const { app, dedupeKey } of old)
          for (const table of ["deliveries", "pushes"])
            await sql.query(`DELETE FROM ${table} WHERE app = ? AND dedupe_key = ?`, [app, dedupeKey]);
        return old.length === PIECE;
      },
      { maxAttempts: BACKGROUND_ATTEMPTS },
    );
  }

  /** See `DeliveryStore.claimPruning`. */
  async claimPruning(now: number): Promise<number> {
    const { database } = this.#parts;
    // Looked at first without the lock, so that a service without pushes writes nothing.
    const [some] = await database.rows("SELECT 1 FROM pushes WHERE expires_at <= ? LIMIT 1", [now]);
    if (!some) return PRUNE_EVERY_MS;
    return database.transact((queries) => claimDueWork(queries, PRUNING, now, PRUNE_EVERY_MS), {
      maxAttempts: BACKGROUND_ATTEMPTS,
    });
  }
}

function isWanted({ app, environment, state, target }: DeliveryFilter): SQL | undefined {
  return and(
    eq(deliveries.app, app),
    environment === undefined ? undefined : eq(deliveries.environment, environment),
    state && eq(deliveries.state, state),
    target === undefined ? undefined : eq(deliveries.target, target),
  );
}
