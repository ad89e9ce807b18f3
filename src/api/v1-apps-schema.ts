import { type Static, Type } from "@sinclair/typebox";
import { PLATFORM_ROLES } from "../apps/app.ts";
import { APP_ORDERS } from "../credentials/app-order.ts";
import { CREDENTIAL_KINDS, type CredentialKind } from "../credentials/kinds.ts";
import { APP_STATES, CREDENTIAL_STATES } from "../credentials/status.ts";
import { envelopeOf, instant } from "./schema.ts";

/** The app of a `/v1` path: its public name. */
export const app = Type.String({
  minLength: 1,
  maxLength: 130,
  pattern: "^[A-Za-z0-9_-]+$",
  description:
    "AppID, or `<corpid>_<agent>` of WeCom; `<appid>_<platform>` of an account that has authorized a third-party platform. 公众号或小程序的appid；企业微信为 `<corpid>_<agent>`；第三方平台的授权账号为 `<appid>_<平台id>`。",
  examples: ["wx0000000000000001"],
});
/** As `app`, for routes that do not take one of the environment's; the example is that of a new app. */
export const managedApp = Type.String({ ...app, examples: ["wx0000000000000002"] });
/** As `app`, of WeCom. */
export const wecomApp = Type.String({ ...app, examples: ["ww0000000000000001_1000002"] });

/** How many apps a page of the list has. */
export const limit = Type.String({
  pattern: "^(?:[1-9]\\d?|1\\d\\d|200)$",
  description: "Apps in one answer, 1 to 200, default 100. 每页数量，1到200，默认100。",
  examples: ["100"],
});

/** Where the next page of the list begins. */
export const after = Type.String({
  maxLength: 130,
  pattern: "^[A-Za-z0-9_-]+$",
  description: "`next` of the previous page. 上一页应答中的 `next`。",
  examples: ["wx0000000000000001"],
});

const state = Type.Union(
  APP_STATES.map((each) => Type.Literal(each)),
  {
    description: "Only apps that are in this state. 只列出处于该状态的应用。",
    examples: ["blocked"],
  },
);
const sorts = APP_ORDERS.flatMap((order) => [order, `-${order}`] as const);

/** What the list of apps may be asked for. */
export const appListQuery = Type.Object({
  limit: Type.Optional(limit),
  after: Type.Optional(
    Type.String({
      ...after,
      maxLength: 160,
      description:
        "`next` of the previous page, with the same `sort`. 上一页应答中的 `next`，`sort` 须相同。",
    }),
  ),
  state: Type.Optional(state),
  q: Type.Optional(
    Type.String({
      maxLength: 130,
      pattern: "^[^\\x00-\\x1f\\x7f]+$",
      description:
        "What the name or the title begins with; upper and lower case are the same. 名称或标题的开头，不区分大小写。",
      examples: ["wx00"],
    }),
  ),
  sort: Type.Optional(
    Type.Union(
      sorts.map((each) => Type.Literal(each)),
      {
        description:
          "By name (default), the worst state, the end of the access token, the last use, or today's calls; with `-` the other way round. Apps without it come last. 排序：名称（默认）、状态由差到好、access_token到期时间、最近使用时间、当日调用量；加 `-` 为倒序；没有该值的排在最后。",
        examples: ["name"],
      },
    ),
  ),
});

const seconds = (description: string) => Type.Integer({ description: `${description}（秒）` });

const quota = Type.Object({
  calls: Type.Integer(),
  limit: Type.Optional(Type.Integer({ description: "Where the platform names one. 平台公布的每日上限。" })),
});

const revokedEarly = Type.Object(
  {
    at: instant("When it was detected. 发现时间"),
    early: seconds("How long before it would have expired. 提前的时间"),
  },
  {
    description:
      "The last value that was revoked before it expired: another program fetches tokens for this app. 有其他程序也在获取该应用的token，导致提前失效。",
  },
);

