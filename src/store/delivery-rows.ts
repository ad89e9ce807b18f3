import {
  and,
  asc,
  eq,
  getTableColumns,
  gt,
  inArray,
  isNull,
  lt,
  lte,
  or,
  type SQL,
  sql as makeSql,
} from "drizzle-orm";
import { ROUTE_ROLES, type RouteRole } from "../callbacks/callback-settings.ts";
import {
  type Delivery,
  DELIVERY_STATES,
  type OpenDelivery,
  type PushName,
} from "../callbacks/delivery-store.ts";
import type { Secret } from "../secret.ts";
import { checkRow, type DamageReports } from "./damaged-rows.ts";
import type { Keyring } from "./keyring.ts";
import { deliveries, pushes } from "./schema.ts";
import type { SealedPlace } from "./sealing-key.ts";
import type { Queries, Sql, SqlDatabase } from "./sql.ts";

/** What the tables of pushes and deliveries are read and written with. */
export interface DeliveryParts {
  readonly database: SqlDatabase;
  readonly keyring: Keyring;
  readonly damage: DamageReports;
}

type Row = typeof deliveries.$inferSelect;
/** A delivery with what its push says; that is null where the push is gone. */
export type DeliveryRow = Row & {
  readonly type: string | null;
  readonly event: string | null;
  readonly request: string | null;
};

/** So long a delivery keeps later ones of its lane waiting. */
const HOLDS_MS = 60_000;

export const isWaiting = eq(deliveries.state, "waiting");

/** No lease is longer. */
const MAX_LEASE_MS = 60_000;

/** That nobody has a lease of it. One that ends later than any could was written under a clock that has been set back since. */
export function isFree(now: number): SQL | undefined {
  const { leaseExpiresAt } = deliveries;
  return or(isNull(leaseExpiresAt), lte(leaseExpiresAt, now), gt(leaseExpiresAt, now + MAX_LEASE_MS));
}

export function isPush({ app, dedupeKey }: PushName): SQL | undefined {
  return and(eq(pushes.app, app), eq(pushes.dedupeKey, dedupeKey));
}

export function isDeliveryOf({ app, dedupeKey }: PushName): SQL | undefined {
  return and(eq(deliveries.app, app), eq(deliveries.dedupeKey, dedupeKey));
}

/** Neither has a blank in it. */
export function keyOf({ app, dedupeKey }: PushName): string {
  return `${app} ${dedupeKey}`;
}

export function placeOf({ app, dedupeKey }: PushName, column: "request" | "answer"): SealedPlace {
  return { table: "pushes", row: `${app}:${dedupeKey}`, column };
}

/** Deliveries with what is known of their pushes. */
export function selectDeliveries(queries: Queries) {
  const { type, event, request } = pushes;
  return queries
    .select({ ...getTableColumns(deliveries), type, event, request })
    .from(deliveries)
    .leftJoin(pushes, and(eq(pushes.app, deliveries.app), eq(pushes.dedupeKey, deliveries.dedupeKey)));
}

/** What a delivered one is. */
export function delivered(at: number) {
  return { state: "delivered", endedAt: at, error: null, leaseHolder: null, leaseExpiresAt: null };
}

/** Lends deliveries; with `isTimed` they are anybody's when the lease has ended. */
export async function lend(
  queries: Queries,
  rows: readonly Pick<Row, "id">[],
  { holder, until }: { readonly holder: string; readonly until: number },
  isTimed = true,
): Promise<void> {
  if (rows.length === 0) return;
  const attempts = makeSql`${deliveries.attempts} + 1`;
  const lease = { leaseHolder: holder, leaseExpiresAt: until, attempts };
  const ids = rows.map(({ id }) => id);
  await queries
    .update(deliveries)
    .set(isTimed ? { ...lease, dueAt: until } : lease)
    .where(inArray(deliveries.id, ids));
}

