import { type Static, Type } from "@sinclair/typebox";
import { app } from "./v1-apps-schema.ts";
import { ACTIONS } from "../access/client.ts";
import { AUDIT_ACTIONS } from "../audit/audit-entry.ts";

/** The default size of a page. */
export const PAGE = 100;

const ID_EXAMPLE = "1042";
const HASH_EXAMPLE = "9c1e6f0f5e2b4c7a8d3b1f60a2c9e4d75b8f3a6c1d0e9b2f4a7c6e5d8b1a3f20";

const instant = (description: string, example: string) =>
  Type.String({ pattern: "^\\d{1,15}$", description, examples: [example] });

const limit = Type.String({
  pattern: "^(?:[1-9]\\d{0,2}|1000)$",
  description: "Page size, 1 to 1000, default 100. 每页数量，1到1000，默认100。",
  examples: ["100"],
});

/** A page's cursor, from the previous page. */
const cursor = Type.String({
  pattern: "^[1-9]\\d{0,14}$",
  description: "`next` of the previous page. 上一页应答中的 `next`。",
  examples: [ID_EXAMPLE],
});

const time = {
  since: Type.Optional(
    instant("From this instant on, epoch milliseconds. 起始时刻（含），毫秒时间戳。", "1795320000000"),
  ),
  until: Type.Optional(
    instant("Before this instant, epoch milliseconds. 截止时刻（不含），毫秒时间戳。", "1795406400000"),
  ),
};

const client = Type.String({
  minLength: 1,
  maxLength: 64,
  pattern: "^(?:[a-z0-9][a-z0-9._-]*|\\([a-z0-9 .:]+\\))$",
  description:
    "A client, or `(anonymous)`, `(app secret)`, `(access token 10.0.0.8)`, `(rejected access token 10.0.0.8)`, `(command line)`, `(service)`. 客户端名称，或括号中的特殊身份。",
  examples: ["order-service"],
});

const narrow = {
  app: Type.Optional(app),
  client: Type.Optional(client),
  environment: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 32,
      pattern: "^[A-Za-z0-9._-]+$",
      description: "The client's environment. 客户端所属环境。",
      examples: ["dev"],
    }),
  ),
};

const oneOf = (names: readonly string[], description: string, example: string) =>
  Type.Union(
    names.map((name) => Type.Literal(name)),
    { description, examples: [example] },
  );

const entryFilter = {
  ...narrow,
  action: Type.Optional(oneOf(AUDIT_ACTIONS, "What was done. 操作。", "app.secret_changed")),
  token_digest: Type.Optional(
    Type.String({
      pattern: "^[0-9a-f]{16}$",
      description:
        "About that token: the first 16 hex digits of its SHA-256. 相关token的SHA-256前16位十六进制。",
      examples: ["2c26b46b68ffc68f"],
    }),
  ),
  ...time,
};

/** Which entries, for an export. */
export const exportQuery = Type.Object(entryFilter);

/** Which entries, in pages. */
export const entryQuery = Type.Object({
  ...entryFilter,
  limit: Type.Optional(limit),
  before: Type.Optional(cursor),
});

/** Which usage counts, in pages. */
export const usageQuery = Type.Object({
  ...narrow,
  action: Type.Optional(
    oneOf(
      ACTIONS,
      "What was done; `api:call` with every family of paths. 操作；`api:call` 包含所有接口类别。",
      "token:read",
    ),
  ),
  ...time,
  limit: Type.Optional(limit),
  after: Type.Optional(cursor),
});

/** Which denial counts, in pages. */
export const denialQuery = Type.Object({
  client: Type.Optional(client),
  ...time,
  limit: Type.Optional(limit),
  after: Type.Optional(cursor),
});

/** One entry as it is shown, without empty fields. */
export const entry = Type.Object({
  id: Type.Integer({ description: "Ascending; the order of the chain. 递增序号，即链的顺序。" }),
  at: Type.Integer({ description: "When (epoch milliseconds). 时刻（毫秒时间戳）。" }),
  client: Type.String({
    description:
      "Who: a client, or any other caller in parentheses, as `(command line)`. 客户端；括号中为非客户端的身份。",
  }),
  environment: Type.Optional(Type.String({ description: "The client's. 所属环境。" })),
  address: Type.String({ description: "Source address; may be empty. 来源地址，可能为空。" }),
  action: Type.String({ description: `${AUDIT_ACTIONS.join(", ")}. 操作。` }),
  app: Type.Optional(Type.String({ description: "The app's public name. 应用。" })),
  outcome: Type.String({
    description:
      "`ok`, `begun` when another entry records the end, or an error code. 结果：成功、已开始（另有一条记录其结束）或错误码。",
  }),
  trace_id: Type.Optional(Type.String({ description: "Of the request. 请求的trace_id。" })),
  token_digest: Type.Optional(
    Type.String({
      description:
        "The first 16 hex digits of SHA-256 of the token concerned. 相关token的SHA-256前16位十六进制。",
    }),
  ),
  detail: Type.Optional(
    Type.Record(Type.String(), Type.Unknown(), {
      description: "What changed; nothing secret. 变更内容，不含机密。",
    }),
  ),
  hash: Type.String({ description: "Chains the entry to the one before. 与前一条相接的链式摘要。" }),
});

