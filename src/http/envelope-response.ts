import type { Envelope } from "../envelope.ts";
import { textResponse } from "./text-response.ts";

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
