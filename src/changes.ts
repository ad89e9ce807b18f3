/** What processes keep in memory of the store, and must hear of when another process changes it. `keys` are the master keys. */
export const TOPICS = ["apps", "clients", "credentials", "keys"] as const;
export type Topic = (typeof TOPICS)[number];

/**
 * Called after a change of a topic. `changed` maps the key of each item that has changed to the epoch of its last change;
 * undefined where any of them may have. Of `credentials`, a key is a `credentialKey`; the other topics name no items.
 * Must not throw.
 */
export type ChangeListener = (changed: ReadonlyMap<string, number> | undefined) => void;

/**
 * The one place where a process learns what all processes have changed in the store.
 *
 * Counters, audit entries, last uses and leases are no changes: no memory is out of date because of them.
 */
export interface Changes {
  /**
   * A number that grows with each change of the topic; 0 while there has never been one. Synchronous and cheap.
   *
   * A change that this process has committed counts at once, one of another process after 25 ms at the latest. Before it
   * returns a new number, it has called the listeners for all changes up to it.
   *
   * `monotonic` is `Clock.monotonic()` now, for a caller that has read it already.
   */
  epoch(topic: Topic, monotonic?: number): number;
  /**
   * Calls `listener` after changes of the topic: in an `epoch` that finds them, and within 250 ms where nobody calls that.
   * Returns what ends it.
   */
  subscribe(topic: Topic, listener: ChangeListener): () => void;
  /** Resolves when every change that any process has committed before the call is known, as far as can be read just now. */
  catchUp(): Promise<void>;
  /** False while changes of other processes can't be seen: then read the store, and trust memory only where that fails. */
  readonly isLive: boolean;
}

/** How long after a failed reading it is tried again, in milliseconds. */
const RETRY_MS = 200;

/**
 * Keeps what is read from the store as a whole up to date with its topic.
 *
 * While the store can't be read, what was read last stays.
 */
export class Mirror {
  readonly #changes: Changes;
  readonly #topic: Topic;
  readonly #read: (epoch: number) => Promise<void>;
  #epoch = -1;
  #reading: Promise<void> | undefined;
  #unsubscribe: (() => void) | undefined;
  #retry: Timer | undefined;

  /** `read` reads everything again and puts it in place; it is given the epoch, and never runs twice at a time. */
  constructor(changes: Changes, topic: Topic, read: (epoch: number) => Promise<void>) {
    this.#changes = changes;
    this.#topic = topic;
    this.#read = read;
  }

  /** The epoch that was current before what is in place was read; -1 before the first reading. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Resolves when everything is in place that was committed before the call. Throws what `read` throws. */
  async refresh(): Promise<void> {
    await this.#changes.catchUp();
    for (;;) {
      // Asked for before it is read: what changes during the reading makes the next look find another epoch.
      const epoch = this.#changes.epoch(this.#topic);
      if (!this.#reading) {
        if (epoch === this.#epoch) return;
        this.#reading = this.#readAt(epoch);
        return this.#reading;
      }
      // Whether another caller's reading has failed is that caller's affair.
      await this.#reading.catch(() => undefined);
    }
  }

  /** Begins to follow the changes of all processes. */
  start(): void {
    this.#unsubscribe ??= this.#changes.subscribe(this.#topic, () => this.#follow());
    this.#follow();
  }

  /** Ends what `start` began. */
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
