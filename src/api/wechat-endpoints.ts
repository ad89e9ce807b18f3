import { refusalOf, ServiceError } from "../errors.ts";
import { appName, isAgency, type Slot } from "../apps/app.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import type { Access } from "../access/access.ts";
import { onBehalf, type Permit } from "../access/permits.ts";
import type { Action } from "../access/client.ts";
import { mayUse } from "../access/authenticator.ts";
import { actorOf, wrongSecret } from "../access/principal.ts";
import type { CredentialRef } from "../credentials/credential.ts";
import type { CredentialKind } from "../credentials/kinds.ts";
import type { CredentialManager, GetNotes } from "../credentials/manager.ts";
import { FORCED_INTERVAL_MS } from "../credentials/pacing.ts";
import { isVirtualGrant, type VirtualGrants } from "../credentials/virtual-grants.ts";
import type { DeliveredToken, TokenDelivery } from "../credentials/virtual-tokens.ts";
import type { WecomLoginKind } from "../login/login.ts";
import {
  type AuthorizationEndpointParts,
  authorizerTokenEndpoint,
  corpTokenEndpoint,
  permanentCodeEndpoint,
  queryAuthEndpoint,
} from "./authorization-endpoints.ts";
import type { Dropin, DropinEndpoints, HeldSlot, SecretEndpoint, TokenEndpoint } from "./dropin.ts";
import { type Call, Reply } from "./face.ts";
import {
  componentLogin,
  type LoginEndpointParts,
  miniProgramLoginEndpoint,
  oauthEndpoint,
  suiteLogin,
  wecomLogin,
} from "./login-endpoints.ts";
import { platformTokenEndpoint, startPushEndpoint } from "./platform-token-endpoints.ts";
import { secondsLeft, tokenReply } from "./schema.ts";
import { type SlotChoiceParts, wecomSlotOf, weixinSlotOf } from "./slot-choice.ts";
import { type Parameters, readParameters, type WechatRequest } from "./wechat-request.ts";

/** What the drop-in endpoints work with. */
export type DropinParts = TokenEndpointParts &
  TicketEndpointParts &
  LoginEndpointParts &
  AuthorizationEndpointParts;

/** Creates the drop-in endpoints. */
export function dropinEndpoints(parts: DropinParts): DropinEndpoints {
  const weixin = { platform: "weixin" } as const;
  const wecom = { platform: "wecom" } as const;
  const read = { methods: ["POST"], action: "token:read" } as const;
  const ticket = { methods: ["GET", "POST"], action: "ticket:read" } as const;
  const login = { methods: ["GET"], action: "login" } as const;
  const component = { ...weixin, role: "component" } as const;
  const suite = { ...wecom, role: "suite" } as const;
  const secret: Record<string, Dropin<SecretEndpoint>> = {
    "/cgi-bin/token": { ...weixin, ...read, methods: ["GET", "POST"], answer: classicTokenEndpoint(parts) },
    "/cgi-bin/stable_token": { ...weixin, ...read, answer: stableTokenEndpoint(parts) },
    "/cgi-bin/gettoken": { ...wecom, ...read, methods: ["GET"], answer: wecomTokenEndpoint(parts) },
    "/sns/jscode2session": { ...weixin, ...login, answer: miniProgramLoginEndpoint(parts) },
    "/sns/oauth2/access_token": { ...weixin, ...login, answer: oauthEndpoint(parts) },
    "/cgi-bin/component/api_component_token": {
      ...{ ...weixin, ...read },
      answer: platformTokenEndpoint(parts, "component"),
    },
    "/cgi-bin/component/api_start_push_ticket": { ...weixin, ...read, answer: startPushEndpoint(parts) },
    "/cgi-bin/service/get_suite_token": { ...wecom, ...read, answer: platformTokenEndpoint(parts, "suite") },
    "/cgi-bin/service/get_provider_token": {
      ...{ ...wecom, ...read },
      answer: platformTokenEndpoint(parts, "provider"),
    },
  };
  const ofWeixin: Record<string, Dropin<TokenEndpoint>> = {
    "/cgi-bin/ticket/getticket": { ...weixin, ...ticket, answer: weixinTicketEndpoint(parts) },
    "/cgi-bin/component/api_query_auth": { ...component, ...read, answer: queryAuthEndpoint(parts) },
    "/cgi-bin/component/api_authorizer_token": {
      ...{ ...component, ...read },
      answer: authorizerTokenEndpoint(parts),
    },
    "/sns/component/jscode2session": { ...component, ...login, answer: componentLogin(parts, "js_code") },
    "/sns/oauth2/component/access_token": { ...component, ...login, answer: componentLogin(parts, "code") },
  };
  const ofMember = (codeName: string, kind: WecomLoginKind) => {
    return { ...wecom, ...login, answer: wecomLogin(parts, codeName, kind) };
  };
  const ofSuiteUser = (codeName: string, kind: WecomLoginKind) => {
    return { ...suite, ...login, answer: suiteLogin(parts, codeName, kind) };
  };
  const ofWecom: Record<string, Dropin<TokenEndpoint>> = {
    "/cgi-bin/get_jsapi_ticket": { ...wecom, ...ticket, answer: wecomCorpTicketEndpoint(parts) },
    "/cgi-bin/ticket/get": { ...wecom, ...ticket, answer: wecomAppTicketEndpoint(parts) },
    "/cgi-bin/auth/getuserinfo": ofMember("code", "wecom_user"),
    "/cgi-bin/user/getuserinfo": ofMember("code", "wecom_user_old_form"),
    "/cgi-bin/school/getuserinfo": ofMember("code", "wecom_school_user"),
    "/cgi-bin/miniprogram/jscode2session": ofMember("js_code", "wecom_mini_program"),
    "/cgi-bin/service/get_permanent_code": { ...suite, ...read, answer: permanentCodeEndpoint(parts, true) },
    "/cgi-bin/service/v2/get_permanent_code": {
      ...{ ...suite, ...read },
      answer: permanentCodeEndpoint(parts, false),
    },
    "/cgi-bin/service/get_corp_token": { ...suite, ...read, answer: corpTokenEndpoint(parts) },
    "/cgi-bin/service/auth/getuserinfo3rd": ofSuiteUser("code", "suite_user"),
    "/cgi-bin/service/getuserinfo3rd": ofSuiteUser("code", "suite_user_old_form"),
    "/cgi-bin/service/miniprogram/jscode2session": ofSuiteUser("js_code", "suite_mini_program"),
  };
  return {
    secret: new Map(Object.entries(secret)),
    token: { weixin: new Map(Object.entries(ofWeixin)), wecom: new Map(Object.entries(ofWecom)) },
  };
}

