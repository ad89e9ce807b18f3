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

/** Sends one request up, once, and returns its answer while it comes in. */
export interface Forwarder {
  /** @throws {ServiceError} `upstream_unreachable` when nothing was sent; `upstream_timeout`; `upstream_invalid` for what broke. */
  forward(request: ForwardRequest): Promise<ForwardAnswer>;
}

/** A query that keeps every byte of what it does not change. */
export interface CallQuery {
  readonly names: readonly string[];
  count(name: string): number;
  with(name: string, value: string): CallQuery;
  without(name: string): CallQuery;
  toString(): string;
}

/** A call as it came from its caller. */
export interface CallRequest {
  readonly caller: Caller;
  readonly method: string;
  /** As it was sent; the policy is checked on it, and it goes up as it is. */
  readonly path: string;
  readonly query: CallQuery;
  readonly headers: Headers;
  readonly body: ReadableStream<Uint8Array> | null;
  /** Of the body, as announced; undefined where nothing was. */
  readonly length: number | undefined;
  /** The caller's abort. */
  readonly signal: AbortSignal;
}

/** As `forward`; a failure after which the call may have been carried out says so (`ServiceError.mayHaveRun`). */
export async function forwardTracked(forwarder: Forwarder, request: ForwardRequest): Promise<ForwardAnswer> {
  try {
    return await forwarder.forward(request);
  } catch (error) {
    // Nothing was sent; and where this was to heal, the platform has rejected what was sent before.
    if (error instanceof ServiceError && error.code === "upstream_unreachable") throw error;
    throw maybeRun(error);
  }
}

/** `error` as the failure of a call that was sent. */
export function maybeRun(error: unknown): ServiceError {
  const failure =
    error instanceof ServiceError
      ? error
      : new ServiceError("internal", "a fault in the gateway", { cause: error });
  return failure.with({ mayHaveRun: true });
}

/** Drops hop-by-hop, credential and method-override headers. */
const OURS =
  /^(authorization|x-api-key|cookie|forwarded|x-forwarded(-.*)?|x-real-ip|via|x-(cluster-)?client-ip|true-client-ip|cf-.*|expect|x-original-.*|x-rewrite-url|x-envoy-.*|x-(http-)?method(-override)?)$/;

/** The headers of a request that go up: all but those that are between the caller and us. */
export function headersUp(headers: Headers): Headers {
  const up = new Headers(headers);
  for (const name of headers.keys()) if (OURS.test(name)) up.delete(name);
  return up;
}

/**
 * Where a user's token is sent, and nothing secret of ours.
 *
 * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/Wechat_webpage_authorization.html
 */
const USER_TOKEN_PATHS: ReadonlySet<string> = new Set([
  "/sns/userinfo",
  "/sns/auth",
  "/sns/oauth2/refresh_token",
]);

/** Whether the path takes a user's own token, with which the app's has nothing to do. */
export function takesUserToken(path: string): boolean {
  return USER_TOKEN_PATHS.has(path);
}

/** Forwards a call with a user's own token as it came; WeChat's answer, as it came. Throws as `forwardTracked`. */
export function forwardUntouched(
  forwarder: Forwarder,
  { method, path, query, headers, signal }: CallRequest,
): Promise<ForwardAnswer> {
  const request = { platform: "weixin", method, path, query: query.toString(), signal } as const;
  return forwardTracked(forwarder, { ...request, headers: headersUp(headers), body: undefined });
}
