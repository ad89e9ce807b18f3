import { type Static, Type } from "@sinclair/typebox";
import { API_PATTERN, API_PRESETS, type ApiPreset } from "../access/api-policy.ts";
import { recordFields } from "./schema.ts";
import { app, limit } from "./v1-apps-schema.ts";
import { OPENID } from "../access/test-messages.ts";
import { type Action, ACTIONS, DELIVERIES, type Delivery } from "../access/client.ts";

/** The client of a path: its name. */
export const client = Type.String({
  minLength: 1,
  maxLength: 64,
  pattern: "^[a-z0-9][a-z0-9._-]*$",
  description:
    "The client's name: lower-case letters, digits, `.`, `_`, `-`. 客户端名称：小写字母、数字及 `.` `_` `-`。",
  examples: ["order-service"],
});

/** The name of an environment. */
export const environment = Type.String({
  minLength: 1,
  maxLength: 32,
  pattern: "^[A-Za-z0-9._-]+$",
  description: "prod, pre, st, dev, or any other name. 环境名称：prod、pre、st、dev或其他名称。",
  examples: ["dev"],
});

const grants = Type.Array(
  Type.Object(
    {
      apps: Type.Array(
        Type.String({ maxLength: 141, pattern: "^([A-Za-z0-9_-]+|platform:[A-Za-z0-9_-]+(/\\*)?|\\*)$" }),
        {
          minItems: 1,
          maxItems: 1000,
        },
      ),
      actions: Type.Array(Type.Unsafe<Action>(Type.Union(ACTIONS.map((action) => Type.Literal(action)))), {
        minItems: 1,
        maxItems: ACTIONS.length,
      }),
    },
    { additionalProperties: false },
  ),
  {
    maxItems: 100,
    description:
      "Which apps (`*` for all, `platform:<id>` for a third-party platform, `platform:<id>/*` for every account of it) × which actions; with virtual tokens `token:read` needs `api:call`, `ticket:read` or `login` on the same app; `admin` includes everything, and it and `metrics:read` need `*`. 可用的应用（`*`为全部，`platform:<id>`为第三方平台本身，`platform:<id>/*`为其全部授权账号）及操作；虚拟token的 `token:read` 须与同一应用的 `api:call`、`ticket:read` 或 `login` 之一同时授予；`admin`包含全部权限；`admin`和`metrics:read`的应用须为`*`。",
    examples: [[{ apps: ["wx0000000000000001"], actions: ["token:read", "api:call"] }]],
  },
);

const networks = Type.Array(Type.String({ minLength: 1, maxLength: 50 }), {
  maxItems: 100,
  description: "CIDR blocks that it may call from; empty for any address. 允许的来源网段；为空不限。",
  examples: [["10.0.0.0/8", "127.0.0.1/32"]],
});

const origins = Type.Array(Type.String({ minLength: 1, maxLength: 300 }), {
  maxItems: 100,
  description:
    "Origins of the pages that may call with its key, among those that CORS_ORIGINS lists; empty for all of them. 在CORS_ORIGINS所列的源之中，可以用其密钥调用的网页的源；为空不限。",
  examples: [["https://www.example.com"]],
});

const instant = (description: string, example: number) =>
  Type.Integer({ minimum: 0, maximum: 8_640_000_000_000_000, description, examples: [example] });

/** When something expires. */
export const expiresAt = instant("When it expires. 到期时间（毫秒时间戳）。", 1_798_761_600_000);
const rateLimit = Type.Integer({
  minimum: 1,
  maximum: 1_000_000,
  description: "Requests a second. 每秒请求数上限。",
  examples: [50],
});

const concurrency = Type.Integer({
  minimum: 1,
  maximum: 100_000,
  description:
    "Requests under way at once through the gateway; by default 96, and further ones wait. 经网关同时进行的请求数上限；默认96，超出的排队等待。",
  examples: [20],
});

const delivery = Type.Unsafe<Delivery>(
  Type.Union(
    DELIVERIES.map((each) => Type.Literal(each)),
    {
      description:
        "`real`: WeChat's own access tokens; `virtual`: tokens of ours in their place, which only our gateway accepts. Default `virtual`; `real` is for programs that call WeChat themselves, and needs a policy that refuses nothing. 发放真实access_token，或只有本服务网关接受的虚拟token；默认 `virtual`；自行调用微信的程序用 `real`，此时策略不能有任何限制。",
      examples: ["virtual"],
    },
  ),
);

