import { derivedId, derivedSessionKey, type IssuedToken, secondsLeft } from "./issued-tokens.ts";
import {
  type Answer,
  JSON_TYPE,
  jsonAnswer,
  jsonBody,
  Refusal,
  requirePost,
  type SandboxRequest,
  text,
} from "./sandbox-request.ts";
import type { Authorization, Provider, Suite, SuiteCorp, SuitePlatform } from "./suite-platform.ts";
import { wecomError } from "./wecom-endpoints.ts";

type Endpoint = (platform: SuitePlatform, request: SandboxRequest) => Answer;

const ENDPOINTS = new Map<string, Endpoint>([
  ["/cgi-bin/service/get_suite_token", getSuiteToken],
  ["/cgi-bin/service/get_provider_token", getProviderToken],
  ["/cgi-bin/service/get_pre_auth_code", getPreAuthCode],
  ["/cgi-bin/service/set_session_info", setSessionInfo],
  ["/cgi-bin/service/get_permanent_code", getPermanentCode],
  ["/cgi-bin/service/v2/get_permanent_code", getPermanentCodeAlone],
  ["/cgi-bin/service/get_auth_info", getAuthInfo],
  ["/cgi-bin/service/v2/get_auth_info", getAuthInfo],
  ["/cgi-bin/service/get_corp_token", getCorpToken],
  ["/cgi-bin/service/get_customized_auth_url", getCustomizedAuthUrl],
  ["/cgi-bin/service/auth/getuserinfo3rd", getUserInfo],
  ["/cgi-bin/service/getuserinfo3rd", getUserInfoOldForm],
  ["/cgi-bin/service/miniprogram/jscode2session", miniProgramLogin],
]);

/** What qyapi.weixin.qq.com answers a provider below `/cgi-bin/service/`; undefined for any other path. */
export function answerAsProvider(platform: SuitePlatform, request: SandboxRequest): Answer | undefined {
  try {
    return ENDPOINTS.get(request.path)?.(platform, request);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return wecomError(platform.wecom, request, error.errcode, error.message);
  }
}

const STATE = /^[A-Za-z0-9]*$/;
const MAX_LINK_STATE = 32;
const LINK_LIFE_SECONDS = 864_000;
const MAX_TEMPLATES = 9;
const USER_TICKET_SECONDS = 7200;

/**
 * `POST /cgi-bin/service/get_suite_token`: needs a ticket that was pushed within half an hour.
 *
 * @see https://developer.work.weixin.qq.com/document/path/97162
 */
function getSuiteToken(platform: SuitePlatform, request: SandboxRequest): Answer {
  const { suite_id, suite_secret, suite_ticket } = postedFields(request);
  const [id, secret, ticket] = [text(suite_id), text(suite_secret), text(suite_ticket)];
  return tokenAnswer(
    platform,
    "suite_access_token",
    platform.fetchSuiteToken(id, secret, ticket, request.peerIp),
  );
}

/**
 * `POST /cgi-bin/service/get_provider_token`.
 *
 * @see https://developer.work.weixin.qq.com/document/path/96237
 */
function getProviderToken(platform: SuitePlatform, request: SandboxRequest): Answer {
  const { corpid, provider_secret } = postedFields(request);
  const token = platform.fetchProviderToken(text(corpid), text(provider_secret), request.peerIp);
  return tokenAnswer(platform, "provider_access_token", token);
}

/** `GET /cgi-bin/service/get_pre_auth_code`; old SDKs POST their suite's id. */
function getPreAuthCode(platform: SuitePlatform, request: SandboxRequest): Answer {
  const suite = callingSuite(platform, request);
  if (request.method === "POST" && request.body.length > 0) {
    const id = text(jsonBody(request)["suite_id"]);
    if (id !== "" && id !== suite.settings.suiteId)
      throw new Refusal(48003, "suite_access_token does not match suite_id");
  }
  return ok(suite.nextPreAuthCode());
}

/** `POST /cgi-bin/service/set_session_info`: which apps a pre-auth code is for, and whether it is a test. */
function setSessionInfo(platform: SuitePlatform, request: SandboxRequest): Answer {
  const suite = callingSuite(platform, request);
  suite.requirePreAuthCode(text(postedFields(request)["pre_auth_code"]));
  return ok({});
}

/**
 * `POST /cgi-bin/service/get_permanent_code`: the slow form, with the corp's token. Of an agency app it has neither a
 * token nor an errcode.
 */
