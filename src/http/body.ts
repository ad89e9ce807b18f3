import { readCapped } from "../api/wechat-request.ts";
import { ServiceError } from "../errors.ts";

/** The largest body that is read. The largest that makes sense is a page's address. */
const MAX_BODY_BYTES = 64 * 1024;

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
  const body = parse(await readCapped(request, MAX_BODY_BYTES));
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

/**
 * Refuses a query that two readers could read differently: a name that comes twice, or a broken percent-encoding.
 *
 * A proxy in front of us and the router may each pick another of two values, and WeChat gets neither's meaning.
 *
 * @throws {ServiceError} `invalid_parameter`; the message names nothing that was sent.
 */
export function checkQuery(url: string): void {
  const start = url.indexOf("?");
  if (start === -1) return;
  const isEncoded = url.includes("%", start);
  // One plain parameter, as most requests have, can be neither broken nor there twice.
  if (!isEncoded && !url.includes("&", start)) return;
  const seen: string[] = [];
  for (const pair of url.slice(start + 1).split("&")) {
    if (pair === "") continue;
    const end = pair.indexOf("=");
    const name = end === -1 ? pair : pair.slice(0, end);
    const decoded = isEncoded ? decodeOrNone(name) : name;
    if (decoded === undefined || (isEncoded && decodeOrNone(pair) === undefined)) {
      throw new ServiceError(
        "invalid_parameter",
        "查询参数的百分号编码不正确 (bad percent-encoding in the query)",
      );
    }
    if (seen.includes(decoded)) {
      throw new ServiceError("invalid_parameter", "查询参数重复 (a query parameter is given twice)");
    }
    seen.push(decoded);
    if (seen.length > MAX_PARAMETERS) {
      throw new ServiceError("invalid_parameter", "查询参数过多 (too many query parameters)");
    }
  }
}

/** No route has as many. */
const MAX_PARAMETERS = 32;

function decodeOrNone(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
