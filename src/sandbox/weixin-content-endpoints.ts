import { JSON_TYPE, jsonAnswer, type Answer } from "./answer.ts";
import { Refusal } from "./refusal.ts";
import { jsonBody, requirePost, type SandboxRequest, text } from "./sandbox-request.ts";
import { tokenText } from "./token-text.ts";
import { callingApp } from "./weixin-api-endpoints.ts";
import type { WeixinPlatform } from "./weixin-platform.ts";

const PATH_LENGTH_MOST = 1024;
/** The least that is a JPEG: its beginning and its end, with all 256 bytes between them. */
const CODE_IMAGE = Uint8Array.from([
  0xff,
  0xd8,
  ...Array.from({ length: 256 }, (_, byte) => byte),
  0xff,
  0xd9,
]);

/** `POST /wxa/getwxacode`: the bytes of an image, or JSON with an errcode. */
export function getCode(platform: WeixinPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  requirePost(request);
  const path = text(jsonBody(request)["path"]);
  if (path === "" || path.length > PATH_LENGTH_MOST) {
    throw new Refusal(40159, "invalid length for path, or the data is not json string");
  }
  return { status: 200, headers: { "Content-Type": "image/jpeg" }, body: CODE_IMAGE };
}

/**
 * `POST /wxa/msg_sec_check`: whether a text may be shown; one with `risky` in it may not.
 *
 * The first version says so by errcode, the second (`version: 2`) in its result.
 */
export function checkText(platform: WeixinPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  requirePost(request);
  const { content, version } = jsonBody(request);
  if (text(content) === "") throw new Refusal(44002, "empty post data");
  const isRisky = text(content).includes("risky");
  if (version !== 2) {
    if (isRisky) throw new Refusal(87014, "risky content");
    return jsonAnswer(JSON_TYPE.cgiBin, { errcode: 0, errmsg: "ok" });
  }
  const result = isRisky ? { suggest: "risky", label: 20_001 } : { suggest: "pass", label: 100 };
  return jsonAnswer(JSON_TYPE.cgiBin, {
    errcode: 0,
    errmsg: "ok",
    detail: [{ strategy: "content_model", errcode: 0, ...result, prob: 90 }],
    trace_id: tokenText(32),
    result,
  });
}
