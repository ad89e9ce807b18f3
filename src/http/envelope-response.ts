import type { Envelope } from "../envelope.ts";

/** A trace id: 32 hex digits, unique for ever. */
export function newTraceId(): string {
  return crypto.randomUUID().replaceAll("-", "");
}

/** An envelope as a response. The documented protocol says HTTP 200 to everything, its callers expect no other. */
export function envelopeResponse(envelope: Envelope, status = 200): Response {
  return new Response(JSON.stringify(envelope), {
    status,
    headers: {
      "content-type": "application/json",
      "cache-control": "no-store",
      "trace-id": envelope.trace_id,
      ...(envelope.retry_after === undefined ? {} : { "retry-after": String(envelope.retry_after) }),
    },
  });
}
