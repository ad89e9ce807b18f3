import { type Caller, markRefused } from "./caller.ts";
import { tooMany } from "./refusals.ts";

/** When it is worth to come again: nobody knows how long those take that are under way. */
const RETRY_MS = 1000;

/** Counts each client's requests under way. Who has none under way takes no memory. */
export class Concurrency {
  readonly #workers: number;
  readonly #underWay = new Map<string, number>();

  /** Each limit is divided among `workers` processes; at least one request at once each of them lets through. */
  constructor(workers: number) {
    this.#workers = workers;
  }

  /**
   * Counts a request of the caller's client in. What it gives counts it out, once however often it is called; undefined
   * for who has no limit, and is not counted.
   *
   * @throws {ServiceError} `rate_limited` when as many as the client may have are under way.
   */
  enter(caller: Caller): (() => void) | undefined {
    const { name = "", concurrency } = caller.client?.client ?? {};
    if (concurrency === undefined) return undefined;
    const underWay = this.#underWay.get(name) ?? 0;
    if (underWay >= this.#share(concurrency))
      throw markRefused(caller, tooMany("同时进行的请求过多", "too many requests at once", RETRY_MS));
    this.#underWay.set(name, underWay + 1);
    let isOut = false;
    return () => {
      if (isOut) return;
      isOut = true;
      this.#leave(name);
    };
  }

  #leave(name: string): void {
    const left = (this.#underWay.get(name) ?? 1) - 1;
    if (left > 0) this.#underWay.set(name, left);
    else this.#underWay.delete(name);
  }

  #share(concurrency: number): number {
    return Math.max(1, Math.floor(concurrency / this.#workers));
  }
}
