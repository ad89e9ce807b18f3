import { type IssuedToken, secondsLeft } from "./issued-tokens.ts";
import {
  type Answer,
  cgiAnswer,
  JSON_TYPE,
  jsonAnswer,
  jsonBody,
  newRid,
  NO_SUCH_PATH,
  ok,
  Refusal,
  requirePost,
  type SandboxRequest,
  text,
  weixinErrmsg,
} from "./sandbox-request.ts";
import * as api from "./weixin-api-endpoints.ts";
import type { WeixinApp, WeixinPlatform } from "./weixin-platform.ts";
import * as login from "./weixin-login-endpoints.ts";

type Endpoint = (platform: WeixinPlatform, request: SandboxRequest) => Answer | Promise<Answer>;

const ENDPOINTS = new Map<string, Endpoint>([
  ["/cgi-bin/token", classicToken],
  ["/cgi-bin/stable_token", stableToken],
  ["/cgi-bin/ticket/getticket", api.getTicket],
  ["/cgi-bin/getcallbackip", api.getCallbackIp],
  ["/cgi-bin/get_api_domain_ip", api.getApiDomainIp],
  ["/cgi-bin/message/custom/send", api.sendCustomMessage],
  ["/cgi-bin/media/upload", api.uploadMedia],
  ["/cgi-bin/media/get", api.getMedia],
  ["/cgi-bin/media/uploadimg", api.uploadArticleImage],
  ["/cgi-bin/material/add_material", api.addMaterial],
  ["/cgi-bin/material/get_material", api.getMaterial],
  ["/cgi-bin/message/template/send", api.sendTemplate],
  ["/cgi-bin/message/subscribe/send", api.sendSubscribeMessage],
  ["/cgi-bin/menu/create", api.createMenu],
  ["/cgi-bin/menu/get", api.getMenu],
  ["/cgi-bin/user/info", api.getFollower],
  ["/cgi-bin/user/get", api.listFollowers],
  ["/wxa/business/getuserphonenumber", api.getPhoneNumber],
  ["/cgi-bin/qrcode/create", api.createQrCode],
  ["/cgi-bin/callback/check", api.checkCallback],
  ["/cgi-bin/wxaapp/createwxaqrcode", api.getCode],
  ["/wxa/getwxacode", api.getCode],
  ["/wxa/getwxacodeunlimit", api.getUnlimitedCode],
  ["/wxa/msg_sec_check", api.checkText],
  ["/cgi-bin/openapi/rid/get", getRid],
  ["/cgi-bin/clear_quota", clearQuota],
  ["/cgi-bin/clear_quota/v2", clearQuotaBySecret],
  ["/cgi-bin/openapi/quota/get", getQuota],
  ["/sns/oauth2/access_token", login.webLogin],
  ["/sns/oauth2/refresh_token", login.refreshWebLogin],
  ["/sns/userinfo", login.userInfo],
  ["/sns/auth", login.checkUserToken],
  ["/sns/jscode2session", login.miniProgramLogin],
]);

/**
 * What api.weixin.qq.com answers: errors are HTTP 200 with an errcode, also for a path that does not exist
 * (40066), and a chunked request is HTTP 412. What `before` answers is asked no further.
 */
export async function answerAsWeixin(
  platform: WeixinPlatform,
  request: SandboxRequest,
  before: (request: SandboxRequest) => Answer | undefined,
): Promise<Answer> {
  if (request.headers["transfer-encoding"] !== undefined) return { status: 412, headers: {}, body: "" };
  try {
    const answer = before(request);
    if (answer) return answer;
    const isStatistics = /^\/datacube\/\w+$/.test(request.path);
    const endpoint = ENDPOINTS.get(request.path) ?? (isStatistics ? api.getStatistics : undefined);
    if (endpoint === undefined) throw new Refusal(40066, `invalid url, ${NO_SUCH_PATH}`);
    return await endpoint(platform, request);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return weixinError(platform, request, error.errcode, error.message);
  }
}

/**
 * An error as api.weixin.qq.com words it: with a request id, by which the request can be looked up from then on, and
 * for `/sns` as plain text.
 */
export function weixinError(
  platform: WeixinPlatform,
  request: SandboxRequest,
  errcode: number | string,
  stem: string,
): Answer {
  const sns = request.path.startsWith("/sns/");
  const rid = newRid(platform.time.seconds());
  const errmsg = weixinErrmsg(stem, rid, sns);
  const answer = jsonAnswer(sns ? JSON_TYPE.sns : JSON_TYPE.cgiBin, { errcode, errmsg });
  const { query } = request;
  const token = query.get("component_access_token") ?? query.get("access_token") ?? "";
  const owner = platform.tokens.find(token)?.owner;
  platform.requests.add(rid, { request, answer, owner, at: platform.time.seconds() });
  return answer;
}

