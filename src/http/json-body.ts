import { ServiceError } from "../errors.ts";

/** The largest body that is read. The largest that makes sense is a page's address. */
const BODY_BYTES_MOST = 64 * 1024;

/**
 * The JSON value in a request's body.
 *
 * The content type must be `application/json` to the letter: what a browser sends across origins without asking
 * first (text, forms) is refused.
 *
 * @throws {ServiceError} `unsupported_media_type`, `payload_too_large`, or `invalid_parameter` for what is no JSON.
 */
export async function readJsonBody(request: Request): Promise<unknown> {
  const type = request.headers.get("content-type") ?? "";
  if (!/^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(type)) {
    throw new ServiceError(
      "unsupported_media_type",
      "Content-Type应为application/json (Content-Type must be application/json)",
    );
  }
  if (Number(request.headers.get("content-length") ?? 0) > BODY_BYTES_MOST) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.byteLength;
    if (size > BODY_BYTES_MOST) throw tooLarge();
    chunks.push(chunk);
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)));
  } catch {
    // The parser's message quotes the body, which may hold a secret.
    throw new ServiceError("invalid_parameter", "请求体不是有效的JSON (the body is not JSON)");
  }
}

function tooLarge(): ServiceError {
  return new ServiceError("payload_too_large", "请求体超过64KiB (the body is larger than 64 KiB)");
}
