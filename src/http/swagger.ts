import { type AnyElysia, Elysia } from "elysia";
import { type Call, callOf } from "../api/face.ts";
import bundle from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };
import page from "./swagger-page.js" with { type: "file" };
import styles from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import { PLATFORM_PATHS } from "../api/platform-openapi.ts";
import { DROPIN_PATHS, DROPIN_TAG } from "../api/wechat-openapi.ts";
import { NAME, VERSION } from "../version.ts";

const PAGE = `<!doctype html>
<html lang="zh-CN">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>${NAME}</title>
    <link rel="icon" href="data:," />
    <link rel="stylesheet" href="/swagger/ui.css" />
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="/swagger/ui.js"></script>
    <script src="/swagger/start.js"></script>
  </body>
</html>
`;

/** The page may load what this service serves, and nothing from any other host. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const DESCRIPTION = [
  "[English](/swagger?lang=en) [中文](/swagger?lang=zh) · [Documents](/docs/README) [文档](/docs/zh/)",
  "The one service that fetches access tokens from WeChat and WeCom, and issues them to every environment.",
  "统一向微信和企业微信获取access_token，并提供给各个环境的中控服务。",
  "WeChat's and WeCom's own paths are answered as they would answer; see the tag WeChat. 微信和企业微信自身的路径按其原样应答，见WeChat标签。",
  "Every other answer is `{code, msg, data, trace_id}`, `code` 0 is success. It is HTTP 200 except under `/v1` and at `/livez`, `/readyz` and `/metrics`, where failures have a status of their own. In `/v1` durations are seconds and instants epoch milliseconds.",
  "其余应答格式为 `{code, msg, data, trace_id}`，`code` 为0表示成功。除 `/v1`、`/livez`、`/readyz` 和 `/metrics` 的失败应答使用相应HTTP状态码外，均为HTTP 200。`/v1` 中时长为秒，时刻为毫秒时间戳。",
].join("\n\n");

const HIDDEN = { detail: { hide: true } };

/** What the documentation works with. */
export interface SwaggerParts {
  /** Throws when the caller may not see it. */
  readonly admit: (call: Call) => void;
}

/** `/swagger`: the interactive documentation of `routes`, served whole from this program. */
export function swaggerRoutes(routes: AnyElysia, { admit }: SwaggerParts) {
  let specification: Promise<string> | undefined;
  const document = async (language: string | undefined) => {
    const text = await (specification ??= specify(routes));
    return language === "en" || language === "zh"
      ? JSON.stringify(JSON.parse(text, inLanguage(language)))
      : text;
  };
  return new Elysia({ prefix: "/swagger" })
    .derive(({ request }) => {
      admit(callOf(request));
      return {};
    })
    .get("/", () => file(PAGE, "text/html; charset=utf-8", { "content-security-policy": POLICY }), HIDDEN)
    .get("/start.js", () => file(Bun.file(page), "text/javascript; charset=utf-8"), HIDDEN)
    .get("/ui.js", () => file(Bun.file(bundle), "text/javascript; charset=utf-8"), HIDDEN)
    .get("/ui.css", () => file(Bun.file(styles), "text/css; charset=utf-8"), HIDDEN)
    .get(
      "/json",
      async ({ query }) => file(await document(query["lang"]), "application/json; charset=utf-8"),
      HIDDEN,
    );
}

/**
 * The OpenAPI document of `routes`, as JSON.
 *
 * The plugin's own page loads scripts from a public host, so the plugin is never mounted on a public route. It
 * brings half a megabyte of code, which is loaded when the document is first asked for.
 */
