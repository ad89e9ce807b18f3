import { JSON_TYPE, jsonAnswer, type Answer } from "./answer.ts";
import { weixinErrmsg } from "./errmsg.ts";
import { Refusal } from "./refusal.ts";
import type { SandboxRequest } from "./sandbox-request.ts";
import * as api from "./weixin-api-endpoints.ts";
import * as login from "./weixin-login-endpoints.ts";
import type { WeixinPlatform } from "./weixin-platform.ts";
import * as quota from "./weixin-quota-endpoints.ts";
import * as token from "./weixin-token-endpoints.ts";

type Endpoint = (platform: WeixinPlatform, request: SandboxRequest) => Answer | Promise<Answer>;

const ENDPOINTS = new Map<string, Endpoint>([
  ["/cgi-bin/token", token.classicToken],
  ["/cgi-bin/stable_token", token.stableToken],
  ["/cgi-bin/ticket/getticket", api.getTicket],
  ["/cgi-bin/getcallbackip", api.getCallbackIp],
  ["/cgi-bin/get_api_domain_ip", api.getApiDomainIp],
  ["/cgi-bin/message/custom/send", api.sendCustomMessage],
  ["/cgi-bin/media/upload", api.uploadMedia],
  ["/cgi-bin/media/get", api.getMedia],
  ["/cgi-bin/clear_quota", quota.clearQuota],
  ["/cgi-bin/clear_quota/v2", quota.clearQuotaBySecret],
  ["/cgi-bin/openapi/quota/get", quota.getQuota],
  ["/sns/oauth2/access_token", login.webLogin],
  ["/sns/oauth2/refresh_token", login.refreshWebLogin],
  ["/sns/userinfo", login.userInfo],
  ["/sns/auth", login.checkUserToken],
  ["/sns/jscode2session", login.miniProgramLogin],
]);

/**
 * What api.weixin.qq.com answers: errors are HTTP 200 with an errcode, also for a path that does not exist
 * (40066), and a chunked request is HTTP 412.
 */
export async function answerAsWeixin(platform: WeixinPlatform, request: SandboxRequest): Promise<Answer> {
  if (request.headers["transfer-encoding"] !== undefined) return { status: 412, headers: {}, body: "" };
  try {
    const endpoint = ENDPOINTS.get(request.path);
    if (endpoint === undefined) throw new Refusal(40066, "invalid url");
    return await endpoint(platform, request);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return weixinError(platform, request.path, error.errcode, error.message);
  }
}

/** An error as api.weixin.qq.com words it below that path: with a request id, and for `/sns` as plain text. */
export function weixinError(
  platform: WeixinPlatform,
  path: string,
  errcode: number | string,
  stem: string,
): Answer {
  const sns = path.startsWith("/sns/");
  const errmsg = weixinErrmsg(stem, platform.time.seconds(), sns);
  return jsonAnswer(sns ? JSON_TYPE.sns : JSON_TYPE.cgiBin, { errcode, errmsg });
}
