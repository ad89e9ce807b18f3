import { readCapped } from "../dropin/capped-body.ts";
import { ServiceError } from "../errors.ts";

/** The largest body that is read. The largest that makes sense is a page's address. */
const BODY_BYTES_MOST = 64 * 1024;

/**
 * The JSON object in a request's body.
 *
 * The content type must be `application/json` to the letter: what a browser sends across origins without asking
 * first (text, forms) is refused. Where `isOptional`, a request may have no body, and is undefined.
 *
 * @throws {ServiceError} `unsupported_media_type`, `payload_too_large`, or `invalid_parameter` for what is no JSON object.
 */
export async function readJsonBody(request: Request, isOptional = false): Promise<unknown> {
  const type = request.headers.get("content-type") ?? "";
  // Some programs name a type for the body that they don't send.
  if (isOptional && request.body === null) return undefined;
  if (!/^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(type)) {
    throw new ServiceError(
      "unsupported_media_type",
      "Content-Type应为application/json (Content-Type must be application/json)",
    );
  }
  const body = parse(await readCapped(request, BODY_BYTES_MOST));
  // The schemas would take a list for an object without fields.
  if (typeof body === "object" && body !== null && !Array.isArray(body)) return body;
  throw new ServiceError("invalid_parameter", "请求体应为JSON对象 (the body must be a JSON object)");
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    // The parser's message quotes the body, which may hold a secret.
    throw new ServiceError("invalid_parameter", "请求体不是有效的JSON (the body is not JSON)");
  }
}
