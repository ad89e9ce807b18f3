import { randomUUID } from "node:crypto";
import type { AppDirectory } from "../apps/app-directory.ts";
import { appName, type Slot } from "../apps/app.ts";
import type { Changes, Topic } from "../changes.ts";
import { credentialKey } from "../credentials/credential.ts";
import type { CredentialStates, CredentialStatus } from "../credentials/status.ts";

/** The topics that are told of, in the order of their epochs in an event's id, and what the events of each are called. */
const EVENT_OF = {
  credentials: "credential",
  apps: "app",
  clients: "client",
  environments: "environment",
  callbacks: "callback",
  backoffs: "backoffs",
} as const satisfies Partial<Record<Topic, string>>;
type FeedTopic = keyof typeof EVENT_OF;
const FEED_TOPICS = Object.keys(EVENT_OF) as readonly FeedTopic[];

/** `reset`: what was missed is not known, so ask for everything again. */
type EventType = (typeof EVENT_OF)[FeedTopic] | "reset";

/** Something that has changed in the store. It carries names and states, and never a value. */
export interface StateEvent {
  readonly type: EventType;
  /** The public name of the app whose credential it is; undefined for what concerns no app in particular. */
  readonly app: string | undefined;
  /** As JSON. */
  readonly data: string;
}

/** What has changed at about the same time. */
export interface Burst {
  readonly events: readonly StateEvent[];
  /** Names the state after all of it. */
  readonly id: string;
}

/** What the feed works with. */
export interface EventFeedParts {
  readonly changes: Changes;
  readonly directory: Pick<AppDirectory, "slotNamed">;
  readonly states: Pick<CredentialStates, "ofCredentials">;
  /** Resolves once this process knows the apps and clients as they are now. May reject. */
  readonly refresh: () => Promise<unknown>;
}

/** So many events are kept for those who come back. */
const MAX_KEPT = 1024;
/** What changes meanwhile is told of together. */
const PAUSE_MS = 50;
/** How long it goes on without listeners, who may just be reconnecting. */
const LINGER_MS = 60_000;
/** How long it waits when the store could not be read. */
const RETRY_MS = 200;

/**
 * Tells of what any process changes in the store: once for all who listen, and not at all while nobody does.
 *
 * The id of an event holds the epochs of its topics, so that whoever comes back to any process of the same database is
 * told what it has missed.
 */
export class EventFeed {
  readonly #parts: EventFeedParts;
  readonly #listeners = new Set<(burst: Burst) => void>();
  /** What is kept, oldest first, each with the epochs after it; and those before the first. */
  readonly #kept: { readonly burst: Burst; readonly epochs: readonly number[] }[] = [];
  #keptCount = 0;
  #keptSince: readonly number[] = [];
  /** The epochs up to which everything is told. */
  #told: readonly number[] = [];
  /** Another one after the store has become another, whose epochs this process alone counts as it does. */
  #era = "";
  #isReset = false;
  readonly #moved = new Set<FeedTopic>();
  readonly #keys = new Set<string>();
  #unsubscribe: readonly (() => void)[] = [];
  #timer: Timer | undefined;
  #isTelling = false;
  #linger: Timer | undefined;

  constructor(parts: EventFeedParts) {
    this.#parts = parts;
  }

  /** Learns what has changed until now. Throws what the store throws. */
  async catchUp(): Promise<void> {
    await this.#parts.changes.catchUp();
  }

