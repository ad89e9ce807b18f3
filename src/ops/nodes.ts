import type { Clock } from "../clock.ts";
import type { EventBus } from "../events.ts";

/** How often a process tells that it is there, and after what silence it counts as gone. Milliseconds. */
const BEAT_MS = 3000;
const GONE_MS = 10_000;
/** A clock that is off by more is reported. */
const MAX_OFFSET_MS = 30_000;

/** What a process tells of itself with each heartbeat. */
export interface Heartbeat {
  /** Another at each start. */
  readonly id: string;
  /** Its machine's name, and its number there. */
  readonly host: string;
  readonly pid: number;
  readonly version: string;
  /** By how much the database's clock is ahead of its own, in milliseconds. */
  readonly offsetMs: number;
}

/** A process that serves, as the others see it. */
export interface Node extends Heartbeat {
  /** The ids of the master keys that it has. */
  readonly keyIds: readonly string[];
  /** Whether notifications of changes reach it; otherwise it looks for changes. */
  readonly isListening: boolean;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly seenAt: number;
  /** How long ago that was when the list was read, in milliseconds. */
  readonly silentMs: number;
}

/**
 * The list of the processes that share the database. A heartbeat is no change in the sense of `Changes`. One that has been
 * silent for a day is forgotten.
 *
 * Each method throws `unavailable` while the database can't be reached.
 */
export interface NodeStore {
  /** Enters this process, or moves the time at which it was seen; answers with the list. */
  beat(beat: Heartbeat): Promise<readonly Node[]>;
  list(): Promise<readonly Node[]>;
  /** Takes this process off the list, at the end of an orderly stop. */
  remove(id: string): Promise<void>;
}

/** What `Nodes` works with. */
export interface NodesParts extends Omit<Heartbeat, "offsetMs"> {
  readonly store: NodeStore;
  readonly clock: Clock;
  readonly events: EventBus;
  readonly offsetMs: () => number;
  /** How many processes this machine runs. */
  readonly workers: number;
}

/** Whether a process counts as there. */
export function isLive({ silentMs }: Node): boolean {
  return silentMs < GONE_MS;
}

/** Tells the other processes that this one is there, and knows how many they are. */
export class Nodes {
  readonly #parts: NodesParts;
  /** Until when each of the others counts as there, and when that was read; by the monotonic clock. */
  #others: readonly number[] = [];
  #readAt = 0;
  #beating: Promise<void> | undefined;
  #timer: Timer | undefined;
  #isSkewed = false;

  constructor(parts: NodesParts) {
    this.#parts = parts;
  }

  /**
   * How many processes there are, this one included: among so many each limit is divided. One that has died is missed ten
   * seconds after its last heartbeat. While the list can't be read, it stays.
   */
  get count(): number {
    const { clock, workers } = this.#parts;
    const now = Math.min(clock.monotonic(), this.#readAt + BEAT_MS);
    let others = 0;
    for (const until of this.#others) if (until > now) others += 1;
    return Math.max(workers, others + 1);
  }

  /** Every process that was there in the last day. */
  list(): Promise<readonly Node[]> {
    return this.#parts.store.list();
  }

  /** Begins to tell. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => void this.beat(), BEAT_MS);
    this.#timer.unref();
    await this.beat();
  }

  /** Tells once, unless that is under way. Never rejects: whatever needs the database reports that it is away. */
  beat(): Promise<void> {
    this.#beating ??= this.#beat()
      .catch(() => undefined)
      .finally(() => (this.#beating = undefined));
    return this.#beating;
  }

  /** Ends it, so that the others know at once. */
  async stop(): Promise<void> {
    if (!this.#timer) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#beating;
    await this.#parts.store.remove(this.#parts.id).catch(() => undefined);
  }

  async #beat(): Promise<void> {
    const { store, clock, id, host, pid, version } = this.#parts;
    const offsetMs = this.#parts.offsetMs();
    this.#reportSkew(offsetMs);
    const askedAt = clock.monotonic();
    const nodes = await store.beat({ id, host, pid, version, offsetMs });
    this.#others = nodes.flatMap((node) => (node.id === id ? [] : [askedAt + GONE_MS - node.silentMs]));
    this.#readAt = askedAt;
  }

  #reportSkew(offsetMs: number): void {
    const isSkewed = Math.abs(offsetMs) > MAX_OFFSET_MS;
    if (isSkewed && !this.#isSkewed) this.#parts.events.emit({ type: "clock.skewed", offsetMs });
    this.#isSkewed = isSkewed;
  }
}