/**
 * `GET /cgi-bin/token`: each call makes a new token and leaves the last one five minutes.
 *
 * POST with the same query is accepted as well; whether WeChat does so is not known.
 *
 * @see https://developers.weixin.qq.com/doc/subscription/api/base/api_getaccesstoken.html
 */
function classicToken(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const { query, peerIp } = request;
  const app = platform.authenticate({
    appId: query.get("appid") ?? "",
    secret: query.get("secret") ?? "",
    grantTypeOk: query.get("grant_type") === "client_credential",
    peerIp,
  });
  platform.requireTokenPermission(app);
  return tokenAnswer(platform, () => app.fetchClassic());
}

/**
 * `POST /cgi-bin/stable_token`: the same token until its last five minutes; `expires_in` is what it has left.
 *
 * @see https://developers.weixin.qq.com/doc/subscription/api/base/api_getstableaccesstoken.html
 */
function stableToken(platform: WeixinPlatform, request: SandboxRequest): Answer {
  requirePost(request);
  const body = jsonBody(request);
  const app = platform.authenticate({
    appId: text(body["appid"]),
    secret: text(body["secret"]),
    grantTypeOk: body["grant_type"] === "client_credential",
    peerIp: request.peerIp,
  });
  platform.requireTokenPermission(app);
  return tokenAnswer(platform, () => app.fetchStable(body["force_refresh"] === true));
}

/** A success has no errcode here, unlike everywhere else. */
function tokenAnswer(platform: WeixinPlatform, issue: () => IssuedToken<WeixinApp>): Answer {
  // Before the fetch, so that a new token has its whole life left.
  const now = platform.time.now();
  const token = issue();
  return cgiAnswer({
    access_token: token.value,
    expires_in: secondsLeft(token, now),
  });
}

/**
 * `POST /cgi-bin/clear_quota`: gives the day's quotas back, ten times a month.
 *
 * The `appid` of the body must be the one of the token.
 *
 * @see https://developers.weixin.qq.com/doc/subscription/api/apimanage/api_clearquota.html
 */
function clearQuota(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const { owner } = platform.requireToken(request.query.get("access_token") ?? "");
  requirePost(request);
  if (jsonBody(request)["appid"] !== owner.settings.appId) throw new Refusal(40013, "invalid appid");
  owner.clearQuota();
  return ok();
}

/**
 * `POST /cgi-bin/clear_quota/v2`: the same with the secret instead of a token, so that it works when the quota of
 * the token endpoint itself is used up.
 *
 * `appid` and `appsecret` may be in the query or in a JSON body, because the page says both.
 *
 * @see https://developers.weixin.qq.com/doc/subscription/api/apimanage/api_clearquotabyappsecret.html
 */
function clearQuotaBySecret(platform: WeixinPlatform, request: SandboxRequest): Answer {
  requirePost(request);
  const body = request.body.length > 0 && !request.query.has("appid") ? jsonBody(request) : {};
  const app = platform.authenticate({
    appId: request.query.get("appid") ?? text(body["appid"]),
    secret: request.query.get("appsecret") ?? text(body["appsecret"]),
    grantTypeOk: true,
    peerIp: request.peerIp,
  });
  app.clearQuota();
  return ok();
}

/**
 * `POST /cgi-bin/openapi/quota/get`: what today's calls of one endpoint cost.
 *
 * `cgi_path` has a leading slash and no host; `/sns` has no quota and is answered with 76021.
 *
 * @see https://developers.weixin.qq.com/doc/subscription/api/apimanage/api_getapiquota.html
 */
function getQuota(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const { owner } = platform.requireToken(request.query.get("access_token") ?? "");
  requirePost(request);
  const cgiPath = text(jsonBody(request)["cgi_path"]);
  if (!/^\/cgi-bin\/[\w/]+$/.test(cgiPath)) throw new Refusal(76021, "cgi_path not found");
  const perMinute = { call_count: 10_000, refresh_second: 60 };
  return ok({
    quota: owner.quota(cgiPath),
    rate_limit: perMinute,
    component_rate_limit: perMinute,
  });
}

/**
 * `POST /cgi-bin/openapi/rid/get`: what was asked by the request with that id, its URL with the access token included.
 *
 * The sandbox keeps the request ids of refusals: only those are shown.
 *
 * @see https://developers.weixin.qq.com/doc/subscription/api/apimanage/api_getridinfo.html
 */
function getRid(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const { owner } = platform.requireToken(request.query.get("access_token") ?? "");
  requirePost(request);
  const logged = platform.requests.find(text(jsonBody(request)["rid"]));
  if (logged === undefined) throw new Refusal(76001, "rid not found");
  if (logged.owner !== owner) throw new Refusal(76003, "could not query this rid for no permission");
  const { path, query, body, peerIp } = logged.request;
  return ok({
    request: {
      invoke_time: logged.at,
      cost_in_ms: 1,
      request_url: `${path.slice(1)}?${query.toString()}`,
      request_body: Buffer.from(body).toString(),
      response_body: logged.answer.body,
      client_ip: peerIp,
    },
  });
}