/** What the ticket endpoints work with. */
interface TicketEndpointParts {
  readonly access: Access;
  readonly credentials: Pick<CredentialManager, "get">;
}

const WEIXIN_KINDS: ReadonlyMap<string | undefined, CredentialKind> = new Map([
  ["jsapi", "jsapi_ticket"],
  ["wx_card", "wx_card_ticket"],
]);
const WECOM_KINDS: ReadonlyMap<string | undefined, CredentialKind> = new Map([
  ["agent_config", "agent_config_ticket"],
  ["wx_card", "wx_card_ticket"],
]);

/**
 * `GET|POST /cgi-bin/ticket/getticket?type=jsapi|wx_card`.
 *
 * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/JS-SDK.html
 */
function weixinTicketEndpoint(parts: TicketEndpointParts): TokenEndpoint {
  return async (request, held, action) => {
    const kind = WEIXIN_KINDS.get((await readParameters(request)).text("type"));
    if (!kind) throw refusalOf("weixin", 40097, "invalid args");
    return ticket(parts, held, action, kind);
  };
}

/**
 * `GET|POST /cgi-bin/get_jsapi_ticket`: the corp's. PowerWeChat POSTs it.
 *
 * https://developer.work.weixin.qq.com/document/path/90506
 */
function wecomCorpTicketEndpoint(parts: TicketEndpointParts): TokenEndpoint {
  return (_request, held, action) => ticket(parts, held, action, "jsapi_ticket");
}

/**
 * `GET|POST /cgi-bin/ticket/get?type=agent_config|wx_card`: the application's.
 *
 * https://developer.work.weixin.qq.com/document/path/90506
 */
function wecomAppTicketEndpoint(parts: TicketEndpointParts): TokenEndpoint {
  return async (request, held, action) => {
    const kind = WECOM_KINDS.get((await readParameters(request)).text("type"));
    if (!kind) throw refusalOf("wecom", 40058, "invalid parameter");
    return ticket(parts, held, action, kind);
  };
}

async function ticket(
  { access, credentials }: TicketEndpointParts,
  { principal, slot }: HeldSlot,
  action: Action,
  kind: CredentialKind,
): Promise<Reply> {
  const permit = access.slotOfToken(principal, action, slot);
  const notes: GetNotes = {};
  const held = await onBehalf(permit, credentials.get({ slot, kind }, { notes }));
  const data = { errcode: 0, errmsg: "ok", ticket: held.value.reveal(), expires_in: secondsLeft(held) };
  return new Reply(data, { permit, result: notes.result });
}

/** What the token endpoints work with. */
interface TokenEndpointParts extends SlotChoiceParts {
  readonly delivery: TokenDelivery;
  readonly directory: Pick<AppDirectory, "namesOfCorp" | "find" | "findSlot">;
  readonly virtualGrants: Pick<VirtualGrants, "holder" | "read">;
}

/**
 * `GET|POST /cgi-bin/token`: the shared token with its remaining life, in either token mode. SDKs that can use stable
 * tokens POST to the same address.
 *
 * https://developers.weixin.qq.com/doc/subscription/api/base/api_getaccesstoken.html
 */
function classicTokenEndpoint(parts: TokenEndpointParts): SecretEndpoint {
  return (request, action) => {
    const parameters = readParameters(request);
    if (!(parameters instanceof Promise)) return weixinToken(parts, request, action, parameters);
    return parameters.then((read) => weixinToken(parts, request, action, read));
  };
}

