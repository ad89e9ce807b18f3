/** Someone who waits for permits. */
interface Waiter {
  readonly permits: number;
  readonly go: () => void;
}

/**
 * A counting semaphore: at most `limit` permits are held at once, and further acquirers wait in the order in which they
 * came.
 *
 * Something large may acquire several permits at a time. Nobody overtakes it while it waits, so it is never starved.
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

  /** Takes `permits` (at most as many as there are in all) if they are free and nobody waits; whether it did. */
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

  /** Gives back what one `acquire` took. */
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
