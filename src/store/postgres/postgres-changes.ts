import { type ChangeListener, type Changes, type Topic, TOPICS } from "../../changes.ts";
import type { Clock } from "../../clock.ts";
import { COMPATIBLE_FROM, type OwnChanges } from "../epochs.ts";
import { Listener } from "./listener.ts";
import { NEWEST_MIGRATION } from "./migrations.ts";
import { SqlFailure, sqlFailureOf } from "../sql.ts";
import { AUDIT } from "../audit-chain.ts";
import { IS_STANDBY, type PostgresAddress, type PostgresEngine } from "./postgres-engine.ts";

/** How often changes are looked for while notifications arrive, and while they don't. Milliseconds. */
const POLL_MS = 1000;
const POLL_UNHEARD_MS = 250;
/** Memory that was compared with the database so long ago is not trusted while the database can be asked. */
const MAX_AGE_MS = 3000;
/** A clock that is slewed is off by less in a second; less than this costs no holder the lease that outlives its work by 2 s. */
const SET_BY_MS = 1000;
/** So many changed items are named, each; beyond it any may have changed. */
const MAX_NAMED = 1000;

// The columns of the first row that are the same in all: the time, the server, and the last entry of the audit.
const LOOK = `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, pg_is_in_recovery(), name, number, raised_at,
  extract(epoch FROM pg_postmaster_start_time())::text, (SELECT hash FROM audit_ends WHERE audit_ends.name = 'last')
  FROM (SELECT 1) AS one LEFT JOIN revisions ON true`;
const HASH_OF = "SELECT hash FROM audit_entries WHERE id = ?";
const CHANGED = `SELECT platform || ':' || app_id || ':' || slot || ':' || kind, epoch FROM credentials
  WHERE epoch > ? LIMIT ${MAX_NAMED + 1}`;

/** What a process knows that the database had, and has no more. */
export interface LostHistory {
  /** How many changes of topics, at least. */
  readonly changes: number;
  /** The ids of the first and the last audit entry that is missing, as far as it knows; undefined for none. */
  readonly audit: { readonly from: number; readonly to: number } | undefined;
}

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
  /** Called when the server begins to be one that only follows another: it can't be used until it leads, or another is reached. */
  readonly onStandby: () => void;
  /** Called when another server than before is met, or the same one after a restart; also the first time. */
  readonly onServer: () => void;
  /** Called when the database has lost what it once had, as after a failover to a server that lagged behind. */
  readonly onHistoryLost: (lost: LostHistory) => void;
}

/**
 * The change feed of PostgreSQL: a row for each topic, which the transaction that changes something raises.
 *
 * The rows are read every second, which is the truth; a notification with a higher number only says to read them now.
 * A change of this process is read as soon as it is committed.
 *
 * Another server, as after a failover, may lack the last changes, and number new ones like those: so with another server
 * every topic counts as changed, and its epoch grows, whatever the number says.
 */
export class PostgresChanges implements Changes, OwnChanges {
  readonly #engine: PostgresEngine;
  readonly #clock: Clock;
  readonly #tell: FeedListeners;
  readonly #listener: Listener;
  readonly #listeners = new Map<Topic, Set<ChangeListener>>(TOPICS.map((topic) => [topic, new Set()]));
  readonly #epochs = Object.fromEntries(TOPICS.map((topic) => [topic, 0])) as Record<Topic, number>;
  /** The numbers in the database, which epochs are ahead of once it has been another. */
  readonly #numbers: Record<Topic, number> = { ...this.#epochs };
  /** When the server was started that was read last, which tells one from another. */
  #server: unknown;
  /** The audit's last entry that was seen. */
  #audit: { readonly id: number; readonly hash: unknown } | undefined;
  #isOutdated = false;
  /** Whether the next look finds what this process has changed itself, at once. */
  #hasOwn = false;
  #isStandby = false;
  #isReadable = false;
  /** When the last look that succeeded was begun, and the first after it that did not; by the monotonic clock. */
  #lookedAt = Number.NEGATIVE_INFINITY;
  #failingSince: number | undefined;
  /** By how much the time of day was ahead of the monotonic clock when the database's time was measured. */
  #aheadMs = Number.NaN;
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

