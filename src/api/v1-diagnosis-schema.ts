import { type Static, Type } from "@sinclair/typebox";
import { CAUSES } from "../signing/causes.ts";
import { CREDENTIAL_KINDS } from "../credentials/kinds.ts";

const text = (maxLength: number, description: string, example: string) =>
  Type.Optional(Type.String({ maxLength, description, examples: [example] }));
const call = Type.Union([Type.Literal("config"), Type.Literal("agentConfig")], {
  description: "wx.config or wx.agentConfig. 哪一个调用。",
  examples: ["config"],
});
const platform = Type.Union([Type.Literal("ios"), Type.Literal("android")], {
  description: "Of the device. 设备。",
  examples: ["ios"],
});

/** What a developer knows of a page that is refused: fields, or anything pasted as `text`; fields go before the text. */
export const diagnosisBody = Type.Object({
  text: text(
    32_768,
    "Anything at hand, of which the fields below are read: a call of wx.config, a back end's JSON, the string that was hashed, addresses, the error message, a user agent. 手头的任何内容，从中读取下列各项：wx.config代码、后端应答、参与签名的字符串、地址、报错、User-Agent。",
    "wx.config({ appId: 'wx0000000000000001', timestamp: 1414587457, nonceStr: 'Wm3WZYTPz0wzccnW', signature: '0f9de62fce790f9a083d5c99e95740ceb90c27ed' })",
  ),
  url: text(8192, "The address that was signed. 参与签名的地址。", "https://example.com/page?a=1&amp;b=2"),
  href: text(
    8192,
    "location.href on the device. 设备上的location.href。",
    "https://example.com/page?a=1&b=2",
  ),
  landing_url: text(
    8192,
    "The address by which the user entered a single-page app. 用户进入单页应用时的地址。",
    "https://example.com/page?a=1&b=2",
  ),
  app_id: text(64, "appId or corpid of the page. 页面上的appId或corpid。", "wx0000000000000001"),
  agent_id: text(64, "agentid of wx.agentConfig. wx.agentConfig的agentid。", "1000002"),
  timestamp: Type.Optional(
    Type.Union([Type.Integer({ minimum: 0 }), Type.String({ maxLength: 32 })], {
      description: "As the page passed it. 页面传入的值。",
      examples: [1414587457],
    }),
  ),
  nonce_str: text(128, "nonceStr of the page. 页面上的nonceStr。", "Wm3WZYTPz0wzccnW"),
  signature: text(
    128,
    "signature of the page. 页面上的signature。",
    "0f9de62fce790f9a083d5c99e95740ceb90c27ed",
  ),
  error: text(512, "What WeChat said. 微信的报错。", "config:fail, invalid signature"),
  platform: Type.Optional(platform),
  call: Type.Optional(call),
});

const optional = (description: string) => Type.Optional(Type.String({ description }));

/** What `diagnosisBody` was understood as. */
const readData = Type.Object(
  {
    url: Type.Optional(Type.String()),
    href: Type.Optional(Type.String()),
    landing_url: Type.Optional(Type.String()),
    app_id: Type.Optional(Type.String()),
    agent_id: Type.Optional(Type.String()),
    timestamp: Type.Optional(Type.String()),
    nonce_str: Type.Optional(Type.String()),
    signature: Type.Optional(Type.String()),
    error: Type.Optional(Type.String()),
    platform: Type.Optional(platform),
  },
  { description: "What was read of it. 读取到的内容。" },
);

const causeData = Type.Object({
  cause: Type.Union(
    (Object.keys(CAUSES) as (keyof typeof CAUSES)[]).map((cause) => Type.Literal(cause)),
    { description: "Its id. 原因的标识。" },
  ),
  certainty: Type.Union([Type.Literal("found"), Type.Literal("possible")], {
    description:
      "found: proved by what was sent; possible: to be looked at. found为已确认，possible为有待核对。",
  }),
  message: Type.String({ description: "What is the matter. 问题。" }),
  fix: Type.String({ description: "What to do. 处理办法。" }),
  found: optional("What shows it. 实际的值。"),
  expected: optional("What it should be. 应有的值。"),
});

/** The answer: what is right for the page, what it signed, and why it is refused. */
export const diagnosisData = Type.Object({
  app: Type.String(),
  call,
  url: optional("The address to sign; absent where none was sent. 应签名的地址；未提供地址时不返回。"),
  string: optional(
    "The string to hash; of the ticket six characters. 应参与签名的字符串；ticket只显示6个字符。",
  ),
  timestamp: Type.Optional(Type.Integer({ description: "Seconds. 秒。" })),
  nonce_str: Type.Optional(Type.String()),
  signature: optional("The right signature. 正确的签名。"),
  config: optional("A call to copy. 可以直接复制的调用。"),
  read: readData,
  match: Type.Optional(
    Type.Object(
      {
        app: Type.String(),
        url: Type.String(),
        ticket: Type.Union(CREDENTIAL_KINDS.map((kind) => Type.Literal(kind))),
        previous: Type.Boolean({
          description: "Whether that ticket was replaced since. 该ticket是否已被替换。",
        }),
        string: Type.String(),
      },
      {
        description:
          "What the page signed: the one of all that were tried that gives its signature. 页面实际签名的内容：所有尝试中能得出该signature的一组。",
      },
    ),
  ),
  tried: Type.Object(
    {
      urls: Type.Integer(),
      tickets: Type.Integer(),
      signatures: Type.Integer(),
      other_apps: Type.Integer(),
    },
    { description: "How much was tried. 尝试的数量。" },
  ),
  causes: Type.Array(causeData, { description: "What is proved comes first. 已确认的在前。" }),
});

/** As the console has it. */
export type DiagnosisData = Static<typeof diagnosisData>;

const EXAMPLE_URL = "https://example.com/page?a=1&b=2";
const SIGNED_URL = "https://example.com/page?a=1&amp;b=2";
const EXAMPLE_STRING = "jsapi_ticket=HKWgmo…&noncestr=Wm3WZYTPz0wzccnW&timestamp=1796032372&url=";

/** A diagnosis for the documentation. */
export const DIAGNOSIS_EXAMPLE: DiagnosisData = {
  app: "wx0000000000000001",
  call: "config",
  url: EXAMPLE_URL,
  string: EXAMPLE_STRING + EXAMPLE_URL,
  timestamp: 1796032372,
  nonce_str: "Wm3WZYTPz0wzccnW",
  signature: "4a420f6c3b6ff1c595f492efab1875716b2a2c80",
  config: 'wx.config({\n  debug: true,\n  appId: "wx0000000000000001",\n  …\n});',
  read: { url: EXAMPLE_URL, timestamp: "1796032372", nonce_str: "Wm3WZYTPz0wzccnW" },
  match: {
    app: "wx0000000000000001",
    url: SIGNED_URL,
    ticket: "jsapi_ticket",
    previous: false,
    string: EXAMPLE_STRING + SIGNED_URL,
  },
  tried: { urls: 137, tickets: 2, signatures: 9, other_apps: 0 },
  causes: [
    {
      cause: "html_escaped",
      certainty: "found",
      ...CAUSES.html_escaped,
      found: SIGNED_URL,
      expected: EXAMPLE_URL,
    },
  ],
};