/** One credential as it is shown; it has no field for a value. */
const credentialStatus = Type.Object({
  state: Type.Union(
    CREDENTIAL_STATES.map((state) => Type.Literal(state)),
    {
      description:
        "blocked: WeChat refused us or a quota is used up, until next_attempt_at or POST unblock; refreshing: being obtained now; failing: the last attempt failed and is retried; expiring: due for renewal; fresh: valid; none: there is none. blocked：被微信拒绝或额度用尽；refreshing：正在获取；failing：上次获取失败，将自动重试；expiring：即将到期；fresh：正常；none：尚未获取。",
    },
  ),
  generation: Type.Integer({
    description: "Grows with every change; 0 for never. 每次变更递增；0表示从未获取。",
  }),
  issued_at: Type.Optional(instant("When it was requested. 获取时间")),
  expires_at: Type.Optional(instant("When it expires. 到期时间")),
  age: Type.Optional(seconds("How long ago it was requested. 已存在的时间")),
  expires_in: Type.Optional(seconds("Remaining life. 剩余有效期")),
  last_used_at: Type.Optional(instant("Last use, to the minute. 最近使用时间，精确到分钟")),
  next_attempt_at: Type.Optional(instant("The earliest next request to the upstream. 最早的下次获取时间")),
  last_failure: Type.Optional(
    Type.Object({
      code: Type.Integer({ description: "As in an envelope. 与应答中的code相同。" }),
      errcode: Type.Optional(Type.Integer({ description: "WeChat's own. 微信的errcode。" })),
      msg: Type.String(),
      hint: Type.Optional(Type.String({ description: "What to do next. 处理建议。" })),
      at: instant("When it failed. 失败时间"),
      count: Type.Integer({ description: "Failures in a row. 连续失败次数。" }),
    }),
  ),
  revoked_early: Type.Optional(revokedEarly),
  died_early: Type.Optional({
    ...revokedEarly,
    deprecated: true,
    description: "As revoked_early. 同revoked_early。",
  }),
});

const credentials = Type.Unsafe<Partial<Record<CredentialKind, Static<typeof credentialStatus>>>>(
  Type.Object(Object.fromEntries(CREDENTIAL_KINDS.map((kind) => [kind, Type.Optional(credentialStatus)]))),
);

const appState = Type.Union(
  APP_STATES.map((state) => Type.Literal(state)),
  {
    description:
      "That of the credential which is worst off, the worst first in this list; none where there are none at all. 最差的凭证的状态，按此顺序由差到好；none：没有任何凭证。",
  },
);

/** What an app is of a third-party platform. */
export const role = Type.Union(
  PLATFORM_ROLES.map((each) => Type.Literal(each)),
  {
    description:
      "component: WeChat's third-party platform; suite: a third-party app of WeCom or a template of agency apps; provider: a WeCom service provider. component：微信第三方平台；suite：企业微信第三方应用或代开发模板；provider：企业微信服务商。",
    examples: ["component"],
  },
);