  async remeasure(): Promise<boolean> {
    const isSet = Math.abs(this.#ahead() - this.#aheadMs) > SET_BY_MS;
    if (isSet) await this.catchUp();
    return isSet;
  }

  subscribe(topic: Topic, listener: ChangeListener): () => void {
    // A function of its own, so that each subscription ends alone.
    const own: ChangeListener = (...told) => listener(...told);
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
    if (topic && Number(number) > this.#numbers[topic]) void this.catchUp();
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
      this.#noteStandby(first?.[1] === true);
      this.#tell.onTime(Number(first?.[0]), askedAt);
      this.#aheadMs = this.#ahead();
      const numbers = new Map(rows.map(([, , name, number]) => [name, Number(number)]));
      if (!this.#isOutdated && (numbers.get(COMPATIBLE_FROM) ?? 0) > NEWEST_MIGRATION) {
        this.#isOutdated = true;
        this.#tell.onOutdated();
      }
      const isFirst = this.#lookedAt === Number.NEGATIVE_INFINITY;
      // One that has gone back on the same server is of another database, as after a restored backup.
      const isOther = first?.[5] !== this.#server;
      const isAnother =
        !isFirst && (isOther || TOPICS.some((topic) => (numbers.get(topic) ?? 0) < this.#numbers[topic]));
      const lost = isAnother ? await this.#lostIn(numbers) : undefined;
      const moved: { topic: Topic; number: number; changed: ReadonlyMap<string, number> | undefined }[] = [];
      for (const topic of TOPICS) {
        const number = numbers.get(topic) ?? 0;
        const before = this.#numbers[topic];
        if (isAnother) moved.push({ topic, number, changed: undefined });
        else if (number !== before)
          moved.push({ topic, number, changed: await this.#changedSince(topic, before) });
      }
      this.#lookedAt = askedAt;
      this.#isReadable = true;
      this.#failingSince = undefined;
      this.#server = first?.[5];
      this.#audit = { id: numbers.get(AUDIT) ?? 0, hash: first?.[6] };
      for (const { topic, number, changed } of moved) {
        const raisedAt = rows.find(([, , name]) => name === topic)?.[4];
        const isLater = number > this.#numbers[topic];
        if (!isFirst && !isOwn && !isAnother && isLater && typeof raisedAt === "number")
          this.#tell.onSeen(Math.max(0, Number(first?.[0]) - raisedAt));
        this.#epochs[topic] += isAnother
          ? Math.max(1, number - this.#epochs[topic])
          : number - this.#numbers[topic];
        this.#numbers[topic] = number;
        for (const listener of this.#listeners.get(topic) ?? []) listener(changed, isAnother);
      }
      if (isOther) this.#tell.onServer();
      if (lost) this.#tell.onHistoryLost(lost);
    } catch (error) {
      const failure = sqlFailureOf(error);
      this.#tell.onPolled(this.#clock.monotonic() - askedAt, failure);
      if (failure?.code !== IS_STANDBY) this.#isStandby = false;
      // What keeps it from reading is reported by whatever needs the database.
      this.#isReadable = false;
      this.#failingSince ??= askedAt;
    }
  }

  /** Throws for a server that only follows another, and lets go of it: the next connection may lead elsewhere. */
  #noteStandby(isStandby: boolean): void {
    if (isStandby && !this.#isStandby) this.#tell.onStandby();
    this.#isStandby = isStandby;
    if (!isStandby) return;
    this.#engine.reconnect();
    throw new SqlFailure(IS_STANDBY, true, {});
  }

  /** What was there when this process looked last, and is not there now; undefined for nothing that it knows of. */
  async #lostIn(numbers: ReadonlyMap<unknown, number>): Promise<LostHistory | undefined> {
    const behind = TOPICS.map((topic) => Math.max(0, this.#numbers[topic] - (numbers.get(topic) ?? 0)));
    const changes = behind.reduce((sum, each) => sum + each, 0);
    const { id, hash } = this.#audit ?? { id: 0, hash: undefined };
    const [row] = id > 0 ? await this.#engine.look(HASH_OF, [id]) : [[hash]];
    // Another entry may have that number already.
    const from = Math.min(numbers.get(AUDIT) ?? 0, id - 1) + 1;
    const audit = row?.[0] === hash ? undefined : { from, to: id };
    return changes > 0 || audit ? { changes, audit } : undefined;
  }

  #ahead(): number {
    return this.#clock.now() - this.#clock.monotonic();
  }

  async #changedSince(topic: Topic, epoch: number): Promise<ReadonlyMap<string, number> | undefined> {
    if (topic !== "credentials" || this.#listeners.get(topic)?.size === 0) return undefined;
    const rows = await this.#engine.look(CHANGED, [epoch]);
    if (rows.length > MAX_NAMED) return undefined;
    return new Map(rows.map(([key, number]) => [String(key), Number(number)]));
  }
}
