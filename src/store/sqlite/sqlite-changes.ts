import type { Database } from "bun:sqlite";
import { type ChangeListener, type Changes, type Topic, TOPICS } from "../../changes.ts";
import type { Clock } from "../../clock.ts";
import { MAX_NUMBER } from "../damaged-rows.ts";
import { COMPATIBLE_FROM, type OwnChanges } from "../epochs.ts";
import { NEWEST_MIGRATION } from "./open-database.ts";

/** How old this process's knowledge of the store may be, in milliseconds: half of the 50 that are promised. */
const KNOWLEDGE_MS = 25;
/** How often changes are looked for while there are listeners, in milliseconds. */
const POLL_MS = 200;
/** So many changed items are named, each; beyond it any may have changed. */
const MAX_NAMED = 1000;

/**
 * The change feed of SQLite: a row for each topic, which the transaction that changes something raises.
 *
 * All of them are read by one statement, at most every 25 ms when an epoch is asked for, and every 200 ms while there are
 * listeners. Which credentials have changed is in their rows.
 */
export class SqliteChanges implements Changes, OwnChanges {
  readonly #clock: Clock;
  readonly #readEpochs: () => unknown[][];
  readonly #readCredentials: (after: number) => unknown[][];
  readonly #listeners = new Map<Topic, Set<ChangeListener>>(TOPICS.map((topic) => [topic, new Set()]));
  readonly #epochs = Object.fromEntries(TOPICS.map((topic) => [topic, 0])) as Record<Topic, number>;
  readonly #onOutdated: () => void;
  #isOutdated = false;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #isLive = true;
  #subscribers = 0;
  #timer: Timer | undefined;

  /** `onOutdated` is called once, when a newer version has made of the database what this one would answer wrongly from. */
  constructor(database: Database, clock: Clock, onOutdated: () => void) {
    this.#clock = clock;
    this.#onOutdated = onOutdated;
    const epochs = database.query("SELECT name, number FROM revisions");
    this.#readEpochs = () => epochs.values();
    const changed = database.query(
      `SELECT platform || ':' || app_id || ':' || slot || ':' || kind, epoch FROM credentials
       WHERE epoch > ? LIMIT ${MAX_NAMED + 1}`,
    );
    this.#readCredentials = (after) => changed.values(after);
  }

  get isLive(): boolean {
    return this.#isLive;
  }

  epoch(topic: Topic, monotonic = this.#clock.monotonic()): number {
    if (monotonic - this.#lookedAt >= KNOWLEDGE_MS) this.#look(monotonic);
    return this.#epochs[topic];
  }

  async catchUp(): Promise<void> {
    this.#look(this.#clock.monotonic());
  }

  subscribe(topic: Topic, listener: ChangeListener): () => void {
    // A function of its own, so that each subscription ends alone.
    const own: ChangeListener = (changed) => listener(changed);
    this.#listeners.get(topic)?.add(own);
    if (this.#subscribers++ === 0) {
      this.#timer = setInterval(() => this.epoch(topic), POLL_MS);
      this.#timer.unref();
    }
    return () => {
      if (this.#listeners.get(topic)?.delete(own) && --this.#subscribers === 0) this.close();
    };
  }

  expire(): void {
    this.#lookedAt = Number.NEGATIVE_INFINITY;
  }

  /** Ends the polling. */
  close(): void {
    clearInterval(this.#timer);
  }

  #look(monotonic: number): void {
    this.#lookedAt = monotonic;
    const moved: { topic: Topic; changed: ReadonlyMap<string, number> | undefined }[] = [];
    try {
      const numbers = new Map(this.#readEpochs().map(([name, number]) => [name, number]));
      if (!this.#isOutdated && Number(numbers.get(COMPATIBLE_FROM)) > NEWEST_MIGRATION) {
        this.#isOutdated = true;
        this.#onOutdated();
      }
      for (const topic of TOPICS) {
        const number = Number(numbers.get(topic) ?? 0);
        const before = this.#epochs[topic];
        // One that can't be read counts as none: its next change makes it readable.
        const epoch = number >= 0 && number <= MAX_NUMBER ? number : 0;
        if (before === epoch) continue;
        // One that has gone back is of another database, as after a restored backup.
        moved.push({ topic, changed: epoch > before ? this.#changedSince(topic, before) : undefined });
        this.#epochs[topic] = epoch;
      }
      this.#isLive = true;
    } catch {
      // What keeps it from reading is reported by whatever needs the database.
      this.#isLive = false;
    }
    for (const { topic, changed } of moved) {
      for (const listener of this.#listeners.get(topic) ?? []) listener(changed);
    }
  }

  #changedSince(topic: Topic, epoch: number): ReadonlyMap<string, number> | undefined {
    if (topic !== "credentials" || this.#listeners.get(topic)?.size === 0) return undefined;
    const rows = this.#readCredentials(epoch);
    if (rows.length > MAX_NAMED) return undefined;
    return new Map(rows.map(([key, number]) => [String(key), Number(number)]));
  }
}
