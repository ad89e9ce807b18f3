import { expect, test } from "bun:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import { type Answer, Harness } from "../support/harness.ts";

const SAMPLE = { appId: "wx0000000000000001", secret: "00000000000000000000000000000001" };
const SAMPLE_WECOM = {
  corpId: "ww0000000000000001",
  agent: "1000002",
  secret: "sample-wecom-secret-00000000000000000000001",
};

interface Parameter {
  readonly in: string;
  readonly name: string;
  readonly required?: boolean;
  readonly example?: unknown;
  readonly schema: { readonly example?: unknown };
}
interface Operation {
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Record<string, { readonly example?: unknown }> };
}
interface Document {
  readonly openapi: string;
  readonly info: { readonly description: string };
  readonly externalDocs: { readonly url: string };
  readonly paths: Record<string, Record<string, Operation>>;
}
interface PageRequest {
  url: string;
  readonly headers: Record<string, string>;
  body: string | undefined;
}

/** The service with the apps of the demo. */
async function setup() {
  const world = await Harness.create({
    sandbox: { weixinApps: [SAMPLE], wecomApps: [SAMPLE_WECOM] },
    environment: {
      PUBLIC_URL: "https://wx.example.com",
      [`WEIXIN_SECRET_${SAMPLE.appId}`]: SAMPLE.secret,
      [`WECOM_SECRET_${SAMPLE_WECOM.corpId}_${SAMPLE_WECOM.agent}`]: SAMPLE_WECOM.secret,
    },
  });
  const text = async (path: string) => (await fetch(world.service.url + path)).text();
  const document = async (search = "") => JSON.parse(await text(`/swagger/json${search}`)) as Document;
  const send = (path: string, init: RequestInit = {}) =>
    world.service.handle(new Request(new URL(path, "http://localhost").href, init));
  const newKey = async (client: string) => {
    const init = { method: "POST", headers: { "content-type": "application/json" }, body: "{}" };
    const answer = (await (await send(`/v1/clients/${client}/keys`, init)).json()) as Answer;
    return answer.data["api_key"] as string;
  };
  return { world, text, document, send, newKey, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

test.each(["", "?lang=en", "?lang=zh"])(
  "the OpenAPI document of /swagger/json%s is valid",
  async (search) => {
    await using it = await setup();
    const document = await it.document(search);
    const { valid, errors } = await new Validator().validate({ ...document });
    expect([valid, errors]).toEqual([true, undefined]);
    expect(JSON.stringify(document)).not.toContain('"examples"');
  },
);

test("in one language the document has no text of the other", async () => {
  await using it = await setup();
  const texts = async (language: string) => {
    const found: string[] = [];
    JSON.stringify(await it.document(`?lang=${language}`), (name, value: unknown) => {
      const isText = typeof value === "string" && (name === "summary" || name === "description");
      if (isText) found.push(value.replaceAll(/\[.*?\]\(.*?\)/g, ""));
      return value;
    });
    return found;
  };
  const english = await texts("en");
  expect(english.filter((text) => /[\u4e00-\u9fff]/.test(text))).toEqual([]);
  const chinese = await texts("zh");
  expect(chinese.filter((text) => !/[\u4e00-\u9fff]/.test(text))).toEqual([]);
  expect(chinese.filter((text) => /[a-z]{3,} [a-z]{3,} [a-z]{3,}/.test(text))).toEqual([]);
  expect(chinese).toHaveLength(english.length);
});

test("the document links to the documents, which are there in both languages", async () => {
  await using it = await setup();
  const { info, externalDocs } = await it.document();
  const links = [...info.description.matchAll(/\]\((\/docs[^)]*)\)/g)].map(([, url = ""]) => url);
  expect([externalDocs.url, ...links]).toEqual(["/docs/", "/docs/README", "/docs/zh/"]);
  expect(await it.text("/docs/README")).toContain('<html lang="en">');
  expect(await it.text("/docs/zh/")).toContain('<html lang="zh-CN">');
});

