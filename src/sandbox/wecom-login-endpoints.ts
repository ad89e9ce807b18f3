import { JSON_TYPE, jsonAnswer, type Answer } from "./answer.ts";
import { derivedId, derivedSessionKey } from "./one-time-codes.ts";
import { Refusal } from "./refusal.ts";
import type { SandboxRequest } from "./sandbox-request.ts";
import type { WecomApp } from "./wecom-app.ts";
import { callingApp, ok } from "./wecom-endpoints.ts";
import type { WecomPlatform } from "./wecom-platform.ts";

/**
 * `GET /cgi-bin/auth/getuserinfo?code=`: a member has a `userid`, somebody else an `openid`.
 *
 * A code with `external` in it stands for a non-member, one with `private` for the scope that brings a `user_ticket`.
 *
 * @see https://developer.work.weixin.qq.com/document/path/96442
 */
export function getUserInfo(platform: WecomPlatform, request: SandboxRequest): Answer {
  const { app, code } = redeemCode(platform, request, "code");
  if (code.includes("external")) {
    return ok({ openid: openidOf(app, code), external_userid: externalIdOf(code) });
  }
  return ok({ userid: useridOf(code), ...userTicketOf(code) });
}

/** `GET /cgi-bin/user/getuserinfo?code=`: the older form of the same, with other capital letters. */
export function getUserInfoOldForm(platform: WecomPlatform, request: SandboxRequest): Answer {
  const { app, code } = redeemCode(platform, request, "code");
  const DeviceId = derivedId("", 32, "device", code);
  if (code.includes("external")) {
    return ok({ OpenId: openidOf(app, code), DeviceId, external_userid: externalIdOf(code) });
  }
  return ok({ UserId: useridOf(code), DeviceId, ...userTicketOf(code) });
}

/**
 * `GET /cgi-bin/miniprogram/jscode2session?js_code=`: who uses a mini program inside WeCom. The errcode comes last.
 *
 * @see https://developer.work.weixin.qq.com/document/path/91507
 */
export function miniProgramLogin(platform: WecomPlatform, request: SandboxRequest): Answer {
  const { app, code } = redeemCode(platform, request, "js_code");
  const { corpId } = app.settings;
  const user = { corpid: corpId, userid: useridOf(code), session_key: derivedSessionKey(corpId, code) };
  return jsonAnswer(JSON_TYPE.wecom, { ...user, errcode: 0, errmsg: "ok" });
}

function redeemCode(
  platform: WecomPlatform,
  request: SandboxRequest,
  parameter: string,
): { app: WecomApp; code: string } {
  const app = callingApp(platform, request);
  const code = request.query.get(parameter) ?? "";
  if (code === "") throw new Refusal(41008, "missing code");
  const outcome = app.codes.redeem(code);
  if (outcome === "invalid") throw new Refusal(40029, "invalid code");
  if (outcome === "used") throw new Refusal(42022, "code has been used");
  return { app, code };
}

function useridOf(code: string): string {
  return derivedId("user-", 16, "userid", code);
}

function openidOf(app: WecomApp, code: string): string {
  return derivedId("o", 28, "openid", app.settings.corpId, code);
}

function externalIdOf(code: string): string {
  return derivedId("wm", 32, "external", code);
}

function userTicketOf(code: string): { user_ticket?: string } {
  return code.includes("private") ? { user_ticket: derivedId("", 43, "ticket", code) } : {};
}
