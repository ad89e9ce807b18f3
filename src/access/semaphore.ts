/**
 * A counting semaphore: at most `limit` permits are held at once, and further acquirers wait in the order in which they
 * came.
 */
export class Semaphore {
  readonly #limit: number;
  readonly #waiting = new Set<() => void>();
  #free: number;

  constructor(limit: number) {
    this.#limit = limit;
    this.#free = limit;
  }

  /** Whether no permit is held. */
  get isIdle(): boolean {
    return this.#free === this.#limit;
  }

  /** Acquires a permit if one is free, which it is only while no caller is queued; returns whether it did. */
  tryAcquire(): boolean {
    if (this.#free === 0) return false;
    this.#free -= 1;
    return true;
  }

  /** As `tryAcquire`, but waits for one. Rejects with the signal's reason when that is aborted first. */
  async acquire(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.tryAcquire()) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const abort = () => {
      if (this.#waiting.delete(resolve)) reject(signal?.reason as Error);
    };
    this.#waiting.add(resolve);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      await promise;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Releases the permit of one `acquire`: to the caller that has waited longest, if one waits. */
  release(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free += 1;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
