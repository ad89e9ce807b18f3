import type { Clock } from "../clock.ts";
import type { AuditStore, CountKind, DenialCount, MinuteCount, UsageCount } from "./audit-store.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** How many names are counted separately in a minute, by kind, of clients and of other callers; the rest under `OTHER`. */
const MAX_NAMES = 10_000;
/** How many names of denials are counted separately in a day, each anew in each minute; likewise. */
const MAX_DENIALS_PER_DAY = 100_000;
/** From how many addresses callers without a key are counted separately in a day; the rest is counted together. */
const MAX_ADDRESSES_PER_DAY = 1000;
/** How many rows wait at most while nothing can be written: as many as one minute can have. */
const MAX_UNSENT = 4 * MAX_NAMES;
/** How many rows are written at once: enough to be cheap, few enough not to block others. */
const PIECE = 500;
const FLUSH_MS = 1000;
/** Stands for names that are not counted separately. In parentheses, so that nothing has this name. */
export const OTHER = "(other)";
/** Between the names of a key. No client, address, route, action or app has it, so a key says which names it is of. */
const SEPARATOR = "\u001f";

/** Who does something. */
interface User {
  /** A client's name; in parentheses for any other caller. */
  readonly client: string;
  readonly environment: string;
}

/** Who is denied and what for. */
export interface Denial {
  readonly address: string;
  /** Empty for an unidentified caller. */
  readonly client: string;
  /** The route's pattern. */
  readonly route: string;
  /** As in the envelope. */
  readonly code: number;
}

/** The cells of a minute by their keys, and how many were made in its day. */
interface Room {
  readonly cells: Map<string, CountCell>;
  ofDay: number;
}

/** Counts for the same names, again and again. It may be kept. */
export class CountCell {
  readonly kind: CountKind;
  readonly key: string;
  /** The key under which it is summed when there are too many. */
  readonly otherKey: string;
  /** How often since it was last taken. */
  n = 0;
  readonly #onFirst: (cell: CountCell) => void;

  constructor(kind: CountKind, key: string, otherKey: string, onFirst: (cell: CountCell) => void) {
    this.kind = kind;
    this.key = key;
    this.otherKey = otherKey;
    this.#onFirst = onFirst;
  }

  /** Counts one more. */
  count(): void {
    this.n += 1;
    if (this.n === 1) this.#onFirst(this);
  }
}

/**
 * What is too frequent to be recorded one by one: counted in memory per minute, and stored by `flush`.
 *
 * A caller can come from any number of addresses, so a process counts 10,000 names of a kind separately in a minute,
 * and 100,000 of denials in a day, and sums the rest. Clients have room of their own, which nobody else can fill. What
 * can't be written is kept for the next flush.
 */
