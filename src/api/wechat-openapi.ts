import { type TObject, type TSchema, Type } from "@sinclair/typebox";
import { EXAMPLE_SECRETS } from "./schema.ts";

/** One endpoint, as the OpenAPI document has it. */
export interface Operation {
  readonly tags: string[];
  readonly summary: string;
  readonly description: string;
  readonly parameters?: object[];
  readonly requestBody?: object;
  readonly responses: Record<string, { readonly description: string; readonly content: object }>;
}

/** What describes an endpoint. */
interface OperationSpec {
  readonly summary: string;
  readonly description: string;
  readonly query?: TObject;
  /** Of a JSON body. */
  readonly body?: TObject;
  readonly answer: Answer;
}

/** What a success looks like. */
interface Answer {
  readonly description: string;
  readonly type?: string;
  readonly schema?: TSchema;
  readonly example: object;
}

/** The tag under which the document lists them. */
const WECHAT_TAG = "WeChat";

/** A text of printable ASCII, or matching `pattern`. */
export const text = (description: string, example: string, pattern = "^[\\x21-\\x7e]+$", maxLength = 512) =>
  Type.String({ minLength: 1, maxLength, pattern, description, examples: [example] });
/** One of these words. */
export const oneOf = (description: string, ...values: [string, ...string[]]) =>
  Type.Union(
    values.map((value) => Type.Literal(value)),
    { type: "string", description, examples: [values[0]] },
  );

/** An endpoint as an OpenAPI operation. */
export function operation({ summary, description, query, body, answer }: OperationSpec): Operation {
  const { type = "application/json", schema = {}, example } = answer;
  return {
    tags: [WECHAT_TAG],
    summary,
    description,
    parameters: query ? parametersOf("query", query) : [],
    ...(body && { requestBody: { required: true, content: { "application/json": { schema: body } } } }),
    responses: { 200: { description: answer.description, content: { [type]: { schema, example } } } },
  };
}

function parametersOf(place: "path" | "query", { properties, required = [] }: TObject): object[] {
  return Object.entries(properties).map(([name, schema]) => ({
    in: place,
    name,
    required: required.includes(name),
    schema,
    description: schema.description,
  }));
}

/** What the document says of all of them together. */
export const DROPIN_TAG = {
  name: WECHAT_TAG,
  description: [
    "WeChat's and WeCom's own endpoints, and every other path of theirs through the gateway: an SDK changes its base URL, and uses an API key in place of the secret.",
    "Every path that carries `?access_token=` with a token that this service issued is forwarded to that app's platform with the current token in its place. Answers are WeChat's own; errors are HTTP 200 `{errcode, errmsg}`.",
    "与微信、企业微信同形的接口，其余路径经网关转发：SDK只需更换域名，并以API密钥代替secret。",
    "凡带有本服务签发的 `?access_token=` 的路径，均换上当前token后转发至该应用所属平台。应答为微信原样；错误为HTTP 200的 `{errcode, errmsg}`。",
  ].join("\n\n"),
};

const NAME = "^[A-Za-z0-9_-]+$";
const appid = text("The app's AppID. 公众号或小程序的AppID。", "wx0000000000000001", NAME, 64);
const corpid = text("The CorpID. 企业ID。", "ww0000000000000001", NAME, 64);
const SECRET_TEXT =
  "The app's secret, or a client's API key; may be left out with a key in a header, or on a trusted network. 应用的secret或API密钥；请求头带有密钥或来自可信网络时可省略。";
const secret = Type.Optional(text(SECRET_TEXT, EXAMPLE_SECRETS.weixin));
const corpsecret = Type.Optional(text(SECRET_TEXT, EXAMPLE_SECRETS.wecom));
const agentid = Type.Optional(
  text(
    "Which application, with an API key for several. API密钥可用于多个应用时指明应用。",
    "1000002",
    NAME,
    64,
  ),
);
/** Tokens that the documentation's page knows, and sends current ones in the place of. */
const tokenOf = (example: string) =>
  text("A token that this service issued; it names the app. 本服务签发的token，由它确定应用。", example);
const token = tokenOf("70_exampleToken");
const corpToken = tokenOf("exampleTokenOfWecom");
const clientCredential = oneOf("Fixed value. 固定值。", "client_credential");
const authorizationCode = oneOf("Fixed value. 固定值。", "authorization_code");
const code = text("The user's one-time code. 用户的一次性code。", "sandbox-code-1");
const forceRefresh = Type.Optional(
  Type.Boolean({
    description:
      "Force a new token: 20 a day, 30 s apart; a client without `token:refresh` gets the current one. 强制刷新：每日20次、间隔30秒；客户端没有 `token:refresh` 权限时返回当前token。",
    examples: [false],
  }),
);
const tokenBody = Type.Object({
  grant_type: clientCredential,
  appid,
  secret,
  force_refresh: forceRefresh,
});

