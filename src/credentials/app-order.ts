import { setImmediate as nextTurn } from "node:timers/promises";
import type { App } from "../apps/app.ts";
import { ServiceError } from "../errors.ts";
import type { AppTable } from "./app-table.ts";
import type { AppState } from "./status.ts";

/** What a list of apps can be sorted by. Those without what it is sorted by come last, in both directions. */
export const APP_ORDERS = ["name", "state", "expires_at", "last_used", "calls"] as const;
export type AppOrder = (typeof APP_ORDERS)[number];

/** Which apps, and in which order. */
export interface AppQuery {
  /** By public name: those that the caller may see. */
  readonly isVisible: (name: string) => boolean;
  readonly state?: AppState | undefined;
  /** What the name or the title begins with, in upper or lower case. */
  readonly q?: string | undefined;
  readonly order: AppOrder;
  readonly isDescending: boolean;
  /** `next` of the page before. */
  readonly after?: string | undefined;
  readonly limit: number;
}

/** A page of apps, by their public names. */
export interface AppPage {
  readonly names: readonly string[];
  /** Where the next page begins; undefined at the end. It stays right where apps have changed meanwhile. */
  readonly next: string | undefined;
}

/** One app of a list, and what it is sorted by. */
interface Found {
  readonly name: string;
  readonly value: number;
}

/** So many are looked at, about a millisecond long, before others have their turn. */
const PIECE = 2000;

/** Looks at each place from `start` on, until `look` answers false, in pieces between which others have their turn. */
export async function eachPlace(
  start: number,
  size: number,
  look: (place: number) => boolean | void,
): Promise<void> {
  for (let place = start; place < size; place++) {
    if (place > start && (place - start) % PIECE === 0) await nextTurn();
    if (look(place) === false) return;
  }
}

/** Nothing to sort by: 0, but for states and names. */
export const SORT_VALUES: Readonly<
  Record<AppOrder, (table: AppTable, place: number, now: number) => number>
> = {
  name: () => 1,
  state: (table, place, now) => 1 + table.rank(place, now),
  expires_at: (table, place, now) => table.expiryOf(place, "access_token", now),
  last_used: (table, place) => table.usedAt(place),
  calls: (table, place) => table.calls(place).calls,
};

type Order = (a: Found, b: Found) => boolean;

/** Whether the first of two comes first in the list; those with equal values go by their names. */
export function firstIs(isDescending: boolean): Order {
  return (a, b) => {
    if (a.value === b.value) return isDescending ? a.name > b.name : a.name < b.name;
    if (a.value === 0 || b.value === 0) return b.value === 0;
    return isDescending ? a.value > b.value : a.value < b.value;
  };
}

/** The first `limit` of what `find` makes of the places, which costs less than to sort all of it. */
export async function select<T extends Found>(
  size: number,
  limit: number,
  isFirst: Order,
  find: (place: number) => T | undefined,
): Promise<T[]> {
  const found: T[] = [];
  await eachPlace(0, size, (place) => {
    const one = find(place);
    const last = found[limit - 1];
    if (!one || (last && !isFirst(one, last))) return;
    let [low, high] = [0, found.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = found[middle];
      if (other && isFirst(other, one)) low = middle + 1;
      else high = middle;
    }
    found.splice(low, 0, one);
    if (found.length > limit) found.pop();
  });
  return found;
}

/** Whether the name or the title of an app begins with `q`, in upper or lower case. */
export function matching(q: string | undefined): (name: string, app: App) => boolean {
  if (q === undefined) return () => true;
  const wanted = q.toLowerCase();
  const begins = (text = "") => text.toLowerCase().startsWith(wanted);
  return (name, { managed }) => begins(name) || begins(managed?.title);
}

/** Where a list goes on: a name, behind what it is sorted by unless that is the name. */
export function cursorOf({ name, value }: Found, order: AppOrder): string {
  return order === "name" ? name : `${value}_${name}`;
}

/**
 * What stands before the page that begins at that cursor.
 *
 * @throws {ServiceError} `invalid_parameter` for one of another order.
 */
export function cursorIn(text: string, order: AppOrder): Found {
  if (order === "name") return { name: text, value: 1 };
  const [, value, name] = /^(\d{1,16})_(.+)$/.exec(text) ?? [];
  if (value !== undefined && name !== undefined) return { name, value: Number(value) };
  throw new ServiceError(
    "invalid_parameter",
    "after应为以相同sort取得的上一页中的next (after must be next of a page of the same sort)",
  );
}