/** One app as it is shown. */
export const appStatus = Type.Object({
  app: Type.String({ description: "Its name in paths. 用于路径的名称。" }),
  platform: Type.Union([Type.Literal("weixin"), Type.Literal("wecom")]),
  app_id: Type.String({ description: "AppID or CorpID. appid或corpid。" }),
  agent: Type.Optional(Type.String({ description: "WeCom only. 仅企业微信。" })),
  mode: Type.Optional(
    Type.Union([Type.Literal("stable"), Type.Literal("classic")], { description: "WeChat only. 仅微信。" }),
  ),
  role: Type.Optional(role),
  authorized_to: Type.Optional(
    Type.String({
      description:
        "The third-party platform that the account or corp has authorized. 授权给了哪个第三方平台。",
    }),
  ),
  lost_at: Type.Optional(instant("Since when the authorization is lost. 授权失效的时间")),
  title: Type.Optional(Type.String({ description: "Display name. 名称。" })),
  source: Type.Union([Type.Literal("environment"), Type.Literal("managed")], {
    description:
      "Where it comes from; apps from the environment can be changed only there. 来源；环境变量中的应用只能在环境变量中修改。",
  }),
  public_url: Type.Optional(
    Type.String({
      description: "Its own in the place of PUBLIC_URL. 该应用自己的PUBLIC_URL。",
    }),
  ),
  login_only: Type.Optional(
    Type.Boolean({
      description: "A website application: it has no credentials. 网站应用，没有凭证。",
    }),
  ),
  js_domains: Type.Optional(
    Type.Array(Type.String(), {
      description: "Hosts whose pages may use the JS-SDK. JS接口安全域名。",
    }),
  ),
  disabled: Type.Boolean({ description: "No credential is returned for it. 已停用，不发放任何凭证。" }),
  version: Type.Integer({ description: "Also in the ETag. 与ETag相同。" }),
  state: appState,
  reason: Type.Optional(
    Type.String({
      description:
        "Why it is blocked or failing, and what to do: which credential, WeChat's errcode, both languages. 被阻止或失败的原因和处理建议。",
    }),
  ),
  foreign_refresh: Type.Optional({
    ...revokedEarly,
    description:
      "Another program fetches tokens for this app: the last one that was revoked early because of it, in the last 24 hours. 有其他程序也在获取该应用的token：最近24小时内最后一次因此提前失效。",
  }),
  credentials,
  calls_today: Type.Record(Type.String(), quota, {
    description:
      "By endpoint, since midnight in Beijing; on WeCom of the whole corp. 北京时间当日各接口调用次数；企业微信按企业合计。",
  }),
  rejected_tokens: Type.Optional(
    Type.Integer({
      description:
        "Access tokens that WeChat rejected before they expired and whose holders' calls are still healed; absent when there are none. 被微信提前作废、其持有者的调用仍可自动修复的token数；没有时省略。",
    }),
  ),
  forced_refreshes_today: Type.Optional(quota),
});

/** An app for the documentation. */
export const APP_EXAMPLE = {
  app: "wx0000000000000001",
  platform: "weixin",
  app_id: "wx0000000000000001",
  mode: "stable",
  source: "environment",
  disabled: false,
  version: 0,
  state: "fresh",
  credentials: {
    access_token: {
      state: "fresh",
      generation: 1795320000001,
      issued_at: 1795320000000,
      expires_at: 1795327200000,
      age: 60,
      expires_in: 7140,
      last_used_at: 1795320060000,
      next_attempt_at: 1795326915000,
    },
    jsapi_ticket: { state: "none", generation: 0 },
    wx_card_ticket: { state: "none", generation: 0 },
  },
  calls_today: { "/cgi-bin/stable_token": { calls: 3, limit: 500000 } },
  forced_refreshes_today: { calls: 0, limit: 20 },
};

/** A registered app for the documentation. */
export const MANAGED_APP_EXAMPLE = { ...APP_EXAMPLE, title: "Shop", source: "managed", version: 1 };

/** The secret of an app or a platform, as it is entered. */
export const secret = Type.String({
  minLength: 1,
  maxLength: 512,
  pattern: "^[\\x21-\\x7e]+$",
  description:
    "The secret, of an AppID 32 hex digits; never shown again. secret，微信的为32位十六进制字符；不会再次显示。",
  examples: ["00000000000000000000000000000002"],
});
/** What people call an app or a platform. */
export const title = Type.String({
  minLength: 1,
  maxLength: 64,
  pattern: "^[^\\x00-\\x1f\\x7f]+$",
  description: "Display name. 名称。",
  examples: ["Shop"],
});
/** What may be changed of an app and of a platform alike. */
export const commonChange = {
  title: Type.Optional(
    Type.Union([title, Type.Null()], {
      description: "Display name; null to clear it. 名称；null为清空。",
      examples: ["Shop"],
    }),
  ),
  secret: Type.Optional(secret),
  disabled: Type.Optional(
    Type.Boolean({ description: "Whether it is disabled. 是否停用。", examples: [false] }),
  ),
};
const mode = Type.Union([Type.Literal("stable"), Type.Literal("classic")], {
  description: "WeChat only, default stable. 仅微信，默认stable。",
  examples: ["stable"],
});
const verify = Type.Boolean({
  description: "Verify the secret with WeChat first, default false. 先向微信核实secret，默认false。",
  examples: [false],
});

const publicUrl = Type.String({
  maxLength: 300,
  description:
    "Origin in the URLs that WeChat is given for it, in the place of PUBLIC_URL. 交给微信的URL所用的源，取代PUBLIC_URL。",
  examples: ["https://wx.example.com"],
});