const STRING = Type.String();
const MAYBE = Type.Optional(STRING);
const INTEGER = Type.Integer();
const OK = { errcode: Type.Integer({ const: 0 }), errmsg: STRING };
const OK_EXAMPLE = { errcode: 0, errmsg: "ok" };
const TOKEN = { access_token: STRING, expires_in: INTEGER };
const TOKEN_ANSWER: Answer = {
  description: "The shared token and its remaining seconds. 共享的token及剩余秒数。",
  schema: Type.Object(TOKEN),
  example: { access_token: "70_exampleToken", expires_in: 7200 },
};
const TICKET_ANSWER: Answer = {
  description: "The shared ticket and its remaining seconds. 共享的ticket及剩余秒数。",
  schema: Type.Object({ ...OK, ticket: STRING, expires_in: INTEGER }),
  example: { ...OK_EXAMPLE, ticket: "exampleTicket", expires_in: 7200 },
};
/** What is said of an answer of theirs that is passed on. */
export const FORWARDED = {
  weixin: "WeChat's answer, as it came. 微信的应答原样返回。",
  wecom: "WeCom's answer, as it came. 企业微信的应答原样返回。",
};

const weixinToken = {
  summary: "Token of an Official Account or Mini Program · 公众号/小程序token",
  description:
    "WeChat's classic token endpoint, answered with the shared token, in either token mode. 微信的token接口，返回共享token（与其获取方式无关）。",
  answer: TOKEN_ANSWER,
};
const weixinTicket = operation({
  summary: "JS-SDK or card ticket · JS-SDK或卡券ticket",
  description: "The shared ticket of the token's app. 返回该token所属应用的共享ticket。",
  query: Type.Object({
    access_token: token,
    type: oneOf("Which ticket. ticket类型。", "jsapi", "wx_card"),
  }),
  answer: TICKET_ANSWER,
});
const corpTicket = operation({
  summary: "JS-SDK ticket of a corp · 企业jsapi_ticket",
  description: "The shared ticket for `wx.config`. 用于 `wx.config` 的共享ticket。",
  query: Type.Object({ access_token: corpToken }),
  answer: TICKET_ANSWER,
});
const appTicket = operation({
  summary: "Ticket of a WeCom application · 企业微信应用ticket",
  description: "The shared ticket for `wx.agentConfig`. 用于 `wx.agentConfig` 的共享ticket。",
  query: Type.Object({
    access_token: corpToken,
    type: oneOf("Which ticket. ticket类型。", "agent_config", "wx_card"),
  }),
  answer: TICKET_ANSWER,
});
const gateway: Operation = {
  ...operation({
    summary: "Any API of an app, by API key · 以API密钥调用任意接口",
    description:
      "Sends the call to WeChat or WeCom with the app's current token, within the client's policy. A rejected token is replaced, and the call sent once more. 在客户端策略允许的范围内，带上应用当前token调用微信或企业微信；token失效时自动更换并重发一次。",
    answer: {
      description: "WeChat's or WeCom's answer, as it came. 微信或企业微信的应答原样返回。",
      example: { ip_list: ["101.226.103.0/25"] },
    },
  }),
  parameters: parametersOf(
    "path",
    Type.Object({
      app: text(
        "An AppID, or `<corpid>_<agent>`. AppID或 `<corpid>_<agent>`。",
        "wx0000000000000001",
        NAME,
        130,
      ),
      path: text(
        "WeChat's or WeCom's path, slashes included. 微信或企业微信的接口路径，可含斜杠。",
        "cgi-bin/getcallbackip",
        "^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?$",
      ),
    }),
  ),
};

