import { JSON_TYPE, jsonAnswer, type Answer } from "./answer.ts";
import { Refusal } from "./refusal.ts";
import { jsonBody, requirePost, type SandboxRequest, text } from "./sandbox-request.ts";
import { callingApp } from "./weixin-api-endpoints.ts";
import type { WeixinPlatform } from "./weixin-platform.ts";

const BUTTONS_MOST = 3;

/** `POST /cgi-bin/message/template/send`: sends nothing, and answers with the number of a message. */
export function sendTemplate(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const app = callingApp(platform, request);
  requireRecipientAndTemplate(request);
  return jsonAnswer(JSON_TYPE.cgiBin, { errcode: 0, errmsg: "ok", msgid: app.nextMessageId() });
}

/** `POST /cgi-bin/message/subscribe/send`: sends nothing, and answers that it did. */
export function sendSubscribeMessage(platform: WeixinPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  requireRecipientAndTemplate(request);
  return jsonAnswer(JSON_TYPE.cgiBin, { errcode: 0, errmsg: "ok" });
}

/** `POST /cgi-bin/menu/create`: one to three buttons, which replace those that were there. */
export function createMenu(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const app = callingApp(platform, request);
  requirePost(request);
  const { button } = jsonBody(request);
  if (!Array.isArray(button) || button.length === 0 || button.length > BUTTONS_MOST) {
    throw new Refusal(40016, "invalid button size");
  }
  app.menu = button;
  return jsonAnswer(JSON_TYPE.cgiBin, { errcode: 0, errmsg: "ok" });
}

/** `GET /cgi-bin/menu/get`: the buttons that were made. */
export function getMenu(platform: WeixinPlatform, request: SandboxRequest): Answer {
  const { menu } = callingApp(platform, request);
  if (menu.length === 0) throw new Refusal(46003, "menu no exist");
  return jsonAnswer(JSON_TYPE.cgiBin, { menu: { button: menu } });
}

function requireRecipientAndTemplate(request: SandboxRequest): void {
  requirePost(request);
  if (request.body.length === 0) throw new Refusal(44002, "empty post data");
  const { touser, template_id } = jsonBody(request);
  if (text(touser) === "") throw new Refusal(40003, "invalid openid");
  if (text(template_id) === "") throw new Refusal(40037, "invalid template_id");
}