async function specify(routes: AnyElysia): Promise<string> {
  const { swagger } = await import("@elysiajs/swagger");
  const documentation = {
    components: {
      securitySchemes: {
        bearer: { type: "http" as const, scheme: "bearer", description: "An API key. API密钥。" },
        header: {
          type: "apiKey" as const,
          in: "header" as const,
          name: "X-API-Key",
          description: "An API key. API密钥。",
        },
      },
    },
    security: [{}, { bearer: [] }, { header: [] }] as Record<string, string[]>[],
    info: { title: NAME, version: VERSION, description: DESCRIPTION },
    externalDocs: { url: "/docs/", description: "The documents. 使用文档。" },
    paths: { ...DROPIN_PATHS, ...PLATFORM_PATHS } as Record<string, object>,
    tags: [
      { name: "AccessToken", description: "Tokens and OAuth. 访问凭证与网页授权。" },
      { name: "JsSDK", description: "JS-SDK signatures. JS-SDK签名。" },
      { name: "xcx", description: "Mini Program login. 小程序登录。" },
      DROPIN_TAG,
      { name: "v1", description: "Apps, credentials and signatures. 应用、凭证与签名。" },
      {
        name: "Callbacks",
        description: "How pushes are verified and where they go. 消息推送的校验设置与去向。",
      },
      {
        name: "clients",
        description: "Clients, their grants and API keys; for administrators. 客户端与API密钥（管理员）。",
      },
      { name: "oauth", description: "Web logins of every environment. 各环境的网页登录。" },
      {
        name: "Platforms",
        description: "Third-party platforms and what has authorized them. 第三方平台及其授权账号。",
      },
      {
        name: "Notifications",
        description: "Alarms, and where they are sent; for administrators. 告警与通知渠道（管理员）。",
      },
      { name: "Service", description: "The service itself. 服务本身。" },
    ],
  };
  const plugin = swagger({ path: "/page", specPath: "/json", documentation });
  const response = await new Elysia().use(plugin).use(routes).handle(new Request("http://localhost/json"));
  const document = JSON.parse(await response.text(), withExamples) as object;
  return JSON.stringify({ ...document, openapi: "3.1.0" });
}

/** What of OpenAPI's objects is looked at here. */
interface Described {
  [name: string]: unknown;
  examples?: unknown;
  example?: unknown;
  anyOf?: Described[];
  properties?: Record<string, Described>;
}

/**
 * As a reviver of JSON: gives what has JSON Schema's list of examples its first as `example`, which is what Swagger UI
 * shows and OpenAPI knows for parameters, and each body one made of those of its fields.
 */
function withExamples(name: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  const described = value as Described;
  if (Array.isArray(described.examples)) {
    const { examples, ...rest } = described;
    return { ...rest, example: (examples as unknown[])[0] };
  }
  if (name !== "requestBody") return value;
  // The plugin lists what Elysia could parse; only this is taken.
  const { content, ...rest } = described as { content: Record<string, Described & { schema: Described }> };
  const { schema = {}, example = exampleOf(schema) } = content["application/json"] ?? {};
  return { ...rest, content: { "application/json": { schema, example } } };
}

function exampleOf({ example, const: only, anyOf, properties }: Described): unknown {
  const [first] = anyOf ?? [];
  if (example !== undefined || only !== undefined || first)
    return example ?? only ?? (first && exampleOf(first));
  const fields = properties && Object.entries(properties).map(([name, field]) => [name, exampleOf(field)]);
  return fields && Object.fromEntries(fields.filter(([, value]) => value !== undefined));
}

const CHINESE = /[\u4e00-\u9fff]/;
/** The English half of a text, up to the last full stop before any Chinese, and the Chinese half. */
const HALVES = /^([^\u4e00-\u9fff]*(?:\.| ·)) (.*)$/su;

/** As a reviver of JSON: leaves of each text for people the half in that language. */
function inLanguage(language: "en" | "zh") {
  return (name: string, value: unknown): unknown => {
    if (typeof value !== "string" || (name !== "summary" && name !== "description")) return value;
    const halves = value
      .split("\n\n")
      .flatMap((part) => (CHINESE.test(part) ? (HALVES.exec(part)?.slice(1) ?? [part]) : [part]));
    const chosen = halves.filter(
      (half) => half.startsWith("[") || CHINESE.test(half) === (language === "zh"),
    );
    return (chosen.length === 0 ? halves : chosen).join("\n\n").replace(/ ·$/, "");
  };
}

function file(content: string | Blob, type: string, headers: Record<string, string> = {}): Response {
  return new Response(content, {
    headers: { "content-type": type, ...headers },
  });
}
