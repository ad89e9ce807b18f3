import { type Static, Type } from "@sinclair/typebox";
import { app } from "./v1-apps-schema.ts";

const effect = Type.Union([Type.Literal("reads"), Type.Literal("writes"), Type.Literal("messages")], {
  description:
    "What a call of the path may do: `reads` is known to change nothing; `messages` reaches users; `writes` is every other. 调用该路径可能产生的影响：`reads` 已知只读；`messages` 会触达用户；其余为 `writes`。",
});
const family = Type.String({ description: "As in metrics and audit. 与监控和审计中相同。" });
const policy = Type.String({ description: "The preset of the client's policy. 客户端策略的预设。" });
const allowed = Type.Boolean({
  description: "Whether the client may call it, as far as the path tells. 仅就路径而言，该客户端能否调用。",
});
const as = Type.Optional(
  Type.String({
    maxLength: 64,
    pattern: "^[a-z0-9][a-z0-9._-]*$",
    description: "For administrators: as this client. 仅限管理员：以该客户端的身份。",
    examples: ["order-service"],
  }),
);

const method = Type.Union([Type.Literal("GET"), Type.Literal("POST")], {
  description: "As WeChat wants it. 以微信的要求为准。",
  examples: ["POST"],
});

/** The path of calls. */
export const callParams = Type.Object({ app });
/** What is asked about. */
export const previewQuery = Type.Object({
  path: Type.String({
    maxLength: 200,
    pattern: "^/[A-Za-z0-9._~/-]*$",
    description: "What was typed of it. 已输入的路径。",
    examples: ["/cgi-bin/user/get"],
  }),
  method: Type.Optional(method),
  as,
});
const pathData = { path: Type.String(), effect, allowed };
/** What a call would do. */
export const previewData = Type.Object({
  ...pathData,
  reason: Type.Optional(Type.String({ description: "Why it is not allowed. 不允许的原因。" })),
  ...{ family, policy },
  known: Type.Array(Type.Object(pathData), {
    description: "Known paths that contain it, at most 50. 包含它的已知路径，最多50个。",
  }),
});
/** What a call would do, on the wire. */
export type CallPreview = Static<typeof previewData>;

/** A call. */
export const callBody = Type.Object(
  {
    method,
    path: Type.String({
      maxLength: 200,
      description: "WeChat's own. 微信接口的路径。",
      // No dot segments: they would be resolved.
      pattern: "^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?$",
      examples: ["/cgi-bin/user/info/batchget"],
    }),
    query: Type.Optional(
      Type.String({
        maxLength: 4096,
        pattern: "^[^#\\s]*$",
        description: "Without a question mark and without a token. 不带问号和token。",
        examples: ["lang=zh_CN"],
      }),
    ),
    body: Type.Optional(
      Type.String({
        maxLength: 128 * 1024,
        description: "JSON as a text, sent as it is; for POST. JSON文本，原样发送；仅用于POST。",
        examples: ['{"user_list":[]}'],
      }),
    ),
    as,
    confirm: Type.Optional(
      Type.String({
        maxLength: 130,
        description:
          "The name of the app, where the path does more than read. 该路径不是只读时，须填写应用的名称。",
        examples: ["wx0000000000000001"],
      }),
    ),
  },
  { additionalProperties: false },
);
/** The answer to a call. */
export const answerData = Type.Object({
  status: Type.Integer(),
  headers: Type.Record(Type.String(), Type.String()),
  body: Type.Union([Type.String(), Type.Null()], { description: "Null for no text. 不是文本时为null。" }),
  bytes: Type.Integer({ description: "How long what was read of it is. 已读取的长度。" }),
  truncated: Type.Boolean({ description: "Whether there is more of it. 是否还有未读取的内容。" }),
  duration_ms: Type.Integer(),
  healing: Type.Union([Type.Literal("none"), Type.Literal("healed"), Type.Literal("failed")], {
    description:
      "Whether WeChat rejected the token, and the call was sent once more with another. 微信是否拒绝了token，以及换用新token后是否已重发。",
  }),
  ...{ family, effect, policy },
});
/** The answer to a call, on the wire. */
export type CallAnswer = Static<typeof answerData>;

/** For the documentation. */
export const PREVIEW_EXAMPLE = {
  path: "/cgi-bin/user/get",
  effect: "reads",
  allowed: true,
  family: "/cgi-bin/user",
  policy: "safe",
  known: [{ path: "/cgi-bin/user/get", effect: "reads", allowed: true }],
} as const;
export const ANSWER_EXAMPLE = {
  status: 200,
  headers: { "content-type": "application/json; encoding=utf-8" },
  body: '{"total":0,"count":0,"next_openid":""}',
  bytes: 38,
  truncated: false,
  duration_ms: 84,
  healing: "none",
  family: "/cgi-bin/user",
  effect: "reads",
  policy: "all",
} as const;
