import { JSON_TYPE, jsonAnswer, type Answer } from "./answer.ts";
import { downloadHeaders, uploadedFile } from "./media-shelf.ts";
import { Refusal } from "./refusal.ts";
import { jsonBody, requirePost, type SandboxRequest, text } from "./sandbox-request.ts";
import { tokenText } from "./token-text.ts";
import { callingApp } from "./weixin-api-endpoints.ts";
import type { WeixinPlatform } from "./weixin-platform.ts";

/** The articles that everybody has. */
const NEWS_ID = "sandbox-news";
const ARTICLE_IMAGE = /^image\/(jpeg|png)$/;

/**
 * `POST /cgi-bin/material/add_material?type=`: keeps a file for good; a video comes with a part `description`, a JSON
 * with `title` and `introduction`.
 */
export async function addMaterial(platform: WeixinPlatform, request: SandboxRequest): Promise<Answer> {
  callingApp(platform, request);
  requirePost(request);
  const { type, mediaId } = await platform.materials.store(request);
  const url = type === "image" ? { url: urlOf(mediaId) } : {};
  return jsonAnswer(JSON_TYPE.cgiBin, { media_id: mediaId, ...url, item: [] });
}

/** `POST /cgi-bin/material/get_material`: JSON for a video and for articles (`sandbox-news`), otherwise the bytes. */
export function getMaterial(platform: WeixinPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  requirePost(request);
  const mediaId = text(jsonBody(request)["media_id"]);
  if (mediaId === NEWS_ID) return jsonAnswer(JSON_TYPE.cgiBin, { news_item: [ARTICLE] });
  const medium = platform.materials.get(mediaId);
  if (medium.type !== "video") return { status: 200, headers: downloadHeaders(medium), body: medium.bytes };
  const { title = "", introduction = "" } = medium.about ?? {};
  const down_url = `http://video.sandbox.invalid/${mediaId}.mp4`;
  return jsonAnswer(JSON_TYPE.cgiBin, { title, description: introduction, down_url });
}

/** `POST /cgi-bin/media/uploadimg`: an image for articles, of which only the address is answered. */
export async function uploadArticleImage(platform: WeixinPlatform, request: SandboxRequest): Promise<Answer> {
  callingApp(platform, request);
  requirePost(request);
  const { file } = await uploadedFile(request);
  if (!ARTICLE_IMAGE.test(file.type)) throw new Refusal(40005, "invalid file type");
  return jsonAnswer(JSON_TYPE.cgiBin, { url: urlOf(tokenText(64)) });
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
