import { type Static, Type } from "@sinclair/typebox";
import { ROLE_NAMES } from "../apps/app.ts";
import { CREDENTIAL_STATES } from "../credentials/status.ts";
import { instant } from "./schema.ts";
import { after, commonChange, limit, role, secret, title } from "./v1-apps-schema.ts";

/** The platform of a `/v1` path: its id. */
export const platform = Type.String({
  minLength: 1,
  maxLength: 64,
  pattern: "^[A-Za-z0-9]+$",
  description:
    "The component's AppID, the suite's id, or the provider's CorpID. 第三方平台的appid、suite_id或服务商的corpid。",
  examples: ["wxc000000000000001"],
});

const NEW_EXAMPLE = { kind: "component", id: "wxc000000000000001", title: "Shop" };
/** The body of a new platform. */
export const newPlatformBody = Type.Object(
  {
    kind: Type.Union(
      (Object.keys(ROLE_NAMES) as (keyof typeof ROLE_NAMES)[]).map((name) => Type.Literal(name)),
      { ...role, description: `${role.description} weixin, wecom: component, suite.` },
    ),
    id: Type.String({ ...platform, pattern: "^[A-Za-z0-9_-]+$" }),
    secret,
    title: Type.Optional(title),
    provider: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 64,
        pattern: "^[A-Za-z0-9_-]+$",
        description: "Of a suite: the CorpID of its provider. 仅suite：服务商的corpid。",
        examples: ["ww0000000000000009"],
      }),
    ),
  },
  {
    additionalProperties: false,
    examples: [{ ...NEW_EXAMPLE, secret: "00000000000000000000000000000003" }],
  },
);

/** The body of a change of a platform. */
export const platformChangeBody = Type.Object(commonChange, { additionalProperties: false });

/** What the removal of a platform may be asked. */
export const removalQuery = Type.Object({
  with_authorizations: Type.Optional(
    Type.Union([Type.Literal("true"), Type.Literal("false")], {
      description:
        "Whether its accounts are removed with it; without it a platform that has any is kept. 是否一并删除其授权账号；不带此参数时，有授权账号的平台不会被删除。",
      examples: ["true"],
    }),
  ),
});

/** One platform as it is shown. */
export const platformData = Type.Object({
  platform: Type.String({ description: "Its id. 平台的id。" }),
  kind: role,
  title: Type.Optional(Type.String()),
  provider: Type.Optional(Type.String({ description: "Of a suite. 仅suite。" })),
  disabled: Type.Boolean({ description: "Nothing is returned or fetched for it. 已停用。" }),
  version: Type.Integer({ description: "Also in the ETag. 与ETag相同。" }),
  ticket: Type.Object(
    {
      received_at: Type.Optional(instant("When the last valid one was pushed. 最近一次有效推送的时间")),
      expires_at: Type.Optional(instant("When it expires. 到期时间")),
    },
    {
      description:
        "The ticket that WeChat or WeCom pushes; empty where none is valid, and of a provider, which has none. 微信推送的ticket；没有有效的时为空，服务商没有ticket。",
    },
  ),
  token: Type.Object(
    {
      state: Type.Union(
        CREDENTIAL_STATES.map((state) => Type.Literal(state)),
        { description: "As in /v1/apps. 与/v1/apps相同。" },
      ),
      expires_at: Type.Optional(instant("When it expires. 到期时间")),
    },
    { description: "The platform's own token. 平台自身的token。" },
  ),
  callback: Type.Object(
    {
      is_set: Type.Boolean({ description: "Whether Token and EncodingAESKey are set up here. 是否已设置。" }),
      auth_url: Type.Optional(
        Type.String({
          description:
            "The event URL, WeCom's command URL; absent without PUBLIC_URL. 授权事件接收URL（企业微信为指令回调URL）；未设置PUBLIC_URL时省略。",
        }),
      ),
      message_url: Type.Optional(
        Type.String({
          description: "The message URL, WeCom's data URL. 消息与事件接收URL（企业微信为数据回调URL）。",
        }),
      ),
    },
    { description: "Of a provider without URLs. 服务商没有URL。" },
  ),
  authorizations: Type.Object(
    {
      valid: Type.Integer(),
      lost: Type.Integer({ description: "Refused by WeChat for good. 已被微信永久拒绝。" }),
    },
    { description: "How many accounts it has. 授权账号数。" },
  ),
});

/** A page of a platform's accounts. */
export const authorizationsQuery = Type.Object({
  limit: Type.Optional(limit),
  after: Type.Optional(after),
});

const authorizationData = Type.Object({
  app: Type.String({ description: "The account's name here. 该账号在本服务的名称。" }),
  account: Type.String({ description: "AppID or CorpID. appid或corpid。" }),
  title: Type.Optional(Type.String()),
  kind: Type.Union([Type.Literal("official"), Type.Literal("miniprogram"), Type.Literal("corp")], {
    description: "Official Account, Mini Program, or corp. 公众号、小程序或企业。",
  }),
  scopes: Type.Array(Type.Integer(), { description: "Ids of its permission sets. 权限集id。" }),
  user_name: Type.Optional(Type.String({ description: "The original id. 原始ID。" })),
  agent_id: Type.Optional(Type.String({ description: "WeCom's agentid. 企业微信的agentid。" })),
  authorized_at: instant("Since when. 授权时间"),
  lost_at: Type.Optional(instant("Since when WeChat refuses it for good. 失效时间")),
  disabled: Type.Boolean({ description: "By an administrator. 是否已被管理员停用。" }),
});

