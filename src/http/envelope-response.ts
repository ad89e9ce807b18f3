import type { Envelope } from "../envelope.ts";
import { SECURITY_HEADERS } from "./security-headers.ts";

/** Random, so that no two processes, now or after a restart, give the same trace ids. */
const PROCESS_PART = crypto.randomUUID().replaceAll("-", "").slice(0, 20);
let lastTrace = 0;

/** A trace id: 32 hex digits, unique for ever. It is no secret, so counting on does and costs less than chance. */
export function newTraceId(): string {
  lastTrace += 1;
  return PROCESS_PART + lastTrace.toString(16).padStart(12, "0");
}

/**
 * What all envelopes' headers have in common, and the trace id of the last one.
 *
 * `Response` copies it, which costs less than making seven headers out of text for each answer.
 */
const HEADERS = new Headers({
  ...SECURITY_HEADERS,
  "content-type": "application/json",
  "cache-control": "no-store",
});

/** An envelope as a response, with `more` headers. The documented protocol says HTTP 200 to everything, its callers expect no other. */
export function envelopeResponse(
  envelope: Envelope,
  status = 200,
  more?: Readonly<Record<string, string>>,
): Response {
  HEADERS.set("trace-id", envelope.trace_id);
  const response = new Response(JSON.stringify(envelope), { status, headers: HEADERS });
  if (envelope.retry_after !== undefined) response.headers.set("retry-after", String(envelope.retry_after));
  for (const name in more) response.headers.set(name, more[name] ?? "");
  return response;
}
