import { type Platform, ServiceError } from "../errors.ts";
import { unreachable, UPSTREAM_NAMES } from "./errcodes.ts";

/**
 * One request and its answer while they are under way: what ends them early, and why they failed.
 *
 * The first failure stands. It ends everything at once, whatever is still on its way up or down.
 */
export class Exchange {
  readonly #platform: Platform;
  readonly #caller: AbortSignal;
  readonly #controller = new AbortController();
  readonly #onEnd: (() => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failure: ServiceError | undefined;
  #isExpired = false;

  constructor(platform: Platform, caller: AbortSignal) {
    this.#platform = platform;
    this.#caller = caller;
    if (caller.aborted) this.#onCallerGone();
    else caller.addEventListener("abort", this.#onCallerGone);
  }

  /** Aborted by the first failure, which is its reason. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Fails with `failure` unless something happens within `ms`; each call starts anew. */
  within(ms: number, failure: () => ServiceError = () => this.#tooLate()): void {
    clearTimeout(this.#timer);
    if (!this.#isExpired) this.#timer = setTimeout(() => this.fail(failure()), ms);
  }

  /** Nothing is awaited just now. */
  rest(): void {
    clearTimeout(this.#timer);
  }

  /** Ends both directions. */
  fail(failure: ServiceError): void {
    if (this.#isExpired) return;
    this.#failure = failure;
    this.#controller.abort(failure);
    this.end();
  }

  /** Fails for what `fetch` or a stream threw, and gives the error that stands. */
  failFor(cause: unknown): ServiceError {
    this.fail(
      cause instanceof ServiceError ? cause : (unreachable(this.#platform, cause) ?? this.#broken(cause)),
    );
    return this.#failure ?? this.#broken(cause);
  }

  /** Calls `callback` once when the exchange is over, however it ends. */
  onEnd(callback: () => void): void {
    if (this.#isExpired) callback();
    else this.#onEnd.push(callback);
  }

  /** Everything was sent and read, or is wanted no more. */
  end(): void {
    if (this.#isExpired) return;
    this.#isExpired = true;
    clearTimeout(this.#timer);
    this.#caller.removeEventListener("abort", this.#onCallerGone);
    for (const callback of this.#onEnd) callback();
  }

  readonly #onCallerGone = (): void =>
    this.fail(
      new ServiceError(
        "upstream_timeout",
        "调用方已断开；本次调用可能已经执行 (the caller has gone; the call may have been carried out)",
      ),
    );

  #tooLate(): ServiceError {
    const [chinese, english] = UPSTREAM_NAMES[this.#platform];
    return new ServiceError(
      "upstream_timeout",
      `${chinese}服务器未在规定时间内应答；本次调用可能已经执行，请确认后再重试 (${english} did not answer in time; the call may have been carried out, check before you try again)`,
    );
  }

  #broken(cause: unknown): ServiceError {
    const [chinese, english] = UPSTREAM_NAMES[this.#platform];
    return new ServiceError(
      "upstream_invalid",
      `与${chinese}服务器的通信中断；本次调用可能已经执行，请确认后再重试 (the exchange with ${english} broke off; the call may have been carried out, check before you try again)`,
      { cause },
    );
  }
}

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
