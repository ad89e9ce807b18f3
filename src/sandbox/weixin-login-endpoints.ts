import { type Answer, JSON_TYPE, jsonAnswer, Refusal, type SandboxRequest } from "./sandbox-request.ts";
import { derivedId, derivedSessionKey, type WeixinUser } from "./issued-tokens.ts";
import type { WeixinApp, WeixinPlatform } from "./weixin-platform.ts";

/**
 * `GET /sns/oauth2/access_token`: a user's code for who they are and tokens of their own.
 *
 * A code with `union` in it brings a unionid, one with `snapshot` a virtual account, one with `base` the scope
 * `snsapi_base`.
 *
 * @see https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/Wechat_webpage_authorization.html
 */
export function webLogin(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const { app, code } = redeemCode(platform, request, "code");
  return userSession(platform, app, code);
}

/** Who the user of a redeemed code is, with tokens of their own. */
export function userSession(platform: WeixinPlatform, app: WeixinApp, code: string): Answer {
  const user: WeixinUser = {
    appId: app.settings.appId,
    openid: openidOf(app, code),
    unionid: unionidOf(code),
    scope: code.includes("base") ? "snsapi_base" : "snsapi_userinfo",
  };
  return snsAnswer({
    ...platform.userTokens.issue(user),
    ...(code.includes("snapshot") && { is_snapshotuser: 1 }),
    ...(user.unionid && { unionid: user.unionid }),
  });
}

/** `GET /sns/oauth2/refresh_token`: another access token for the same user; needs no secret. */
export function refreshWebLogin(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const { query } = request;
  const app = platform.app(query.get("appid") ?? "");
  if (query.get("grant_type") !== "refresh_token") throw new Refusal(40002, "invalid grant_type");
  return refreshUser(platform, app, request);
}

/** Another access token for the user of `app` whose refresh token came with the request. */
export function refreshUser(platform: WeixinPlatform, app: WeixinApp, { query }: SandboxRequest): Answer {
  const refreshToken = query.get("refresh_token") ?? "";
  const user = platform.userTokens.requireRefresh(app.settings.appId, refreshToken);
  return snsAnswer(platform.userTokens.issue(user, refreshToken));
}

/** `GET /sns/userinfo`: the user's profile, for the scope `snsapi_userinfo`. */
export function userInfo(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const user = tokenUser(platform, request);
  if (user.scope === "snsapi_base") throw new Refusal(48001, "api unauthorized");
  return snsAnswer({
    openid: user.openid,
    nickname: "沙箱用户",
    sex: 0,
    province: "",
    city: "",
    country: "",
    headimgurl: "",
    privilege: [],
    ...(user.unionid && { unionid: user.unionid }),
  });
}

/** `GET /sns/auth`: whether a user's access token is good for that openid. */
export function checkUserToken(platform: WeixinPlatform, request: SandboxRequest): Answer {
  tokenUser(platform, request);
  return snsAnswer({ errcode: 0, errmsg: "ok" });
}

/**
 * `GET /sns/jscode2session`: a mini program's login code for openid and session key. A success has no errcode, and
 * in all that were recorded the session key comes first.
 *
 * @see https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-login/code2Session.html
 */
export function miniProgramLogin(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const { app, code } = redeemCode(platform, request, "js_code");
  return miniProgramSession(app, code);
}

/** Who the user of a redeemed mini program's code is. */
export function miniProgramSession(app: WeixinApp, code: string): Answer {
  const unionid = unionidOf(code);
  return snsAnswer({
    session_key: derivedSessionKey(app.settings.appId, code),
    openid: openidOf(app, code),
    ...(unionid && { unionid }),
  });
}

/** A success below `/sns`, where slashes come escaped: a session key as `O\/YVQ==`, a link as `https:\/\/`. */
function snsAnswer(body: object): Answer {
  const answer = jsonAnswer(JSON_TYPE.sns, body);
  return { ...answer, body: String(answer.body).replaceAll("/", String.raw`\/`) };
}

function redeemCode(
  platform: WeixinPlatform,
  { query, peerIp }: SandboxRequest,
  parameter: string,
): { app: WeixinApp; code: string } {
  const code = query.get(parameter) ?? "";
  const app = platform.authenticate({
    appId: query.get("appid") ?? "",
    secret: query.get("secret") ?? "",
    grantTypeOk: query.get("grant_type") === "authorization_code",
    peerIp,
    missing: code === "" ? missingCode() : undefined,
  });
  return { app, code: redeem(app, code) };
}

/**
 * Redeems a user's code, and returns it.
 *
 * @throws {Refusal} 41008, 40029 or 40163.
 */
export function redeem(app: WeixinApp, code: string): string {
  if (code === "") throw missingCode();
  const outcome = app.codes.redeem(code);
  if (outcome === "invalid") throw new Refusal(40029, "invalid code");
  if (outcome === "used") throw new Refusal(40163, "code been used");
  return code;
}

function missingCode(): Refusal {
  return new Refusal(41008, "missing code");
}

function tokenUser(platform: WeixinPlatform, { query }: SandboxRequest): WeixinUser {
  const user = platform.userTokens.requireAccess(query.get("access_token") ?? "");
  if (query.get("openid") !== user.openid) throw new Refusal(40003, "invalid openid");
  return user;
}

function openidOf(app: WeixinApp, code: string): string {
  return derivedId("o", 28, "openid", app.settings.appId, code);
}

function unionidOf(code: string): string | undefined {
  return code.includes("union") ? derivedId("o", 29, "unionid", code) : undefined;
}
