import { type ChangeListener, type Changes, type Topic, TOPICS } from "../../changes.ts";
import type { Clock } from "../../clock.ts";
import { COMPATIBLE_FROM, type OwnChanges } from "../epochs.ts";
import { Listener } from "./listener.ts";
import { NEWEST_MIGRATION } from "./migrations.ts";
import { type SqlFailure, sqlFailureOf } from "../sql.ts";
import type { PostgresAddress, PostgresEngine } from "./postgres-engine.ts";

/** How often changes are looked for while notifications arrive, and while they don't. Milliseconds. */
const POLL_MS = 1000;
const POLL_UNHEARD_MS = 250;
/** Memory that was compared with the database so long ago is not trusted while the database can be asked. */
const MAX_AGE_MS = 3000;
/** So many changed items are named, each; beyond it any may have changed. */
const MAX_NAMED = 1000;

const LOOK = `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, pg_is_in_recovery(), name, number, raised_at
  FROM (SELECT 1) AS one LEFT JOIN revisions ON true`;
const CHANGED = `SELECT platform || ':' || app_id || ':' || slot || ':' || kind, epoch FROM credentials
  WHERE epoch > ? LIMIT ${MAX_NAMED + 1}`;

/** What the feed tells its owner. */
export interface FeedListeners {
  /** Called once, when a newer version has made of the database what this one would answer wrongly from. */
  readonly onOutdated: () => void;
  /** Called with the database's time, and when it was asked for by the monotonic clock. */
  readonly onTime: (databaseNow: number, askedAt: number) => void;
  /** Called when a change of another process became known, with the milliseconds since it was made. */
  readonly onSeen: (delayMs: number) => void;
  /** Called after each look, with how long it took and what it has failed with. */
  readonly onPolled: (durationMs: number, failure?: SqlFailure) => void;
  /** Called once, when notifications can't be heard although the database can be read. */
  readonly onUnheard: () => void;
}

/**
 * The change feed of PostgreSQL: a row for each topic, which the transaction that changes something raises.
 *
 * The rows are read every second, which is the truth; a notification with a higher number only says to read them now.
 * A change of this process is read as soon as it is committed.
 */
export class PostgresChanges implements Changes, OwnChanges {
  readonly #engine: PostgresEngine;
  readonly #clock: Clock;
  readonly #tell: FeedListeners;
  readonly #listener: Listener;
  readonly #listeners = new Map<Topic, Set<ChangeListener>>(TOPICS.map((topic) => [topic, new Set()]));
  readonly #epochs: Record<Topic, number> = { apps: 0, clients: 0, credentials: 0, keys: 0 };
  #isOutdated = false;
  /** Whether the next look finds what this process has changed itself, at once. */
  #hasOwn = false;
  #isStandby = false;
  #isReadable = false;
  /** When the last look that succeeded was begun, and the first after it that did not; by the monotonic clock. */
  #lookedAt = Number.NEGATIVE_INFINITY;
  #failingSince: number | undefined;
  #looking: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #timer: Timer | undefined;
  #isClosed = false;