export class AuditCounts {
  readonly #store: Pick<AuditStore, "addCounts">;
  readonly #clock: Clock;
  readonly #onCounted: () => void;
  readonly #rooms = {
    usage: { client: newRoom(), other: newRoom() },
    denial: { client: newRoom(), other: newRoom() },
  };
  /** Each user's most recent cell per app: making its key costs more than counting. */
  #recent = new WeakMap<User, Map<string, { readonly action: string; readonly cell: CountCell }>>();
  /** Callers without a key by their addresses, and the day in which they were counted. */
  readonly #anonymous = new Map<string, User>();
  #anonymousOf = 0;
  /** In which minute the cells were made. */
  #cellsOf = 0;
  /** The cells that have counted since they were last taken, and in which minute the first of them did. */
  #counted: CountCell[] = [];
  #minute = 0;
  readonly #unsent = new Map<string, MinuteCount>();

  /** `onCounted` is called when there is something to be written again. */
  constructor(store: Pick<AuditStore, "addCounts">, clock: Clock, onCounted: () => void = () => undefined) {
    this.#store = store;
    this.#clock = clock;
    this.#onCounted = onCounted;
  }

  /** Where it is counted that a client did something. Fast for a `user` that is one object for many calls. */
  usage(user: User, action: string, app: string): CountCell {
    const recent = this.#recent.get(user)?.get(app);
    if (recent?.action === action) return recent.cell;
    const key = keyOf(user.client, user.environment, action, app);
    const room = this.#rooms.usage[kindOf(user.client)];
    const cell = room.cells.get(key) ?? this.#create("usage", room, key, keyOf(OTHER, "", action, OTHER));
    const apps = this.#recent.get(user);
    if (apps) apps.set(app, { action, cell });
    else this.#recent.set(user, new Map([[app, { action, cell }]]));
    return cell;
  }

  /** As whom a caller without a key is counted, who is called `name`: `(anonymous 10.0.0.8)` for `(anonymous)`. */
  anonymousUser(name: string, address: string): User {
    const day = startOf(this.#clock.now(), DAY_MS);
    if (day !== this.#anonymousOf) this.#anonymous.clear();
    this.#anonymousOf = day;
    const place = this.#anonymous.has(address) || this.#anonymous.size < MAX_ADDRESSES_PER_DAY ? address : "";
    let user = this.#anonymous.get(place);
    if (!user) {
      user = { client: place === "" ? name : `${name.slice(0, -1)} ${place})`, environment: "" };
      this.#anonymous.set(place, user);
    }
    return user;
  }

  /** Where it is counted that a caller was denied something. */
  denial({ address, client, route, code }: Denial): CountCell {
    // A name takes of the day's number anew in each minute.
    this.#turn();
    const key = address + SEPARATOR + client + SEPARATOR + route + SEPARATOR + code;
    const room = this.#rooms.denial[kindOf(client)];
    return room.cells.get(key) ?? this.#create("denial", room, key, keyOf(OTHER, "", OTHER, code));
  }

  /** Whether something waits to be written. */
  get isPending(): boolean {
    return this.#counted.length > 0 || this.#unsent.size > 0;
  }

  /** Stores what was counted. Call it again only when it has ended. Throws when something could not be written. */
  async flush(): Promise<void> {
    for (const cell of this.#counted.splice(0)) {
      this.#keep(cell);
      cell.n = 0;
    }
    const rows = [...this.#unsent];
    for (let start = 0; start < rows.length; start += PIECE) {
      const piece = rows.slice(start, start + PIECE);
      await this.#store.addCounts(piece.map(([, count]) => count));
      for (const [name] of piece) this.#unsent.delete(name);
    }
  }

  /** Forgets the cells of another minute. */
  #turn(): void {
    const minute = startOf(this.#clock.now(), MINUTE_MS);
    if (minute === this.#cellsOf) return;
    const isNewDay = startOf(minute, DAY_MS) !== startOf(this.#cellsOf, DAY_MS);
    this.#cellsOf = minute;
    for (const room of Object.values(this.#rooms).flatMap((both) => Object.values(both))) {
      room.cells.clear();
      if (isNewDay) room.ofDay = 0;
    }
    this.#recent = new WeakMap();
  }

  #create(kind: CountKind, room: Room, key: string, otherKey: string): CountCell {
    this.#turn();
    const hasRoom = room.cells.size < MAX_NAMES && (kind === "usage" || room.ofDay < MAX_DENIALS_PER_DAY);
    if (hasRoom) room.ofDay += 1;
    const told = hasRoom ? key : otherKey;
    const cell = room.cells.get(told) ?? new CountCell(kind, told, otherKey, this.#onFirst);
    room.cells.set(told, cell);
    return cell;
  }

  readonly #onFirst = (cell: CountCell): void => {
    if (this.#counted.push(cell) > 1) return;
    this.#minute = startOf(this.#clock.now(), MINUTE_MS);
    this.#onCounted();
  };

  #keep({ kind, key, otherKey, n }: CountCell): void {
    const count = { minute: this.#minute, kind, key, n };
    const hasRoom = this.#unsent.size < MAX_UNSENT || this.#unsent.has(nameOf(count));
    // A day for a minute, so that there are few of them however long nothing can be written.
    const kept = hasRoom ? count : { ...count, minute: startOf(this.#minute, DAY_MS), key: otherKey };
    const before = this.#unsent.get(nameOf(kept))?.n ?? 0;
    this.#unsent.set(nameOf(kept), { ...kept, n: before + n });
  }
}

/** Whether a count of use is that of `wanted`: of `(anonymous)` also those by address, as `(anonymous 10.0.0.8)`. */
export function isCountOf(wanted: string, client: string): boolean {
  return client === wanted || (wanted.endsWith(")") && client.startsWith(`${wanted.slice(0, -1)} `));
}

/** What a count of use is a count of. */
export function usageOf({ id, minute, key, n }: MinuteCount & { readonly id: number }): UsageCount {
  const [client = "", environment = "", action = "", app = ""] = key.split(SEPARATOR);
  return { id, minute, client, environment, action, app, count: n };
}

/** What a count of denials is a count of. */
export function denialOf({ id, minute, key, n }: MinuteCount & { readonly id: number }): DenialCount {
  const [address = "", client = "", route = "", code = ""] = key.split(SEPARATOR);
  return { id, minute, address, client, route, code: Number(code), count: n };
}

function newRoom(): Room {
  return { cells: new Map(), ofDay: 0 };
}

/** Whose name it is: a client's, or in parentheses, or none. */
function kindOf(client: string): "client" | "other" {
  return client === "" || client.startsWith("(") ? "other" : "client";
}

function keyOf(...names: readonly (string | number)[]): string {
  return names.join(SEPARATOR);
}

function nameOf({ minute, kind, key }: MinuteCount): string {
  return keyOf(minute, kind, key);
}

function startOf(instant: number, lengthMs: number): number {
  return instant - (instant % lengthMs);
}

/**
 * Flushes counts a second after the first of them: while nothing is counted, no timer runs. A failed flush is retried a
 * second later.
 */
export class FlushTimer {
  readonly #flush: () => Promise<void>;
  readonly #isPending: () => boolean;
  #timer: Timer | undefined;
  #flushing: Promise<void> | undefined;
  #isStopped = false;

  /** `flush` never runs twice at the same time, and must not throw. */
  constructor(flush: () => Promise<void>, isPending: () => boolean) {
    this.#flush = flush;
    this.#isPending = isPending;
  }

  /** Schedules a flush within a second. */
  arm(): void {
    if (this.#isStopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.flush();
    }, FLUSH_MS);
  }

  /** Flushes now what was counted before. */
  async flush(): Promise<void> {
    // What was counted while another flush was under way is not in it.
    await this.#flushing;
    this.#flushing ??= this.#flush().finally(() => {
      this.#flushing = undefined;
      if (this.#isPending()) this.arm();
    });
    await this.#flushing;
  }

  /** Flushes the rest and stops. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.flush();
  }
}
