import { type Platform, ServiceError } from "../errors.ts";
import { unreachable, UPSTREAM_NAMES } from "./errcodes.ts";
import type { BodyStream } from "../gateway/forwarder.ts";

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
  #isSent = false;
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

  /** The request goes out now: from here on a failure has `mayHaveRun`, unless no connection came about. */
  sent(): void {
    this.#isSent = true;
  }

  /** Ends both directions. */
  fail(failure: ServiceError): void {
    if (this.#isClosed) return;
    this.#failure = this.#tracked(failure);
    this.#controller.abort(this.#failure);
    this.close();
  }

  /** Fails for what `fetch` or a stream threw, and returns the first failure. */
  failFor(cause: unknown): ServiceError {
    this.fail(
      cause instanceof ServiceError ? cause : (unreachable(this.#platform, cause) ?? this.#broken(cause)),
    );
    return this.#failure ?? this.#tracked(this.#broken(cause));
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
    this.fail(new ServiceError("upstream_timeout", "调用方已断开 (the caller has gone)"));

  #tracked(failure: ServiceError): ServiceError {
    const mayHaveRun = this.#isSent && failure.code !== "upstream_unreachable";
    return mayHaveRun ? failure.with({ mayHaveRun }) : failure;
  }

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

/** Up to this announced length a body is passed on in one piece, which lets the server below announce it as well. */
const MAX_WHOLE_BYTES = 64 * 1024;

/** What becomes of an answer's body. */
export interface AnswerWatch {
  /** The reader waits for the next bytes. */
  onWait(): void;
  /** Bytes have come, and the reader waits no more. */
  onBytes(): void;
  /** All of it was read. */
  onEnd(): void;
  /** It breaks off; returns the error for the reader. */
  onBroken(cause: unknown): Error;
  /** The reader wants no more. */
  onCancel(): void;
}

/** `body` as it is passed on: one part is asked for when one is wanted, and how long that takes is watched. */
export function answerStream(
  body: ReadableStream<Uint8Array>,
  watch: AnswerWatch,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        watch.onWait();
        try {
          const { value, done } = await reader.read();
          watch.onBytes();
          if (!done) return controller.enqueue(value);
        } catch (error) {
          throw watch.onBroken(error);
        }
        watch.onEnd();
        controller.close();
      },
      cancel: async (reason) => {
        watch.onCancel();
        await reader.cancel(reason).catch(() => undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

/** Whether the body of an answer with these headers is small enough to be read before it is passed on. */
export function isSmall(headers: Headers): boolean {
  const length = headers.get("content-length");
  return length !== null && Number(length) <= MAX_WHOLE_BYTES;
}

const SLICE_BYTES = 64 * 1024;

/** What becomes of a body on its way up. */
export interface UploadWatch {
  /** A part of it is taken to be sent, or nothing is left. */
  onProgress(): void;
  /** It is shorter or longer than announced, or breaks off, so that the request must not look complete. */
  onBroken(cause: unknown): void;
}

/**
 * `body` as it is given to `fetch`: exactly as long as announced, or an error. Its parts go up in slices, and their
 * memory is freed behind them.
 *
 * The last slice is held back until the source has ended. Otherwise a body that goes on behind its announced length
 * would have arrived as a complete request before it could be noticed.
 */
export function uploadStream({ stream, length }: BodyStream, watch: UploadWatch): ReadableStream<Uint8Array> {
  const reader = stream.getReader();
  let size = 0;
  let isWanted = true;
  let part: Uint8Array = new Uint8Array();
  let left = part;
  const isEnded = async () => {
    while (left.byteLength === 0) {
      const { value, done } = await reader.read();
      if (done) return true;
      left = part = value;
    }
    return false;
  };
  const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
    // Whoever asks for more has a copy of all before.
    if (left.byteLength === 0) free(part);
    let chunk: Uint8Array | undefined;
    if (size < length) {
      if (await isEnded()) throw new Error("the body is shorter than announced");
      chunk = left.subarray(0, SLICE_BYTES);
      left = left.subarray(SLICE_BYTES);
      size += chunk.byteLength;
    }
    if (size >= length && (size > length || !(await isEnded()))) {
      throw new Error("the body is longer than announced");
    }
    if (!isWanted) return;
    if (chunk) controller.enqueue(chunk);
    if (size === length) controller.close();
    watch.onProgress();
  };
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        try {
          await pull(controller);
        } catch (error) {
          // A reader that wants no more, say because the answer is there, ends the source: that is no fault of the source.
          if (!isWanted) return;
          watch.onBroken(error);
          reader.cancel(error).catch(() => undefined);
          throw error;
        }
      },
      cancel: (reason) => {
        isWanted = false;
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
}

/** Frees the memory of a part at once. Left to the garbage collector, uploads take twice the memory. */
function free({ buffer, byteLength }: Uint8Array): void {
  // A buffer may be shared with others: by those that Buffer.from makes it is.
  if (byteLength === buffer.byteLength && buffer instanceof ArrayBuffer) buffer.transfer(0);
}

/** Bytes that are held already as a stream, so that how they go up can be watched. */
export function streamOf(bytes: Uint8Array): BodyStream {
  let sent = 0;
  const stream = new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        if (sent < bytes.byteLength) controller.enqueue(bytes.slice(sent, sent + SLICE_BYTES));
        sent += SLICE_BYTES;
        if (sent >= bytes.byteLength) controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  return { stream, length: bytes.byteLength };
}
