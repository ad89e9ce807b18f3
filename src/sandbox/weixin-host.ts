import { JSON_TYPE, jsonAnswer, type Answer } from "./answer.ts";
import { newRid, weixinErrmsg } from "./errmsg.ts";
import { Refusal } from "./refusal.ts";
import type { SandboxRequest } from "./sandbox-request.ts";
import * as api from "./weixin-api-endpoints.ts";
import * as content from "./weixin-content-endpoints.ts";
import * as login from "./weixin-login-endpoints.ts";
import * as material from "./weixin-material-endpoints.ts";
import type { WeixinPlatform } from "./weixin-platform.ts";
import * as quota from "./weixin-quota-endpoints.ts";
import * as sending from "./weixin-sending-endpoints.ts";
import * as token from "./weixin-token-endpoints.ts";
import * as user from "./weixin-user-endpoints.ts";

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
  ["/cgi-bin/media/uploadimg", material.uploadArticleImage],
  ["/cgi-bin/material/add_material", material.addMaterial],
  ["/cgi-bin/material/get_material", material.getMaterial],
  ["/cgi-bin/message/template/send", sending.sendTemplate],
  ["/cgi-bin/message/subscribe/send", sending.sendSubscribeMessage],
  ["/cgi-bin/menu/create", sending.createMenu],
  ["/cgi-bin/menu/get", sending.getMenu],
  ["/cgi-bin/user/info", user.getFollower],
  ["/cgi-bin/user/get", user.listFollowers],
  ["/wxa/business/getuserphonenumber", user.getPhoneNumber],
  ["/wxa/getwxacode", content.getCode],
  ["/wxa/msg_sec_check", content.checkText],
  ["/cgi-bin/openapi/rid/get", quota.getRid],
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
  const owner = platform.tokens.find(request.query.get("access_token") ?? "")?.owner;
  platform.requests.add(rid, { request, answer, owner, at: platform.time.seconds() });
  return answer;
}
