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

/** An envelope as a response, with `more` headers. The documented protocol says HTTP 200 to everything, its callers expect no other. */
export function envelopeResponse(
  envelope: Envelope,
  status = 200,
  more?: Readonly<Record<string, string>>,
): Response {
  return new Response(JSON.stringify(envelope), {
    status,
    headers: {
      ...SECURITY_HEADERS,
      "content-type": "application/json",
      "cache-control": "no-store",
      "trace-id": envelope.trace_id,
      ...(envelope.retry_after === undefined ? {} : { "retry-after": String(envelope.retry_after) }),
      ...more,
    },
  });
}
