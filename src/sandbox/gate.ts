/**
 * Holds answers back until a test opens it.
 *
 * Wait for `arrived(n)` to know that n requests stand at the gate, do what has to happen meanwhile, then `open()`.
 */
export class Gate {
  readonly #opening = Promise.withResolvers<void>();
  #arrivals = 0;
  #expected: { count: number; resolve: () => void }[] = [];

  /** How many requests have come to the gate so far. */
  get arrivals(): number {
    return this.#arrivals;
  }

  /** Resolves as soon as `count` requests have come to the gate. */
  arrived(count = 1): Promise<void> {
    return new Promise((resolve) => {
      if (this.#arrivals >= count) resolve();
      else this.#expected.push({ count, resolve });
    });
  }

  /** Lets through all who wait and all who come later. */
  open(): void {
    this.#opening.resolve();
  }

  /** Waits at the gate; the sandbox calls it for each request that the fault catches. */
  async pass(): Promise<void> {
    this.#arrivals++;
    for (const { resolve } of this.#expected.filter(({ count }) => this.#arrivals >= count)) resolve();
    this.#expected = this.#expected.filter(({ count }) => this.#arrivals < count);
    await this.#opening.promise;
  }
}