const patterns = (description: string, example: string) =>
  Type.Array(Type.String({ minLength: 1, maxLength: 200, pattern: API_PATTERN.source }), {
    maxItems: 200,
    description,
    examples: [[example]],
  });

const policy = Type.Object(
  {
    preset: Type.Unsafe<ApiPreset>(Type.Union(API_PRESETS.map((preset) => Type.Literal(preset)))),
    allow: Type.Optional(
      patterns("Allowed whatever the preset says. 不论预设一律允许。", "/cgi-bin/message/custom/typing"),
    ),
    deny: Type.Optional(patterns("Always refused. 一律拒绝。", "/cgi-bin/message/**")),
    test_openids: Type.Optional(
      Type.Array(Type.String({ pattern: OPENID.source }), {
        maxItems: 100,
        description:
          "Users to whom single messages may be sent whatever the preset says, and nobody else; not with `all`. 测试用户：不论预设，只能向这些openid发送单发消息；不能与 `all` 同用。",
        examples: [["oTestUser0000000000000000001"]],
      }),
    ),
  },
  {
    additionalProperties: false,
    description:
      "What it may call through the gateway: a path on `deny` is refused, else one on `allow` allowed, else the preset decides. A pattern is a path, or a path and `/**`. Default `all` in an environment that is production, else `safe`. 经网关可调用的接口：先看 `deny`，再看 `allow`，最后由预设决定；路径后可加 `/**`。生产环境默认 `all`，其余 `safe`。",
    examples: [{ preset: "safe" }],
  },
);

/** Which clients, in pages. */
export const clientQuery = Type.Object({
  q: Type.Optional(
    Type.String({
      maxLength: 64,
      description: "Only clients whose name contains it. 名称中包含该文字的客户端。",
      examples: ["order"],
    }),
  ),
  environment: Type.Optional(environment),
  limit: Type.Optional(limit),
  after: Type.Optional(
    Type.String({
      maxLength: 200,
      description: "`next` of the previous page. 上一页应答中的 `next`。",
      examples: ["order-service"],
    }),
  ),
});

/** The body of a new client. */
export const newClientBody = Type.Object(
  {
    client,
    environment,
    grants,
    networks: Type.Optional(networks),
    origins: Type.Optional(origins),
    expires_at: Type.Optional(expiresAt),
    rate_limit: Type.Optional(rateLimit),
    concurrency: Type.Optional(concurrency),
    delivery: Type.Optional(delivery),
    policy: Type.Optional(policy),
  },
  { additionalProperties: false },
);

/** The body of a change: fields that are left out keep their values, null clears one. */
export const clientChangeBody = Type.Object(
  {
    environment: Type.Optional(environment),
    grants: Type.Optional(grants),
    networks: Type.Optional(networks),
    origins: Type.Optional(origins),
    expires_at: Type.Optional(
      Type.Union([expiresAt, Type.Null()], {
        description: "When it expires; null for never. 到期时间（毫秒时间戳）；null为永不。",
        examples: [1_798_761_600_000],
      }),
    ),
    rate_limit: Type.Optional(
      Type.Union([rateLimit, Type.Null()], {
        description: "Requests a second; null for no limit. 每秒请求数上限；null为不限。",
        examples: [50],
      }),
    ),
    concurrency: Type.Optional(
      Type.Union([concurrency, Type.Null()], {
        description:
          "Requests under way at once through the gateway; null for the default of 96. 经网关同时进行的请求数上限；null为默认的96。",
        examples: [20],
      }),
    ),
    delivery: Type.Optional(delivery),
    policy: Type.Optional(policy),
  },
  { additionalProperties: false },
);

/** A change of a client as it is sent. */
export type ClientChange = Static<typeof clientChangeBody>;

/** The body of a question whether a client may make a call. */
export const callBody = Type.Object(
  {
    app,
    method: Type.Union([Type.Literal("GET"), Type.Literal("POST")], {
      description: "The call's method. 请求方法。",
      examples: ["POST"],
    }),
    path: Type.String({
      maxLength: 300,
      pattern: "^/[^?#\\s]*$",
      description: "The path as it is sent, without its query. 接口路径，不含查询参数。",
      examples: ["/cgi-bin/message/mass/send"],
    }),
    change: Type.Optional(
      Type.Object(clientChangeBody.properties, {
        additionalProperties: false,
        description: "Settings as if they were saved already. 尚未保存的设置，按已保存来判断。",
        examples: [{ policy: { preset: "safe" } }],
      }),
    ),
  },
  { additionalProperties: false },
);

