import { ServiceError } from "../errors.ts";
import type { BodyStream, CallRequest } from "./forwarder.ts";

/** The largest body that is buffered, so that its call can be sent once more with another token. */
const MAX_BUFFERED_BYTES = 1 << 20;

/** A request's body as it is sent; only a buffered one can be sent once more. */
export type CallBody = Uint8Array | BodyStream | undefined;

type Sent = Pick<CallRequest, "method" | "body" | "length">;

/** How far Bun reads ahead of whoever reads a body slowly or not at all, as measured. Nothing can keep it from that. */
const READ_AHEAD_BYTES = 1.5 * (1 << 20);

/** How many bytes of a request's body are held at most while it waits. */
export function heldBytes({ length = MAX_BUFFERED_BYTES }: Pick<CallRequest, "length">): number {
  return Math.min(length, READ_AHEAD_BYTES);
}

/** Whether a request's body is streamed rather than buffered. */
export function isStreamed(request: Sent): boolean {
  return hasBody(request) && request.length !== undefined && request.length > MAX_BUFFERED_BYTES;
}

/**
 * Prepares a request's body: buffered where it is small enough to be sent once more, else as a stream of known length.
 * One of unknown length is always buffered, because WeChat answers it with 412.
 *
 * A GET's body is dropped: WeChat ignores it, and some SDKs send an empty object.
 *
 * @throws {ServiceError} `payload_too_large` for one of unknown length that is larger than 1 MiB; `invalid_parameter`
 *   for one that breaks off.
 */
export async function prepareBody(request: Sent): Promise<CallBody> {
  if (!hasBody(request)) return undefined;
  const { body: stream, length } = request;
  if (stream === null) return new Uint8Array();
  if (length !== undefined && length > MAX_BUFFERED_BYTES) return { stream, length };
  try {
    return await read(stream, length);
  } catch (error) {
    // A failed read is the caller's fault: it has gone, or was too slow.
    throw error instanceof ServiceError ? error : brokenOff(error);
  }
}

function hasBody({ method }: Sent): boolean {
  return method !== "GET" && method !== "HEAD";
}

async function read(stream: ReadableStream<Uint8Array>, length: number | undefined): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.byteLength;
    if (length === undefined && size > MAX_BUFFERED_BYTES) throw unknownLength();
    if (length !== undefined && size > length) throw brokenOff();
    chunks.push(chunk);
  }
  if (length !== undefined && size < length) throw brokenOff();
  const [only, another] = chunks;
  return only && !another ? only : Buffer.concat(chunks);
}

function brokenOff(cause?: unknown): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "请求体中断，本次调用未发出 (the request body was cut off; the call was not sent)",
    { cause },
  );
}

function unknownLength(): ServiceError {
  return new ServiceError(
    "payload_too_large",
    "请求体过大且没有Content-Length，请带上Content-Length (the request body is too large without Content-Length: send that header)",
  );
}
