import { JSON_TYPE, jsonAnswer, type Answer } from "./answer.ts";
import { derivedId } from "./one-time-codes.ts";
import { Refusal } from "./refusal.ts";
import { jsonBody, requirePost, type SandboxRequest, text } from "./sandbox-request.ts";
import { callingApp } from "./weixin-api-endpoints.ts";
import type { WeixinPlatform } from "./weixin-platform.ts";

const FOLLOWERS = 3;
const OPENID_LENGTH = 28;
const OPENID = /^o[\w-]{27}$/;

/** `GET /cgi-bin/user/info?openid=`: what an Official Account knows of a user; every well-formed openid follows it. */
export function getFollower(platform: WeixinPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  const openid = request.query.get("openid") ?? "";
  if (!OPENID.test(openid)) throw new Refusal(40003, "invalid openid");
  return jsonAnswer(JSON_TYPE.cgiBin, {
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

/** `GET /cgi-bin/user/get?next_openid=`: the followers behind that one, of whom the sandbox has three. */
export function listFollowers(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const { appId } = callingApp(platform, request).settings;
  const all = Array.from({ length: FOLLOWERS }, (_, index) =>
    derivedId("o", OPENID_LENGTH, appId, String(index)),
  );
  const after = request.query.get("next_openid") ?? "";
  if (after !== "" && !all.includes(after)) throw new Refusal(40003, "invalid openid");
  const openid = all.slice(all.indexOf(after) + 1);
  const data = openid.length > 0 ? { data: { openid } } : {};
  const next_openid = openid.at(-1) ?? "";
  return jsonAnswer(JSON_TYPE.cgiBin, { total: FOLLOWERS, count: openid.length, ...data, next_openid });
}

/**
 * `POST /wxa/business/getuserphonenumber`: a code for a phone number, once; it begins as the codes of logins do and is
 * none of them.
 */
export function getPhoneNumber(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const app = callingApp(platform, request);
  requirePost(request);
  const code = text(jsonBody(request)["code"]);
  if (app.phoneCodes.redeem(code) !== "ok") throw new Refusal(40029, "invalid code");
  const number = "13800000000";
  return jsonAnswer(JSON_TYPE.cgiBin, {
    errcode: 0,
    errmsg: "ok",
    phone_info: {
      phoneNumber: number,
      purePhoneNumber: number,
      countryCode: "86",
      watermark: { timestamp: platform.time.seconds(), appid: app.settings.appId },
    },
  });
}