/**
 * `POST /cgi-bin/stable_token`, also with `force_refresh`, within the app's budget; a client without `token:refresh`
 * gets the current token for it.
 *
 * https://developers.weixin.qq.com/doc/subscription/api/base/api_getstableaccesstoken.html
 */
function stableTokenEndpoint(parts: TokenEndpointParts): SecretEndpoint {
  return async (request, action) => {
    const parameters = await readParameters(request);
    if (!parameters.isJson)
      throw refusalOf("weixin", 47001, "data format error", { code: "unsupported_media_type" });
    return weixinToken(parts, request, action, parameters);
  };
}

/**
 * `GET /cgi-bin/gettoken`. The secret of an agency app is a permanent code, which may be a virtual one.
 *
 * https://developer.work.weixin.qq.com/document/path/91039
 */
function wecomTokenEndpoint(parts: TokenEndpointParts): SecretEndpoint {
  return async (request, action) => {
    const parameters = await readParameters(request);
    const permit = isVirtualGrant(parameters.text("corpsecret") ?? "")
      ? await agencyPermit(parts, request, parameters, action)
      : wecomSlotOf(parts, request, parameters, action);
    return tokenReply(parts.delivery, permit, {}, (token) => ({
      errcode: 0,
      errmsg: "ok",
      ...tokenFields(token),
    }));
  };
}

/**
 * That of a virtual permanent code of an agency app, for the client that it was given to, as nothing else shows here who
 * comes; one that was given to no client, for a client that shows its key. A suite's is good for `get_corp_token` alone.
 */
async function agencyPermit(
  { access, directory, virtualGrants }: TokenEndpointParts,
  { call }: WechatRequest,
  parameters: Parameters,
  action: Action,
): Promise<Permit> {
  const [corpId, code = ""] = [parameters.text("corpid"), parameters.text("corpsecret")];
  const { app: name = "", client = "" } = virtualGrants.read(code) ?? {};
  const [app, slot] = [directory.find(name), directory.findSlot(name)];
  const suite = app?.authorization?.platformApp;
  const isTheirs = suite !== undefined && isAgency(suite) && app?.platform === "wecom" && app.id === corpId;
  const isOfClient = client !== "" || call.principal.kind === "client";
  const { origin, traceId } = call;
  const caller = { origin, traceId, principal: access.secretHolder(call) };
  const principal = isTheirs && isOfClient ? await virtualGrants.holder(caller, app, code) : undefined;
  if (!principal || !slot) throw access.wrong(call, wrongSecret("wecom"));
  return access.slotOfToken(principal, action, slot);
}

function weixinToken(
  { access, delivery, directory }: TokenEndpointParts,
  request: WechatRequest,
  action: Action,
  parameters: Parameters,
): Reply | Promise<Reply> {
  const grant = { action, grantType: "client_credential" };
  const permit = weixinSlotOf({ access, directory }, request, parameters, grant);
  const { principal, slot, usage } = permit;
  const current = (given: Permit) => tokenReply(delivery, given, {}, tokenFields);
  const isForced = parameters.isJson && parameters.isTrue("force_refresh");
  if (!isForced) return current(permit);
  if (mayUse(principal, "token:refresh", appName(slot))) {
    const forcing = access.slotOfToken(principal, "token:refresh", slot);
    return forcedToken(delivery, request.call, forcing, () => current(forcing));
  }
  // Programs whose jobs force a refresh must go on when only their address was changed; the audit tells who they are.
  return current({ ...permit, usage: { ...usage, action: "token:read force_refresh" } });
}

async function forcedToken(
  delivery: TokenDelivery,
  call: Call,
  permit: Permit,
  current: () => Reply | Promise<Reply>,
): Promise<Reply> {
  const { principal, slot } = permit;
  const actor = actorOf(principal, call);
  try {
    const token = await delivery.refresh(permit, tokenOf(slot), { force: true, actor });
    return new Reply(tokenFields(token), { permit, result: "refresh" });
  } catch (error) {
    if (!isBudget(error)) throw error;
    const { retryAfterMs } = error;
    // WeChat, too, answers a forced refresh that comes too soon after the last with the current token.
    if (retryAfterMs <= FORCED_INTERVAL_MS) return current();
    const message = "reach max api daily quota limit";
    throw refusalOf("weixin", 45009, message, { code: "rate_limited", retryAfterMs });
  }
}

function tokenOf(slot: Slot): CredentialRef {
  return { slot, kind: "access_token" };
}

function tokenFields(token: DeliveredToken) {
  return { access_token: token.value.reveal(), expires_in: secondsLeft(token) };
}

function isBudget(error: unknown): error is ServiceError & { retryAfterMs: number } {
  if (!(error instanceof ServiceError) || error.retryAfterMs === undefined) return false;
  return !error.upstream && (error.code === "unavailable" || error.code === "rate_limited");
}
