import { expect, test } from "bun:test";
import { Harness } from "../support/harness.ts";

/** Those whose answer is an envelope. */
const ROUTES = [
  ["get", "/"],
  ["get", "/livez"],
  ["get", "/readyz"],
  ["get", "/v1/apps"],
  ["get", "/v1/apps/{app}"],
  ["get", "/v1/apps/{app}/history"],
  ["post", "/v1/apps"],
  ["patch", "/v1/apps/{app}"],
  ["delete", "/v1/apps/{app}"],
  ["post", "/v1/apps/{app}/unblock"],
  ["get", "/v1/apps/{app}/deliveries"],
  ["get", "/v1/apps/{app}/deliveries/{id}"],
  ["post", "/v1/apps/{app}/deliveries/{id}/ack"],
  ["post", "/v1/apps/{app}/deliveries/{id}/replay"],
  ["post", "/v1/apps/{app}/deliveries/replay"],
  ["delete", "/v1/apps/{app}/deliveries/{id}"],
  ["get", "/v1/callbacks"],
  ["get", "/v1/apps/{app}/callbacks"],
  ["put", "/v1/apps/{app}/callbacks"],
  ["delete", "/v1/apps/{app}/callbacks"],
  ["post", "/v1/apps/{app}/callbacks/rotate"],
  ["post", "/v1/apps/{app}/callbacks/finish"],
  ["put", "/v1/apps/{app}/callbacks/routes"],
  ["get", "/v1/apps/{app}/callbacks/targets/{target}"],
  ["put", "/v1/apps/{app}/callbacks/targets/{target}"],
  ["delete", "/v1/apps/{app}/callbacks/targets/{target}"],
  ["get", "/v1/clients"],
  ["post", "/v1/clients"],
  ["get", "/v1/clients/{client}"],
  ["patch", "/v1/clients/{client}"],
  ["delete", "/v1/clients/{client}"],
  ["post", "/v1/clients/{client}/check"],
  ["get", "/v1/clients/{client}/keys"],
  ["get", "/v1/console/sessions"],
  ["delete", "/v1/console/sessions/{session}"],
  ["post", "/v1/clients/{client}/keys"],
  ["post", "/v1/clients/{client}/keys/{key}/roll"],
  ["delete", "/v1/clients/{client}/keys/{key}"],
  ["get", "/v1/apps/{app}/credentials/{kind}"],
  ["delete", "/v1/apps/{app}/credentials/{kind}"],
  ["post", "/v1/apps/{app}/credentials/{kind}/refresh"],
  ["post", "/v1/apps/{app}/credentials/{kind}/replace"],
  ["post", "/v1/apps/{app}/signatures/jsapi"],
  ["post", "/v1/apps/{app}/signatures/card"],
  ["post", "/v1/apps/{app}/signatures/agent-config"],
  ["post", "/v1/apps/{app}/signatures/diagnose"],
  ["post", "/v1/errors/explain"],
  ["get", "/v1/keys/{key}"],
  ["delete", "/v1/keys/{key}"],
  ["get", "/v1/environments"],
  ["get", "/v1/environments/{environment}"],
  ["put", "/v1/environments/{environment}"],
  ["delete", "/v1/environments/{environment}"],
  ["get", "/v1/apps/{app}/call"],
  ["post", "/v1/apps/{app}/call"],
  ["get", "/v1/apps/{app}/redirect-origins"],
  ["put", "/v1/apps/{app}/redirect-origins/{environment}"],
  ["get", "/v1/platforms"],
  ["post", "/v1/platforms"],
  ["get", "/v1/platforms/{platform}"],
  ["patch", "/v1/platforms/{platform}"],
  ["delete", "/v1/platforms/{platform}"],
  ["get", "/v1/platforms/{platform}/authorizations"],
  ["post", "/v1/platforms/{platform}/links"],
  ["post", "/v1/platforms/{platform}/ticket"],
  ["post", "/v1/platforms/{platform}/reconcile"],
  ["get", "/v1/verify-files"],
  ["put", "/v1/verify-files/{name}"],
  ["delete", "/v1/verify-files/{name}"],
  ["get", "/v1/nodes"],
  ["get", "/v1/alarms"],
  ["get", "/v1/notifications"],
  ["get", "/v1/notifications/conditions"],
  ["patch", "/v1/notifications/conditions"],
  ["get", "/v1/notifications/channels"],
  ["post", "/v1/notifications/channels"],
  ["get", "/v1/notifications/channels/{channel}"],
  ["patch", "/v1/notifications/channels/{channel}"],
  ["delete", "/v1/notifications/channels/{channel}"],
  ["post", "/v1/notifications/channels/{channel}/test"],
  ["get", "/v1/overview"],
  ["get", "/v1/settings"],
  ["patch", "/v1/settings"],
  ["get", "/v1/settings/anonymous-callers"],
  ["get", "/v1/settings/configuration"],
  ["get", "/v1/audit"],
  ["get", "/v1/audit/reads"],
  ["get", "/v1/audit/usage"],
  ["get", "/v1/audit/denials"],
  ["get", "/v1/audit/refusals"],
  ["get", "/v1/audit/verify"],
  ["get", "/AccessToken/getXcx"],
  ["get", "/AccessToken/clearXcx"],
  ["get", "/AccessToken/getQyapi"],
  ["get", "/AccessToken/clearQyapi"],
  ["post", "/AccessToken/getOauthAccessToken"],
  ["post", "/JsSDK/getJsApiSign"],
  ["get", "/xcx/jscode2session"],
] as const;
/** Those whose answer is text of another kind, and how an example of it looks. */
const TEXTS = [
  ["/metrics", "text/plain", /^accesstoken_requests_total\{.*\} \d+\n$/],
  ["/v1/audit/export", "application/x-ndjson", /^\{"id":\d+,.*\}\n$/],
  ["/v1/events", "text/event-stream", /^id: .*\nevent: credential\ndata: \{.*\}\n\n$/],
] as const;
/** WeChat's own, whose answers are in WeChat's shape. */
const DROPINS = [
  ["get", "/cgi-bin/token"],
  ["post", "/cgi-bin/token"],
  ["post", "/cgi-bin/stable_token"],
  ["get", "/cgi-bin/gettoken"],
  ["get", "/cgi-bin/ticket/getticket"],
  ["post", "/cgi-bin/ticket/getticket"],
  ["get", "/cgi-bin/get_jsapi_ticket"],
  ["post", "/cgi-bin/get_jsapi_ticket"],
  ["get", "/cgi-bin/ticket/get"],
  ["post", "/cgi-bin/ticket/get"],
  ["get", "/sns/jscode2session"],
  ["get", "/sns/oauth2/access_token"],
  ["get", "/cgi-bin/auth/getuserinfo"],
  ["get", "/cgi-bin/user/getuserinfo"],
  ["get", "/cgi-bin/school/getuserinfo"],
  ["get", "/cgi-bin/miniprogram/jscode2session"],
  ["post", "/cgi-bin/component/api_component_token"],
  ["post", "/cgi-bin/component/api_start_push_ticket"],
  ["post", "/cgi-bin/component/api_query_auth"],
  ["post", "/cgi-bin/component/api_authorizer_token"],
  ["get", "/sns/component/jscode2session"],
  ["get", "/sns/oauth2/component/access_token"],
  ["post", "/cgi-bin/service/get_suite_token"],
  ["post", "/cgi-bin/service/get_provider_token"],
  ["post", "/cgi-bin/service/get_permanent_code"],
  ["post", "/cgi-bin/service/v2/get_permanent_code"],
  ["post", "/cgi-bin/service/get_corp_token"],
  ["get", "/cgi-bin/service/auth/getuserinfo3rd"],
  ["get", "/cgi-bin/service/getuserinfo3rd"],
  ["get", "/cgi-bin/service/miniprogram/jscode2session"],
  ["get", "/gateway/{app}/{path}"],
  ["post", "/gateway/{app}/{path}"],
] as const;
const WITHOUT_PARAMETERS = [
  ...["/", "/livez", "/readyz", "/v1/audit/verify"],
  "/v1/settings/anonymous-callers",
  "/v1/settings/configuration",
  "/v1/nodes",
  "/v1/alarms",
  "get /v1/notifications/conditions",
  "get /v1/notifications/channels",
  "/v1/console/sessions",
  "/v1/overview",
  "get /v1/settings",
  "get /v1/environments",
  "get /v1/verify-files",
  "get /v1/platforms",
];

