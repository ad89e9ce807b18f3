import type { Platform } from "../errors.ts";

/** A request as it goes to WeChat or WeCom, with the real token in it. */
export interface ForwardRequest {
  readonly platform: Platform;
  /** Who asks, so that nobody takes all the room there is. */
  readonly caller: string;
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

/** A body that is sent while it comes in, and is exactly `length` bytes long. */
export interface BodyStream {
  readonly stream: ReadableStream<Uint8Array>;
  readonly length: number;
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
