import * as fc from "fast-check";
import { CORP, WECOM, WECOM_FOREIGN, WX, WX_FOREIGN } from "../support/harness.ts";
import type { JsonSchema, Operation } from "./openapi-document.ts";

/** Who asks, and how: in this process as the machine's administrator, else over HTTP. */
type CallerName = "administrator" | "anonymous" | "reader" | "admin" | "stranger";

/** A request to be sent. */
export interface FuzzRequest {
  readonly caller: CallerName;
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** Stands for the beginning of a key that exists; in a path with a client, of that client's. */
export const LIVE_KEY = "ats_LiveKey0";
/** Stands for a token that was handed out a short while ago. */
export const LIVE_TOKEN = "70_liveTokenOfTheFuzz";

/** Stands for `next` of the answer before, where there was one. */
export const LIVE_CURSOR = "1000000000001";

/** Names of what there is, was, or may soon be, by the name of the field. */
const KNOWN: Readonly<Record<string, readonly string[]>> = {
  ...same(["appid", "wx_app_id"], [WX.appId, WX.appId, WX_FOREIGN.appId, "wx0000000000000f01"]),
  app: [
    WX.appId,
    `${CORP}_${WECOM.agent}`,
    "wx0000000000000f00",
    "wx0000000000000f01",
    "wx0000000000000f02",
    `${CORP}_7`,
  ],
  app_id: ["wx0000000000000f00", "wx0000000000000f01", "wx0000000000000f02", WX.appId, CORP],
  ...same(
    ["secret", "wx_app_secret", "corpsecret"],
    [WX.secret, WX_FOREIGN.secret, WECOM.secret, WECOM_FOREIGN.secret],
  ),
  corpid: [CORP],
  ...same(["agent", "agentid"], [WECOM.agent, "7", "contacts"]),
  client: ["c0", "c1", "c2", "c3", "c4", "c5"],
  target: ["dev", "prod"],
  environment: ["dev", "prod", "e1", "e2", "e3", "e4", "e5", "e6", "e7", "e8", "e9"],
  redirect_origins: ["https://dev.example.com", "http://localhost:8080"],
  name: ["MP_verify_a1B2c3D4.txt", "WW_verify_a1B2c3D4.txt"],
  public_url: ["https://wx.example.com"],
  key: [LIVE_KEY],
  ...same(["rejected", "access_token"], [LIVE_TOKEN]),
  ...same(["after", "before"], [LIVE_CURSOR]),
  // An AppID's or a WeCom path's, with slashes in it.
  path: [
    ...["cgi-bin/getcallbackip", "cgi-bin/get_jsapi_ticket", "cgi-bin/user/get", "wxa/msg_sec_check"],
    ...["/cgi-bin/getcallbackip", "/cgi-bin/user/get"],
  ],
  text: ['{"errcode":40003,"errmsg":"invalid openid"}'],
  apps: [WX.appId, "*"],
  url: [
    ...["https://example.com/page?id=1", "http://a.com?x=1"],
    "https://open.feishu.cn/open-apis/bot/v2/hook/00000000-0000-4000-8000-000000000003",
    "https://oapi.dingtalk.com/robot/send?access_token=sandbox-dingtalk-token-0123456789",
  ],
  channel: ["ops"],
  mention: ["@all"],
  networks: ["10.0.0.0/8", "::1/128"],
  origins: ["https://example.com"],
  test_openids: [`o${"1".repeat(27)}`],
  action: ["key.created", "token:read"],
};

function same(names: readonly string[], values: readonly string[]): Record<string, readonly string[]> {
  return Object.fromEntries(names.map((name) => [name, values]));
}

const odd = fc.oneof(
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.constantFrom(
    "",
    " ",
    "\u0000",
    "\r\nx: y",
    "../..",
    "%2e%2e",
    "${7*7}",
    "' OR 1=1 --",
    "🙂",
    "\u202e",
    "NaN",
  ),
  fc.integer({ min: 100, max: 9000 }).map((length) => "x".repeat(length)),
);
const deep = fc.integer({ min: 10, max: 5000 }).map((depth) => "[".repeat(depth) + "]".repeat(depth));
/** Objects with members that programs call or believe without a thought. */
const hostile: fc.Arbitrary<unknown> = fc
  .subarray(["toString", "toJSON", "valueOf", "constructor", "__proto__", "length", "then"], { minLength: 1 })
  .chain((names) =>
    fc
      .constantFrom("1", "null", '"x"', "{}", "[]", '{"toString":1}', '{"name":"Object"}')
      .map((value): unknown =>
        // By a literal `__proto__` would be no member.
        JSON.parse(`{${names.map((name) => `"${name}":${value}`).join(",")}}`),
      ),
  );
const wrongValue: fc.Arbitrary<unknown> = fc.oneof(
  odd,
  hostile,
  hostile.map((object) => [object]),
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(null, true, -1, 1e308, 0.5, [], {}, { __proto__: null, constructor: 1 }),
);

/** A value that a schema allows, under a name that may be known. */
function valueOf(name: string, schema: JsonSchema): fc.Arbitrary<unknown> {
  if ("const" in schema) return fc.constant(schema.const);
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map((each) => valueOf(name, each)));
  switch (schema.type) {
    case "string": {
      if (name === "code" || name === "js_code")
        return fc.integer({ min: 0, max: 1e6 }).map((n) => `sandbox-code-union-fuzz-${n}-x`);
      const { maxLength = 100 } = schema;
      const matching = fc
        .stringMatching(new RegExp(schema.pattern ?? "^[ -~]*$"), { maxLength: Math.min(maxLength, 100) })
        .filter((text) => text.length >= (schema.minLength ?? 0));
      // Some routes want a path with a slash before it, others without.
      const known = KNOWN[name]?.filter((text) => text.search(schema.pattern ?? "") >= 0);
      return known?.length
        ? fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...known) }, matching)
        : matching;
    }
    case "integer":
      return fc.integer({
        min: schema.minimum ?? 0,
        max: Math.min(schema.maximum ?? 1e6, Number.MAX_SAFE_INTEGER),
      });
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    case "array":
      return fc.array(valueOf(name, schema.items ?? {}), { minLength: schema.minItems ?? 0, maxLength: 3 });
    case undefined:
    default: {
      const { properties = {}, required = [] } = schema;
      const fields = Object.entries(properties).map(([field, each]) => [field, valueOf(field, each)]);
      return fc.record(Object.fromEntries(fields) as Record<string, fc.Arbitrary<unknown>>, {
        requiredKeys: [...required],
        noNullPrototype: true,
      });
    }
  }
}

