import { JSON_TYPE, jsonAnswer, type Answer } from "./answer.ts";
import { wecomErrmsg } from "./errmsg.ts";
import { Refusal } from "./refusal.ts";
import type { SandboxRequest } from "./sandbox-request.ts";
import * as contacts from "./wecom-contact-endpoints.ts";
import * as endpoints from "./wecom-endpoints.ts";
import * as login from "./wecom-login-endpoints.ts";
import type { WecomPlatform } from "./wecom-platform.ts";

interface Endpoint {
  answer: (platform: WecomPlatform, request: SandboxRequest) => Answer | Promise<Answer>;
  /** The fields of this API that an error carries too, empty. */
  emptyFields?: object;
}

const emptyTicket = { ticket: "", expires_in: 0 };

const ENDPOINTS = new Map<string, Endpoint>([
  ["/cgi-bin/gettoken", { answer: endpoints.getToken }],
  ["/cgi-bin/get_jsapi_ticket", { answer: endpoints.getCorpTicket, emptyFields: emptyTicket }],
  ["/cgi-bin/ticket/get", { answer: endpoints.getAppTicket, emptyFields: emptyTicket }],
  ["/cgi-bin/auth/getuserinfo", { answer: login.getUserInfo }],
  ["/cgi-bin/user/getuserinfo", { answer: login.getUserInfoOldForm }],
  ["/cgi-bin/miniprogram/jscode2session", { answer: login.miniProgramLogin }],
  ["/cgi-bin/getcallbackip", { answer: endpoints.getCallbackIp, emptyFields: { ip_list: [] } }],
  ["/cgi-bin/get_api_domain_ip", { answer: endpoints.getApiDomainIp, emptyFields: { ip_list: [] } }],
  ["/cgi-bin/message/send", { answer: endpoints.sendMessage }],
  ["/cgi-bin/user/get", { answer: contacts.getMember }],
  ["/cgi-bin/department/list", { answer: contacts.listDepartments, emptyFields: { department: [] } }],
  ["/cgi-bin/media/upload", { answer: endpoints.uploadMedia }],
  ["/cgi-bin/media/get", { answer: endpoints.getMedia }],
]);

/** What qyapi.weixin.qq.com answers; a path that does not exist is HTTP 404 without a body. */
export async function answerAsWecom(platform: WecomPlatform, request: SandboxRequest): Promise<Answer> {
  const endpoint = ENDPOINTS.get(request.path);
  if (endpoint === undefined) return { status: 404, headers: {}, body: "" };
  try {
    return await endpoint.answer(platform, request);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return wecomError(platform, request, error.errcode, error.message);
  }
}

/**
 * An error as qyapi.weixin.qq.com words it: HTTP 200, the text with a hint and the caller's address, and both
 * number and text once more in the headers.
 */
export function wecomError(
  platform: WecomPlatform,
  request: SandboxRequest,
  errcode: number | string,
  stem: string,
): Answer {
  const errmsg = wecomErrmsg(stem, platform.time.seconds(), errcode, request.peerIp);
  const empty = ENDPOINTS.get(request.path)?.emptyFields;
  const answer = jsonAnswer(JSON_TYPE.wecom, { errcode, errmsg, ...empty });
  answer.headers["Error-Code"] = String(errcode).replaceAll(/[^ -~]/g, "?");
  // An injected text can hold anything, a header can't.
  answer.headers["Error-Msg"] = errmsg.replaceAll(/[^ -~]/g, "?");
  return answer;
}
