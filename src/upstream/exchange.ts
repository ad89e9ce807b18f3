import { type Platform, ServiceError } from "../errors.ts";
import { unreachable, UPSTREAM_NAMES } from "./transport-error.ts";

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
  #isOver = false;

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
    if (!this.#isOver) this.#timer = setTimeout(() => this.fail(failure()), ms);
  }

  /** Nothing is awaited just now. */
  rest(): void {
    clearTimeout(this.#timer);
  }

  /** Ends both directions. */
  fail(failure: ServiceError): void {
    if (this.#isOver) return;
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
    if (this.#isOver) callback();
    else this.#onEnd.push(callback);
  }

  /** Everything was sent and read, or is wanted no more. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
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
