import type { Envelope } from "../envelope.ts";

/** The security headers of every answer. */
export const SECURITY_HEADERS = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
} as const;

/** `response`, with the security headers that it lacks. For answers that are not made here. */
function withSecurityHeaders(response: Response): Response {
  for (const [name, value] of Object.entries(SECURITY_HEADERS)) {
    if (!response.headers.has(name)) response.headers.set(name, value);
  }
  return response;
}

/** An answer that is not made here, with the headers that every answer of this service has. */
export function withDefaultHeaders(response: Response, traceId: string): Response {
  response.headers.set("trace-id", traceId);
  if (!response.headers.has("cache-control")) response.headers.set("cache-control", "no-store");
  return withSecurityHeaders(response);
}

/** What a text of ours is sent with. */
export interface TextOptions {
  readonly contentType: string;
  readonly traceId: string;
  /** Default 200. */
  readonly status?: number | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/**
 * What the headers of all texts of one content type have in common, and the trace id of the last one.
 *
 * `Response` copies them, which costs less than making seven headers out of text for each answer.
 */
const COMMON = new Map<string, Headers>();

/** An uncacheable text response, with its trace id, the security headers and `headers`. */
export function textResponse(text: string, options: TextOptions): Response {
  const { contentType, traceId, status = 200, headers } = options;
  let common = COMMON.get(contentType);
  if (!common) {
    common = new Headers({ ...SECURITY_HEADERS, "content-type": contentType, "cache-control": "no-store" });
    COMMON.set(contentType, common);
  }
  common.set("trace-id", traceId);
  const response = new Response(text, { status, headers: common });
  for (const name in headers) response.headers.set(name, headers[name] ?? "");
  return response;
}

/** The charset is the only one that JSON has, but some clients take what does not name it for Latin-1. */
const JSON_TYPE = "application/json; charset=utf-8";

/** The envelope of a success around `data`, with `hint` where there is one. */
export function successResponse(
  data: object | string,
  traceId: string,
  {
    status,
    headers,
    hint,
  }: Pick<TextOptions, "status" | "headers"> & { readonly hint?: string | undefined } = {},
): Response {
  const more = hint === undefined ? "" : `,"hint":${JSON.stringify(hint)}`;
  const text = `{"code":0,"msg":"success","data":${JSON.stringify(data)},"trace_id":"${traceId}"${more}}`;
  return textResponse(text, { contentType: JSON_TYPE, traceId, status, headers });
}

/** An envelope as a response, with `headers`. The documented protocol answers every request with HTTP 200. */
export function envelopeResponse(
  envelope: Envelope,
  status = 200,
  headers?: Readonly<Record<string, string>>,
): Response {
  const { trace_id: traceId, retry_after: seconds } = envelope;
  const more = seconds === undefined ? headers : { ...headers, "retry-after": String(seconds) };
  const options = { contentType: JSON_TYPE, traceId, status, headers: more };
  return textResponse(JSON.stringify(envelope), options);
}

/** A UUID of this process, so that no two processes, now or after a restart, give the same trace ids. */
const PROCESS_PART = crypto.randomUUID().slice(0, 24);
let lastTrace = 0;

/** A trace id: a UUID in text form. It is no secret, so it counts up, which costs less than chance. */
export function newTraceId(): string {
  lastTrace += 1;
  return PROCESS_PART + lastTrace.toString(16).padStart(12, "0");
}