/** Until when a delivery has to wait for an earlier one of its lane; undefined where it need not. */
export async function heldUntil(
  queries: Queries,
  row: Pick<Row, "id" | "app" | "target" | "lane">,
  now: number,
): Promise<number | undefined> {
  if (row.lane === "") return undefined;
  const isEarlier = and(isInLane(row), lt(deliveries.id, row.id), gt(deliveries.createdAt, now - HOLDS_MS));
  const [first] = await queries
    .select({ dueAt: deliveries.dueAt, createdAt: deliveries.createdAt })
    .from(deliveries)
    .where(isEarlier)
    .orderBy(asc(deliveries.id))
    .limit(1);
  return first && Math.min(Math.max(first.dueAt, now) + 1, first.createdAt + HOLDS_MS);
}

/**
 * What the end of a delivery changes of its push: that has the answer, if it had none, and its message goes once no delivery
 * needs it. Its parameters are the answer, or null, and the push's name.
 */
export const END_OF_PUSH = `UPDATE pushes SET answer = coalesce(answer, ?), request = CASE WHEN EXISTS (
    SELECT 1 FROM deliveries WHERE deliveries.app = pushes.app AND deliveries.dedupe_key = pushes.dedupe_key
    AND deliveries.state IN ('waiting', 'dead')) THEN request END
  WHERE app = ? AND dedupe_key = ?`;

/** Keeps what is known of a push until then at least. Part of a transaction, for each of many pushes. */
export async function keepUntil(sql: Sql, { app, dedupeKey }: PushName, until: number): Promise<void> {
  const text = "UPDATE pushes SET expires_at = ? WHERE app = ? AND dedupe_key = ? AND expires_at < ?";
  await sql.query(text, [until, app, dedupeKey, until]);
}

/** Makes the next delivery of the lane of one that has ended due. */
export async function freeLane(queries: Queries, id: number, now: number): Promise<void> {
  const [row] = await queries.select().from(deliveries).where(eq(deliveries.id, id));
  if (!row || row.lane === "") return;
  const next = queries
    .select({ id: makeSql`min(${deliveries.id})` })
    .from(deliveries)
    .where(and(isInLane(row), isFree(now)));
  const isLater = and(gt(deliveries.dueAt, now), lt(deliveries.dueAt, deliveries.expiresAt));
  await queries
    .update(deliveries)
    .set({ dueAt: now })
    .where(and(inArray(deliveries.id, next), isLater));
}

function isInLane({ app, target, lane }: Pick<Row, "app" | "target" | "lane">): SQL | undefined {
  return and(eq(deliveries.app, app), eq(deliveries.target, target), isWaiting, eq(deliveries.lane, lane));
}

/** A delivery as the feature knows it. */
export function toDelivery(stored: DeliveryRow): Delivery {
  const { type, event } = stored;
  const { row } = checkRow(deliveries, stored);
  const state = DELIVERY_STATES.find((each) => each === row.state) ?? "dead";
  return {
    ...{ id: row.id, app: row.app, dedupeKey: row.dedupeKey, state },
    ...{ type: textOf(type), event: textOf(event), target: row.target, environment: row.environment },
    role: ROUTE_ROLES.find((each): each is RouteRole => each === row.role) ?? "copy",
    ...{ attempts: row.attempts, receivedAt: row.createdAt, dueAt: row.dueAt, expiresAt: row.expiresAt },
    ...{ endedAt: row.endedAt ?? undefined, error: row.error ?? undefined },
  };
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** `toDelivery` with its push's request. */
export async function openDelivery(stored: DeliveryRow, parts: DeliveryParts): Promise<OpenDelivery> {
  const delivery = toDelivery(stored);
  const { request } = stored;
  const opened =
    typeof request === "string" ? await openSealed(parts, request, placeOf(delivery, "request")) : undefined;
  return { ...delivery, request: opened };
}

/** What is sealed there; undefined, and reported, where it can't be opened. */
export async function openSealed(
  { keyring, damage }: Pick<DeliveryParts, "keyring" | "damage">,
  text: string,
  place: SealedPlace,
): Promise<Secret | undefined> {
  const secret = await keyring.tryOpen(text, place);
  if (!secret) damage.note(`pushes:${place.row}`, [place.column]);
  return secret;
}
