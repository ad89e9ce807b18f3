import { type TObject, Type } from "@sinclair/typebox";
import { FORWARDED, oneOf, type Operation, operation, text } from "./wechat-openapi.ts";

const NAME = "^[A-Za-z0-9_-]+$";
const STRING = Type.String();
const INTEGER = Type.Integer();
const OK = { errcode: Type.Integer({ const: 0 }), errmsg: STRING };
const OK_EXAMPLE = { errcode: 0, errmsg: "ok" };

const componentAppId = text("The component's AppID. 第三方平台的AppID。", "wx000000000000c001", NAME, 64);
const componentToken = text(
  "A component token that this service issued, real or virtual. 本服务签发的component_access_token，真实或虚拟均可。",
  "84_exampleComponentToken",
);
const accountAppId = text("The account's AppID. 授权方的AppID。", "wx0000000000000001", NAME, 64);
const suiteId = text("The suite's id. 第三方应用或代开发模板的suite_id。", "ww00000000000005e1", NAME, 64);
const suiteToken = text(
  "A suite token that this service issued, real or virtual. 本服务签发的suite_access_token，真实或虚拟均可。",
  "exampleSuiteToken",
);
const corpId = text("The CorpID of the corp. 授权企业的企业ID。", "ww0000000000000001", NAME, 64);
const secret = (what: string) =>
  Type.Optional(text(`${what}, or a client's API key. secret，或客户端的API密钥。`, "ats_exampleApiKey"));
const ignored = Type.Optional(
  text("Accepted, and not looked at. 可传，不使用。", "ticket@@@withheld", "^[\\x21-\\x7e]*$"),
);
const REFRESH = "refreshtoken@@@atvg1_example";
const PERMANENT = "atvg1_examplePermanentCode";
const loginCode = text("The user's one-time code. 用户的一次性code。", "sandbox-code-1");
const authorizationCode = oneOf("Fixed value. 固定值。", "authorization_code");

/** The endpoint that gives the token of a platform. */
function tokenOperation(name: string, summary: string, body: TObject, isWecom: boolean): Operation {
  const token = { [name]: STRING, expires_in: INTEGER };
  const example = { [name]: `example_${name}`, expires_in: 7200 };
  return operation({
    summary,
    description:
      "The shared token that stands. The ticket is pushed to this service, so the one that is sent is ignored. 返回现有的共享token；ticket由微信推送至本服务，请求中的ticket不使用。",
    body,
    answer: {
      description: "The token and its remaining seconds. token及剩余秒数。",
      schema: Type.Object({ ...(isWecom ? OK : {}), ...token }),
      example: { ...(isWecom ? OK_EXAMPLE : {}), ...example },
    },
  });
}

/** The endpoint that redeems a corp's code. */
function permanentCode(summary: string, more: object): Operation {
  return operation({
    summary,
    description:
      "WeCom's answer to a code, exchanged once whoever asks and however often, with a virtual permanent code. 授权码只兑换一次，重复请求得到相同结果；permanent_code为虚拟值。",
    query: Type.Object({ suite_access_token: suiteToken }),
    body: Type.Object({ auth_code: text("The code of the corp. 企业的授权码。", "exampleAuthCode") }),
    answer: {
      description: FORWARDED.wecom,
      schema: Type.Object({ permanent_code: STRING, auth_corp_info: Type.Object({ corpid: STRING }) }),
      example: {
        ...more,
        ...{ permanent_code: PERMANENT, auth_corp_info: { corpid: "ww0000000000000001" } },
      },
    },
  });
}

/** The endpoint that logs a user of a suite in. */
function suiteLogin(summary: string, description: string, codeName: string, example: object): Operation {
  return operation({
    summary,
    description,
    query: Type.Object({ suite_access_token: suiteToken, [codeName]: loginCode }),
    answer: { description: FORWARDED.wecom, schema: Type.Object(OK), example: { ...OK_EXAMPLE, ...example } },
  });
}

