interface Waiter {
  readonly permits: number;
  readonly go: () => void;
}

/**
 * A counting semaphore: at most `limit` permits are held at once, and further acquirers wait in the order in which they
 * came.
 *
 * A caller may acquire several permits at a time. The queue is first in, first out, so that it is never starved.
 */
export class Semaphore {
  readonly #limit: number;
  readonly #waiting = new Set<Waiter>();
  #free: number;

  constructor(limit: number) {
    this.#limit = limit;
    this.#free = limit;
  }

  /** Whether no permit is held. */
  get isIdle(): boolean {
    return this.#free === this.#limit;
  }

  /** Acquires `permits`, clamped to the limit, if they are free and no caller is queued; returns whether it did. */
  tryAcquire(permits = 1): boolean {
    const needed = this.#clamp(permits);
    if (this.#waiting.size > 0 || this.#free < needed) return false;
    this.#free -= needed;
    return true;
  }

  /** As `tryAcquire`, but waits for them. Rejects with the signal's reason when that is aborted first. */
  async acquire(signal: AbortSignal, permits = 1): Promise<void> {
    signal.throwIfAborted();
    if (this.tryAcquire(permits)) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { permits: this.#clamp(permits), go: resolve };
    const abort = () => {
      if (!this.#waiting.delete(waiter)) return;
      reject(signal.reason as Error);
      this.#next();
    };
    this.#waiting.add(waiter);
    signal.addEventListener("abort", abort, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /** Releases the permits of one `acquire`. */
  release(permits = 1): void {
    this.#free += this.#clamp(permits);
    this.#next();
  }

  #next(): void {
    for (const waiter of this.#waiting) {
      if (this.#free < waiter.permits) return;
      this.#free -= waiter.permits;
      this.#waiting.delete(waiter);
      waiter.go();
    }
  }

  #clamp(permits: number): number {
    return Math.min(permits, this.#limit);
  }
}