const CHINESE = /[\u4e00-\u9fff]/;
const ENGLISH = /[A-Za-z]{3,}/;

interface Parameter {
  name: string;
  description?: string;
  schema?: { description?: string; examples?: unknown[]; example?: unknown };
  example?: unknown;
}

interface Operation {
  summary: string;
  description?: string;
  tags: string[];
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { schema: { properties: Record<string, Parameter["schema"]> } }> };
  responses: Record<string, { description: string; content: Record<string, { example?: { code: number } }> }>;
}

function inBoth(text: string | undefined): void {
  expect(text).toMatch(CHINESE);
  expect(text).toMatch(ENGLISH);
}

/** The schemas of what an operation takes, in its query, path and body. */
function parametersOf(operation: Operation | undefined): Parameter["schema"][] {
  const fields = operation?.requestBody?.content["application/json"]?.schema.properties ?? {};
  const parameters = operation?.parameters ?? [];
  return [...Object.values(fields), ...parameters.map(({ schema, ...rest }) => ({ ...rest, ...schema }))];
}

function expectDescribed(schema: Parameter["schema"]): void {
  inBoth(schema?.description);
  expect(schema?.examples ?? schema?.example).toBeDefined();
}

async function specification(world: Harness) {
  const response = await fetch(`${world.service.url}/swagger/json`);
  expect(response.headers.get("content-type")).toStartWith("application/json");
  return (await response.json()) as {
    openapi: string;
    info: { title: string; description: string };
    servers?: { url: string }[];
    tags: { name: string; description: string }[];
    paths: Record<string, Record<string, Operation>>;
  };
}