/** Accounts as they are shown. */
export const authorizationsData = Type.Object({
  authorizations: Type.Array(authorizationData),
  next: Type.Optional(Type.String({ description: "Where there are more: send it as `after`. 还有更多时。" })),
});

/** The body of a new link. */
export const linkBody = Type.Object(
  {
    auth_type: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 8,
        description:
          "WeChat only: 1 Official Accounts, 2 Mini Programs, 3 both (default), 4 promoters, 5 Channels, 6 all, 8 sales assistants. 仅微信：1公众号，2小程序，3两者（默认），4推客，5视频号，6全部，8带货助手。",
        examples: [3],
      }),
    ),
    biz_app_id: Type.Optional(
      Type.String({
        pattern: "^wx[0-9a-f]{16}$",
        description: "WeChat only: the one account that may authorize. 仅微信：只允许该账号授权。",
        examples: ["wxa000000000000001"],
      }),
    ),
    category_ids: Type.Optional(
      Type.Array(Type.Integer({ minimum: 1, maximum: 100_000 }), {
        maxItems: 100,
        description:
          "WeChat only: ids of permission sets; default all of the platform's. 仅微信：权限集id，默认为平台的全部权限集。",
        examples: [[1, 2]],
      }),
    ),
    mobile: Type.Optional(
      Type.Boolean({
        description:
          "WeChat only: whether it is opened inside WeChat; by default on a computer. 仅微信：是否在微信内打开，默认在电脑上打开。",
        examples: [false],
      }),
    ),
    test: Type.Optional(
      Type.Boolean({
        description:
          "Suites only: a test installation, while the suite is not published. 仅suite：应用未发布时的测试安装。",
        examples: [false],
      }),
    ),
    return_url: Type.Optional(
      Type.String({
        maxLength: 2048,
        pattern: "^https?://[\\x21-\\x7e]+$",
        description:
          "Where the person goes afterwards, with `app=` of the account's name; by default a page of this service says how it went. 授权后跳转的地址，附带 `app=账号名称`；默认显示本服务的结果页。",
        examples: ["https://shop.example.com/settings"],
      }),
    ),
    expires_in: Type.Optional(
      Type.Integer({
        minimum: 60,
        maximum: 2_592_000,
        description: "Seconds, default a day. 有效秒数，默认一天。",
        examples: [86_400],
      }),
    ),
  },
  { additionalProperties: false },
);

/** A link as it is shown. */
export const linkData = Type.Object({
  url: Type.String({ description: "A page of this service, to be opened in a browser. 在浏览器中打开。" }),
  state: Type.String({ description: "Names the link. 链接的标识。" }),
  expires_at: instant("Until when it may be opened. 失效时间"),
});

/** What a comparison with WeChat's list has found. */
export const reconciledData = Type.Object({
  added: Type.Integer({ description: "Accounts that were missing here. 补上的账号数。" }),
  lost: Type.Integer({ description: "Accounts that WeChat's list has no more. 微信侧已不存在的账号数。" }),
});

/** A platform on the wire. */
export type PlatformData = Static<typeof platformData>;
/** A link on the wire. */
export type LinkData = Static<typeof linkData>;
/** An account of a platform on the wire. */
export type AuthorizationData = Static<typeof authorizationData>;

/** For the documentation. */
export const PLATFORM_EXAMPLE: PlatformData = {
  platform: "wxc000000000000001",
  kind: "component",
  title: "Shop platform",
  disabled: false,
  version: 1,
  ticket: { received_at: 1795320000000, expires_at: 1795363200000 },
  token: { state: "fresh", expires_at: 1795327200000 },
  callback: {
    is_set: true,
    auth_url: "https://wx.example.com/callback/wxc000000000000001/auth",
    message_url: "https://wx.example.com/callback/wxc000000000000001/$APPID$",
  },
  authorizations: { valid: 12, lost: 0 },
};
/** For the documentation. */
export const AUTHORIZATION_EXAMPLE: AuthorizationData = {
  app: "wxa000000000000001_wxc000000000000001",
  account: "wxa000000000000001",
  title: "Flower shop",
  kind: "official",
  scopes: [1, 2, 7],
  user_name: "gh_000000000001",
  authorized_at: 1795320000000,
  disabled: false,
};
/** For the documentation. */
export const LINK_EXAMPLE = {
  url: "https://wx.example.com/connect/authorize/a1B2c3D4e5F6g7H8a1B2c3D4e5F6g7H8",
  state: "a1B2c3D4e5F6g7H8a1B2c3D4e5F6g7H8",
  expires_at: 1795406400000,
};