  /** `address` is where notifications can be listened to. */
  constructor(engine: PostgresEngine, address: PostgresAddress, clock: Clock, tell: FeedListeners) {
    this.#engine = engine;
    this.#clock = clock;
    this.#tell = tell;
    this.#listener = new Listener(engine, address, clock, {
      onMessage: (message) => this.#hear(message),
      onListening: () => void this.catchUp(),
      onUnheard: tell.onUnheard,
    });
  }

  get isLive(): boolean {
    return this.#isReadable;
  }

  /** Whether notifications arrive; otherwise changes are found by looking more often. */
  get isListening(): boolean {
    return this.#listener.isListening;
  }

  /** Whether the server takes no writes, because it follows another. */
  get isStandby(): boolean {
    return this.#isStandby;
  }

  /** For how long the database could not be read, in milliseconds; 0 while it can. */
  get awayMs(): number {
    return this.#failingSince === undefined ? 0 : this.#clock.monotonic() - this.#failingSince;
  }

  epoch(topic: Topic, monotonic = this.#clock.monotonic()): number {
    // This process may have been halted, and others have gone on.
    if (monotonic - this.#lookedAt > MAX_AGE_MS) this.#isReadable = false;
    return this.#epochs[topic];
  }

  catchUp(): Promise<void> {
    if (!this.#looking) {
      this.#looking = this.#look().finally(() => {
        this.#looking = undefined;
      });
      return this.#looking;
    }
    // The look under way may have begun before what the caller must know of.
    this.#next ??= this.#looking.then(() => {
      this.#next = undefined;
      return this.catchUp();
    });
    return this.#next;
  }

  /** As `catchUp`. */
  expire(): Promise<void> {
    this.#hasOwn = true;
    return this.catchUp();
  }

  subscribe(topic: Topic, listener: ChangeListener): () => void {
    // A function of its own, so that each subscription ends alone.
    const own: ChangeListener = (changed) => listener(changed);
    this.#listeners.get(topic)?.add(own);
    return () => {
      this.#listeners.get(topic)?.delete(own);
    };
  }

  /** Begins to follow the changes of other processes. */
  start(): void {
    void this.#poll();
  }

  /** Ends it. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#listener.close();
  }

  async #poll(): Promise<void> {
    await this.catchUp();
    if (this.#isClosed) return;
    if (this.#isReadable) this.#listener.tend();
    // Bun would go on trying, and write to the standard error of it.
    else this.#listener.close();
    this.#timer = setTimeout(() => void this.#poll(), this.isListening ? POLL_MS : POLL_UNHEARD_MS);
    this.#timer.unref();
  }

  /** A message is a topic and its new number. */
  #hear(message: string): void {
    const [name, number] = message.split(" ");
    const topic = TOPICS.find((each) => each === name);
    if (topic && Number(number) > this.#epochs[topic]) void this.catchUp();
  }

  /** Reads what has changed. Never rejects. */
  async #look(): Promise<void> {
    const askedAt = this.#clock.monotonic();
    const isOwn = this.#hasOwn;
    this.#hasOwn = false;
    try {
      const rows = await this.#engine.look(LOOK);
      this.#tell.onPolled(this.#clock.monotonic() - askedAt);
      const [first] = rows;
      this.#tell.onTime(Number(first?.[0]), askedAt);
      this.#isStandby = first?.[1] === true;
      const numbers = new Map(rows.map(([, , name, number]) => [name, Number(number)]));
      if (!this.#isOutdated && (numbers.get(COMPATIBLE_FROM) ?? 0) > NEWEST_MIGRATION) {
        this.#isOutdated = true;
        this.#tell.onOutdated();
      }
      const moved: { topic: Topic; epoch: number; changed: ReadonlyMap<string, number> | undefined }[] = [];
      for (const topic of TOPICS) {
        const epoch = numbers.get(topic) ?? 0;
        const before = this.#epochs[topic];
        // One that has gone back is of another database, as after a restored backup.
        const changed = epoch > before ? await this.#changedSince(topic, before) : undefined;
        if (epoch !== before) moved.push({ topic, epoch, changed });
      }
      const isFirst = this.#lookedAt === Number.NEGATIVE_INFINITY;
      this.#lookedAt = askedAt;
      this.#isReadable = true;
      this.#failingSince = undefined;
      for (const { topic, epoch, changed } of moved) {
        const raisedAt = rows.find(([, , name]) => name === topic)?.[4];
        if (!isFirst && !isOwn && typeof raisedAt === "number" && epoch > this.#epochs[topic])
          this.#tell.onSeen(Math.max(0, Number(first?.[0]) - raisedAt));
        this.#epochs[topic] = epoch;
        for (const listener of this.#listeners.get(topic) ?? []) listener(changed);
      }
    } catch (error) {
      this.#tell.onPolled(this.#clock.monotonic() - askedAt, sqlFailureOf(error));
      // What keeps it from reading is reported by whatever needs the database.
      this.#isReadable = false;
      this.#failingSince ??= askedAt;
    }
  }

  async #changedSince(topic: Topic, epoch: number): Promise<ReadonlyMap<string, number> | undefined> {
    if (topic !== "credentials" || this.#listeners.get(topic)?.size === 0) return undefined;
    const rows = await this.#engine.look(CHANGED, [epoch]);
    if (rows.length > MAX_NAMED) return undefined;
    return new Map(rows.map(([key, number]) => [String(key), Number(number)]));
  }
}
