import type { Caller } from "../access/principal.ts";
import { ServiceError } from "../errors.ts";

/** A request in WeChat's own form. Its body is not read yet. */
export interface WechatRequest {
  readonly request: Request;
  readonly caller: Caller;
  /** As it came, but for duplicate slashes: SDKs whose base URL ends in a slash send `//cgi-bin/token`. */
  readonly path: string;
  readonly query: RawQuery;
}

/** Reads the head of a request. Throws `invalid_parameter` for a query that can't be decoded. */
export function readWechatRequest(request: Request, caller: Caller): WechatRequest {
  const { path, search } = splitUrl(request.url);
  return { request, caller, path: collapseSlashes(path), query: RawQuery.parse(search) };
}

/** The path and the query of an absolute URL, as they stand in it. */
export function splitUrl(url: string): { readonly path: string; readonly search: string } {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const mark = url.indexOf("?", start);
  return mark === -1
    ? { path: url.slice(start), search: "" }
    : { path: url.slice(start, mark), search: url.slice(mark + 1) };
}

/** One slash where several follow each other. */
export function collapseSlashes(path: string): string {
  return path.includes("//") ? path.replaceAll(/\/{2,}/g, "/") : path;
}

/** A path that ends in a slash without it; the root is one. */
export function withoutLastSlash(path: string): string {
  return path.replace(/(.)\/$/, "$1");
}

/** The largest body that one of these endpoints needs, with room to spare. */
const MAX_BODY_BYTES = 64 * 1024;

/** What an endpoint was sent by name, from the query and the body. */
export class Parameters {
  readonly #query: RawQuery;
  readonly #body: Readonly<Record<string, unknown>>;
  /** Whether the body was a JSON object. */
  readonly isJson: boolean;

  constructor(query: RawQuery, body: Readonly<Record<string, unknown>>, isJson: boolean) {
    this.#query = query;
    this.#body = body;
    this.isJson = isJson;
  }

  /** The text of that name; the body's before the query's; undefined for none and for an empty one. */
  text(name: string): string | undefined {
    const sent = Object.hasOwn(this.#body, name) ? this.#body[name] : this.#query.get(name);
    const text = typeof sent === "number" ? String(sent) : sent;
    return typeof text === "string" && text !== "" ? text : undefined;
  }

  /** Whether that name is true: as JSON, or as a word where there is no JSON. */
  isTrue(name: string): boolean {
    const sent = Object.hasOwn(this.#body, name) ? this.#body[name] : this.#query.get(name);
    return sent === true || sent === "true";
  }
}

/**
 * Reads what was sent by query and, unless by GET, by body: JSON whatever its content type, or a form.
 *
 * SDKs name all kinds of types for the same JSON, as WeChat lets them. Foreign web pages are kept out elsewhere.
 *
 * @throws {ServiceError} `invalid_parameter` for a name that the query or a form has twice; `payload_too_large`.
 */
export async function readParameters({ request, query }: WechatRequest): Promise<Parameters> {
  refuseTwice(query.names);
  if (request.method === "GET" || request.body === null) return new Parameters(query, {}, false);
  const bytes = await readCapped(request, MAX_BODY_BYTES);
  const text = new TextDecoder().decode(bytes);
  const object = jsonObject(text);
  if (object) return new Parameters(query, object, true);
  const form = new URLSearchParams(text);
  refuseTwice([...form.keys()]);
  return new Parameters(query, Object.fromEntries(form), false);
}

/** Of two values nobody knows which one somebody on the way has looked at. */
function refuseTwice(names: readonly string[]): void {
  if (names.every((name, index) => names.indexOf(name) === index)) return;
  throw new ServiceError("invalid_parameter", "参数重复 (a parameter is given twice)");
}

function jsonObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    // A form is no JSON.
    return undefined;
  }
}

/** One `name=value` of a query, as it came, and its name decoded. */
interface Pair {
  readonly name: string;
  readonly text: string;
}

/**
 * The query of a URL that keeps every byte of what it does not change: what the gateway hands on is what the caller sent.
 */
export class RawQuery {
  readonly #pairs: readonly Pair[];

  private constructor(pairs: readonly Pair[]) {
    this.#pairs = pairs;
  }

  /**
   * Reads the query of a URL, without its question mark.
   *
   * @throws {ServiceError} `invalid_parameter` for a broken percent-encoding in a name.
   */
  static parse(text: string): RawQuery {
    if (text === "") return new RawQuery([]);
    return new RawQuery(
      text.split("&").map((pair) => {
        const end = pair.indexOf("=");
        return { name: decode(end === -1 ? pair : pair.slice(0, end)), text: pair };
      }),
    );
  }

  /** The first value of that name, decoded; undefined when there is none. Throws as `parse` for a broken value. */
  get(name: string): string | undefined {
    const pair = this.#pairs.find((each) => each.name === name);
    if (!pair) return undefined;
    const end = pair.text.indexOf("=");
    return end === -1 ? "" : decode(pair.text.slice(end + 1));
  }

  /** How often that name comes. */
  count(name: string): number {
    return this.#pairs.filter((pair) => pair.name === name).length;
  }

  /** The names, in their order, each as often as it comes; not those of empty pairs, as `?&type=` has one. */
  get names(): string[] {
    return this.#pairs.filter(({ text }) => text !== "").map(({ name }) => name);
  }

  /** The same with `value` under that name, in the place of what was there, or at the end. */
  with(name: string, value: string): RawQuery {
    const text = `${name}=${encodeURIComponent(value)}`;
    if (this.count(name) === 0) return new RawQuery([...this.#pairs, { name, text }]);
    return new RawQuery(this.#pairs.map((pair) => (pair.name === name ? { name, text } : pair)));
  }

  /** The same without that name. */
  without(name: string): RawQuery {
    return new RawQuery(this.#pairs.filter((pair) => pair.name !== name));
  }

  /** As it is sent, without a question mark. */
  toString(): string {
    return this.#pairs.map(({ text }) => text).join("&");
  }
}

function decode(text: string): string {
  if (!/[%+]/.test(text)) return text;
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    throw new ServiceError(
      "invalid_parameter",
      "查询参数的百分号编码不正确 (bad percent-encoding in the query)",
    );
  }
}

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
