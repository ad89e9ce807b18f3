import { Type } from "@sinclair/typebox";
import { MAX_OVERLAP_MS } from "../access/client-administration.ts";
import { API_PATTERN, API_PRESETS, type ApiPreset } from "../access/api-policy.ts";
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

/** The key of a path: its public prefix. */
export const key = Type.String({
  pattern: "^ats_[0-9A-Za-z]{8}$",
  description: "The public prefix of a key. 密钥的公开前缀。",
  examples: ["ats_4fGh7Kq2"],
});

/** Where the next page of clients begins. */
export const afterClient = Type.String({
  maxLength: 200,
  description: "`next` of the previous page. 上一页应答中的 `next`。",
  examples: ["order-service"],
});

const environment = Type.String({
  minLength: 1,
  maxLength: 32,
  pattern: "^[A-Za-z0-9._-]+$",
  description: "prod, pre, st, dev, or any other name. 所属环境：prod、pre、st、dev或其他名称。",
  examples: ["dev"],
});

const grants = Type.Array(
  Type.Object(
    {
      apps: Type.Array(Type.String({ maxLength: 130, pattern: "^([A-Za-z0-9_-]+|\\*)$" }), {
        minItems: 1,
        maxItems: 1000,
      }),
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
      "Which apps (`*` for all) × which actions; with virtual tokens `token:read` needs `api:call`, `ticket:read` or `login` on the same app; `admin` includes everything, and it and `metrics:read` need `*`. 可用的应用（`*`为全部）及操作；虚拟token的 `token:read` 须与同一应用的 `api:call`、`ticket:read` 或 `login` 之一同时授予；`admin`包含全部权限；`admin`和`metrics:read`的应用须为`*`。",
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

const expiresAt = instant("When it expires. 到期时间（毫秒时间戳）。", 1_798_761_600_000);
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
      "What it may call through the gateway: a path on `deny` is refused, else one on `allow` allowed, else the preset decides. A pattern is a path, or a path and `/**`. Default `all` for production (`prod`, `production`, `prd`, `online`, in any case), else `safe`. 经网关可调用的接口：先看 `deny`，再看 `allow`，最后由预设决定；路径后可加 `/**`。生产环境（`prod`、`production`、`prd`、`online`，不区分大小写）默认 `all`，其余 `safe`。",
    examples: [{ preset: "safe" }],
  },
);

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

/** The body of a new key. */
export const newKeyBody = Type.Object(
  {
    label: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 64,
        pattern: "^[^\\x00-\\x1f\\x7f]+$",
        description:
          "Display name; unique among the client's valid keys. Default `default`. 密钥名称，在该客户端的有效密钥中唯一，默认 `default`。",
        examples: ["laptop of Li"],
      }),
    ),
    expires_at: Type.Optional(expiresAt),
  },
  { additionalProperties: false },
);

/** The body of a roll. */
export const rollBody = Type.Object(
  {
    overlap: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_OVERLAP_MS / 1000,
        description:
          "Seconds for which the old key stays valid, at most 7 days, default one day. 旧密钥继续有效的秒数，最长7天，默认1天。",
        examples: [86_400],
      }),
    ),
  },
  { additionalProperties: false },
);

const baseUrl = Type.String({
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
  created_at: Type.Integer(),
  updated_at: Type.Integer(),
  version: Type.Integer({ description: "Also in the ETag. 与ETag相同。" }),
  damaged: Type.Optional(
    Type.Array(Type.String(), {
      description:
        "What can't be read in the database: the client may do nothing until all of it is set again. 数据库中已损坏的字段；全部重新设置之前，该客户端没有任何权限。",
    }),
  ),
});

const keyFields = {
  key: Type.String({ description: "The public prefix. 公开前缀。" }),
  label: Type.String(),
  state: Type.Union(
    [Type.Literal("active"), Type.Literal("expired"), Type.Literal("revoked"), Type.Literal("damaged")],
    {
      description:
        "`damaged`: its record can't be read, so it is accepted no more; create another. `damaged`：记录已损坏，不再接受，请另建密钥。",
    },
  ),
  created_at: Type.Integer(),
  expires_at: Type.Optional(Type.Integer()),
  revoked_at: Type.Optional(Type.Integer()),
  replaced_by: Type.Optional(
    Type.String({
      description:
        "The key that was made in its place by a roll; it ends at `expires_at`. 滚动更换时取代它的密钥；它于 `expires_at` 失效。",
    }),
  ),
  last_used_at: Type.Optional(Type.Integer({ description: "To the minute. 精确到分钟。" })),
};

/** One key as it is shown. */
export const keyData = Type.Object(keyFields);

/** One key and whose it is. */
export const foundKeyData = Type.Object({ client: Type.String(), ...keyFields });

/** A new key. */
export const createdKeyData = Type.Object({
  ...keyFields,
  api_key: Type.String({ description: "The key itself, shown only now. 密钥本身，仅显示这一次。" }),
  base_url: baseUrl,
});

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

/** A key for the documentation. */
export const KEY_EXAMPLE = {
  key: "ats_4fGh7Kq2",
  label: "default",
  state: "active",
  created_at: 1_795_320_000_000,
  last_used_at: 1_795_320_060_000,
};

/** Where the service is, for the documentation. */
export const BASE_URL_EXAMPLE = "https://token.example.com";
