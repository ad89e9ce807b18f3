import type { AuditEntry } from "../audit/audit-entry.ts";
import { type Changes, Mirror } from "../changes.ts";
import { type Clock, latestTime } from "../clock.ts";

/** How long a session lasts without a request, and how long at most. */
export const IDLE_MS = 30 * 60_000;
const SESSION_MS = 12 * 3_600_000;
const MINUTE_MS = 60_000;
const FLUSH_MS = 1000;

/** Somebody who is signed in to the console. Instants are epoch milliseconds. */
export interface ConsoleSession {
  /** SHA-256 of the session's id, hex. */
  readonly digest: string;
  /** The client's name, and when it was created: another client of that name is not signed in. */
  readonly client: string;
  readonly clientCreatedAt: number;
  /** The key by which it signed in; empty for a link of the command line. */
  readonly keyPrefix: string;
  readonly address: string;
  readonly createdAt: number;
  /** To the minute. */
  readonly usedAt: number;
  /** The latest instant at which it ends. */
  readonly expiresAt: number;
}

/** A link that signs somebody in to the console once. */
export interface ConsoleLink {
  /** SHA-256 of the token in the link, hex. */
  readonly digest: string;
  /** The client that it signs in; empty for the link that makes the first administrator. */
  readonly client: string;
  readonly createdAt: number;
  readonly expiresAt: number;
}

/**
 * Where sessions and links are kept.
 *
 * A session that begins, is used or ends raises the epoch of `sessions`. What begins and ends one writes its audit entry in
 * the same transaction.
 */
export interface ConsoleSessionStore {
  /** The sessions that end later than `now`. */
  list(now: number): Promise<readonly ConsoleSession[]>;
  /** Adds one. Of its client the oldest go when there are too many. */
  add(session: ConsoleSession, entry: AuditEntry): Promise<void>;
  /** Removes one. Resolves with whether it was there; else nothing is recorded. */
  remove(digest: string, entry: AuditEntry): Promise<boolean>;
  /** Writes down when sessions were last used. */
  touch(uses: readonly Pick<ConsoleSession, "digest" | "usedAt">[]): Promise<void>;
  /** Adds a link. One for the first administrator takes the place of the one before. */
  addLink(link: ConsoleLink): Promise<void>;
  /** Removes a link of that kind that ends later than `now`, and records `entry`. One caller alone is given it. */
  takeLink(
    link: { readonly digest: string; readonly isSetup: boolean },
    now: number,
    entry?: AuditEntry,
  ): Promise<ConsoleLink | undefined>;
  /** Drops what has ended, once in `everyMs` among all processes. */
  prune(now: number, everyMs: number): Promise<void>;
}

/** Every session in this process's memory. While the store can't be read, the last copy stays in use. */
export class ConsoleSessions {
  readonly #store: ConsoleSessionStore;
  readonly #mirror: Mirror;
  readonly #clock: Clock;
  readonly #now: () => number;
  /** By digest. */
  #sessions: ReadonlyMap<string, ConsoleSession> = new Map();
  /** The uses that are not stored yet, by digest. */
  readonly #unwritten = new Map<string, number>();
  #timers: Timer[] = [];

  constructor(store: ConsoleSessionStore, changes: Changes, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    this.#now = latestTime(clock);
    this.#mirror = new Mirror(changes, "sessions", async () => {
      const all = await store.list(clock.now());
      this.#sessions = new Map(all.map((each) => [each.digest, each]));
    });
  }

  /** The session of that digest, unless it has ended. Its client and its key may have ended meanwhile. */
  find(digest: string): ConsoleSession | undefined {
    const session = this.#sessions.get(digest);
    if (!session) return undefined;
    const now = this.#now();
    const usedAt = Math.max(session.usedAt, this.#unwritten.get(digest) ?? 0);
    return now < session.expiresAt && now < usedAt + IDLE_MS ? { ...session, usedAt } : undefined;
  }

  /** Every session that has not ended, the newest first. */
  list(): readonly ConsoleSession[] {
    const all = [...this.#sessions.keys()].flatMap((digest) => this.find(digest) ?? []);
    return all.toSorted((a, b) => b.createdAt - a.createdAt);
  }

  /** Notes that a session was used just now. */
  noteUse({ digest, usedAt }: ConsoleSession): void {
    const now = this.#now();
    const minute = now - (now % MINUTE_MS);
    if (usedAt < minute) this.#unwritten.set(digest, minute);
  }

  /** Begins a session. Resolves when this process knows it; throws what the store throws. */
  async begin(
    session: Omit<ConsoleSession, "createdAt" | "usedAt" | "expiresAt">,
    entry: AuditEntry,
  ): Promise<ConsoleSession> {
    const now = this.#now();
    const begun = { ...session, createdAt: now, usedAt: now, expiresAt: now + SESSION_MS };
    await this.#store.add(begun, entry);
    await this.refresh();
    return begun;
  }

  /** Ends a session: here at once, in other processes within a second. Resolves with whether it was there. */
  async end(digest: string, entry: AuditEntry): Promise<boolean> {
    const wasThere = await this.#store.remove(digest, entry);
    await this.refresh();
    return wasThere;
  }

  /** Rereads everything if something has changed. Throws what the store throws; then the last copy stays in use. */
  refresh(): Promise<void> {
    return this.#mirror.refresh();
  }

  /** Begins to follow changes of other processes, to store uses and to drop what has ended. */
  start(): void {
    this.#mirror.start();
    this.#timers = [
      setInterval(() => void this.flushUses().catch(() => undefined), FLUSH_MS),
      setInterval(() => {
        void this.#store.prune(this.#clock.now(), PRUNE_MS).catch(() => undefined);
      }, PRUNE_MS),
    ];
  }

  /** Stops, and stores the remaining uses. */
  async stop(): Promise<void> {
    this.#mirror.stop();
    for (const timer of this.#timers) clearInterval(timer);
    await this.flushUses().catch(() => undefined);
  }

  /** Stores which sessions were used. What can't be written is kept for the next time. */
  async flushUses(): Promise<void> {
    if (this.#unwritten.size === 0) return;
    const uses = [...this.#unwritten].map(([digest, usedAt]) => ({ digest, usedAt }));
    await this.#store.touch(uses);
    await this.refresh();
    for (const { digest, usedAt } of uses)
      if (this.#unwritten.get(digest) === usedAt) this.#unwritten.delete(digest);
  }
}

/** How often what has ended is dropped. */
const PRUNE_MS = 10 * 60_000;
