import { derivedId, tokenText } from "./issued-tokens.ts";
import { downloadHeaders, uploadedFile } from "./media-store.ts";
import {
  type Answer,
  cgiAnswer,
  jsonBody,
  ok,
  Refusal,
  requirePost,
  type SandboxRequest,
  text,
} from "./sandbox-request.ts";
import type { WeixinPlatform } from "./weixin-platform.ts";

const TICKET_TYPES = new Set(["jsapi", "wx_card"]);

/**
 * `GET /cgi-bin/ticket/getticket?type=jsapi|wx_card`: one ticket per app and type for 7200 s, the same one again
 * while it lasts; a new access token does not end it.
 *
 * @see https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/JS-SDK.html
 */
export function getTicket(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const app = platform.callingApp(request);
  const type = request.query.get("type") ?? "";
  if (!TICKET_TYPES.has(type)) throw new Refusal(40097, "invalid args");
  return cgiAnswer(app.tickets.answer(type));
}

/**
 * `GET /cgi-bin/getcallbackip`: the addresses that pushes come from. The cheap way to try a token.
 *
 * @see https://developers.weixin.qq.com/doc/subscription/api/base/api_getcallbackip.html
 */
export function getCallbackIp(platform: WeixinPlatform, request: SandboxRequest): Answer {
  platform.callingApp(request);
  return cgiAnswer({ ip_list: ["106.55.206.146", "106.55.206.211"] });
}

/**
 * `GET /cgi-bin/get_api_domain_ip`: the addresses of api.weixin.qq.com.
 *
 * @see https://developers.weixin.qq.com/doc/subscription/api/base/api_getapidomainip.html
 */
export function getApiDomainIp(platform: WeixinPlatform, request: SandboxRequest): Answer {
  platform.callingApp(request);
  return cgiAnswer({ ip_list: ["101.89.47.18", "101.91.34.103"] });
}

/** `POST /cgi-bin/message/custom/send`: sends nothing, and answers that it did. */
export function sendCustomMessage(platform: WeixinPlatform, request: SandboxRequest): Answer {
  platform.callingApp(request);
  requirePost(request);
  if (request.body.length === 0) throw new Refusal(44002, "empty post data");
  jsonBody(request);
  return ok();
}

/**
 * `POST /cgi-bin/media/upload?type=`: multipart with the file in the part `media`; a thumb gets a
 * `thumb_media_id`.
 */
export async function uploadMedia(platform: WeixinPlatform, request: SandboxRequest): Promise<Answer> {
  platform.callingApp(request);
  requirePost(request);
  const { type, mediaId } = await platform.media.store(request);
  const id = type === "thumb" ? { thumb_media_id: mediaId } : { media_id: mediaId };
  return cgiAnswer({ type, ...id, created_at: platform.time.seconds() });
}

/** `GET /cgi-bin/media/get?media_id=`: the bytes, except that a video is JSON with its URL. */
export function getMedia(platform: WeixinPlatform, request: SandboxRequest): Answer {
  platform.callingApp(request);
  const medium = platform.media.get(request.query.get("media_id") ?? "");
  if (medium.type === "video") {
    const video_url = `http://video.sandbox.invalid/${medium.mediaId}.mp4`;
    return cgiAnswer({ video_url });
  }
  return { status: 200, headers: downloadHeaders(medium), body: medium.bytes };
}

const MAX_PATH_LENGTH = 1024;
/** The least that is a JPEG: its beginning and its end, with all 256 bytes between them. */
const CODE_IMAGE = Uint8Array.from([
  0xff,
  0xd8,
  ...Array.from({ length: 256 }, (_, byte) => byte),
  0xff,
  0xd9,
]);

const MAX_SCENE_LENGTH = 32;

/** `POST /wxa/getwxacode`, `POST /cgi-bin/wxaapp/createwxaqrcode`: the bytes of an image, or JSON with an errcode. */
export function getCode(platform: WeixinPlatform, request: SandboxRequest): Answer {
  platform.callingApp(request);
  requirePost(request);
  const path = text(jsonBody(request)["path"]);
  if (path === "" || path.length > MAX_PATH_LENGTH) {
    throw new Refusal(40159, "invalid length for path, or the data is not json string");
  }
  return codeImage();
}

/** `POST /wxa/getwxacodeunlimit`: the same for a page and a `scene`, of which there may be any number. */
export function getUnlimitedCode(platform: WeixinPlatform, request: SandboxRequest): Answer {
  platform.callingApp(request);
  requirePost(request);
  const { scene, page } = jsonBody(request);
  if (text(scene) === "" || text(scene).length > MAX_SCENE_LENGTH) throw new Refusal(40129, "invalid scene");
  if (text(page).startsWith("/")) throw new Refusal(41030, "invalid page");
  return codeImage();
}

