import { derivedId, derivedSessionKey, secondsLeft } from "./issued-tokens.ts";
import { downloadHeaders } from "./media-store.ts";
import {
  type Answer,
  JSON_TYPE,
  jsonAnswer,
  jsonBody,
  NO_SUCH_PATH,
  Refusal,
  type SandboxRequest,
  wecomErrmsg,
} from "./sandbox-request.ts";
import type { WecomApp, WecomPlatform } from "./wecom-platform.ts";

interface Endpoint {
  answer: (platform: WecomPlatform, request: SandboxRequest) => Answer | Promise<Answer>;
  /** The fields of this API that an error carries too, empty. */
  emptyFields?: object;
}

const emptyTicket = { ticket: "", expires_in: 0 };

const ENDPOINTS = new Map<string, Endpoint>([
  ["/cgi-bin/gettoken", { answer: getToken }],
  ["/cgi-bin/get_jsapi_ticket", { answer: getCorpTicket, emptyFields: emptyTicket }],
  ["/cgi-bin/ticket/get", { answer: getAppTicket, emptyFields: emptyTicket }],
  ["/cgi-bin/auth/getuserinfo", { answer: getUserInfo }],
  ["/cgi-bin/user/getuserinfo", { answer: getUserInfoOldForm }],
  ["/cgi-bin/school/getuserinfo", { answer: getUserInfoOldForm }],
  ["/cgi-bin/miniprogram/jscode2session", { answer: miniProgramLogin }],
  ["/cgi-bin/getcallbackip", { answer: getCallbackIp, emptyFields: { ip_list: [] } }],
  ["/cgi-bin/get_api_domain_ip", { answer: getApiDomainIp, emptyFields: { ip_list: [] } }],
  ["/cgi-bin/message/send", { answer: sendMessage }],
  ["/cgi-bin/user/get", { answer: getMember }],
  ["/cgi-bin/department/list", { answer: listDepartments, emptyFields: { department: [] } }],
  ["/cgi-bin/media/upload", { answer: uploadMedia }],
  ["/cgi-bin/media/get", { answer: getMedia }],
]);

