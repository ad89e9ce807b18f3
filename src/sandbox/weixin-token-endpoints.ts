import { JSON_TYPE, jsonAnswer, type Answer } from "./answer.ts";
import { secondsLeft, type IssuedToken } from "./issued-tokens.ts";
import { jsonBody, requirePost, text, type SandboxRequest } from "./sandbox-request.ts";
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
 * `POST /cgi-bin/stable_token`: the same token until its last five minutes, `expires_in` is what it has left
 *.
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