/** Beyond 16 KiB of headers the HTTP server refuses before anything of ours is asked. */
const MAX_PATH = 12_000;

type Fields = Record<string, unknown>;
/** What is put into a request: by name, before it is written down. */
interface Draft {
  readonly caller: CallerName;
  readonly method: string;
  readonly path: Fields;
  readonly query: readonly (readonly [string, unknown])[];
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** Requests to one operation: half of them as documented, the others with one thing wrong. */
export function requestsOf(operation: Operation): fc.Arbitrary<FuzzRequest> {
  const of = (place: "path" | "query") => {
    const parameters = operation.parameters.filter((each) => each.in === place);
    const required = parameters.filter((each) => each.required).map(({ name }) => name);
    return { properties: Object.fromEntries(parameters.map(({ name, schema }) => [name, schema])), required };
  };
  const { body } = operation;
  const caller = fc.oneof(
    { weight: 50, arbitrary: fc.constant("administrator" as const) },
    { weight: 20, arbitrary: fc.constant("anonymous" as const) },
    { weight: 15, arbitrary: fc.constant("reader" as const) },
    { weight: 14, arbitrary: fc.constant("admin" as const) },
    { weight: 1, arbitrary: fc.constant("stranger" as const) },
  );
  return fc
    .record({
      caller,
      path: valueOf("", of("path")) as fc.Arbitrary<Fields>,
      query: valueOf("", of("query")) as fc.Arbitrary<Fields>,
      body: (body ? valueOf("", body) : fc.constant(undefined)) as fc.Arbitrary<Fields | undefined>,
      mutation: fc.oneof(fc.constant(undefined), mutation),
    })
    .map(({ caller, path, query, body, mutation }) => {
      const draft: Draft = {
        caller,
        method: operation.method,
        path,
        query: Object.entries(query),
        headers: body ? { "content-type": "application/json" } : {},
        body: body && JSON.stringify(body),
      };
      return written(operation.path, mutation ? mutated(draft, body, mutation) : draft);
    });
}

const mutation = fc.record({
  what: fc.constantFrom(
    ...([
      "missing",
      "wrong value",
      "wrong path",
      "unknown",
      "hostile",
      "twice",
      "json",
      "type",
      "method",
      "if-match",
    ] as const),
  ),
  which: fc.nat(10),
  value: wrongValue,
  hostile: hostile as fc.Arbitrary<Fields>,
  text: odd,
  json: fc.oneof(
    deep,
    fc.json(),
    fc.constantFrom("{", '{"a":1,"a":2}', '"x"', "null", " ".repeat(70_000)),
    odd,
  ),
  type: fc.constantFrom(
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/json; charset=gbk",
    "x",
  ),
  method: fc.constantFrom("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"),
  version: fc.constantFrom('"1"', '"0"', "*", 'W/"1"', "x"),
});
type Mutation = typeof mutation extends fc.Arbitrary<infer T> ? T : never;

/** The draft with one thing wrong. */
function mutated(draft: Draft, body: Fields | undefined, mutation: Mutation): Draft {
  const { what, which, value, hostile, text, json, type, method, version } = mutation;
  const { query, path, headers } = draft;
  const pick = <Of>(list: readonly Of[]) => list[which % list.length];
  const change = (fields: Fields, changed: unknown): Fields => {
    const name = pick(Object.keys(fields)) ?? "added";
    const { [name]: _, ...rest } = fields;
    return changed === undefined ? rest : { ...rest, [name]: changed };
  };
  const withBody = (changed: unknown): Draft => ({ ...draft, body: JSON.stringify(changed) });
  switch (what) {
    case "missing":
      return body
        ? withBody(change(body, undefined))
        : { ...draft, query: query.filter((each) => each !== pick(query)) };
    case "wrong value":
      if (body) return withBody(change(body, value));
      return { ...draft, query: query.map((each) => (each === pick(query) ? [each[0], value] : each)) };
    case "wrong path":
      return { ...draft, path: change(path, text) };
    case "unknown":
      return body ? withBody({ ...body, [text]: value }) : { ...draft, query: [...query, [text, value]] };
    case "hostile":
      return body
        ? withBody({ ...body, ...hostile })
        : { ...draft, query: [...query, ...Object.entries(hostile)] };
    case "twice":
      return { ...draft, query: [...query, ...query.slice(0, 1)] };
    case "json":
      return { ...draft, headers: { ...headers, "content-type": "application/json" }, body: json };
    case "type":
      return { ...draft, headers: { ...headers, "content-type": type } };
    case "method":
      return { ...draft, method };
    case "if-match":
      break;
  }
  return { ...draft, headers: { ...headers, "if-match": version } };
}

function written(template: string, { caller, method, path, query, headers, body }: Draft): FuzzRequest {
  const text = (value: unknown) =>
    encodeURIComponent(typeof value === "string" ? value : JSON.stringify(value));
  const filled = template.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    name === "path" ? text(path[name] ?? "").replaceAll("%2F", "/") : text(path[name] ?? ""),
  );
  const search = query.map(([name, value]) => `${text(name)}=${text(value)}`).join("&");
  const mayHaveBody = method !== "GET";
  return {
    caller,
    method,
    path: (search ? `${filled}?${search}` : filled).slice(0, MAX_PATH),
    headers,
    body: mayHaveBody ? body : undefined,
  };
}
