import { type Static, Type } from "@sinclair/typebox";
import { role } from "./v1-apps-schema.ts";
import { ROUTE_ROLES, TARGET_CONTENTS } from "../callbacks/callback-settings.ts";
import { ROTATED } from "../callbacks/callback-administration.ts";
import { instant, version } from "./schema.ts";

const oneOf = <const T extends string>(values: readonly T[], description: string, example: T) =>
  Type.Unsafe<T>(
    Type.Union(
      values.map((value) => Type.Literal(value)),
      { description, examples: [example] },
    ),
  );

/** The target of a path: its name. */
export const target = Type.String({
  minLength: 1,
  maxLength: 64,
  pattern: "^[A-Za-z0-9][A-Za-z0-9._-]*$",
  description: "The target's name, unique in the app. 目标名称，在应用内唯一。",
  examples: ["dev"],
});

const environment = Type.String({
  minLength: 1,
  maxLength: 32,
  pattern: "^[A-Za-z0-9._-]+$",
  description: "Whose it is: prod, pre, st, dev, or any other name. 所属环境：prod、pre、st、dev或其他名称。",
  examples: ["dev"],
});

const mode = oneOf(
  ["secure", "compat", "plain"],
  "As WeChat's console is set; default secure, and on WeCom always. 与微信后台的消息加解密方式一致，默认secure（安全模式）；compat为兼容模式，plain为明文模式；企业微信只能是secure。",
  "secure",
);
const format = oneOf(
  ["xml", "json"],
  "The data format of WeChat's console; default xml. 与微信后台的数据格式一致，默认xml。",
  "xml",
);
const receiveIds = Type.Array(Type.String({ maxLength: 64, pattern: "^[A-Za-z0-9_-]*$" }), {
  minItems: 1,
  maxItems: 20,
  description:
    "Whom an encrypted push may be meant for; default the AppID, on WeCom the CorpID. An empty text is one too. 加密推送中允许的接收方，默认为appid，企业微信为corpid；可含空文本。",
  examples: [["wx0000000000000001"]],
});
const content = oneOf(
  TARGET_CONTENTS,
  "What it is sent: the original bytes; the message re-encrypted under its own Token and key (default); or decrypted, with an HMAC header. 发送内容：original为原始报文；reencrypted（默认）为用该目标自己的Token和密钥重新加密；decrypted为明文并附HMAC头。",
  "reencrypted",
);
const timeout = Type.Number({
  minimum: 0.1,
  maximum: 20,
  description:
    "How long it may take, in seconds; where its answer counts, WeChat's deadline is nearer. 超时秒数；需要其应答时以微信的时限为准。",
  examples: [4],
});
const url = Type.String({
  minLength: 1,
  maxLength: 2048,
  description:
    "Where pushes are sent: https, with `$APPID$` or `$CORPID$` for the app's id. Without it they are pulled. 推送地址，https，可用 `$APPID$`、`$CORPID$`；不填则由程序拉取。",
  examples: ["https://dev.example.com/wx/$APPID$"],
});

const secretText = (description: string, example: string, pattern: string) =>
  Type.String({ minLength: 1, maxLength: 256, pattern, description, examples: [example] });
const TOKEN = "Token000000000000000000000000000";
const AES_KEY = "0000000000000000000000000000000000000000000";
const token = secretText(
  "Token, 3 to 32 letters and digits. Token，3到32位字母或数字。",
  TOKEN,
  "^[A-Za-z0-9]{3,32}$",
);
const aesKey = secretText(
  "EncodingAESKey, 43 letters and digits. EncodingAESKey，43位字母或数字。",
  AES_KEY,
  "^[A-Za-z0-9]{43}$",
);
const hmacKey = secretText(
  "What a `decrypted` push is signed with, 16 to 256 visible characters. 用于decrypted推送签名的密钥，16到256个可见字符。",
  "hmac-key-0000000000000000",
  "^[\\x21-\\x7e]{16,256}$",
);

/** The body of a change of an app's settings. */
export const callbackBody = Type.Object(
  {
    token: Type.Optional(token),
    aes_key: Type.Optional(aesKey),
    mode: Type.Optional(mode),
    format: Type.Optional(format),
    receive_ids: Type.Optional(receiveIds),
  },
  { additionalProperties: false, examples: [{ mode: "secure", format: "xml" }] },
);

/** The body of a rotation. */
export const rotateBody = Type.Object(
  {
    token: Type.Optional(token),
    aes_key: Type.Optional(aesKey),
    only: Type.Optional(
      oneOf(ROTATED, "Only one of the two; default both. 只更换其中一个，默认两个都换。", "aes_key"),
    ),
  },
  { additionalProperties: false, examples: [{}] },
);

/** The body of a change of a target. */
export const targetBody = Type.Object(
  {
    environment: Type.Optional(environment),
    url: Type.Optional(
      Type.Union([url, Type.Null()], {
        description: `${url.description} null: it is pulled. null为由程序拉取。`,
        examples: ["https://dev.example.com/wx/$APPID$"],
      }),
    ),
    content: Type.Optional(content),
    token: Type.Optional(token),
    aes_key: Type.Optional(aesKey),
    hmac_key: Type.Optional(hmacKey),
    new_keys: Type.Optional(
      Type.Boolean({
        description: "Make new keys in the place of its own. 重新生成该目标的密钥。",
        examples: [false],
      }),
    ),
    timeout: Type.Optional(
      Type.Union([timeout, Type.Null()], { description: timeout.description ?? "", examples: [4] }),
    ),
  },
  {
    additionalProperties: false,
    examples: [{ environment: "dev", url: "https://dev.example.com/wx/$APPID$" }],
  },
);

