import { type Platform, ServiceError } from "../errors.ts";
import type { Caller } from "../access/principal.ts";

/** A request as it goes to WeChat or WeCom, with the real token in it. */
export interface ForwardRequest {
  readonly platform: Platform;
  readonly method: string;
  /** Set on the upstream's URL as it is, never resolved. */
  readonly path: string;
  /** Without the question mark, the token in it already; empty for none. */
  readonly query: string;
  /** What goes up; `host`, `content-length`, `accept-encoding`, `connection` are the forwarder's affair. */
  readonly headers: Headers;
  readonly body: Uint8Array | BodyStream | undefined;
  /** The caller's abort. */
  readonly signal: AbortSignal;
}

/** As how many requests one counts whose body is streamed: `fetch` holds about 5 MB of it. */
export const STREAM_PERMITS = 6;

/** A body that is sent while it comes in, and is exactly `length` bytes long. */
export interface BodyStream {
  readonly stream: ReadableStream<Uint8Array>;
  readonly length: number;
}

/** Whether a body is sent while it comes in. */
export function isStream(body: ForwardRequest["body"]): body is BodyStream {
  return body !== undefined && !(body instanceof Uint8Array);
}

/**
 * What the upstream answered. A short body is there whole; another comes as a stream, which fails with a `ServiceError` where
 * it breaks off.
 */
export interface ForwardAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Uint8Array | ReadableStream<Uint8Array> | null;
}

/** Sends one request up, once, and hands its answer on while it comes in. */
export interface Forwarder {
  /** @throws {ServiceError} `upstream_unreachable` when nothing was sent; `upstream_timeout`; `upstream_invalid` for what broke. */
  forward(request: ForwardRequest): Promise<ForwardAnswer>;
}

/** Sends a request up, and notes on the caller for whom that is whether it may have been carried out. Throws as `forward`. */
export async function forwardTracked(
  caller: Caller,
  forwarder: Forwarder,
  request: ForwardRequest,
): Promise<ForwardAnswer> {
  caller.mayHaveCalled = true;
  try {
    return await forwarder.forward(request);
  } catch (error) {
    // Nothing was sent; and where this was to heal, the platform has refused what was sent before.
    if (error instanceof ServiceError && error.code === "upstream_unreachable") caller.mayHaveCalled = false;
    throw error;
  }
}

/**
 * What a caller says to us, or a proxy on the way says of the caller: none of it is WeChat's business. Nor is what has
 * some servers take another path or method than the request's, which is the one that was checked.
 */
const OURS =
  /^(authorization|x-api-key|cookie|forwarded|x-forwarded(-.*)?|x-real-ip|via|x-(cluster-)?client-ip|true-client-ip|cf-.*|expect|x-original-.*|x-rewrite-url|x-envoy-.*|x-(http-)?method(-override)?)$/;

/** The headers of a request that go up: all but those that are between the caller and us. */
export function headersUp(headers: Headers): Headers {
  const up = new Headers(headers);
  for (const name of headers.keys()) if (OURS.test(name)) up.delete(name);
  return up;
}
