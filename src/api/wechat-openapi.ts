/** JSON Schema, as far as it is used here. */
type Schema = Readonly<Record<string, unknown>>;

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
  /** Of the query. */
  readonly query?: Readonly<Record<string, Field>>;
  /** Of a JSON body. */
  readonly body?: Readonly<Record<string, Field>>;
  readonly answer: Answer;
}

/** A parameter, or a field of a body. */
interface Field {
  readonly schema: Schema;
  readonly isRequired: boolean;
}

/** What a success looks like. */
interface Answer {
  readonly description: string;
  readonly type?: string;
  readonly fields?: Readonly<Record<string, Schema>>;
  readonly optional?: readonly string[];
  readonly example: object;
}

/** The tag under which the document lists them. */
const WECHAT_TAG = "WeChat";

/** A field that must be there. */
const required = (schema: Schema): Field => ({ schema, isRequired: true });
/** A field that may be there. */
const optional = (schema: Schema): Field => ({ schema, isRequired: false });
/** A text of printable ASCII, or matching `pattern`. */
const text = (
  description: string,
  example: string,
  pattern = "^[\\x21-\\x7e]+$",
  maxLength = 512,
): Schema => ({
  type: "string",
  minLength: 1,
  maxLength,
  pattern,
  description,
  examples: [example],
});
/** One of these words. */
const oneOf = (description: string, ...values: [string, ...string[]]): Schema => ({
  type: "string",
  anyOf: values.map((value) => ({ type: "string", const: value })),
  description,
  examples: [values[0]],
});

/** An endpoint as an OpenAPI operation. */
function described({ summary, description, query = {}, body, answer }: OperationSpec): Operation {
  const { type = "application/json", fields, example } = answer;
  const schema = fields ? objectOf(fields, (name) => !answer.optional?.includes(name)) : {};
  return {
    tags: [WECHAT_TAG],
    summary,
    description,
    parameters: Object.entries(query).map(([name, field]) => parameter("query", name, field)),
    ...(body && {
      requestBody: { required: true, content: { "application/json": { schema: bodyOf(body) } } },
    }),
    responses: { 200: { description: answer.description, content: { [type]: { schema, example } } } },
  };
}

/** As `described`, with the app and the path in the URL. */
function withPathParams(spec: OperationSpec): Operation {
  const plain = described(spec);
  const app = required(
    text(
      "An AppID, or `<corpid>_<agent>`. AppID或 `<corpid>_<agent>`。",
      "wx0000000000000001",
      "^[A-Za-z0-9_-]+$",
      130,
    ),
  );
  const path = required(
    text(
      "WeChat's or WeCom's path, slashes included. 微信或企业微信的接口路径，可含斜杠。",
      "cgi-bin/getcallbackip",
      "^[a-z_]+(/[a-z_]+)*$",
    ),
  );
  return { ...plain, parameters: [parameter("path", "app", app), parameter("path", "path", path)] };
}

function parameter(place: "path" | "query", name: string, { schema, isRequired }: Field): object {
  return { in: place, name, required: isRequired, schema, description: schema["description"] };
}

function bodyOf(fields: Readonly<Record<string, Field>>): Schema {
  const schemas = Object.fromEntries(Object.entries(fields).map(([name, { schema }]) => [name, schema]));
  return objectOf(schemas, (name) => fields[name]?.isRequired ?? false);
}

