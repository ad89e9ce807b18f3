import { signal } from "@preact/signals";
import type { Envelope } from "../../envelope.ts";

/** A failed request: the envelope of the service, or no answer at all. Its message has both halves; show it by `halfOf`. */
export class ApiError extends Error {
  constructor(
    message: string,
    /** The HTTP status; 0 when there was no answer. */
    readonly status: number,
    /** The envelope's code; WeChat's errcode where WeChat refused. */
    readonly code: number,
    readonly hint: string | undefined,
    readonly traceId: string | undefined,
    /** Seconds. */
    readonly retryAfter: number | undefined,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

/** The error of a request that got no answer. */
export function isOffline(error: unknown): boolean {
  return error instanceof ApiError && error.status === 0;
}

/** What may be set about a request. */
export interface Call {
  /** The version that a change is meant for. */
  readonly version?: number;
  /** Whether the page asks by itself: such a request does not keep an idle session. */
  readonly isBackground?: boolean;
  readonly signal?: AbortSignal;
}

/** Called once the service says that nobody is signed in; the session sets it. */
export const onSignedOut: { current: () => void } = { current: () => undefined };

/** How far the server's clock is ahead of the browser's, in milliseconds; 0 while they agree to a few seconds. */
export const clockOffsetMs = signal(0);

function noteClock(response: Response): void {
  const there = Date.parse(response.headers.get("date") ?? "");
  const offset = there - Date.now();
  if (!Number.isNaN(there)) clockOffsetMs.value = Math.abs(offset) > 5_000 ? offset : 0;
}

async function send<T>(method: string, path: string, body: unknown, call: Call): Promise<T> {
  const headers = new Headers({ accept: "application/json" });
  if (body !== undefined) headers.set("content-type", "application/json");
  if (call.version !== undefined) headers.set("if-match", `"${call.version}"`);
  if (call.isBackground) headers.set("x-background", "1");
  let response: Response;
  let envelope: Partial<Envelope>;
  try {
    response = await fetch(path, {
      ...{ method, headers, credentials: "same-origin", cache: "no-store", redirect: "error" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(call.signal ? { signal: call.signal } : {}),
    });
    const text = await response.text();
    envelope = text.startsWith("{") ? (JSON.parse(text) as Envelope) : {};
  } catch (error) {
    if (call.signal?.aborted) throw error;
    throw new ApiError("", 0, 0, undefined, undefined, undefined);
  }
  noteClock(response);
  if (response.ok && envelope.code === 0) return envelope.data as T;
  if (response.status === 401) onSignedOut.current();
  throw new ApiError(
    envelope.msg ?? `HTTP ${response.status}`,
    response.status,
    envelope.code ?? response.status,
    envelope.hint,
    envelope.trace_id ?? response.headers.get("trace-id") ?? undefined,
    envelope.retry_after,
  );
}

/** `data` of the answer to a GET. @throws {ApiError} for every failure; after a 401 the sign-in comes by itself. */
export function get<T>(path: string, call: Call = {}): Promise<T> {
  return send<T>("GET", path, undefined, call);
}

/** POSTs JSON; without a body, `{}`. Throws as `get`. */
export function post<T>(path: string, body: unknown = {}, call: Call = {}): Promise<T> {
  return send<T>("POST", path, body, call);
}

/** PUTs JSON. Throws as `get`. */
export function put<T>(path: string, body: unknown, call: Call = {}): Promise<T> {
  return send<T>("PUT", path, body, call);
}

/** PATCHes with JSON. Throws as `get`. */
export function patch<T>(path: string, body: unknown, call: Call = {}): Promise<T> {
  return send<T>("PATCH", path, body, call);
}

/** DELETEs; without a body. Throws as `get`. */
export function remove<T>(path: string, call: Call = {}): Promise<T> {
  return send<T>("DELETE", path, undefined, call);
}
