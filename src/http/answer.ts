import type { Envelope } from "../envelope.ts";

/** What a text of ours is sent with. */
export interface TextFacts {
  readonly contentType: string;
  readonly traceId: string;
  /** Default 200. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/**
 * What the headers of all texts of one content type have in common, and the trace id of the last one.
 *
 * `Response` copies them, which costs less than making seven headers out of text for each answer.
 */
const COMMON = new Map<string, Headers>();

/** A text of ours as a response that nobody keeps, with its trace id, the security headers and `headers`. */
export function textResponse(
  text: string,
  { contentType, traceId, status = 200, headers }: TextFacts,
): Response {
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

/** Random, so that no two processes, now or after a restart, give the same trace ids. */
const PROCESS_PART = crypto.randomUUID().replaceAll("-", "").slice(0, 20);
let lastTrace = 0;

/** A trace id: 32 hex digits, unique for ever. It is no secret, so counting on does and costs less than chance. */
export function newTraceId(): string {
  lastTrace += 1;
  return PROCESS_PART + lastTrace.toString(16).padStart(12, "0");
}

/** An envelope as a response, with `more` headers. The documented protocol says HTTP 200 to everything, its callers expect no other. */
export function envelopeResponse(
  envelope: Envelope,
  status = 200,
  more?: Readonly<Record<string, string>>,
): Response {
  const facts = { contentType: "application/json", traceId: envelope.trace_id, status, headers: more };
  const response = textResponse(JSON.stringify(envelope), facts);
  if (envelope.retry_after !== undefined) response.headers.set("retry-after", String(envelope.retry_after));
  return response;
}

/** What every answer tells browsers: take it for what it says it is, load nothing for it, frame it nowhere, embed it nowhere. */
export const SECURITY_HEADERS = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
} as const;

/** `response`, with every security header that it has no version of its own of. For what is no envelope. */
export function withSecurityHeaders(response: Response): Response {
  for (const [name, value] of Object.entries(SECURITY_HEADERS)) {
    if (!response.headers.has(name)) response.headers.set(name, value);
  }
  return response;
}