function objectOf(fields: Readonly<Record<string, Schema>>, isRequired: (name: string) => boolean): Schema {
  return { type: "object", properties: fields, required: Object.keys(fields).filter(isRequired) };
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
const appid = required(text("The app's AppID. 公众号或小程序的AppID。", "wx0000000000000001", NAME, 64));
const corpid = required(text("The CorpID. 企业ID。", "ww0000000000000001", NAME, 64));
const SECRET_TEXT =
  "The app's secret, or a client's API key; may be left out with a key in a header, or on a trusted network. 应用的secret或API密钥；请求头带有密钥或来自可信网段时可省略。";
const secret = optional(text(SECRET_TEXT, "00000000000000000000000000000000"));
const agentid = optional(
  text(
    "Which application, with an API key for several. API密钥可用于多个应用时指明应用。",
    "1000002",
    NAME,
    64,
  ),
);
const token = required(
  text(
    "A token that this service issued; it names the app. 本服务签发的token，由它确定应用。",
    "70_exampleToken",
  ),
);
const clientCredential = required(oneOf("Fixed value. 固定值。", "client_credential"));
const authorizationCode = required(oneOf("Fixed value. 固定值。", "authorization_code"));
const code = required(text("The user's one-time code. 用户的一次性code。", "sandbox-code-1"));
const forceRefresh = optional({
  type: "boolean",
  description:
    "Force a new token: 20 a day, 30 s apart; clients need `token:refresh`. 强制刷新：每日20次、间隔30秒，客户端须有 `token:refresh` 权限。",
  examples: [false],
});

const STRING = { type: "string" };
const INTEGER = { type: "integer" };
const OK = { errcode: { type: "integer", const: 0 }, errmsg: STRING };
const OK_EXAMPLE = { errcode: 0, errmsg: "ok" };
const TOKEN_ANSWER: Answer = {
  description: "The shared token and its remaining seconds. 共享的token及剩余秒数。",
  fields: { access_token: STRING, expires_in: INTEGER },
  example: { access_token: "70_exampleToken", expires_in: 7200 },
};
const TICKET_ANSWER: Answer = {
  description: "The shared ticket and its remaining seconds. 共享的ticket及剩余秒数。",
  fields: { ...OK, ticket: STRING, expires_in: INTEGER },
  example: { ...OK_EXAMPLE, ticket: "exampleTicket", expires_in: 7200 },
};
const ANY_ANSWER: Answer = {
  description: "WeChat's or WeCom's answer, as it came. 微信或企业微信的应答原样返回。",
  example: { ip_list: ["101.226.103.0/25"] },
};

const weixinToken = {
  summary: "Token of an Official Account or Mini Program · 公众号/小程序token",
  description:
    "WeChat's classic token endpoint, answered with the shared token, in either token mode. 微信的token接口，返回共享token（与其获取方式无关）。",
  answer: TOKEN_ANSWER,
};
const weixinTicket = {
  summary: "JS-SDK or card ticket · JS-SDK或卡券ticket",
  description: "The shared ticket of the token's app. 返回该token所属应用的共享ticket。",
  query: {
    access_token: token,
    type: required(oneOf("Which ticket. ticket类型。", "jsapi", "wx_card")),
  },
  answer: TICKET_ANSWER,
};
const corpTicket = {
  summary: "JS-SDK ticket of a corp · 企业jsapi_ticket",
  description: "The shared ticket for `wx.config`. 用于 `wx.config` 的共享ticket。",
  query: { access_token: token },
  answer: TICKET_ANSWER,
};
const appTicket = {
  summary: "Ticket of a WeCom application · 企业微信应用ticket",
  description: "The shared ticket for `wx.agentConfig`. 用于 `wx.agentConfig` 的共享ticket。",
  query: {
    access_token: token,
    type: required(oneOf("Which ticket. ticket类型。", "agent_config", "wx_card")),
  },
  answer: TICKET_ANSWER,
};
const gateway = {
  summary: "Any API of an app, by API key · 以API密钥调用任意接口",
  description:
    "Sends the call to WeChat or WeCom with the app's current token, within the client's policy. A rejected token is replaced, and the call sent once more. 在客户端策略允许的范围内，带上应用当前token调用微信或企业微信；token失效时自动更换并重发一次。",
  answer: ANY_ANSWER,
};

/** The paths of the OpenAPI document that are WeChat's and WeCom's own. */
export const DROPIN_PATHS: Record<string, Partial<Record<"get" | "post", Operation>>> = {
  "/cgi-bin/token": {
    get: described({ ...weixinToken, query: { grant_type: clientCredential, appid, secret } }),
    post: described({
      ...weixinToken,
      body: { grant_type: clientCredential, appid, secret, force_refresh: forceRefresh },
    }),
  },
  "/cgi-bin/stable_token": {
    post: described({
      summary: "Stable token · 稳定版token",
      description:
        "The same shared token; with `force_refresh` a new one. 返回同一个共享token；带 `force_refresh` 时更换。",
      body: { grant_type: clientCredential, appid, secret, force_refresh: forceRefresh },
      answer: TOKEN_ANSWER,
    }),
  },
  "/cgi-bin/gettoken": {
    get: described({
      summary: "Token of a WeCom application · 企业微信应用token",
      description:
        "The secret says which application is meant; with an API key its grants do, or `agentid`. 由secret确定应用；使用API密钥时由其授权或 `agentid` 确定。",
      query: { corpid, corpsecret: secret, agentid },
      answer: {
        ...TOKEN_ANSWER,
        fields: { ...OK, ...TOKEN_ANSWER.fields },
        example: { ...OK_EXAMPLE, ...TOKEN_ANSWER.example },
      },
    }),
  },
  "/cgi-bin/ticket/getticket": { get: described(weixinTicket), post: described(weixinTicket) },
  "/cgi-bin/get_jsapi_ticket": { get: described(corpTicket), post: described(corpTicket) },
  "/cgi-bin/ticket/get": { get: described(appTicket), post: described(appTicket) },
  "/sns/jscode2session": {
    get: described({
      summary: "Mini Program login · 小程序登录",
      description:
        "A login code for openid and session key. The same caller that repeats a code within 10 s gets the same answer. 以登录code换取openid和session_key；同一调用方10秒内重复同一code得到相同结果。",
      query: { appid, secret, js_code: code, grant_type: authorizationCode },
      answer: {
        description: "WeChat's answer, as it came. 微信的应答原样返回。",
        type: "text/plain",
        fields: { session_key: STRING, openid: STRING, unionid: STRING },
        optional: ["unionid"],
        example: { session_key: "exampleSessionKey12345==", openid: "oExampleOpenid" },
      },
    }),
  },
  "/sns/oauth2/access_token": {
    get: described({
      summary: "Web page login · 网页授权登录",
      description:
        "An OAuth code for openid and the user's own token. The same caller that repeats a code within 10 s gets the same answer. 以网页授权code换取openid和用户token；同一调用方10秒内重复同一code得到相同结果。",
      query: { appid, secret, code, grant_type: authorizationCode },
      answer: {
        description: "WeChat's answer, as it came. 微信的应答原样返回。",
        type: "text/plain",
        fields: {
          ...{ access_token: STRING, expires_in: INTEGER, refresh_token: STRING, openid: STRING },
          ...{ scope: STRING, is_snapshotuser: INTEGER, unionid: STRING },
        },
        optional: ["is_snapshotuser", "unionid"],
        example: {
          ...{ access_token: "70_userToken", expires_in: 7200, refresh_token: "70_refreshToken" },
          ...{ openid: "oExampleOpenid", scope: "snsapi_base" },
        },
      },
    }),
  },
  "/cgi-bin/auth/getuserinfo": {
    get: described({
      summary: "WeCom user login · 企业微信用户登录",
      description: "A member's or a visitor's code. 成员或访客的code。",
      query: { access_token: token, code },
      answer: {
        description: "WeCom's answer, as it came. 企业微信的应答原样返回。",
        fields: {
          ...OK,
          ...{ userid: STRING, user_ticket: STRING, openid: STRING, external_userid: STRING },
        },
        optional: ["userid", "user_ticket", "openid", "external_userid"],
        example: { ...OK_EXAMPLE, userid: "zhangsan" },
      },
    }),
  },
  "/cgi-bin/miniprogram/jscode2session": {
    get: described({
      summary: "WeCom Mini Program login · 企业微信小程序登录",
      description: "The login code of a Mini Program inside WeCom. 企业微信中小程序的登录code。",
      query: { access_token: token, js_code: code, grant_type: optional(authorizationCode.schema) },
      answer: {
        description: "WeCom's answer, as it came. 企业微信的应答原样返回。",
        fields: { corpid: STRING, userid: STRING, session_key: STRING, ...OK },
        example: {
          ...{ corpid: "ww0000000000000001", userid: "zhangsan", session_key: "exampleSessionKey12345==" },
          ...OK_EXAMPLE,
        },
      },
    }),
  },
  "/gateway/{app}/{path}": { get: withPathParams(gateway), post: withPathParams(gateway) },
};
