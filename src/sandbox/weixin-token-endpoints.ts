import {
  type Answer,
  JSON_TYPE,
  jsonAnswer,
  jsonBody,
  Refusal,
  requirePost,
  type SandboxRequest,
  text,
} from "./sandbox-request.ts";
import { type IssuedToken, secondsLeft } from "./issued-tokens.ts";
import type { WeixinApp } from "./weixin-app.ts";
import type { WeixinPlatform } from "./weixin-platform.ts";

/**
 * `GET /cgi-bin/token`: each call makes a new token and leaves the last one five minutes.
 *
 * POST with the same query is accepted as well; whether WeChat does so is not known.
 *
 * @see https://developers.weixin.qq.com/doc/subscription/api/base/api_getaccesstoken.html
 */
export function classicToken(platform: WeixinPlatform, request: SandboxRequest): Answer {
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
export function stableToken(platform: WeixinPlatform, request: SandboxRequest): Answer {
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
  return jsonAnswer(JSON_TYPE.cgiBin, {
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
export function clearQuota(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const { owner } = platform.requireToken(request.query.get("access_token") ?? "");
  requirePost(request);
  if (jsonBody(request)["appid"] !== owner.settings.appId) throw new Refusal(40013, "invalid appid");
  owner.clearQuota();
  return jsonAnswer(JSON_TYPE.cgiBin, { errcode: 0, errmsg: "ok" });
}

/**
 * `POST /cgi-bin/clear_quota/v2`: the same with the secret instead of a token, so that it works when the quota of
 * the token endpoint itself is used up.
 *
 * `appid` and `appsecret` may be in the query or in a JSON body, because the page says both.
 *
 * @see https://developers.weixin.qq.com/doc/subscription/api/apimanage/api_clearquotabyappsecret.html
 */
export function clearQuotaBySecret(platform: WeixinPlatform, request: SandboxRequest): Answer {
  requirePost(request);
  const body = request.body.length > 0 && !request.query.has("appid") ? jsonBody(request) : {};
  const app = platform.authenticate({
    appId: request.query.get("appid") ?? text(body["appid"]),
    secret: request.query.get("appsecret") ?? text(body["appsecret"]),
    grantTypeOk: true,
    peerIp: request.peerIp,
  });
  app.clearQuota();
  return jsonAnswer(JSON_TYPE.cgiBin, { errcode: 0, errmsg: "ok" });
}

/**
 * `POST /cgi-bin/openapi/quota/get`: what today's calls of one endpoint cost.
 *
 * `cgi_path` has a leading slash and no host; `/sns` has no quota and is answered with 76021.
 *
 * @see https://developers.weixin.qq.com/doc/subscription/api/apimanage/api_getapiquota.html
 */
export function getQuota(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const { owner } = platform.requireToken(request.query.get("access_token") ?? "");
  requirePost(request);
  const cgiPath = text(jsonBody(request)["cgi_path"]);
  if (!/^\/cgi-bin\/[\w/]+$/.test(cgiPath)) throw new Refusal(76021, "cgi_path not found");
  const perMinute = { call_count: 10_000, refresh_second: 60 };
  return jsonAnswer(JSON_TYPE.cgiBin, {
    errcode: 0,
    errmsg: "ok",
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
export function getRid(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const { owner } = platform.requireToken(request.query.get("access_token") ?? "");
  requirePost(request);
  const logged = platform.requests.find(text(jsonBody(request)["rid"]));
  if (logged === undefined) throw new Refusal(76001, "rid not found");
  if (logged.owner !== owner) throw new Refusal(76003, "could not query this rid for no permission");
  const { path, query, body, peerIp } = logged.request;
  return jsonAnswer(JSON_TYPE.cgiBin, {
    errcode: 0,
    errmsg: "ok",
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