/** The paths of the OpenAPI document that are WeChat's and WeCom's own. */
export const DROPIN_PATHS: Record<string, Partial<Record<"get" | "post", Operation>>> = {
  "/cgi-bin/token": {
    get: operation({
      ...weixinToken,
      query: Type.Object({ grant_type: clientCredential, appid, secret }),
    }),
    post: operation({ ...weixinToken, body: tokenBody }),
  },
  "/cgi-bin/stable_token": {
    post: operation({
      summary: "Stable token · 稳定版token",
      description:
        "The same shared token; with `force_refresh` a new one. 返回同一个共享token；带 `force_refresh` 时更换。",
      body: tokenBody,
      answer: TOKEN_ANSWER,
    }),
  },
  "/cgi-bin/gettoken": {
    get: operation({
      summary: "Token of a WeCom application · 企业微信应用token",
      description:
        "The secret says which application is meant; with an API key its grants do, or `agentid`. 由secret确定应用；使用API密钥时由其授权或 `agentid` 确定。",
      query: Type.Object({ corpid, corpsecret, agentid }),
      answer: {
        ...TOKEN_ANSWER,
        schema: Type.Object({ ...OK, ...TOKEN }),
        example: { ...OK_EXAMPLE, ...TOKEN_ANSWER.example },
      },
    }),
  },
  "/cgi-bin/ticket/getticket": { get: weixinTicket, post: weixinTicket },
  "/cgi-bin/get_jsapi_ticket": { get: corpTicket, post: corpTicket },
  "/cgi-bin/ticket/get": { get: appTicket, post: appTicket },
  "/sns/jscode2session": {
    get: operation({
      summary: "Mini Program login · 小程序登录",
      description:
        "A login code for openid and session key. The same caller that repeats a code within 10 s gets the same answer. 以登录code换取openid和session_key；同一调用方10秒内重复同一code得到相同结果。",
      query: Type.Object({ appid, secret, js_code: code, grant_type: authorizationCode }),
      answer: {
        description: FORWARDED.weixin,
        type: "text/plain",
        schema: Type.Object({ session_key: STRING, openid: STRING, unionid: MAYBE }),
        example: { session_key: "exampleSessionKey12345==", openid: "oExampleOpenid" },
      },
    }),
  },
  "/sns/oauth2/access_token": {
    get: operation({
      summary: "Web page login · 网页授权登录",
      description:
        "An OAuth code for openid and the user's own token. The same caller that repeats a code within 10 s gets the same answer. 以网页授权code换取openid和用户token；同一调用方10秒内重复同一code得到相同结果。",
      query: Type.Object({ appid, secret, code, grant_type: authorizationCode }),
      answer: {
        description: FORWARDED.weixin,
        type: "text/plain",
        schema: Type.Object({
          ...{ ...TOKEN, refresh_token: STRING, openid: STRING },
          ...{ scope: STRING, is_snapshotuser: Type.Optional(INTEGER), unionid: MAYBE },
        }),
        example: {
          ...{ access_token: "70_userToken", expires_in: 7200, refresh_token: "70_refreshToken" },
          ...{ openid: "oExampleOpenid", scope: "snsapi_base" },
        },
      },
    }),
  },
  "/cgi-bin/auth/getuserinfo": {
    get: operation({
      summary: "WeCom user login · 企业微信用户登录",
      description: "A member's or a visitor's code. 成员或访客的code。",
      query: Type.Object({ access_token: corpToken, code }),
      answer: {
        description: FORWARDED.wecom,
        schema: Type.Object({
          ...OK,
          ...{ userid: MAYBE, user_ticket: MAYBE, openid: MAYBE, external_userid: MAYBE },
        }),
        example: { ...OK_EXAMPLE, userid: "zhangsan" },
      },
    }),
  },
  "/cgi-bin/user/getuserinfo": {
    get: operation({
      summary: "WeCom user login, older form · 企业微信用户登录（旧版）",
      description:
        "The same code; the fields of the answer have other capitals. 同一code；应答字段的大小写不同。",
      query: Type.Object({ access_token: corpToken, code }),
      answer: {
        description: FORWARDED.wecom,
        schema: Type.Object({
          ...OK,
          ...{ UserId: MAYBE, DeviceId: MAYBE, user_ticket: MAYBE, OpenId: MAYBE, external_userid: MAYBE },
        }),
        example: { ...OK_EXAMPLE, UserId: "zhangsan", DeviceId: "exampleDevice" },
      },
    }),
  },
  "/cgi-bin/school/getuserinfo": {
    get: operation({
      summary: "WeCom login of a school's parents · 家校沟通用户登录",
      description:
        "The code of a page's OAuth, for parents, students and members. 网页授权的code，用户为家长、学生或成员。",
      query: Type.Object({ access_token: corpToken, code }),
      answer: {
        description: FORWARDED.wecom,
        schema: Type.Object({ ...OK, UserId: MAYBE, DeviceId: MAYBE, OpenId: MAYBE, external_userid: MAYBE }),
        example: { ...OK_EXAMPLE, UserId: "zhangsan", DeviceId: "exampleDevice" },
      },
    }),
  },
  "/cgi-bin/miniprogram/jscode2session": {
    get: operation({
      summary: "WeCom Mini Program login · 企业微信小程序登录",
      description: "The login code of a Mini Program inside WeCom. 企业微信中小程序的登录code。",
      query: Type.Object({
        access_token: corpToken,
        js_code: code,
        grant_type: Type.Optional(authorizationCode),
      }),
      answer: {
        description: FORWARDED.wecom,
        schema: Type.Object({ corpid: STRING, userid: STRING, session_key: STRING, ...OK }),
        example: {
          ...{ corpid: "ww0000000000000001", userid: "zhangsan", session_key: "exampleSessionKey12345==" },
          ...OK_EXAMPLE,
        },
      },
    }),
  },
  "/gateway/{app}/{path}": {
    get: gateway,
    post: {
      ...gateway,
      requestBody: { required: false, content: { "application/json": { schema: {}, example: {} } } },
    },
  },
};