/** What qyapi.weixin.qq.com answers; a path that does not exist is HTTP 404, there without a body. */
export async function answerAsWecom(platform: WecomPlatform, request: SandboxRequest): Promise<Answer> {
  const endpoint = ENDPOINTS.get(request.path);
  if (endpoint === undefined)
    return { status: 404, headers: { "Content-Type": "text/plain; charset=utf-8" }, body: NO_SUCH_PATH };
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

const TICKET_TYPES = new Set(["agent_config", "wx_card"]);

/**
 * `GET /cgi-bin/gettoken?corpid&corpsecret`: one token per corp and secret, the same one while it lasts; nothing
 * forces another. The trusted addresses are not asked here.
 *
 * @see https://developer.work.weixin.qq.com/document/path/91039
 */
function getToken(platform: WecomPlatform, { query, peerIp }: SandboxRequest): Answer {
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
function getCorpTicket(platform: WecomPlatform, request: SandboxRequest): Answer {
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
function getAppTicket(platform: WecomPlatform, request: SandboxRequest): Answer {
  const app = callingApp(platform, request);
  const type = request.query.get("type") ?? "";
  if (!TICKET_TYPES.has(type)) throw new Refusal(40058, "invalid parameter");
  platform.spendTicketCall(app, request.path, false);
  return jsonAnswer(JSON_TYPE.wecom, app.tickets.answer(type));
}

/** `GET /cgi-bin/getcallbackip`: the addresses that pushes come from; the cheap way to try a token. */
function getCallbackIp(platform: WecomPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  return ok({ ip_list: ["101.226.103.*", "101.226.62.*"] });
}

/** `GET /cgi-bin/get_api_domain_ip`: the addresses of qyapi.weixin.qq.com. */
function getApiDomainIp(platform: WecomPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  return ok({ ip_list: ["182.254.11.176", "182.254.78.66"] });
}

/** `POST /cgi-bin/message/send`: sends nothing, and answers that it did; the agent must be the token's own (301002). */
function sendMessage(platform: WecomPlatform, request: SandboxRequest): Answer {
  const app = callingApp(platform, request);
  if (request.method !== "POST") throw new Refusal(40058, "invalid parameter");
  const { agentid } = jsonBody(request);
  const named = typeof agentid === "number" || typeof agentid === "string" ? String(agentid) : "";
  if (named !== app.settings.agent)
    throw new Refusal(301002, "not allow operate another agent with this token");
  return ok({});
}

/** `POST /cgi-bin/media/upload?type=`: like WeChat's, but `created_at` is a string. */
async function uploadMedia(platform: WecomPlatform, request: SandboxRequest): Promise<Answer> {
  callingApp(platform, request);
  if (request.method !== "POST") throw new Refusal(40058, "invalid parameter");
  const { type, mediaId } = await platform.media.store(request);
  return ok({ type, media_id: mediaId, created_at: String(platform.time.seconds()) });
}

/** `GET /cgi-bin/media/get?media_id=`: the bytes that were uploaded. */
function getMedia(platform: WecomPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  const medium = platform.media.get(request.query.get("media_id") ?? "");
  return { status: 200, headers: downloadHeaders(medium), body: medium.bytes };
}

/**
 * The app whose token came in the query; a header or a body is not looked at.
 *
 * @throws {Refusal} as `requireToken` says.
 */
function callingApp(platform: WecomPlatform, request: SandboxRequest): WecomApp {
  return platform.requireToken(request.query.get("access_token") ?? "", request.peerIp);
}

/** A success of qyapi.weixin.qq.com, which says so in the body. */
function ok(body: object): Answer {
  return jsonAnswer(JSON_TYPE.wecom, { errcode: 0, errmsg: "ok", ...body });
}

/**
 * `GET /cgi-bin/auth/getuserinfo?code=`: a member has a `userid`, anyone else an `openid`.
 *
 * A code with `external` in it means a non-member, one with `private` for the scope that brings a `user_ticket`.
 *
 * @see https://developer.work.weixin.qq.com/document/path/96442
 */
function getUserInfo(platform: WecomPlatform, request: SandboxRequest): Answer {
  const { app, code } = redeemCode(platform, request, "code");
  if (code.includes("external")) {
    return ok({ openid: openidOf(app, code), external_userid: externalIdOf(code) });
  }
  return ok({ userid: useridOf(code), ...userTicketOf(code) });
}

/**
 * `GET /cgi-bin/user/getuserinfo?code=`: the older form of the same, with other capital letters. A school's pages have a path
 * of their own, which answers members likewise.
 */
function getUserInfoOldForm(platform: WecomPlatform, request: SandboxRequest): Answer {
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
function miniProgramLogin(platform: WecomPlatform, request: SandboxRequest): Answer {
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

const USER_ID = /^[\w@.-]{1,64}$/;
const ROOT_DEPARTMENT = "1";

/**
 * `GET /cgi-bin/user/get?userid=`: a member; every well-formed id is one.
 *
 * @see https://developer.work.weixin.qq.com/document/path/90196
 */
function getMember(platform: WecomPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  const userid = request.query.get("userid") ?? "";
  if (userid === "") throw new Refusal(40058, "invalid parameter");
  if (!USER_ID.test(userid)) throw new Refusal(60111, "userid not found");
  const inDepartment = { department: [1], order: [0], is_leader_in_dept: [0], main_department: 1 };
  return ok({ userid, name: userid, ...inDepartment, status: 1, isleader: 0, enable: 1 });
}

/**
 * `GET /cgi-bin/department/list?id=`: the departments from that one on; the sandbox has the root alone.
 *
 * @see https://developer.work.weixin.qq.com/document/path/90208
 */
function listDepartments(platform: WecomPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  const id = request.query.get("id") ?? ROOT_DEPARTMENT;
  if (id !== ROOT_DEPARTMENT) throw new Refusal(60123, "invalid party id");
  return ok({
    department: [{ id: 1, name: "沙箱", parentid: 0, order: 100_000_000, department_leader: [] }],
  });
}