  /**
   * Calls `listener` with everything that changes from now on, and returns what came after `lastId`: a `reset` where that
   * is not known any more, nothing for a first call. Call `catchUp` before it, and `leave` when nobody listens any more.
   */
  listen(listener: (burst: Burst) => void, lastId: string | undefined): Burst {
    clearTimeout(this.#linger);
    if (this.#unsubscribe.length === 0) this.#begin();
    this.#listeners.add(listener);
    return { events: lastId === undefined ? [] : this.#after(lastId), id: this.id };
  }

  /** Ends a `listen`. */
  leave(listener: (burst: Burst) => void): void {
    this.#listeners.delete(listener);
    if (this.#listeners.size > 0) return;
    clearTimeout(this.#linger);
    this.#linger = setTimeout(() => this.close(), LINGER_MS);
    this.#linger.unref();
  }

  /** Follows the store no more, until somebody listens. */
  close(): void {
    clearTimeout(this.#linger);
    clearTimeout(this.#timer);
    for (const end of this.#unsubscribe) end();
    this.#unsubscribe = [];
    this.#timer = undefined;
  }

  /** Names the state up to which everything is told. */
  get id(): string {
    return this.#era + this.#told.join(".");
  }

  #begin(): void {
    const { changes } = this.#parts;
    this.#moved.clear();
    this.#keys.clear();
    this.#forget(this.#epochs());
    this.#unsubscribe = FEED_TOPICS.map((topic) =>
      changes.subscribe(topic, (changed, isAnother = false) => {
        if (topic !== "credentials") this.#moved.add(topic);
        else if (changed) for (const key of changed.keys()) this.#keys.add(key);
        else this.#isReset = true;
        if (isAnother) this.#era = `${randomUUID().slice(0, 8)}-`;
        this.#tellSoon();
      }),
    );
  }

  /** Keeps nothing of what was told until now. */
  #forget(epochs: readonly number[]): void {
    this.#kept.length = 0;
    this.#keptCount = 0;
    this.#keptSince = epochs;
    this.#told = epochs;
    this.#isReset = false;
  }

  #epochs(): readonly number[] {
    return FEED_TOPICS.map((topic) => this.#parts.changes.epoch(topic));
  }

  #tellSoon(): void {
    if (!this.#timer && !this.#isTelling) this.#tellAfter(0);
  }

  #tellAfter(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#keys.size > 0 || this.#moved.size > 0 || this.#isReset) void this.#tell();
    }, ms);
    this.#timer.unref();
  }

  async #tell(): Promise<void> {
    this.#isTelling = true;
    // Asking for the epochs calls the listeners of what is found new, so nothing up to them is left out.
    const epochs = this.#epochs();
    const [keys, moved] = [[...this.#keys], [...this.#moved]];
    this.#keys.clear();
    this.#moved.clear();
    let pauseMs = PAUSE_MS;
    try {
      // Who may see what has changed, is decided by what apps and grants are now.
      if (moved.includes("apps") || moved.includes("clients"))
        await this.#parts.refresh().catch(() => undefined);
      const events = await this.#credentialEvents(keys);
      for (const topic of moved) events.push({ type: EVENT_OF[topic], app: undefined, data: "{}" });
      this.#publish(events, epochs);
    } catch {
      for (const key of keys) this.#keys.add(key);
      for (const topic of moved) this.#moved.add(topic);
      pauseMs = RETRY_MS;
    }
    this.#isTelling = false;
    if (this.#unsubscribe.length > 0) this.#tellAfter(pauseMs);
  }

  #publish(events: readonly StateEvent[], epochs: readonly number[]): void {
    const hasGoneBack = epochs.some((epoch, n) => epoch < (this.#told[n] ?? 0));
    const isReset = this.#isReset || hasGoneBack;
    if (isReset) this.#forget(epochs);
    this.#told = epochs;
    const burst = { events: isReset ? [RESET] : events, id: this.id };
    if (burst.events.length === 0) return;
    if (!isReset) this.#keep(burst, epochs);
    for (const listener of this.#listeners) listener(burst);
  }

  #keep(burst: Burst, epochs: readonly number[]): void {
    this.#kept.push({ burst, epochs });
    this.#keptCount += burst.events.length;
    while (this.#keptCount > MAX_KEPT) {
      const dropped = this.#kept.shift();
      if (!dropped) return;
      this.#keptCount -= dropped.burst.events.length;
      this.#keptSince = dropped.epochs;
    }
  }

  #after(lastId: string): readonly StateEvent[] {
    const { groups } = /^(?<era>(?:[0-9a-f]{8}-)?)(?<numbers>\d{1,16}(?:\.\d{1,16}){5})$/.exec(lastId) ?? {};
    if (groups?.["era"] !== this.#era) return [RESET];
    const known = (groups["numbers"] ?? "").split(".").map(Number);
    // What is newer than this process knows is of another database; it has just read what there is.
    const now = this.#epochs();
    const isNewer = known.some((epoch, n) => epoch > (now[n] ?? 0));
    if (isNewer || known.some((epoch, n) => epoch < (this.#keptSince[n] ?? 0))) return [RESET];
    const missed = this.#kept.filter(({ epochs }) => epochs.some((epoch, n) => epoch > (known[n] ?? 0)));
    return missed.flatMap(({ burst }) => burst.events);
  }

  async #credentialEvents(keys: readonly string[]): Promise<StateEvent[]> {
    const { directory, states } = this.#parts;
    const slots = new Set<Slot>();
    for (const key of keys) {
      const [platform, appId = "", ...rest] = key.split(":");
      const name = rest.slice(0, -1).join(":");
      if (platform !== "weixin" && platform !== "wecom") continue;
      const slot = directory.slotNamed({ platform, appId, name });
      if (slot) slots.add(slot);
    }
    const listed = [...slots];
    const changed = new Set(keys);
    const statuses = await states.ofCredentials(listed);
    return listed.flatMap((slot, n) =>
      (statuses[n] ?? [])
        .filter(({ kind }) => changed.has(credentialKey({ slot, kind })))
        .map((status) => credentialEvent(appName(slot), status)),
    );
  }
}

const RESET: StateEvent = { type: "reset", app: undefined, data: "{}" };

/** JSON leaves out what is undefined. That it is being obtained is not told: nothing tells when that is over. */
function credentialEvent(app: string, status: CredentialStatus): StateEvent {
  const { kind, lastingState: state, generation, life, lastFailure } = status;
  const cause = state === "blocked" || state === "failing" ? lastFailure?.error.code : undefined;
  const data = JSON.stringify({ app, kind, generation, state, expires_at: life?.expiresAt, cause });
  return { type: "credential", app, data };
}
