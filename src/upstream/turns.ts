interface Waiting {
  readonly who: string;
  readonly go: () => void;
}

/**
 * Lets so many at once through, and the others in the order in which they came.
 *
 * Nobody takes the last free turns: who holds more than are free waits, so that one alone gets half of them, and there
 * is always one left for somebody who has none.
 */
export class Turns {
  readonly #waiting = new Set<Waiting>();
  /** How many turns each one has who has any. */
  readonly #held = new Map<string, number>();
  #free: number;

  constructor(most: number) {
    this.#free = most;
  }

  /**
   * Resolves when it is `who`'s turn, which `giveBack` for the same one ends; rejects with the signal's reason while one
   * still waits.
   */
  async take(who: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#mayGo(who)) return this.#count(who);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting: Waiting = { who, go: resolve };
    const leave = () => {
      this.#waiting.delete(waiting);
      reject(signal.reason as Error);
    };
    this.#waiting.add(waiting);
    signal.addEventListener("abort", leave, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  /** Ends a turn of `who`. */
  giveBack(who: string): void {
    const left = (this.#held.get(who) ?? 1) - 1;
    if (left > 0) this.#held.set(who, left);
    else this.#held.delete(who);
    this.#free += 1;
    for (const waiting of this.#waiting) {
      if (this.#free === 0) return;
      if (!this.#mayGo(waiting.who)) continue;
      this.#waiting.delete(waiting);
      this.#count(waiting.who);
      waiting.go();
    }
  }

  #mayGo(who: string): boolean {
    return this.#free > 0 && (this.#held.get(who) ?? 0) <= this.#free;
  }

  #count(who: string): void {
    this.#free -= 1;
    this.#held.set(who, (this.#held.get(who) ?? 0) + 1);
  }
}
