/** Lets concurrent callers that want the same thing share one piece of work. */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Promise<T>>();

  /**
   * The outcome of the flight that runs under `key`; starts `work` when none does.
   *
   * All callers that join get the same value or the same error. The next call after its end starts a new one, also
   * after a failure.
   */
  run(key: string, work: () => Promise<T>): Promise<T> {
    const running = this.#flights.get(key);
    if (running) return running;
    const flight = work().finally(() => this.#flights.delete(key));
    this.#flights.set(key, flight);
    return flight;
  }

  /** Whether a flight runs under `key`. */
  has(key: string): boolean {
    return this.#flights.has(key);
  }

  /** Resolves when no flight runs under `key` any more, however it ended. */
  async landed(key: string): Promise<void> {
    await this.#flights.get(key)?.catch(() => undefined);
  }

  /** Resolves when every flight that runs now has ended, however it ended. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#flights.values());
  }
}
