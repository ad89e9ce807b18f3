import { JSON_TYPE, jsonAnswer, type Answer } from "./answer.ts";
import { secondsLeft } from "./issued-tokens.ts";
import { downloadHeaders } from "./media-shelf.ts";
import { Refusal } from "./refusal.ts";
import { jsonBody, type SandboxRequest } from "./sandbox-request.ts";
import type { WecomApp } from "./wecom-app.ts";
import type { WecomPlatform } from "./wecom-platform.ts";

const TICKET_TYPES = new Set(["agent_config", "wx_card"]);

/**
 * `GET /cgi-bin/gettoken?corpid&corpsecret`: one token per corp and secret, the same one while it lasts; nothing
 * forces another. The trusted addresses are not asked here.
 *
 * @see https://developer.work.weixin.qq.com/document/path/91039
 */
export function getToken(platform: WecomPlatform, { query, peerIp }: SandboxRequest): Answer {
  const app = platform.authenticate(query.get("corpid") ?? "", query.get("corpsecret") ?? "", peerIp);
  // Before the fetch, so that a new token has its whole life left.
  const now = platform.time.now();
  const token = app.fetchToken();
  return ok({ access_token: token.value, expires_in: secondsLeft(token, now) });
}

/**
 * `GET /cgi-bin/get_jsapi_ticket`: the ticket that signs `wx.config`.
 *
 * @see https://developer.work.weixin.qq.com/document/path/90506
 */
export function getCorpTicket(platform: WecomPlatform, request: SandboxRequest): Answer {
  const app = callingApp(platform, request);
  platform.spendTicketCall(app, request.path, true);
  return jsonAnswer(JSON_TYPE.wecom, app.tickets.answer("jsapi"));
}

/**
 * `GET /cgi-bin/ticket/get?type=agent_config`: the ticket that signs `wx.agentConfig`, of the very app whose token
 * is sent.
 *
 * @see https://developer.work.weixin.qq.com/document/path/96909
 */
export function getAppTicket(platform: WecomPlatform, request: SandboxRequest): Answer {
  const app = callingApp(platform, request);
  const type = request.query.get("type") ?? "";
  if (!TICKET_TYPES.has(type)) throw new Refusal(40058, "invalid parameter");
  platform.spendTicketCall(app, request.path, false);
  return jsonAnswer(JSON_TYPE.wecom, app.tickets.answer(type));
}

/** `GET /cgi-bin/getcallbackip`: the addresses that pushes come from; the cheap way to try a token. */
export function getCallbackIp(platform: WecomPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  return ok({ ip_list: ["101.226.103.*", "101.226.62.*"] });
}

/** `GET /cgi-bin/get_api_domain_ip`: the addresses of qyapi.weixin.qq.com. */
export function getApiDomainIp(platform: WecomPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  return ok({ ip_list: ["182.254.11.176", "182.254.78.66"] });
}

/** `POST /cgi-bin/message/send`: sends nothing, and answers that it did; the agent must be the token's own (301002). */
export function sendMessage(platform: WecomPlatform, request: SandboxRequest): Answer {
  const app = callingApp(platform, request);
  if (request.method !== "POST") throw new Refusal(40058, "invalid parameter");
  const { agentid } = jsonBody(request);
  const named = typeof agentid === "number" || typeof agentid === "string" ? String(agentid) : "";
  if (named !== app.settings.agent)
    throw new Refusal(301002, "not allow operate another agent with this token");
  return ok({});
}

/** `POST /cgi-bin/media/upload?type=`: like WeChat's, but `created_at` is a string. */
export async function uploadMedia(platform: WecomPlatform, request: SandboxRequest): Promise<Answer> {
  callingApp(platform, request);
  if (request.method !== "POST") throw new Refusal(40058, "invalid parameter");
  const { type, mediaId } = await platform.media.store(request);
  return ok({ type, media_id: mediaId, created_at: String(platform.time.seconds()) });
}

/** `GET /cgi-bin/media/get?media_id=`: the bytes that were uploaded. */
export function getMedia(platform: WecomPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  const medium = platform.media.get(request.query.get("media_id") ?? "");
  return { status: 200, headers: downloadHeaders(medium), body: medium.bytes };
}

/**
 * The app whose token came in the query; a header or a body is not looked at.
 *
 * @throws {Refusal} as `requireToken` says.
 */
export function callingApp(platform: WecomPlatform, request: SandboxRequest): WecomApp {
  return platform.requireToken(request.query.get("access_token") ?? "", request.peerIp);
}

/** A success of qyapi.weixin.qq.com, which says so in the body. */
export function ok(body: object): Answer {
  return jsonAnswer(JSON_TYPE.wecom, { errcode: 0, errmsg: "ok", ...body });
}