/** What has to be there is made before, and removed after the others. */
const ORDER = [
  "put /v1/environments/{environment}",
  "post /v1/apps",
  "post /v1/platforms",
  "post /v1/notifications/channels",
  "post /v1/clients",
  "post /v1/clients/{client}/keys",
  "put /v1/apps/{app}/callbacks",
  "put /v1/apps/{app}/callbacks/targets/{target}",
  "put /v1/apps/{app}/callbacks/routes",
];
const rank = (name: string) =>
  name.startsWith("delete")
    ? 1000 - (name.endsWith("{key}") ? 500 : name.length)
    : ORDER.indexOf(name) + (ORDER.includes(name) ? 0 : 100);

/**
 * These want a target that is pulled and a push that came, or somebody signed in, or a third-party platform with its ticket, or
 * have an answer without an end.
 */
const NEEDS_MORE =
  /\/deliveries(\/\{id\}.*)?$|\/console\/sessions\/|\/\{platform\}\/(ticket|reconcile)$|^\/v1\/events$|^\/(cgi-bin|sns)\/(oauth2\/)?(component|service)\//;

test("every route works in the demo with the examples of the document, sent as its page sends them", async () => {
  await using it = await setup();
  const { paths } = await it.document();
  const operations = Object.entries(paths)
    .filter(([path]) => !NEEDS_MORE.test(path))
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        name: `${method} ${path}`,
        path,
        method,
        operation,
      })),
    );
  const { requestInterceptor: intercept } = pageOf(await it.text("/swagger/start.js"), it.send);
  let key = "";
  const failed: unknown[] = [];
  for (const { name, path, method, operation } of operations.toSorted(
    (a, b) => rank(a.name) - rank(b.name),
  )) {
    it.world.clock.advance(31_000);
    // One that is there to be ended.
    if (method === "delete" && path.endsWith("{key}")) key = await it.newKey("order-service");
    const { parameters = [], requestBody } = operation;
    const example = ({ name: field, example: own, schema }: Parameter) =>
      field === "key" ? key.slice(0, 12) : String(own ?? schema.example);
    const missing = parameters.filter(({ example: own, schema }) => (own ?? schema.example) === undefined);
    expect([name, missing]).toEqual([name, []]);
    const filled = path.replaceAll(/\{(\w+)\}/g, (_, field: string) =>
      encodeURIComponent(example(parameters.find((each) => each.name === field)!)),
    );
    const query = parameters.filter((each) => each.in === "query").map((each) => [each.name, example(each)]);
    const content = requestBody?.content ?? {};
    const [type] = Object.keys(content);
    const headers: Record<string, string> = type === undefined ? {} : { "content-type": type };
    // As a person who has entered the key on the page.
    if (path.startsWith("/gateway")) headers["x-api-key"] = key;
    const search = new URLSearchParams(query as [string, string][]).toString();
    const request = await intercept({
      url: `http://localhost${filled}${search && `?${search}`}`,
      headers,
      body: type && JSON.stringify(content[type]?.example),
    });
    const body = request.body ?? null;
    const init = { method: method.toUpperCase(), headers, body };
    const response = await (path.startsWith("/gateway")
      ? fetch(request.url.replace("http://localhost", it.world.service.url), init)
      : it.send(request.url, init));
    const text = await response.text();
    const answer = text.startsWith("{") ? (JSON.parse(text) as Record<string, unknown>) : {};
    if (!response.ok || (answer["code"] ?? answer["errcode"] ?? 0) !== 0)
      failed.push([name, request.url, body, text.slice(0, 300)]);
    const issued = (answer["data"] as { api_key?: string } | undefined)?.api_key;
    if (issued !== undefined) key = issued;
  }
  expect(failed).toEqual([]);
});

/** What the page gives to Swagger UI, with `send` in the place of the browser's fetch. */
function pageOf(script: string, send: (path: string, init?: RequestInit) => Promise<Response>) {
  let given: unknown;
  // oxlint-disable-next-line typescript/no-implied-eval -- it is our own script, which is no module
  const run = new Function("SwaggerUIBundle", "location", "fetch", script) as (...of: unknown[]) => void;
  run((options: unknown) => (given = options), { search: "" }, send);
  return given as { readonly requestInterceptor: (request: PageRequest) => Promise<PageRequest> };
}
