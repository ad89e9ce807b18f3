import { announcedLength } from "../api/wechat-request.ts";
import { ServiceError } from "../errors.ts";
import type { BodyStream } from "./forwarder.ts";

/** Up to this size a body is kept, so that its call can be sent once more with another token. */
const MAX_KEPT_BYTES = 1 << 20;

/** A request's body as it goes up; only one that is kept in memory can be sent once more. */
export type CallBody = Uint8Array | BodyStream | undefined;

/** Whether a request's body is sent while it comes in, and not kept in memory. */
export function isStreamed(request: Request): boolean {
  const length = hasBody(request) ? announcedLength(request) : undefined;
  return length !== undefined && length > MAX_KEPT_BYTES;
}

/**
 * Makes a request's body ready: in memory where it is small enough to be sent once more, else as a stream of known
 * length. One of unknown length is always read first, because WeChat answers 412 to it.
 *
 * A GET's body is left out: WeChat doesn't look at it, and some SDKs send an empty object.
 *
 * @throws {ServiceError} `payload_too_large` for one of unknown length that is larger than 1 MiB; `invalid_parameter`
 *   for one that breaks off.
 */
export async function prepareBody(request: Request): Promise<CallBody> {
  if (!hasBody(request)) return undefined;
  const { body: stream } = request;
  if (stream === null) return new Uint8Array();
  const length = announcedLength(request);
  if (length !== undefined && length > MAX_KEPT_BYTES) return { stream, length };
  try {
    return await read(stream, length);
  } catch (error) {
    // What reading a body throws is the caller's affair: it has gone, or was too slow.
    throw error instanceof ServiceError ? error : brokenOff(error);
  }
}

function hasBody({ method }: Request): boolean {
  return method !== "GET" && method !== "HEAD";
}

async function read(stream: ReadableStream<Uint8Array>, length: number | undefined): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.byteLength;
    if (length === undefined && size > MAX_KEPT_BYTES) throw unknownLength();
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
