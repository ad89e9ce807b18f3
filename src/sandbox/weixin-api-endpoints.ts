import {
  type Answer,
  JSON_TYPE,
  jsonAnswer,
  jsonBody,
  Refusal,
  requirePost,
  type SandboxRequest,
} from "./sandbox-request.ts";
import { downloadHeaders } from "./media-store.ts";
import type { WeixinApp } from "./weixin-app.ts";
import type { WeixinPlatform } from "./weixin-platform.ts";

const TICKET_TYPES = new Set(["jsapi", "wx_card"]);

/**
 * `GET /cgi-bin/ticket/getticket?type=jsapi|wx_card`: one ticket per app and type for 7200 s, the same one again
 * while it lasts; a new access token does not end it.
 *
 * @see https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/JS-SDK.html
 */
export function getTicket(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const app = callingApp(platform, request);
  const type = request.query.get("type") ?? "";
  if (!TICKET_TYPES.has(type)) throw new Refusal(40097, "invalid args");
  return jsonAnswer(JSON_TYPE.cgiBin, app.tickets.answer(type));
}

/**
 * `GET /cgi-bin/getcallbackip`: the addresses that pushes come from. The cheap way to try a token.
 *
 * @see https://developers.weixin.qq.com/doc/subscription/api/base/api_getcallbackip.html
 */
export function getCallbackIp(platform: WeixinPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  return jsonAnswer(JSON_TYPE.cgiBin, { ip_list: ["106.55.206.146", "106.55.206.211"] });
}

/**
 * `GET /cgi-bin/get_api_domain_ip`: the addresses of api.weixin.qq.com.
 *
 * @see https://developers.weixin.qq.com/doc/subscription/api/base/api_getapidomainip.html
 */
export function getApiDomainIp(platform: WeixinPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  return jsonAnswer(JSON_TYPE.cgiBin, { ip_list: ["101.89.47.18", "101.91.34.103"] });
}

/** `POST /cgi-bin/message/custom/send`: sends nothing, and answers that it did. */
export function sendCustomMessage(platform: WeixinPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  requirePost(request);
  if (request.body.length === 0) throw new Refusal(44002, "empty post data");
  jsonBody(request);
  return jsonAnswer(JSON_TYPE.cgiBin, { errcode: 0, errmsg: "ok" });
}

/**
 * `POST /cgi-bin/media/upload?type=`: multipart with the file in the part `media`; a thumb gets a
 * `thumb_media_id`.
 */
export async function uploadMedia(platform: WeixinPlatform, request: SandboxRequest): Promise<Answer> {
  callingApp(platform, request);
  requirePost(request);
  const { type, mediaId } = await platform.media.store(request);
  const id = type === "thumb" ? { thumb_media_id: mediaId } : { media_id: mediaId };
  return jsonAnswer(JSON_TYPE.cgiBin, { type, ...id, created_at: platform.time.seconds() });
}

/** `GET /cgi-bin/media/get?media_id=`: the bytes, except that a video is JSON with its URL. */
export function getMedia(platform: WeixinPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  const medium = platform.media.get(request.query.get("media_id") ?? "");
  if (medium.type === "video") {
    const video_url = `http://video.sandbox.invalid/${medium.mediaId}.mp4`;
    return jsonAnswer(JSON_TYPE.cgiBin, { video_url });
  }
  return { status: 200, headers: downloadHeaders(medium), body: medium.bytes };
}

/** The app whose token came with the request; the token is checked before anything else, and the call counted. */
export function callingApp(platform: WeixinPlatform, request: SandboxRequest): WeixinApp {
  const { owner } = platform.requireToken(request.query.get("access_token") ?? "");
  owner.spend(request.path);
  return owner;
}
