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

/** Lets concurrent callers share one read of what may change: each gets one that began after it asked. */
export class SharedRead<T> {
  readonly #running = new SingleFlight<T>();
  /** Per key, the read that begins when the one that runs has ended. */
  readonly #next = new Map<string, Promise<T>>();

  /** What `read` gives, or another's under `key` that has not begun yet. All who share it get the same value or error. */
  run(key: string, read: () => Promise<T>): Promise<T> {
    if (!this.#running.has(key)) return this.#running.run(key, read);
    const waiting = this.#next.get(key);
    if (waiting) return waiting;
    const next = this.#running.landed(key).then(() => {
      this.#next.delete(key);
      return this.run(key, read);
    });
    this.#next.set(key, next);
    return next;
  }
}
