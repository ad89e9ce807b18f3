import { ServiceError } from "./errors.ts";

/**
 * What processes cache of the store, and reread when another process changes it. `keys` are the master keys, `sessions`
 * those of the console; `backoffs` is raised when one of the pacing begins or ends, `alarms` when one does, and with the channels that they
 * are sent to.
 */
export const TOPICS = [
  "apps",
  "clients",
  "credentials",
  "keys",
  "environments",
  "callbacks",
  "sessions",
  "backoffs",
  "alarms",
] as const;
export type Topic = (typeof TOPICS)[number];

/**
 * Called after a change of a topic. `changed` maps the key of each item that has changed to the epoch of its last
 * change; undefined where any of them may have. Of `credentials`, a key is a `credentialKey`; the other topics name no
 * items. `isAnother` says that the store is another one now, as after a failover, and may lack what it once had: then
 * nothing is named. Must not throw.
 */
export type ChangeListener = (changed: ReadonlyMap<string, number> | undefined, isAnother?: boolean) => void;

/**
 * Reports to a process what any process has changed in the store.
 *
 * Counters, audit entries, last uses and leases are no changes: no cache depends on them.
 */
export interface Changes {
  /**
   * A number that grows with each change of the topic; 0 while there has never been one. Synchronous and cheap.
   *
   * A change that this process has committed counts at once, one of another process after 25 ms at the latest. Before
   * it returns a new number, it has called the listeners for all changes up to it.
   *
   * `monotonic` is `Clock.monotonic()` now, for a caller that has read it already.
   */
  epoch(topic: Topic, monotonic?: number): number;
  /**
   * Calls `listener` after changes of the topic: in the `epoch` call that finds them, else within 250 ms. Returns the
   * function that unsubscribes it.
   */
  subscribe(topic: Topic, listener: ChangeListener): () => void;
  /** Resolves when every change committed by any process before the call is known, as far as the store can be read. */
  catchUp(): Promise<void>;
  /** False while changes of other processes can't be seen: then read the store, and trust memory only where that fails. */
  readonly isLive: boolean;
}

const RETRY_MS = 200;

/**
 * Keeps an in-memory copy of a topic up to date. While the store can't be read, the last copy stays in use.
 */
export class Mirror {
  readonly #changes: Changes;
  readonly #topic: Topic;
  readonly #read: (epoch: number) => Promise<void>;
  readonly #onFailed: (error: unknown) => void;
  #isFailing = false;
  #epoch = -1;
  #reading: Promise<void> | undefined;
  #unsubscribe: (() => void) | undefined;
  #retry: Timer | undefined;

  /**
   * `read` loads everything and replaces the copy; it receives the epoch, and never runs concurrently. `onFailed` is
   * called with the first of several failures in a row.
   */
  constructor(
    changes: Changes,
    topic: Topic,
    read: (epoch: number) => Promise<void>,
    onFailed: (error: unknown) => void = () => undefined,
  ) {
    this.#changes = changes;
    this.#topic = topic;
    this.#read = read;
    this.#onFailed = onFailed;
  }

  /** Whether the last attempt to bring the copy up to date failed. */
  get isFailing(): boolean {
    return this.#isFailing;
  }

  /** The epoch of the copy; -1 before the first read. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Resolves when everything committed before the call is loaded. Throws what `read` throws; `unavailable` without it. */
  async refresh(): Promise<void> {
    try {
      await this.#catchUp();
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing) this.#onFailed(error);
      this.#isFailing = true;
      throw error;
    }
  }

  async #catchUp(): Promise<void> {
    await this.#changes.catchUp();
    if (!this.#changes.isLive)
      throw new ServiceError("unavailable", "暂时无法读取数据库 (the database can't be read just now)");
    for (;;) {
      // Taken before the read, so that a change during it leads to another one.
      const epoch = this.#changes.epoch(this.#topic);
      if (!this.#reading) {
        if (epoch === this.#epoch) return;
        this.#reading = this.#readAt(epoch);
        return this.#reading;
      }
      // A failure is reported to the caller that began the read.
      await this.#reading.catch(() => undefined);
    }
  }

  /** Begins to follow the changes of all processes. */
  start(): void {
    this.#unsubscribe ??= this.#changes.subscribe(this.#topic, () => this.#follow());
    this.#follow();
  }

  stop(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    clearTimeout(this.#retry);
    this.#retry = undefined;
  }

  async #readAt(epoch: number): Promise<void> {
    try {
      await this.#read(epoch);
      this.#epoch = epoch;
    } finally {
      this.#reading = undefined;
    }
  }

  #follow(): void {
    this.refresh().catch(() => {
      if (!this.#unsubscribe || this.#retry) return;
      this.#retry = setTimeout(() => {
        this.#retry = undefined;
        this.#follow();
      }, RETRY_MS);
      this.#retry.unref();
    });
  }
}
