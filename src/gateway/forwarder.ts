import type { Platform } from "../errors.ts";
import type { Caller } from "../access/principal.ts";

/** A request to WeChat or WeCom, with the real token. */
export interface ForwardRequest {
  readonly platform: Platform;
  /** The AppID or CorpID; empty for none in particular. */
  readonly appId: string;
  readonly method: string;
  /** Used in the upstream's URL unchanged, never resolved. */
  readonly path: string;
  /** Without the question mark, with the token; empty for none. */
  readonly query: string;
  /** The forwarder itself sets `host`, `content-length`, `accept-encoding` and `connection`. */
  readonly headers: Headers;
  readonly body: Uint8Array | BodyStream | undefined;
  /** The caller's abort. */
  readonly signal: AbortSignal;
}

/** A streamed body, exactly `length` bytes long. Its parts belong to whoever reads it: their memory may be freed. */
export interface BodyStream {
  readonly stream: ReadableStream<Uint8Array>;
  readonly length: number;
}

/** Whether a body is streamed. */
export function isStream(body: ForwardRequest["body"]): body is BodyStream {
  return body !== undefined && !(body instanceof Uint8Array);
}

/**
 * The upstream's answer. A short body is buffered; any other is a stream, which fails with a `ServiceError` where it
 * breaks off.
 */
export interface ForwardAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Uint8Array | ReadableStream<Uint8Array> | null;
}

/** Sends one request upstream, once, and streams its answer. */
export interface Forwarder {
  /**
   * Throws `upstream_unreachable` when nothing was sent, `upstream_timeout`, or `upstream_invalid`; with `mayHaveRun`
   * where the request went out, also from the answer's body.
   */
  forward(request: ForwardRequest): Promise<ForwardAnswer>;
}

/** A query that keeps every byte of what it does not change. */
export interface CallQuery {
  readonly names: readonly string[];
  /** The first value of that name, decoded. */
  get(name: string): string | undefined;
  count(name: string): number;
  with(name: string, value: string): CallQuery;
  without(name: string): CallQuery;
  toString(): string;
}

/** A call as it came from its caller. */
export interface CallRequest {
  readonly caller: Caller;
  readonly method: string;
  /** As it was sent; the policy is checked on it, and it is forwarded unchanged. */
  readonly path: string;
  readonly query: CallQuery;
  readonly headers: Headers;
  readonly body: ReadableStream<Uint8Array> | null;
  /** The Content-Length; undefined where there is none. */
  readonly length: number | undefined;
  /** The caller's abort. */
  readonly signal: AbortSignal;
}

/** Drops hop-by-hop, credential and method-override headers. */
const OURS =
  /^(authorization|x-api-key|cookie|forwarded|x-forwarded(-.*)?|x-real-ip|via|x-(cluster-)?client-ip|true-client-ip|cf-.*|expect|x-original-.*|x-rewrite-url|x-envoy-.*|x-(http-)?method(-override)?)$/;

/** The headers of a request that are forwarded. */
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

/** Forwards a call with a user's own token as it came; WeChat's answer, as it came. Throws as `Forwarder.forward`. */
export function forwardUntouched(
  forwarder: Forwarder,
  { method, path, query, headers, signal }: CallRequest,
): Promise<ForwardAnswer> {
  const request = { platform: "weixin", appId: "", method, path, query: query.toString(), signal } as const;
  return forwarder.forward({ ...request, headers: headersUp(headers), body: undefined });
}
