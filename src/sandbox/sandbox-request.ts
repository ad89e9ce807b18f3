import { Refusal } from "./refusal.ts";

/** A request as the endpoints see it. */
export interface SandboxRequest {
  method: string;
  /** The path alone, exactly as it was sent. */
  path: string;
  query: URLSearchParams;
  /** Names in lower case. */
  headers: Record<string, string | string[] | undefined>;
  body: Uint8Array;
  /** The caller's IPv4 or IPv6 address as the platform sees it, or the one that the switches name. */
  peerIp: string;
}

/**
 * The JSON object in the body.
 *
 * @throws {Refusal} 47001 when the body is no JSON object.
 */
export function jsonBody(request: SandboxRequest): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(request.body).toString());
    if (isRecord(parsed)) return parsed;
  } catch {
    // Falls through: broken JSON and JSON that is no object get the same answer.
  }
  throw new Refusal(47001, "data format error");
}

/**
 * Lets only POST through.
 *
 * @throws {Refusal} 43002.
 */
export function requirePost(request: SandboxRequest): void {
  if (request.method !== "POST") throw new Refusal(43002, "require POST method");
}

/** Whether a JSON value is an object, not null and not an array. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `value` if it is a string, otherwise the empty string, which counts as missing. */
export function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
