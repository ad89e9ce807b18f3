import { ServiceError } from "../errors.ts";

/**
 * The bytes of a request's body, at most `bytesMost`; none when it has no body.
 *
 * @throws {ServiceError} `payload_too_large` as soon as there are more; `invalid_parameter` for a Content-Length that is
 *   no number, and for a body that breaks off.
 */
export async function readCapped(request: Request, bytesMost: number): Promise<Uint8Array> {
  if ((announcedLength(request) ?? 0) > bytesMost) throw tooLarge(bytesMost);
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of request.body ?? []) {
      size += chunk.byteLength;
      if (size > bytesMost) throw tooLarge(bytesMost);
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof ServiceError ? error : brokenOff(error);
  }
  const [only, another] = chunks;
  return only && !another ? only : Buffer.concat(chunks);
}

/**
 * How long the body is by its Content-Length; undefined where none is said.
 *
 * @throws {ServiceError} `invalid_parameter` for what is no number. One that comes twice, even with the same value, is
 *   joined by a comma: somebody on the way may read it otherwise.
 */
export function announcedLength({ headers }: Request): number | undefined {
  const length = headers.get("content-length");
  if (length === null) return undefined;
  if (!/^\d{1,15}$/.test(length)) {
    throw new ServiceError("invalid_parameter", "Content-Length不正确 (bad Content-Length)");
  }
  return Number(length);
}

/** Whatever reading a body throws is the caller's affair: it has gone, was too slow, or can't write chunks. */
function brokenOff(cause: unknown): ServiceError {
  return new ServiceError("invalid_parameter", "请求体中断 (the body broke off)", { cause });
}

function tooLarge(bytesMost: number): ServiceError {
  const kib = `${Math.floor(bytesMost / 1024)}KiB`;
  return new ServiceError(
    "payload_too_large",
    `请求体超过${kib} (the body is larger than ${kib.replace("KiB", " KiB")})`,
  );
}
