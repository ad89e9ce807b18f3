import { rejectDuplicateNames } from "../access/strict-json.ts";
import { ServiceError } from "../errors.ts";
import { tokenNamesIn } from "../credentials/kinds.ts";
import { readCapped } from "./body.ts";
import type { Call } from "./face.ts";

/** A request in WeChat's own form, without its body. */
export interface WechatRequest {
  readonly call: Call;
  /** As it came, but for duplicate slashes: SDKs whose base URL ends in a slash send `//cgi-bin/token`. */
  readonly path: string;
  readonly query: RawQuery;
}

/** Reads the head of a request. Throws `invalid_parameter` for a query that can't be decoded. */
export function readWechatRequest(call: Call): WechatRequest {
  return { call, path: collapseSlashes(call.path), query: RawQuery.parse(call.search) };
}

/** Whose token a path takes, where SDKs send another's along with it. */
const TAKEN: readonly (readonly [path: RegExp, name: string])[] = [
  [/^\/(cgi-bin|sns(\/oauth2)?|wxa)\/component\//i, "component_access_token"],
  [
    /^\/cgi-bin\/(license|service\/(contact|corpid_to_opencorpid|get_customized_auth_url|get_regist(er_code|ration_info)))(\/|$)/i,
    "provider_access_token",
  ],
  [/^\/cgi-bin\/service\//i, "suite_access_token"],
];

/**
 * The request with the token that its path takes, as WeChat and WeCom read it: SDKs send an account's along with its component's,
 * and a provider's along with its suite's. What remains twice is for others to refuse.
 */
export function withOneToken(request: WechatRequest): WechatRequest {
  const names = tokenNamesIn(request.query);
  if (names.length < 2) return request;
  const taken = TAKEN.find(([path, name]) => names.includes(name) && path.test(request.path))?.[1];
  if (taken === undefined) return request;
  const others = names.filter((name) => name !== taken);
  return { ...request, query: others.reduce((query, name) => query.without(name), request.query) };
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

  /** The text of that name; undefined for none and for an empty one. */
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
 * Reads the query and, except for GET, the body: JSON whatever its content type, or a form. SDKs send JSON with all
 * kinds of types, and WeChat accepts them; requests of foreign web pages are refused before.
 *
 * @throws {ServiceError} `invalid_parameter` for a duplicate name, also one in both; `payload_too_large`.
 */
export function readParameters({
  call: { request },
  query,
}: WechatRequest): Parameters | Promise<Parameters> {
  rejectDuplicates(query.names);
  if (request.method === "GET" || request.body === null) return new Parameters(query, {}, false);
  return readBody(request, query);
}

async function readBody(request: Request, query: RawQuery): Promise<Parameters> {
  const bytes = await readCapped(request, MAX_BODY_BYTES);
  const text = new TextDecoder().decode(bytes);
  const object = jsonObject(text);
  const form = object ? [] : [...new URLSearchParams(text)];
  if (object) rejectDuplicateNames(text);
  rejectDuplicates(form.map(([name]) => name));
  const body = object ?? Object.fromEntries(form);
  if (query.names.some((name) => Object.hasOwn(body, name)))
    throw new ServiceError(
      "invalid_parameter",
      "查询参数与请求体中有同名参数 (a parameter is given in the query and in the body)",
    );
  return new Parameters(query, body, object !== undefined);
}

/** Rejects duplicates: proxies disagree on which one wins. */
function rejectDuplicates(names: readonly string[]): void {
  if (names.every((name, index) => names.indexOf(name) === index)) return;
  throw new ServiceError("invalid_parameter", "参数重复 (a parameter is given twice)");
}

function jsonObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    // It is a form.
    return undefined;
  }
}

/** One `name=value` of a query, as it came, and its name decoded. */
interface Pair {
  readonly name: string;
  readonly text: string;
}

/**
 * The query of a URL that keeps every byte of what it does not change: the gateway forwards what the caller sent.
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

  /** The same with `value` under that name, replacing what was there, or at the end. */
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