/** An entry as it is shown. */
export type EntryData = Static<typeof entry>;

/** How often a client did something in a minute. */
export const usageCount = Type.Object({
  minute: Type.Integer({ description: "When it began (epoch milliseconds). 该分钟的起点（毫秒时间戳）。" }),
  client: Type.String({
    description:
      "Who; `(other)` for the sum of what was not counted separately. 客户端；`(other)`为未单独列出部分的合计。",
  }),
  environment: Type.Optional(Type.String({ description: "The client's. 所属环境。" })),
  action: Type.String({
    description: `${ACTIONS.join(", ")}; a call with the family of its path, as \`api:call /cgi-bin/user\`. 操作；经网关的调用附有接口类别。`,
  }),
  app: Type.String({
    description:
      "The app's public name; `*` for an app that we don't hold, or a user's own token. 应用；`*`为未持有的应用或用户自己的token。",
  }),
  count: Type.Integer({ description: "How often. 次数。" }),
});

/** A count of use as it is shown. */
export type UsageData = Static<typeof usageCount>;

/** How often a caller was denied something in a minute. */
export const denialCount = Type.Object({
  minute: Type.Integer({ description: "When it began (epoch milliseconds). 该分钟的起点（毫秒时间戳）。" }),
  address: Type.String({
    description:
      "Source address; `(other)` for the sum of what was not counted separately. 来源地址；`(other)`为未单独列出部分的合计。",
  }),
  client: Type.Optional(Type.String({ description: "Who, when known. 客户端（已识别时）。" })),
  route: Type.String({ description: "The route. 请求的路由。" }),
  code: Type.Integer({ description: "The code of the answer. 应答中的code。" }),
  count: Type.Integer({ description: "How often. 次数。" }),
});

/** A count of denials as it is shown. */
export type DenialData = Static<typeof denialCount>;

/** The result of verifying the whole chain. */
export const verdict = Type.Object({
  intact: Type.Boolean({ description: "Whether nothing was tampered with. 是否完整、未被改动。" }),
  entries: Type.Integer({ description: "How many were checked. 已检查的条数。" }),
  fault: Type.Optional(
    Type.Object({
      id: Type.Integer({ description: "The first entry that does not fit. 第一条不符的序号。" }),
      message: Type.String({ description: "Why. 原因。" }),
    }),
  ),
  last: Type.Optional(
    Type.Object(
      { id: Type.Integer(), hash: Type.String() },
      {
        description:
          "The last entry that fits. Keep it elsewhere: a database that was rolled back lacks it. 最后一条相符的记录；请另行保存，以便发现数据库被整体回退。",
      },
    ),
  ),
});

/** The result of verifying the whole chain, as it is shown. */
export type VerdictData = Static<typeof verdict>;

/** For the documentation. */
export const ENTRY_EXAMPLE = {
  id: 1041,
  at: 1795320000000,
  client: "platform-admin",
  environment: "prod",
  address: "10.0.0.8",
  action: "app.secret_changed",
  app: "wx0000000000000001",
  outcome: "ok",
  trace_id: "6f1c4a3b-e0d9-4f6f-9f8e-9a5d2f5c7b10",
  detail: { secret: "changed" },
  hash: HASH_EXAMPLE,
};

/** For the documentation. */
export const USAGE_EXAMPLE = {
  minute: 1795320000000,
  client: "order-service",
  environment: "dev",
  action: "token:read",
  app: "wx0000000000000001",
  count: 57,
};

/** For the documentation. */
export const DENIAL_EXAMPLE = {
  minute: 1795320000000,
  address: "203.0.113.7",
  route: "/v1/apps/:app/credentials/:kind",
  code: 401,
  count: 12,
};

/** For the documentation. */
export const VERDICT_EXAMPLE = {
  intact: true,
  entries: 1041,
  last: { id: 1041, hash: HASH_EXAMPLE },
};
