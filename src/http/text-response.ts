import { SECURITY_HEADERS } from "./security-headers.ts";

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
