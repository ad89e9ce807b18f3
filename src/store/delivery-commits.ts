import { or } from "drizzle-orm";
import { LIFE_MS } from "../callbacks/deliveries.ts";
import type { Accepted, AttemptEnd, NewDelivery, NewPush, PushName } from "../callbacks/delivery-store.ts";
import { Secret } from "../secret.ts";
import {
  type DeliveryParts,
  END_OF_PUSH,
  freeLane,
  isPush,
  keyOf,
  openSealed,
  placeOf,
} from "./delivery-rows.ts";
import { pushes } from "./schema.ts";
import type { SealingKey } from "./sealing-key.ts";
import type { Queries, Sql } from "./sql.ts";

/** How long a push is known: until no delivery of it can be under way. */
export const KNOWN_MS = LIFE_MS + 3_600_000;
/** How many rows one statement inserts: few numbers, for each is a statement that is kept prepared. */
const PIECES = [32, 8, 1];
/** Sooner than this no failed attempt is repeated. */
const SOON_REPEATED_MS = 750;

/** A push that is to be stored. */
export interface Arrival {
  readonly push: NewPush;
  readonly deliveries: readonly NewDelivery[];
  readonly holder: string;
}

/** The end of an attempt. */
export interface End {
  readonly ended: AttemptEnd;
  readonly answered: (PushName & { readonly answer: Secret }) | undefined;
}

/** What a transaction is written with. */
interface Writing {
  readonly queries: Queries;
  readonly sql: Sql;
  readonly key: SealingKey;
}

const NOTHING: Accepted = { ids: undefined, answer: undefined };

/** Writes what comes in one moment: new pushes, and how attempts have ended. */
export class DeliveryCommits {
  readonly #parts: DeliveryParts;

  constructor(parts: DeliveryParts) {
    this.#parts = parts;
  }