function getPermanentCode(platform: SuitePlatform, request: SandboxRequest): Answer {
  const { suite, corp, state } = redeemed(platform, request);
  const body = {
    permanent_code: corp.permanentCode,
    ...authInfoOf(suite, corp),
    auth_user_info: authUserOf(suite, corp),
    ...(state !== undefined && { state }),
  };
  if (suite.isAgency) return jsonAnswer(JSON_TYPE.wecom, body);
  const token = corp.app.fetchToken();
  return ok({ access_token: token.value, expires_in: secondsLeft(token, platform.time.now()), ...body });
}

/**
 * `POST /cgi-bin/service/v2/get_permanent_code`: the fast form, without token and agents.
 *
 * @see https://developer.work.weixin.qq.com/document/path/100776
 */
function getPermanentCodeAlone(platform: SuitePlatform, request: SandboxRequest): Answer {
  const { suite, corp, state } = redeemed(platform, request);
  return ok({
    permanent_code: corp.permanentCode,
    auth_corp_info: { corpid: corp.settings.corpId, corp_name: corp.settings.name },
    auth_user_info: authUserOf(suite, corp),
    ...(state !== undefined && { state }),
  });
}

/** `POST /cgi-bin/service/get_auth_info`: the corp and the agent that its permanent code is for. */
function getAuthInfo(platform: SuitePlatform, request: SandboxRequest): Answer {
  const suite = callingSuite(platform, request);
  return ok(authInfoOf(suite, namedCorp(suite, request)));
}

/**
 * `POST /cgi-bin/service/get_corp_token`: not for agency apps, whose permanent code is a secret for `gettoken`.
 *
 * @see https://developer.work.weixin.qq.com/document/path/90605
 */
function getCorpToken(platform: SuitePlatform, request: SandboxRequest): Answer {
  const suite = callingSuite(platform, request);
  if (suite.isAgency) throw new Refusal(48002, "api forbidden");
  return tokenAnswer(platform, "access_token", namedCorp(suite, request).app.fetchToken());
}

/**
 * `POST /cgi-bin/service/get_customized_auth_url`: the link by which a corp orders agency apps; needs the provider's
 * token. The page is one of the sandbox.
 *
 * @see https://developer.work.weixin.qq.com/document/path/98744
 */
function getCustomizedAuthUrl(platform: SuitePlatform, request: SandboxRequest): Answer {
  const provider = callingProvider(platform, request);
  const { state = "", templateid_list: templates } = postedFields(request);
  if (typeof state !== "string" || !STATE.test(state) || state.length > MAX_LINK_STATE)
    throw new Refusal(40058, "invalid state");
  if (!Array.isArray(templates) || templates.length === 0 || templates.length > MAX_TEMPLATES)
    throw new Refusal(40058, "invalid templateid_list");
  const suites = templates.map((template) => {
    const suite = platform.suites.get(text(template));
    if (!suite?.isAgency || suite.provider !== provider) throw new Refusal(40083, "invalid suite_id");
    return suite;
  });
  const ids = suites.map(({ settings }) => settings.suiteId).join(",");
  const until = platform.time.seconds() + LINK_LIFE_SECONDS;
  const link = new URLSearchParams({ templates: ids, state, until: String(until) });
  const page = `http://${String(request.headers["host"])}/3rdapp/customized`;
  return ok({ qrcode_url: `${page}?${link.toString()}`, expires_in: LINK_LIFE_SECONDS });
}

/**
 * `GET /cgi-bin/service/auth/getuserinfo3rd?code=`: a member of the corp whose CorpID is in the code, otherwise of the
 * first that installed the suite. A code with `external` in it means somebody else, one with `private` brings a ticket.
 *
 * @see https://developer.work.weixin.qq.com/document/path/91121
 */
function getUserInfo(platform: SuitePlatform, request: SandboxRequest): Answer {
  return ok(redeemedUser(platform, request, "code"));
}

/** `GET /cgi-bin/service/getuserinfo3rd?code=`: the older form of the same, with other capital letters. */
function getUserInfoOldForm(platform: SuitePlatform, request: SandboxRequest): Answer {
  const { openid, corpid, userid, ...more } = redeemedUser(platform, request, "code");
  const DeviceId = derivedId("", 32, "device", request.query.get("code") ?? "");
  return ok(
    openid === undefined
      ? { CorpId: corpid, UserId: userid, DeviceId, ...more }
      : { OpenId: openid, DeviceId },
  );
}