const componentLogin = {
  component_access_token: componentToken,
  component_appid: componentAppId,
  appid: accountAppId,
  grant_type: authorizationCode,
};
/** What is said of a login code: which one it is, in both languages. */
const repeated = (english: string, chinese: string) =>
  `${english} The same caller that repeats a code within 10 s gets the same answer. ${chinese}同一调用方10秒内重复同一code得到相同结果。`;

/** The paths of the OpenAPI document that are WeChat's and WeCom's own for third-party platforms. */
export const PLATFORM_PATHS: Record<string, Partial<Record<"get" | "post", Operation>>> = {
  "/cgi-bin/component/api_component_token": {
    post: tokenOperation(
      "component_access_token",
      "Token of a component · 第三方平台token",
      Type.Object({
        component_appid: componentAppId,
        component_appsecret: secret("The component's secret"),
        component_verify_ticket: ignored,
      }),
      false,
    ),
  },
  "/cgi-bin/component/api_start_push_ticket": {
    post: operation({
      summary: "Start of ticket pushes · 启动ticket推送服务",
      description:
        "Accepted, and WeChat is not asked: this service has it begin again by itself. 接受请求，但不询问微信：本服务会自行恢复推送。",
      body: Type.Object({
        component_appid: componentAppId,
        component_secret: secret("The component's secret"),
      }),
      answer: {
        description: "That tickets are pushed. 推送正常。",
        schema: Type.Object(OK),
        example: { errcode: 0, errmsg: "in a normal state" },
      },
    }),
  },
  "/cgi-bin/component/api_query_auth": {
    post: operation({
      summary: "Exchange of an authorization code · 以授权码换取授权信息",
      description:
        "WeChat's answer to a code, exchanged once whoever asks and however often. The refresh token in it is a virtual one. 授权码只兑换一次，重复请求得到相同结果；其中的refresh_token为虚拟值。",
      query: Type.Object({ component_access_token: componentToken }),
      body: Type.Object({
        component_appid: componentAppId,
        authorization_code: text("The code. 授权码。", "queryauthcode@@@example"),
      }),
      answer: {
        description: FORWARDED.weixin,
        schema: Type.Object({
          authorization_info: Type.Object({
            ...{ authorizer_appid: STRING, authorizer_access_token: Type.Optional(STRING) },
            ...{ expires_in: Type.Optional(INTEGER), authorizer_refresh_token: Type.Optional(STRING) },
          }),
        }),
        example: {
          authorization_info: {
            ...{ authorizer_appid: "wx0000000000000001", authorizer_access_token: "84_exampleToken" },
            ...{ expires_in: 7200, authorizer_refresh_token: REFRESH },
            func_info: [{ funcscope_category: { id: 1 } }],
          },
        },
      },
    }),
  },
  "/cgi-bin/component/api_authorizer_token": {
    post: operation({
      summary: "Token of an authorized account · 授权方token",
      description:
        "The account's token that stands, for a virtual refresh token. 以虚拟refresh_token取得授权方现有的token。",
      query: Type.Object({ component_access_token: componentToken }),
      body: Type.Object({
        component_appid: componentAppId,
        authorizer_appid: accountAppId,
        authorizer_refresh_token: text("The refresh token. 刷新令牌。", REFRESH),
      }),
      answer: {
        description: "The token and its remaining seconds. token及剩余秒数。",
        schema: Type.Object({
          ...{ authorizer_access_token: STRING, expires_in: INTEGER },
          authorizer_refresh_token: STRING,
        }),
        example: {
          ...{ authorizer_access_token: "84_exampleToken", expires_in: 7200 },
          authorizer_refresh_token: REFRESH,
        },
      },
    }),
  },
  "/sns/component/jscode2session": {
    get: operation({
      summary: "Mini Program login by a component · 第三方平台代小程序登录",
      description: repeated("A login code of an authorized Mini Program.", "已授权小程序的登录code。"),
      query: Type.Object({ ...componentLogin, js_code: loginCode }),
      answer: {
        description: FORWARDED.weixin,
        type: "text/plain",
        schema: Type.Object({ session_key: STRING, openid: STRING }),
        example: { session_key: "exampleSessionKey12345==", openid: "oExampleOpenid" },
      },
    }),
  },
  "/sns/oauth2/component/access_token": {
    get: operation({
      summary: "Web page login by a component · 第三方平台代网页授权登录",
      description: repeated(
        "An OAuth code of an authorized Official Account.",
        "已授权公众号的网页授权code。",
      ),
      query: Type.Object({ ...componentLogin, code: loginCode }),
      answer: {
        description: FORWARDED.weixin,
        type: "text/plain",
        schema: Type.Object({ access_token: STRING, expires_in: INTEGER, openid: STRING, scope: STRING }),
        example: {
          ...{ access_token: "70_userToken", expires_in: 7200, refresh_token: "70_refreshToken" },
          ...{ openid: "oExampleOpenid", scope: "snsapi_base" },
        },
      },
    }),
  },
  "/cgi-bin/service/get_suite_token": {
    post: tokenOperation(
      "suite_access_token",
      "Token of a suite · 第三方应用token",
      Type.Object({ suite_id: suiteId, suite_secret: secret("The suite's secret"), suite_ticket: ignored }),
      true,
    ),
  },
  "/cgi-bin/service/get_provider_token": {
    post: tokenOperation(
      "provider_access_token",
      "Token of a service provider · 服务商token",
      Type.Object({ corpid: corpId, provider_secret: secret("The provider's secret") }),
      true,
    ),
  },
  "/cgi-bin/service/get_permanent_code": {
    post: permanentCode("Exchange of a corp's code · 获取企业永久授权码", {
      access_token: "exampleTokenOfWecom",
      expires_in: 7200,
    }),
  },
  "/cgi-bin/service/v2/get_permanent_code": {
    post: permanentCode("Exchange of a corp's code, without a token · 获取企业永久授权码（v2）", OK_EXAMPLE),
  },
  "/cgi-bin/service/get_corp_token": {
    post: operation({
      summary: "Token of an authorized corp · 授权企业token",
      description:
        "The corp's token that stands, for a virtual permanent code; agency apps use `gettoken`. 以虚拟permanent_code取得企业现有的token；代开发应用使用 `gettoken`。",
      query: Type.Object({ suite_access_token: suiteToken }),
      body: Type.Object({
        auth_corpid: corpId,
        permanent_code: text("The permanent code. 永久授权码。", PERMANENT),
      }),
      answer: {
        description: "The token and its remaining seconds. token及剩余秒数。",
        schema: Type.Object({ ...OK, access_token: STRING, expires_in: INTEGER }),
        example: { ...OK_EXAMPLE, access_token: "exampleTokenOfWecom", expires_in: 7200 },
      },
    }),
  },
  "/cgi-bin/service/auth/getuserinfo3rd": {
    get: suiteLogin(
      "User of a third-party app · 第三方应用用户登录",
      "The code of a page's OAuth; the answer names the corp. 网页授权的code，应答中有企业ID。",
      "code",
      { corpid: "ww0000000000000001", userid: "zhangsan" },
    ),
  },
  "/cgi-bin/service/getuserinfo3rd": {
    get: suiteLogin(
      "User of a third-party app, older form · 第三方应用用户登录（旧版）",
      "The same code; the fields of the answer have other capitals. 同一code；应答字段的大小写不同。",
      "code",
      { CorpId: "ww0000000000000001", UserId: "zhangsan" },
    ),
  },
  "/cgi-bin/service/miniprogram/jscode2session": {
    get: suiteLogin(
      "Mini Program login of a third-party app · 第三方应用小程序登录",
      "The login code of a Mini Program of the suite. 第三方应用小程序的登录code。",
      "js_code",
      { corpid: "ww0000000000000001", userid: "zhangsan", session_key: "exampleSessionKey12345==" },
    ),
  },
};
