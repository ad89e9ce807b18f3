import { type TSchema, TypeGuard } from "@sinclair/typebox";
import { Value, type ValueError } from "@sinclair/typebox/value";
import { parseStrictJson } from "../access/strict-json.ts";
import { ServiceError } from "../errors.ts";

/** The largest body that is read; the longest useful content is a page's address. */
const MAX_BODY_BYTES = 64 * 1024;

/**
 * The JSON object in a request's body.
 *
 * The content type must be `application/json`, with any parameters: what a browser sends across origins without a
 * preflight (text, forms) is refused. Where `isOptional`, a request may have no body, and is undefined.
 *
 * @throws {ServiceError} `unsupported_media_type`, `payload_too_large`, or `invalid_parameter` for what is no JSON object.
 */
export async function readJsonBody(
  request: Request,
  {
    isOptional = false,
    maxBytes = MAX_BODY_BYTES,
  }: { readonly isOptional?: boolean; readonly maxBytes?: number | undefined } = {},
): Promise<unknown> {
  const type = request.headers.get("content-type") ?? "";
  // Some programs name a type for the body that they don't send.
  if (isOptional && request.body === null) return undefined;
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    throw new ServiceError(
      "unsupported_media_type",
      "Content-Type应为application/json (Content-Type must be application/json)",
    );
  }
  const body = parseStrictJson(await readCapped(request, maxBytes));
  // The schemas would take a list for an object without fields.
  if (typeof body === "object" && body !== null && !Array.isArray(body)) return body;
  throw new ServiceError("invalid_parameter", "请求体应为JSON对象 (the body must be a JSON object)");
}

/**
 * Rejects duplicates, since proxies disagree on which one wins, and broken percent-encoding.
 *
 * @throws {ServiceError} `invalid_parameter`; the message quotes nothing that was sent.
 */
export function checkQuery(search: string): void {
  const isEncoded = search.includes("%");
  // A single plain parameter can be neither broken nor duplicate.
  if (!isEncoded && !search.includes("&")) return;
  const seen: string[] = [];
  for (const pair of search.split("&")) {
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

/**
 * The bytes of a request's body, at most `maxBytes`; none when it has no body.
 *
 * @throws {ServiceError} `payload_too_large` as soon as there are more; `invalid_parameter` for a Content-Length that is
 *   no number, and for a body that breaks off; `unsupported_media_type` for a compressed one.
 */
export async function readCapped(request: Request, maxBytes: number): Promise<Uint8Array> {
  if (!/^(identity)?$/i.test(request.headers.get("content-encoding") ?? ""))
    throw new ServiceError(
      "unsupported_media_type",
      "不支持压缩的请求体，请去掉Content-Encoding (the body must not be compressed: send it without Content-Encoding)",
    );
  const length = announcedLength(request);
  if ((length ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    // No more comes than is announced, and a stream costs as much as the rest of a small request.
    if (length !== undefined) return await request.bytes();
    for await (const chunk of request.body ?? []) {
      size += chunk.byteLength;
      if (size > maxBytes) throw tooLarge(maxBytes);
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof ServiceError ? error : brokenOff(error);
  }
  return Buffer.concat(chunks);
}

/**
 * The Content-Length; undefined where there is none.
 *
 * @throws {ServiceError} `invalid_parameter` for what is no number, which includes duplicates, joined by a comma.
 */
export function announcedLength({ headers }: Request): number | undefined {
  const length = headers.get("content-length");
  if (length === null) return undefined;
  if (!/^\d{1,15}$/.test(length)) {
    throw new ServiceError("invalid_parameter", "Content-Length不正确 (bad Content-Length)");
  }
  return Number(length);
}

/** A failed read is the caller's fault: it has gone, was too slow, or sent broken chunks. */
function brokenOff(cause: unknown): ServiceError {
  return new ServiceError("invalid_parameter", "请求体中断 (the request body was cut off)", { cause });
}

function tooLarge(maxBytes: number): ServiceError {
  const kib = `${Math.floor(maxBytes / 1024)}KiB`;
  return new ServiceError(
    "payload_too_large",
    `请求体超过${kib} (the body is larger than ${kib.replace("KiB", " KiB")})`,
  );
}

/**
 * Removes what is null or an empty text: programs send every parameter of theirs, and an empty one means none. Not for
 * what administrators send: there a variable without a value must not widen a search or a grant. Nor for `access_token`: a
 * clear of that token alone must not become one of whatever is current.
 */
export function dropEmpty(sent: Record<string, unknown>): void {
  for (const name in sent)
    if ((sent[name] === "" || sent[name] === null) && name !== "access_token") delete sent[name];
}

/**
 * Checks a body against its schema, before the framework does: its errors evaluate what was sent, as by `toString`.
 *
 * @throws {ServiceError} `invalid_parameter`, as `badParameter`.
 */
export function checkBody(schema: TSchema, body: unknown): void {
  if (!Value.Check(schema, body)) throw badParameter(Value.Errors(schema, body).First(), body);
}

/** What does not fit a schema, without what was sent. */
export function badParameter(fault: ValueError | undefined, sent: unknown): ServiceError {
  const name = fault?.path.slice(1) ?? "";
  if (name === "") {
    const isObject = typeof sent === "object" && sent !== null;
    const message = isObject
      ? "请求体的字段不完整或不匹配，请对照接口文档 (fields of the body are missing or don't go together; compare them with the description of the API)"
      : "请求体应为JSON对象 (the body must be a JSON object)";
    return new ServiceError("invalid_parameter", message);
  }
  const isMissing = fault?.value === undefined || fault.value === "";
  const message = isMissing
    ? `缺少${name}参数`
    : `${name}参数的类型、长度或字符不正确 (${name} has a wrong type, length or character)`;
  return new ServiceError("invalid_parameter", message);
}

/**
 * Rejects unknown fields in a body and its inner objects; wrong types are left to the schema.
 *
 * @throws {ServiceError} `invalid_parameter`, which names the known fields, not the one that came.
 */
export function checkFields(schema: TSchema, value: unknown): void {
  if (TypeGuard.IsArray(schema)) {
    if (Array.isArray(value)) for (const each of value) checkFields(schema.items, each);
    return;
  }
  if (!TypeGuard.IsObject(schema) || typeof value !== "object" || value === null) return;
  for (const [name, inner] of Object.entries(value)) {
    const known = Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined;
    if (!known) throw unknownField(Object.keys(schema.properties));
    checkFields(known, inner);
  }
}

function unknownField(known: readonly string[]): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    `请求体含有未知字段，可用字段：${known.join(", ")} (the body has an unknown field; use these)`,
  );
}