/** The body of a new app. */
export const newAppBody = Type.Object(
  {
    platform: Type.Union([Type.Literal("weixin"), Type.Literal("wecom")], {
      description: "weixin: Official Account or Mini Program. weixin：公众号或小程序；wecom：企业微信。",
      examples: ["weixin"],
    }),
    app_id: Type.String({
      minLength: 1,
      maxLength: 64,
      pattern: "^[A-Za-z0-9_-]+$",
      description:
        "AppID (wx and 16 hex digits) or CorpID (as ww and 16 hex digits). appid（wx加16位十六进制字符）或corpid（如ww加16位十六进制字符）。",
      examples: ["wx0000000000000002"],
    }),
    agent: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 64,
        pattern: "^[A-Za-z0-9]+$",
        description:
          "WeCom only: its agentid, or any label of letters and digits. 仅企业微信：agentid，或任意字母数字名称。",
        examples: ["1000002"],
      }),
    ),
    title: Type.Optional(title),
    mode: Type.Optional(mode),
    secret,
    verify: Type.Optional(verify),
    login_only: Type.Optional(
      Type.Boolean({
        description:
          "A website application, which logs users in and has no access token; its secret can't be verified. Default false. 网站应用，只用于登录，没有access_token，无法核实secret。默认false。",
        examples: [false],
      }),
    ),
  },
  {
    additionalProperties: false,
    examples: [
      {
        platform: "weixin",
        app_id: "wx0000000000000002",
        title: "Shop",
        secret: "00000000000000000000000000000002",
      },
    ],
  },
);

/** The body of a change of an app. */
export const appChangeBody = Type.Object(
  {
    ...commonChange,
    mode: Type.Optional(mode),
    verify: Type.Optional(verify),
    public_url: Type.Optional(
      Type.Union([publicUrl, Type.Null()], {
        description:
          "Origin in the URLs that WeChat is given for it; null for PUBLIC_URL. 交给微信的URL所用的源；null为PUBLIC_URL。",
        examples: ["https://wx.example.com"],
      }),
    ),
    js_domains: Type.Optional(
      Type.Array(Type.String({ maxLength: 253, pattern: "^[a-z0-9-]+(\\.[a-z0-9-]+)+$" }), {
        maxItems: 20,
        description:
          "Hosts whose pages may use the JS-SDK, as WeChat's console has them: a signature for another host has a hint. An empty list for none. JS接口安全域名，与微信后台一致；为其他域名签名时应答中有提示；空列表为不检查。",
        examples: [["www.example.com"]],
      }),
    ),
  },
  { additionalProperties: false },
);

const FAILURE_EXAMPLE = {
  code: 40164,
  msg: "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 6aac005a-01bfdbee-79769285",
  data: {},
  trace_id: "6f1c4a3b-e0d9-4f6f-9f8e-9a5d2f5c7b10",
  retry_after: 540,
  hint: "请将 203.0.113.7 加入IP白名单 (add 203.0.113.7 to the IP allow-list)",
};

/** The answers of a `/v1` route as the OpenAPI document shows them: the success, and every failure as one shape. */
export function answersOf(...success: Parameters<typeof envelopeOf>) {
  const schema = Type.Object({
    code: Type.Integer(),
    msg: Type.String(),
    data: Type.Object({}),
    trace_id: Type.String(),
    retry_after: Type.Optional(
      Type.Integer({ description: "Seconds; also in Retry-After. 秒；同Retry-After响应头。" }),
    ),
    hint: Type.Optional(Type.String({ description: "What to do next. 处理建议。" })),
  });
  const description =
    "A failure, with its HTTP status: 400, 401, 403, 404, 405, 409, 412, 413, 415, 429, 500, 502 (WeChat refused; code is its errcode), 503, 504. 失败，HTTP状态码如左；502为微信拒绝，code为其errcode。";
  const failure: unknown = {
    description,
    content: { "application/json": { schema, example: FAILURE_EXAMPLE } },
  };
  return { ...envelopeOf(...success), default: failure } as ReturnType<typeof envelopeOf>;
}
