import { ServiceError } from "../errors.ts";
import { readCapped } from "./capped-body.ts";
import type { RawQuery } from "./raw-query.ts";
import type { WechatRequest } from "./wechat-request.ts";

/** The largest body that one of these endpoints needs, with room to spare. */
const BODY_BYTES_MOST = 64 * 1024;

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
  const bytes = await readCapped(request, BODY_BYTES_MOST);
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
