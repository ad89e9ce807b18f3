import { type Platform, ServiceError } from "../errors.ts";
import { unreachable, UPSTREAM_NAMES } from "./errcodes.ts";

/**
 * The deadline of one request and its answer while they are under way: what ends them early, and why they failed.
 *
 * The first failure counts. It ends everything at once, whatever is still on its way up or down.
 */
export class Deadline {
  readonly #platform: Platform;
  readonly #caller: AbortSignal;
  readonly #controller = new AbortController();
  readonly #onClose: (() => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failure: ServiceError | undefined;
  #isClosed = false;

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

  /** Fails with `failure` after `ms`, unless it is armed again or disarmed before. */
  arm(ms: number, failure: () => ServiceError = () => this.#tooLate()): void {
    clearTimeout(this.#timer);
    if (!this.#isClosed) this.#timer = setTimeout(() => this.fail(failure()), ms);
  }

  /** Stops the timer: nothing is awaited just now. */
  disarm(): void {
    clearTimeout(this.#timer);
  }

  /** Ends both directions. */
  fail(failure: ServiceError): void {
    if (this.#isClosed) return;
    this.#failure = failure;
    this.#controller.abort(failure);
    this.close();
  }

  /** Fails for what `fetch` or a stream threw, and returns the first failure. */
  failFor(cause: unknown): ServiceError {
    this.fail(
      cause instanceof ServiceError ? cause : (unreachable(this.#platform, cause) ?? this.#broken(cause)),
    );
    return this.#failure ?? this.#broken(cause);
  }

  /** Calls `callback` once when the exchange has ended, however it ends. */
  onClose(callback: () => void): void {
    if (this.#isClosed) callback();
    else this.#onClose.push(callback);
  }

  /** Everything was sent and read, or is wanted no more. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#caller.removeEventListener("abort", this.#onCallerGone);
    for (const callback of this.#onClose) callback();
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