test("the documentation page loads nothing from another host, and everything that it loads is there", async () => {
  await using world = await Harness.create();
  const page = await fetch(`${world.service.url}/swagger`);
  expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
  const html = await page.text();
  const references = [...html.matchAll(/(?:src|href)\s*=\s*["']([^"']*)["']/g)].map(([, url = ""]) => url);
  expect(references.length).toBeGreaterThanOrEqual(3);
  expect(html).not.toMatch(/https?:|\bimport\s*\(|@import|["'(]\/\//);
  for (const reference of references.filter((url) => !url.startsWith("data:"))) {
    expect(reference).toStartWith("/swagger/");
    const file = await fetch(world.service.url + reference);
    expect(file.status).toBe(200);
    expect(file.headers.get("content-type")).toMatch(/^text\/(javascript|css); charset=utf-8$/);
    expect((await file.text()).length).toBeGreaterThan(50);
  }
});

test("the page's policy forbids the browser every other host", async () => {
  await using world = await Harness.create();
  const { headers } = await fetch(`${world.service.url}/swagger`);
  const directives = (headers.get("content-security-policy") ?? "")
    .split(";")
    .map((part) => part.trim().split(" "));
  const policy = new Map(directives.map(([name = "", ...sources]) => [name, sources]));
  expect(policy.get("default-src")).toEqual(["'none'"]);
  expect(policy.get("frame-ancestors")).toEqual(["'none'"]);
  const allowed = ["'self'", "'none'", "'unsafe-inline'", "data:"];
  expect([...policy.values()].flat().filter((source) => !allowed.includes(source))).toEqual([]);
  expect(policy.get("script-src")).toEqual(["'self'"]);
});

test("the page's scripts and styles are the UI itself, which asks this service for the description", async () => {
  await using world = await Harness.create();
  const text = async (name: string) => (await fetch(`${world.service.url}/swagger/${name}`)).text();
  expect(await text("ui.js")).toContain("SwaggerUIBundle");
  expect(await text("ui.css")).toContain(".swagger-ui");
  expect(await text("start.js")).toMatch(
    /SwaggerUIBundle\(\{\s+url: "\/swagger\/json"[^}]*validatorUrl: null/,
  );
  expect(await text("ui.css")).not.toMatch(/url\(["']?https?:/);
});

test("the description lists every route and no other", async () => {
  await using world = await Harness.create();
  const { openapi, paths, servers = [] } = await specification(world);
  expect(openapi).toStartWith("3.");
  expect(servers.filter(({ url }) => /^https?:/.test(url))).toEqual([]);
  const listed = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path}`),
  );
  expect(listed.toSorted()).toEqual(
    [
      ...[...ROUTES, ...DROPINS].map(([method, path]) => `${method} ${path}`),
      ...TEXTS.map(([path]) => `get ${path}`),
    ].toSorted(),
  );
});

test.each(ROUTES)("%s %s is described in Chinese and English, with an example", async (method, path) => {
  await using world = await Harness.create();
  const operation = (await specification(world)).paths[path]?.[method];
  inBoth(operation?.summary);
  if (path !== "/") inBoth(operation?.description);
  const { description, content } = operation?.responses["200"] ?? {};
  inBoth(description);
  expect(content?.["application/json"]?.example).toMatchObject({ code: 0, msg: "success", data: {} });
  const parameters = parametersOf(operation);
  const isWithout = [path, `${method} ${path}`].some((each) => WITHOUT_PARAMETERS.includes(each));
  expect(parameters.length > 0).toBe(!isWithout);
  for (const schema of parameters) expectDescribed(schema);
});

test.each(DROPINS)("%s %s is described too, with an example in WeChat's shape", async (method, path) => {
  await using world = await Harness.create();
  const { paths, tags } = await specification(world);
  const operation = paths[path]?.[method];
  for (const said of [operation?.summary, operation?.description]) inBoth(said);
  expect(operation?.tags).toEqual(["WeChat"]);
  inBoth(tags.find(({ name }) => name === "WeChat")?.description);
  const { description, content = {} } = operation?.responses["200"] ?? {};
  inBoth(description);
  const [type = "", { example } = {}] = Object.entries(content)[0] ?? [];
  expect(type).toBe(path.startsWith("/sns/") ? "text/plain" : "application/json");
  expect(example).toBeObject();
  expect(example).not.toHaveProperty("code");
  const parameters = parametersOf(operation);
  expect(parameters.length).toBeGreaterThan(0);
  for (const schema of parameters) expectDescribed(schema);
});

test.each(TEXTS)(
  "get %s is described in Chinese and English, with an example of its text",
  async (path, type, form) => {
    await using world = await Harness.create();
    const operation = (await specification(world)).paths[path]?.["get"];
    for (const text of [operation?.summary, operation?.description]) {
      expect(text).toMatch(CHINESE);
      expect(text).toMatch(ENGLISH);
    }
    const { example } = operation?.responses["200"]?.content[type] ?? {};
    expect(example).toMatch(form);
  },
);

test("the title says what this is in both languages", async () => {
  await using world = await Harness.create();
  const { info } = await specification(world);
  expect(info.title).toBe("accesstoken-service");
  expect(info.description).toMatch(CHINESE);
  expect(info.description).toMatch(ENGLISH);
});