function codeImage(): Answer {
  const headers = {
    "Content-Type": "image/jpeg",
    "Content-disposition": 'attachment; filename="QRCode.jpg"',
  };
  return { status: 200, headers, body: CODE_IMAGE };
}

/** How long a temporary QR code lasts where the request does not say, and at most. */
const QR_SECONDS = 60;
const MAX_QR_SECONDS = 2_592_000;

/**
 * `POST /cgi-bin/qrcode/create`: a QR code of an Official Account, temporary (`QR_SCENE`, `QR_STR_SCENE`) or permanent.
 *
 * @see https://developers.weixin.qq.com/doc/subscription/api/qrcode/qrcodes/api_createqrcode.html
 */
export function createQrCode(platform: WeixinPlatform, request: SandboxRequest): Answer {
  platform.callingApp(request);
  requirePost(request);
  const { action_name: name, expire_seconds: sent = QR_SECONDS } = jsonBody(request);
  if (!/^QR_(LIMIT_)?(STR_)?SCENE$/.test(text(name))) throw new Refusal(40053, "invalid action info");
  const ticket = tokenText(96);
  const url = `http://weixin.sandbox.invalid/q/${ticket.slice(0, 22)}`;
  if (text(name).startsWith("QR_LIMIT")) return cgiAnswer({ ticket, url });
  return cgiAnswer({ ticket, expire_seconds: Math.min(Number(sent) || QR_SECONDS, MAX_QR_SECONDS), url });
}

/** `POST /cgi-bin/callback/check`: whether WeChat reaches the callback URL; from the sandbox it always does. */
export function checkCallback(platform: WeixinPlatform, request: SandboxRequest): Answer {
  platform.callingApp(request);
  requirePost(request);
  jsonBody(request);
  const ip = "203.0.113.80";
  const from_operator = "DEFAULT";
  return cgiAnswer({
    dns: [{ ip, real_operator: "DEFAULT" }],
    ping: [{ ip, from_operator, package_loss: "0%", time: "1.000ms" }],
  });
}

const DAY = /^\d{4}-?\d{2}-?\d{2}$/;

/** `POST /datacube/…`: statistics of the days `begin_date` to `end_date`, of which the sandbox has none. */
export function getStatistics(platform: WeixinPlatform, request: SandboxRequest): Answer {
  platform.callingApp(request);
  requirePost(request);
  const { begin_date: begin, end_date: end } = jsonBody(request);
  if (!DAY.test(text(begin)) || !DAY.test(text(end))) throw new Refusal(61500, "date format error");
  return cgiAnswer({ list: [] });
}

/**
 * `POST /wxa/msg_sec_check`: whether a text may be shown; one with `risky` in it may not.
 *
 * The first version says so by errcode, the second (`version: 2`) in its result.
 */
export function checkText(platform: WeixinPlatform, request: SandboxRequest): Answer {
  platform.callingApp(request);
  requirePost(request);
  const { content, version } = jsonBody(request);
  if (text(content) === "") throw new Refusal(44002, "empty post data");
  const isRisky = text(content).includes("risky");
  if (version !== 2) {
    if (isRisky) throw new Refusal(87014, "risky content");
    return ok();
  }
  const result = isRisky ? { suggest: "risky", label: 20_001 } : { suggest: "pass", label: 100 };
  return ok({
    detail: [{ strategy: "content_model", errcode: 0, ...result, prob: 90 }],
    trace_id: tokenText(32),
    result,
  });
}

/** The articles that everybody has. */
const NEWS_ID = "sandbox-news";
const ARTICLE_IMAGE = /^image\/(jpeg|png)$/;

/**
 * `POST /cgi-bin/material/add_material?type=`: keeps a file for good; a video comes with a part `description`, a JSON
 * with `title` and `introduction`.
 */
export async function addMaterial(platform: WeixinPlatform, request: SandboxRequest): Promise<Answer> {
  platform.callingApp(request);
  requirePost(request);
  const { type, mediaId } = await platform.materials.store(request);
  const url = type === "image" ? { url: urlOf(mediaId) } : {};
  return cgiAnswer({ media_id: mediaId, ...url, item: [] });
}

/** `POST /cgi-bin/material/get_material`: JSON for a video and for articles (`sandbox-news`), otherwise the bytes. */
export function getMaterial(platform: WeixinPlatform, request: SandboxRequest): Answer {
  platform.callingApp(request);
  requirePost(request);
  const mediaId = text(jsonBody(request)["media_id"]);
  if (mediaId === NEWS_ID) return cgiAnswer({ news_item: [ARTICLE] });
  const medium = platform.materials.get(mediaId);
  if (medium.type !== "video") return { status: 200, headers: downloadHeaders(medium), body: medium.bytes };
  const { title = "", introduction = "" } = medium.about ?? {};
  const down_url = `http://video.sandbox.invalid/${mediaId}.mp4`;
  return cgiAnswer({ title, description: introduction, down_url });
}