/** `GET /cgi-bin/service/miniprogram/jscode2session?js_code=`: who uses a mini program that belongs to the suite. */
function miniProgramLogin(platform: SuitePlatform, request: SandboxRequest): Answer {
  const { corpid = "", userid, open_userid } = redeemedUser(platform, request, "js_code");
  const session_key = derivedSessionKey(corpid, request.query.get("js_code") ?? "");
  return ok({ corpid, userid, session_key, open_userid });
}

interface SuiteUser {
  openid?: string;
  corpid?: string;
  userid?: string;
  open_userid?: string;
  user_ticket?: string;
  expires_in?: number;
}

function redeemedUser(platform: SuitePlatform, request: SandboxRequest, parameter: string): SuiteUser {
  const suite = callingSuite(platform, request);
  const code = request.query.get(parameter) ?? "";
  if (code === "") throw new Refusal(41008, "missing code");
  const outcome = suite.codes.redeem(code);
  if (outcome === "invalid") throw new Refusal(40029, "invalid code");
  if (outcome === "used") throw new Refusal(42022, "code has been used");
  const installed = [...suite.corps.values()].filter(({ permanentCode }) => permanentCode !== undefined);
  const corp = installed.find(({ settings }) => code.includes(settings.corpId)) ?? installed[0];
  const { suiteId } = suite.settings;
  if (!corp || code.includes("external")) return { openid: derivedId("o", 28, "openid", suiteId, code) };
  return {
    corpid: corp.settings.corpId,
    userid: derivedId("user-", 16, "userid", code),
    open_userid: derivedId("wo", 32, "open_userid", suite.provider.settings.corpId, code),
    ...(code.includes("private") && {
      user_ticket: derivedId("", 43, "ticket", code),
      expires_in: USER_TICKET_SECONDS,
    }),
  };
}

function callingSuite(platform: SuitePlatform, { query, peerIp }: SandboxRequest): Suite {
  return platform.requireSuite(query.get("suite_access_token") ?? "", peerIp);
}

function callingProvider(platform: SuitePlatform, { query, peerIp }: SandboxRequest): Provider {
  return platform.requireProvider(query.get("provider_access_token") ?? "", peerIp);
}

function namedCorp(suite: Suite, request: SandboxRequest): SuiteCorp {
  const { auth_corpid, permanent_code } = postedFields(request);
  return suite.requireCorp(text(auth_corpid), text(permanent_code));
}

function redeemed(platform: SuitePlatform, request: SandboxRequest): Authorization & { suite: Suite } {
  const suite = callingSuite(platform, request);
  return { ...suite.redeem(text(postedFields(request)["auth_code"])), suite };
}

function postedFields(request: SandboxRequest): Record<string, unknown> {
  requirePost(request);
  return jsonBody(request);
}

function ok(body: object): Answer {
  return jsonAnswer(JSON_TYPE.wecom, { errcode: 0, errmsg: "ok", ...body });
}

/** A token under `name`; most recordings have no errcode beside it. */
function tokenAnswer(platform: SuitePlatform, name: string, token: IssuedToken<unknown>): Answer {
  const body = { [name]: token.value, expires_in: secondsLeft(token, platform.time.now()) };
  return platform.switches.suiteErrcode ? ok(body) : jsonAnswer(JSON_TYPE.wecom, body);
}

function authInfoOf(suite: Suite, { settings: { corpId, name, agentId } }: SuiteCorp): object {
  const privilege = {
    ...{ level: 1, allow_party: [1], allow_user: [], allow_tag: [] },
    ...{ extra_party: [], extra_user: [], extra_tag: [] },
  };
  const agent = {
    agentid: agentId,
    name: "沙箱应用",
    auth_mode: 0,
    is_customized_app: suite.isAgency,
    privilege,
  };
  return {
    auth_corp_info: { corpid: corpId, corp_name: name, corp_type: "verified", corp_full_name: name },
    auth_info: { agent: [agent] },
  };
}

function authUserOf(suite: Suite, { settings: { corpId } }: SuiteCorp): object {
  const open_userid = derivedId("wo", 32, "open_userid", suite.provider.settings.corpId, corpId);
  return { userid: derivedId("user-", 16, "admin", corpId), open_userid, name: "沙箱管理员", avatar: "" };
}