/** Whether a client may make a call. */
export const callAnswer = Type.Object({
  allowed: Type.Boolean(),
  family: Type.String({
    description: "As which family of paths it is counted. 计数时所属的接口类别。",
  }),
  preset: Type.String({ description: "The preset of the policy. 接口策略的预设。" }),
  action: Type.Optional(Type.String({ description: "By which grant. 所依据的授权操作。" })),
  answered_by: Type.Optional(
    Type.Union([Type.Literal("service"), Type.Literal("upstream")], {
      description:
        "`service` for a drop-in endpoint, which the policy is not asked about; `upstream` for WeChat or WeCom. `service`：由本服务直接应答，不受接口策略约束；`upstream`：转发给微信或企业微信。",
    }),
  ),
  recipients: Type.Optional(
    Type.Array(Type.String(), {
      description:
        "The fields of the body that must name none but the policy's test openids. 请求体中只能填写测试用户openid的字段。",
    }),
  ),
  reason: Type.Optional(Type.String({ description: "Why it is refused. 拒绝的原因。" })),
  hint: Type.Optional(Type.String()),
});

/** The answer to that question. */
export type CallAnswer = Static<typeof callAnswer>;

/** Where the service is. */
export const baseUrl = Type.String({
  description: "What programs use in the place of WeChat's base URL. 程序中代替微信接口地址的地址。",
});

/** One client as it is shown. */
export const clientData = Type.Object({
  client: Type.String(),
  environment: Type.String(),
  grants: Type.Array(
    Type.Object({ apps: Type.Array(Type.String()), actions: Type.Array(Type.Unsafe<Action>(Type.String())) }),
  ),
  networks: Type.Array(Type.String()),
  origins: Type.Optional(Type.Array(Type.String())),
  expires_at: Type.Optional(Type.Integer()),
  rate_limit: Type.Optional(Type.Integer()),
  concurrency: Type.Optional(Type.Integer()),
  delivery: Type.String(),
  policy: Type.Object({
    preset: Type.String(),
    allow: Type.Array(Type.String()),
    deny: Type.Array(Type.String()),
    test_openids: Type.Optional(Type.Array(Type.String())),
  }),
  ...recordFields(
    "the client may do nothing until all of it is set again. 数据库中已损坏的字段；全部重新设置之前，该客户端没有任何权限。",
  ),
});

/** A client as it is shown. */
export type ClientData = Static<typeof clientData>;

/** A page of clients. */
export const clientsData = Type.Object({
  clients: Type.Array(
    Type.Object({
      ...clientData.properties,
      keys: Type.Object({
        active: Type.Integer({ description: "How many are valid. 有效密钥的数量。" }),
        last_used_at: Type.Optional(
          Type.Integer({
            description: "When any was used last, as far as this process knows. 最近一次使用（本进程所知）。",
          }),
        ),
        next_end_at: Type.Optional(
          Type.Integer({ description: "When the first of them expires. 其中最早的到期时间。" }),
        ),
      }),
    }),
  ),
  next: Type.Optional(Type.String()),
});

/** A page of clients as it is shown. */
export type ClientsPage = Static<typeof clientsData>;

/** A client that was just made. */
export const createdClientData = Type.Object({
  ...clientData.properties,
  base_url: baseUrl,
  note: Type.Optional(
    Type.String({ description: "Where its tokens work, if they are virtual. 虚拟token的适用范围。" }),
  ),
});

/** A client for the documentation. */
export const CLIENT_EXAMPLE = {
  client: "order-service",
  environment: "dev",
  grants: [{ apps: ["wx0000000000000001"], actions: ["token:read", "api:call"] }],
  networks: ["10.0.0.0/8", "127.0.0.1/32"],
  delivery: "virtual",
  policy: { preset: "safe", allow: [], deny: [] },
  created_at: 1_795_320_000_000,
  updated_at: 1_795_320_000_000,
  version: 1,
};

/** Where the service is, for the documentation. */
export const BASE_URL_EXAMPLE = "https://token.example.com";