/** `POST /cgi-bin/media/uploadimg`: an image for articles, of which only the address is answered. */
export async function uploadArticleImage(platform: WeixinPlatform, request: SandboxRequest): Promise<Answer> {
  platform.callingApp(request);
  requirePost(request);
  const { file } = await uploadedFile(request);
  if (!ARTICLE_IMAGE.test(file.type)) throw new Refusal(40005, "invalid file type");
  return cgiAnswer({ url: urlOf(tokenText(64)) });
}

const ARTICLE = {
  title: "沙箱图文",
  thumb_media_id: "sandbox-thumb",
  show_cover_pic: 0,
  author: "",
  digest: "",
  content: "<p>沙箱</p>",
  url: "http://mp.sandbox.invalid/s/1",
  content_source_url: "",
};

function urlOf(id: string): string {
  return `http://mmbiz.sandbox.invalid/mmbiz_jpg/${id}/0?wx_fmt=jpeg`;
}

const MAX_BUTTONS = 3;

/** `POST /cgi-bin/message/template/send`: sends nothing, and answers with the number of a message. */
export function sendTemplate(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const app = platform.callingApp(request);
  requireRecipientAndTemplate(request);
  return ok({ msgid: app.nextMessageId() });
}

/** `POST /cgi-bin/message/subscribe/send`: sends nothing, and answers that it did. */
export function sendSubscribeMessage(platform: WeixinPlatform, request: SandboxRequest): Answer {
  platform.callingApp(request);
  requireRecipientAndTemplate(request);
  return ok();
}

/** `POST /cgi-bin/menu/create`: one to three buttons, which replace those that were there. */
export function createMenu(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const app = platform.callingApp(request);
  requirePost(request);
  const { button } = jsonBody(request);
  if (!Array.isArray(button) || button.length === 0 || button.length > MAX_BUTTONS) {
    throw new Refusal(40016, "invalid button size");
  }
  app.menu = button;
  return ok();
}

/** `GET /cgi-bin/menu/get`: the buttons that were made. */
export function getMenu(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const { menu } = platform.callingApp(request);
  if (menu.length === 0) throw new Refusal(46003, "menu no exist");
  return cgiAnswer({ menu: { button: menu } });
}

function requireRecipientAndTemplate(request: SandboxRequest): void {
  requirePost(request);
  if (request.body.length === 0) throw new Refusal(44002, "empty post data");
  const { touser, template_id } = jsonBody(request);
  if (text(touser) === "") throw new Refusal(40003, "invalid openid");
  if (text(template_id) === "") throw new Refusal(40037, "invalid template_id");
}

const FOLLOWERS = 3;
const OPENID_LENGTH = 28;
const OPENID = /^o[\w-]{27}$/;

/** `GET /cgi-bin/user/info?openid=`: what an Official Account knows of a user; every well-formed openid follows it. */
export function getFollower(platform: WeixinPlatform, request: SandboxRequest): Answer {
  platform.callingApp(request);
  const openid = request.query.get("openid") ?? "";
  if (!OPENID.test(openid)) throw new Refusal(40003, "invalid openid");
  return cgiAnswer({
    subscribe: 1,
    openid,
    language: request.query.get("lang") ?? "zh_CN",
    subscribe_time: 1_700_000_000,
    remark: "",
    groupid: 0,
    tagid_list: [],
    subscribe_scene: "ADD_SCENE_SEARCH",
    qr_scene: 0,
    qr_scene_str: "",
  });
}

/** `GET /cgi-bin/user/get?next_openid=`: the followers after that one; the sandbox has three. */
export function listFollowers(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const { appId } = platform.callingApp(request).settings;
  const all = Array.from({ length: FOLLOWERS }, (_, index) =>
    derivedId("o", OPENID_LENGTH, appId, String(index)),
  );
  const after = request.query.get("next_openid") ?? "";
  if (after !== "" && !all.includes(after)) throw new Refusal(40003, "invalid openid");
  const openid = all.slice(all.indexOf(after) + 1);
  const data = openid.length > 0 ? { data: { openid } } : {};
  const next_openid = openid.at(-1) ?? "";
  return cgiAnswer({ total: FOLLOWERS, count: openid.length, ...data, next_openid });
}

/**
 * `POST /wxa/business/getuserphonenumber`: a code for a phone number, once; it begins as the codes of logins do and is
 * none of them.
 */
export function getPhoneNumber(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const app = platform.callingApp(request);
  requirePost(request);
  const code = text(jsonBody(request)["code"]);
  if (app.phoneCodes.redeem(code) !== "ok") throw new Refusal(40029, "invalid code");
  const number = "13800000000";
  return ok({
    phone_info: {
      phoneNumber: number,
      purePhoneNumber: number,
      countryCode: "86",
      watermark: { timestamp: platform.time.seconds(), appid: app.settings.appId },
    },
  });
}