  /** All that came in one moment, in one transaction. Its statements are written by hand: each push pays for them. */
  async commit(items: readonly (Arrival | End)[]): Promise<Accepted[]> {
    const { accepted, known } = await this.#parts.database.transact(async (queries, sql) => {
      const key = await this.#parts.keyring.sealingKey(queries);
      const arrivals = items.filter((item) => "push" in item);
      const found = await this.#insert({ queries, sql, key }, arrivals);
      const ends = items.filter((item) => "ended" in item);
      await this.#end({ queries, sql, key }, ends);
      return found;
    });
    return Promise.all(
      items.map(async (item): Promise<Accepted> => {
        if (!("push" in item)) return NOTHING;
        const ids = accepted.get(item);
        if (ids) return { ids, answer: undefined };
        const sealed = known.get(keyOf(item.push));
        const answer = sealed
          ? await openSealed(this.#parts, sealed, placeOf(item.push, "answer"))
          : undefined;
        return { ids: undefined, answer };
      }),
    );
  }

  /** Stores what is new; gives the ids of its deliveries, and the sealed answers of what was known. */
  async #insert({ queries, sql, key }: Writing, arrivals: readonly Arrival[]) {
    const accepted = new Map<Arrival, number[]>();
    const known = new Map<string, string>();
    const fresh = new Set<string>();
    for (const piece of piecesOf(arrivals)) {
      const rows = piece.flatMap(({ push }) => {
        const { app, dedupeKey, receivedAt, type, event, request, answer } = push;
        const sealed = [
          request ? key.seal(request, placeOf(push, "request")) : null,
          answer ? key.seal(answer, placeOf(push, "answer")) : null,
        ];
        return [app, dedupeKey, receivedAt, type, event, ...sealed, receivedAt + KNOWN_MS];
      });
      const text = `INSERT INTO pushes (app, dedupe_key, received_at, type, event, request, answer, expires_at)
        VALUES ${marksOf(piece.length, 8)} ON CONFLICT DO NOTHING RETURNING app, dedupe_key`;
      for (const [app, dedupeKey] of (await sql.query(text, rows)) as string[][])
        fresh.add(`${app} ${dedupeKey}`);
    }
    // Of two of one name, one is new.
    const isNew = arrivals.filter(({ push }) => fresh.delete(keyOf(push)));
    for (const arrival of isNew) accepted.set(arrival, []);
    const each = isNew.flatMap((arrival) => arrival.deliveries.map((delivery) => ({ arrival, delivery })));
    const ids = new Map<string, number>();
    for (const piece of piecesOf(each)) {
      const rows = piece.flatMap(({ arrival, delivery }) => this.#rowOf(arrival, delivery));
      const text = `INSERT INTO deliveries (app, dedupe_key, target, environment, role, lane, state, attempts,
        due_at, created_at, expires_at, lease_holder, lease_expires_at)
        VALUES ${marksOf(piece.length, 13)} RETURNING app, dedupe_key, target, id`;
      for (const [app, dedupeKey, target, id] of await sql.query(text, rows))
        ids.set(`${String(app)} ${String(dedupeKey)} ${String(target)}`, Number(id));
    }
    for (const { arrival, delivery } of each)
      accepted.get(arrival)?.push(ids.get(`${keyOf(arrival.push)} ${delivery.target}`) ?? 0);
    const others = arrivals.filter((arrival) => !accepted.has(arrival));
    if (others.length > 0) {
      const isOne = or(...others.map(({ push }) => isPush(push)));
      for (const row of await queries.select().from(pushes).where(isOne))
        if (row.answer) known.set(keyOf(row), row.answer);
    }
    return { accepted, known };
  }

  #rowOf({ push, holder }: Arrival, { target, environment, role, sender, leasedUntil }: NewDelivery) {
    const { app, dedupeKey, receivedAt } = push;
    const expiresAt = receivedAt + LIFE_MS;
    const lane = sender === "" ? "" : this.#parts.keyring.digest("weixin", app, new Secret(sender));
    const isLeased = leasedUntil !== undefined;
    return [
      ...[app, dedupeKey, target, environment, role, lane, "waiting", isLeased ? 1 : 0],
      ...[leasedUntil ?? expiresAt, receivedAt, expiresAt],
      ...(isLeased ? [holder, leasedUntil] : [null, null]),
    ];
  }

  async #end({ queries, sql, key }: Writing, ends: readonly End[]): Promise<void> {
    for (const { ended, answered } of ends) {
      const { id, holder, at, failure } = ended;
      const answer = answered && key.seal(answered.answer, placeOf(answered, "answer"));
      const [row] = await sql.query(
        failure
          ? `UPDATE deliveries SET lease_holder = NULL, lease_expires_at = NULL, error = ?, due_at = ?
             WHERE id = ? AND lease_holder = ? AND state = 'waiting' RETURNING app, dedupe_key, created_at`
          : `UPDATE deliveries SET state = 'delivered', lease_holder = NULL, lease_expires_at = NULL, error = NULL, ended_at = ?
             WHERE id = ? AND lease_holder = ? AND state = 'waiting' RETURNING app, dedupe_key, created_at`,
        [...(failure ? [failure.error, failure.dueAt] : [at]), id, holder],
      );
      if (row && !failure) {
        await sql.query(END_OF_PUSH, [answer ?? null, row[0], row[1]]);
        // Nothing has waited for what was so fast: a failed attempt is repeated after a second at the earliest.
        if (at - Number(row[2]) >= SOON_REPEATED_MS) await freeLane(queries, id, at);
      } else if (answered)
        await sql.query("UPDATE pushes SET answer = coalesce(answer, ?) WHERE app = ? AND dedupe_key = ?", [
          ...[answer, answered.app, answered.dedupeKey],
        ]);
    }
  }
}

function piecesOf<T>(all: readonly T[]): (readonly T[])[] {
  const pieces: (readonly T[])[] = [];
  for (let start = 0; start < all.length;) {
    const size = PIECES.find((each) => each <= all.length - start) ?? 1;
    pieces.push(all.slice(start, start + size));
    start += size;
  }
  return pieces;
}

/** Question marks for so many rows of so many columns. */
function marksOf(rows: number, columns: number): string {
  const row = `(${Array.from({ length: columns }, () => "?").join()})`;
  return Array.from({ length: rows }, () => row).join();
}