const listed = (description: string, example: string) =>
  Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 128 }), {
      maxItems: 1000,
      description,
      examples: [[example]],
    }),
  );

const route = Type.Object(
  {
    target,
    role: oneOf(
      ROUTE_ROLES,
      "Whose answer counts, or who is only told. primary的应答返回给微信，copy只收到副本。",
      "primary",
    ),
    types: listed("MsgType, as text or event. 消息类型，如text、event。", "event"),
    events: listed("Event, as subscribe or CLICK. 事件类型，如subscribe、CLICK。", "subscribe"),
    event_keys: listed("EventKey; ending in `*` a prefix. 事件KEY；以 `*` 结尾为前缀匹配。", "qrscene_dev*"),
    openids: listed("Of the users. 用户的openid（企业微信为userid）。", "oAbCdEf0123456789"),
  },
  { additionalProperties: false },
);
export type RouteData = Static<typeof route>;

/** The body of new routes. */
export const routesBody = Type.Object(
  {
    routes: Type.Array(route, {
      maxItems: 200,
      description: "In order: the first matching primary that can be reached answers. 按顺序匹配。",
      examples: [[{ target: "dev", role: "primary" }]],
    }),
  },
  { additionalProperties: false },
);

const made = {
  token: Type.Optional(Type.String({ description: "Only where it was made just now. 仅在刚生成时出现。" })),
  aes_key: Type.Optional(Type.String({ description: "Likewise. 同上。" })),
};

/** A target as it is shown; it has no field for a key. */
export const targetData = Type.Object({
  target: Type.String(),
  environment: Type.String(),
  url: Type.Optional(Type.String({ description: "Absent for one that is pulled. 由程序拉取的没有。" })),
  content,
  timeout: Type.Optional(Type.Number({ description: "Seconds. 秒。" })),
  pulled_at: Type.Optional(instant("When a program asked for its deliveries last. 最近一次拉取的时间")),
  version,
});

/** A target with the keys that were made just now. */
export const savedTargetData = Type.Object({
  ...targetData.properties,
  ...made,
  hmac_key: Type.Optional(Type.String({ description: "Likewise. 同上。" })),
});

/** An app's settings as they are shown; they have no field for a Token or key. */
export const callbackData = Type.Object({
  app: Type.String({ description: "Its name in paths. 用于路径的名称。" }),
  callback_url: Type.Optional(
    Type.String({
      description:
        "What WeChat's console is given; absent without PUBLIC_URL. 填入微信后台的URL；未设置PUBLIC_URL时没有。",
    }),
  ),
  message_url: Type.Optional(
    Type.String({
      description:
        "Of a third-party platform: the message URL, WeCom's data URL; callback_url is the event URL, WeCom's command URL. 第三方平台的消息与事件接收URL（企业微信为数据回调URL）；callback_url为授权事件接收URL（企业微信为指令回调URL）。",
    }),
  ),
  kind: Type.Optional(role),
  platform_app: Type.Optional(
    Type.String({
      description:
        "The third-party platform whose URL its pushes come to, with that platform's Token, key, mode, format and receive_ids: the app has none of its own. 其推送到达该第三方平台的URL，使用平台的Token、密钥、mode、format和receive_ids，应用自己没有。",
    }),
  ),
  damaged: Type.Optional(
    Type.Boolean({ description: "Set the Token and key again. 已损坏，须重新设置Token和密钥。" }),
  ),
  mode: Type.Optional(mode),
  format: Type.Optional(format),
  receive_ids: Type.Optional(receiveIds),
  rotating: Type.Optional(
    Type.Boolean({ description: "A former Token or key is still accepted. 旧的Token或密钥仍被接受。" }),
  ),
  checked_at: Type.Optional(instant("When WeChat checked the URL last. 微信最近一次验证URL的时间")),
  version: Type.Optional(version),
  targets: Type.Array(targetData),
  routes: Type.Array(route),
});

/** Settings with the Token and key that were made just now. */
export const savedCallbackData = Type.Object({ ...callbackData.properties, ...made });

/** The same on the wire. */
export type CallbackData = Static<typeof callbackData>;
export type SavedCallbackData = Static<typeof savedCallbackData>;
export type TargetData = Static<typeof targetData>;
export type SavedTargetData = Static<typeof savedTargetData>;

/** A target for the documentation. */
export const TARGET_EXAMPLE = {
  target: "dev",
  environment: "dev",
  url: "https://dev.example.com/wx/$APPID$",
  content: "reencrypted",
  version: 8,
};

/** An app's settings for the documentation. */
export const CALLBACK_EXAMPLE = {
  app: "wx0000000000000001",
  callback_url: "https://wx.example.com/callback/wx0000000000000001",
  mode: "secure",
  format: "xml",
  receive_ids: ["wx0000000000000001"],
  rotating: false,
  checked_at: 1795320000000,
  version: 9,
  targets: [TARGET_EXAMPLE],
  routes: [{ target: "dev", role: "primary", openids: ["oAbCdEf0123456789"] }],
};

/** The secrets that were made, for the documentation. */
export const MADE_EXAMPLE = { token: TOKEN, aes_key: AES_KEY };
