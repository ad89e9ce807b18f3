import { and, asc, inArray, lte } from "drizzle-orm";
import type { TargetLoad } from "../callbacks/delivery-store.ts";
import { type DeliveryRow, heldUntil, isWaiting, selectDeliveries } from "./delivery-rows.ts";
import { deliveries } from "./schema.ts";
import type { Queries } from "./sql.ts";

/** How long deliveries are put off for which their target has no room, so that they are not in the way of others'. */
const BUSY_MS = 1000;
const FAILING_MS = 30_000;
/** So many of those that a healthy target has no room for stay due: they follow as others end. */
const MAX_NEXT = 64;
/** How soon one that waits for another is looked at again, at the earliest. */
const SOON_MS = 100;
/** So many due ones are looked at in one transaction. */
const MAX_LOOKED_AT = 1024;
/** For so many lanes it is looked up in one transaction whether another delivery is ahead: each may cost two statements. */
const MAX_LANES_LOOKED_UP = 256;

/** What becomes of deliveries that are due. */
export interface Due {
  readonly taken: readonly DeliveryRow[];
  readonly died: readonly DeliveryRow[];
  /** The ids of those that are put off, by until when. */
  readonly later: ReadonlyMap<number, readonly number[]>;
}

/** A target in one round. */
interface Round {
  /** How many of its deliveries are under way, with those that are taken now. */
  busy: number;
  readonly isFailing: boolean;
  /** How many stay due. */
  next: number;
}

/** Chooses among the deliveries that are due at `now`; see `DeliveryStore.takeDue`. */
export async function chooseDue(
  queries: Queries,
  now: number,
  limit: number,
  loadOf: (app: string, target: string) => TargetLoad,
): Promise<Due> {
  const { id, app, target, lane, dueAt, expiresAt } = deliveries;
  // Without their pushes: of many, most have to wait.
  const due = await queries
    .select({ id, app, target, lane, expiresAt })
    .from(deliveries)
    .where(and(isWaiting, lte(dueAt, now)))
    .orderBy(asc(dueAt), asc(id))
    .limit(MAX_LOOKED_AT);
  const [taken, died]: [number[], number[]] = [[], []];
  const later = new Map<number, number[]>();
  const putOff = (row: (typeof due)[number], until: number): void => {
    const ids = later.get(until) ?? [];
    ids.push(row.id);
    later.set(until, ids);
  };
  const rounds = new Map<string, Round>();
  /** Until when those of a lane wait that have a higher id. */
  const lanes = new Map<string, { readonly id: number; readonly until: number }>();
  let lookUps = 0;
  for (const row of due) {
    const name = `${row.app} ${row.target}`;
    let round = rounds.get(name);
    if (!round) {
      const { running, isFailing } = loadOf(row.app, row.target);
      round = { busy: running, isFailing, next: 0 };
      rounds.set(name, round);
    }
    const left = limit - taken.length;
    if (row.expiresAt <= now) died.push(row.id);
    else if (left <= 0) break;
    else if (round.busy >= left) {
      if (round.isFailing) putOff(row, now + FAILING_MS);
      else if (++round.next > MAX_NEXT) putOff(row, now + BUSY_MS);
    } else {
      const laneName = `${name} ${row.lane}`;
      const ahead = lanes.get(laneName);
      const isBehind = ahead !== undefined && row.id > ahead.id;
      if (!isBehind && ++lookUps > MAX_LANES_LOOKED_UP) break;
      const until = isBehind ? ahead.until : await heldUntil(queries, row, now);
      if (until === undefined) {
        taken.push(row.id);
        round.busy++;
        if (row.lane !== "") lanes.set(laneName, { id: 0, until: now + SOON_MS });
      } else {
        putOff(row, until);
        if (!isBehind) lanes.set(laneName, { id: row.id, until });
      }
    }
  }
  const ids = [...taken, ...died];
  const found = ids.length > 0 ? await selectDeliveries(queries).where(inArray(id, ids)) : [];
  const whole = new Map(found.map((row) => [row.id, row]));
  const rowsOf = (of: readonly number[]) => of.flatMap((each) => whole.get(each) ?? []);
  return { taken: rowsOf(taken), died: rowsOf(died), later };
}
