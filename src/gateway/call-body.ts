import { announcedLength } from "../api/wechat-request.ts";
import { ServiceError } from "../errors.ts";
import type { BodyStream } from "./forwarder.ts";

const RETRY_MS = 1000;

/** A request's body as it goes up. */
export interface CallBody {
  readonly body: Uint8Array | BodyStream | undefined;
  /** Whether it can be sent once more. */
  readonly isReplayable: boolean;
  /** Gives the memory back. Idempotent. */
  readonly release: () => void;
}

/**
 * Makes a request's body ready: in memory where it is small enough to be sent once more, else as a stream of known
 * length. One of unknown length is always read first, because WeChat answers 412 to it.
 *
 * A GET's body is left out: WeChat doesn't look at it, and some SDKs send an empty object.
 *
 * @throws {ServiceError} `payload_too_large` for one of unknown length that is too large to be held; `rate_limited` for
 *   one that there is no room for now; `invalid_parameter` for one that breaks off.
 */
export async function prepareBody(request: Request, budget: ReplayShare): Promise<CallBody> {
  const { method, body: stream } = request;
  if (method === "GET" || method === "HEAD") return without(undefined);
  if (stream === null) return without(new Uint8Array());
  const length = announcedLength(request);
  if (length === undefined) return holdUnmeasured(stream, budget);
  if (length > budget.each || !budget.take(length)) {
    return { body: { stream, length }, isReplayable: false, release: () => undefined };
  }
  return holdMeasured(stream, length, budget);
}

async function holdMeasured(
  stream: ReadableStream<Uint8Array>,
  length: number,
  budget: ReplayShare,
): Promise<CallBody> {
  const release = releaseOf(budget, () => length);
  try {
    const bytes = new Uint8Array(length);
    let size = 0;
    for await (const chunk of stream) {
      if (size + chunk.byteLength > length) throw brokenOff();
      bytes.set(chunk, size);
      size += chunk.byteLength;
    }
    if (size < length) throw brokenOff();
    return { body: bytes, isReplayable: true, release };
  } catch (error) {
    release();
    throw asFailure(error);
  }
}

async function holdUnmeasured(stream: ReadableStream<Uint8Array>, budget: ReplayShare): Promise<CallBody> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const release = releaseOf(budget, () => size);
  try {
    for await (const chunk of stream) {
      if (size + chunk.byteLength > budget.each) throw unknownLength();
      if (!budget.take(chunk.byteLength)) throw noRoom();
      size += chunk.byteLength;
      chunks.push(chunk);
    }
    return { body: Buffer.concat(chunks), isReplayable: true, release };
  } catch (error) {
    release();
    throw asFailure(error);
  }
}

function releaseOf(budget: ReplayShare, taken: () => number): () => void {
  let isReleased = false;
  return () => {
    if (!isReleased) budget.giveBack(taken());
    isReleased = true;
  };
}

function without(body: Uint8Array | undefined): CallBody {
  return { body, isReplayable: true, release: () => undefined };
}

/** What reading a body throws is the caller's affair: it has gone, or was too slow. */
function asFailure(error: unknown): ServiceError {
  return error instanceof ServiceError ? error : brokenOff(error);
}

function brokenOff(cause?: unknown): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "请求体中断，本次调用未发出 (the body broke off; the call was not sent)",
    { cause },
  );
}

function unknownLength(): ServiceError {
  return new ServiceError(
    "payload_too_large",
    "请求体过大且没有Content-Length，请带上Content-Length (the body is large and without Content-Length: send one)",
  );
}

function noRoom(): ServiceError {
  return new ServiceError(
    "rate_limited",
    "网关缓冲区已满，请稍后再试，或带上Content-Length (the gateway's buffers are full; try again, or send Content-Length)",
    { retryAfterMs: RETRY_MS },
  );
}

/** The part of it that one caller may have. */
export type ReplayShare = Pick<ReplayBudget, "each" | "take" | "giveBack">;

/** How many bytes of requests are held in memory, in all and each, so that they can be sent once more. */
export class ReplayBudget {
  /** The largest body that is held: never more than all together may be. */
  readonly each: number;
  readonly #total: number;
  #held = 0;
  readonly #heldBy = new Map<string, number>();

  constructor(limits: { readonly each: number; readonly total: number }) {
    this.each = Math.min(limits.each, limits.total);
    this.#total = limits.total;
  }

  /** How many bytes are taken now. */
  get held(): number {
    return this.#held;
  }

  /** Takes so many bytes, if there is room. Whoever takes gives back. */
  take(bytes: number): boolean {
    if (this.#held + bytes > this.#total) return false;
    this.#held += bytes;
    return true;
  }

  /** Gives so many of the taken bytes back. */
  giveBack(bytes: number): void {
    this.#held -= bytes;
  }

  /**
   * As much of it as `who` may have: one body at least; whoever holds more than that and more than is free takes no more,
   * so that there is room for others.
   */
  of(who: string): ReplayShare {
    const held = () => this.#heldBy.get(who) ?? 0;
    const note = (bytes: number) => {
      if (bytes > 0) this.#heldBy.set(who, bytes);
      else this.#heldBy.delete(who);
    };
    return {
      each: this.each,
      take: (bytes) => {
        const isModest = held() + bytes <= this.each || held() <= this.#total - this.#held;
        if (!isModest || !this.take(bytes)) return false;
        note(held() + bytes);
        return true;
      },
      giveBack: (bytes) => {
        this.giveBack(bytes);
        note(held() - bytes);
      },
    };
  }
}
