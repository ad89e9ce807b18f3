import { type Platform, refusalOf, ServiceError } from "../errors.ts";
import { appName, type Slot } from "../apps/app.ts";
import { type Access, onBehalf, type Permit } from "../access/access.ts";
import type { Action } from "../access/client.ts";
import { mayUse } from "../access/authenticator.ts";
import { actorOf, callerKey } from "../access/principal.ts";
import type { CredentialRef } from "../credentials/credential.ts";
import type { CredentialKind } from "../credentials/kinds.ts";
import type { CredentialManager, GetNotes } from "../credentials/manager.ts";
import { FORCED_INTERVAL_MS } from "../credentials/pacing.ts";
import { secondsLeft, tokenReply } from "./schema.ts";
import { type Call, Reply } from "./face.ts";
import type { TokenContext } from "../credentials/token-resolver.ts";
import { type Parameters, readParameters, type WechatRequest } from "./wechat-request.ts";
import type { DeliveredToken, TokenDelivery } from "../credentials/virtual-tokens.ts";
import { type SlotChoiceParts, wecomSlotOf, weixinSlotOf } from "./slot-choice.ts";
import type { LoginCodes } from "../oauth/login-codes.ts";
import type { Login, WecomLoginKind } from "../login/login.ts";
import type { UserTokens } from "../login/user-tokens.ts";
import { Secret } from "../secret.ts";

/** What the drop-in endpoints work with. */
export type DropinParts = TokenEndpointParts & TicketEndpointParts & LoginEndpointParts;

/** An endpoint of WeChat's or WeCom's own that we answer ourselves. */
interface Dropin<Endpoint> {
  readonly platform: Platform;
  readonly methods: readonly ("GET" | "POST")[];
  /** What a caller must be granted. */
  readonly action: Action;
  readonly answer: Endpoint;
}

/** Every drop-in endpoint. */
export interface DropinEndpoints {
  /** Those that take an app's secret, by path. */
  readonly secret: ReadonlyMap<string, Dropin<SecretEndpoint>>;
  /** Those that take an access token, by platform and path: the token says which one is meant. */
  readonly token: Readonly<Record<Platform, ReadonlyMap<string, Dropin<TokenEndpoint>>>>;
}

/** The drop-in endpoints as a list of routes. */
export function dropinRoutes({ secret, token }: DropinEndpoints): { method: string; path: string }[] {
  return [...secret, ...token.weixin, ...token.wecom].flatMap(([path, { methods }]) =>
    methods.map((method) => ({ method, path })),
  );
}

/** Creates the drop-in endpoints. */
export function dropinEndpoints(parts: DropinParts): DropinEndpoints {
  const get = ["GET"] as const;
  const both = ["GET", "POST"] as const;
  const weixin = "weixin";
  const wecom = "wecom";
  const userLogin = (kind: WecomLoginKind) => wecomLogin(parts, "code", kind);
  const [read, ticketRead, login] = ["token:read", "ticket:read", "login"] as const;
  return {
    secret: new Map<string, Dropin<SecretEndpoint>>([
      [
        "/cgi-bin/token",
        { platform: weixin, methods: both, action: read, answer: classicTokenEndpoint(parts) },
      ],
      [
        "/cgi-bin/stable_token",
        { platform: weixin, methods: ["POST"], action: read, answer: stableTokenEndpoint(parts) },
      ],
      [
        "/cgi-bin/gettoken",
        { platform: wecom, methods: get, action: read, answer: wecomTokenEndpoint(parts) },
      ],
      [
        "/sns/jscode2session",
        { platform: weixin, methods: get, action: login, answer: miniProgramLoginEndpoint(parts) },
      ],
      [
        "/sns/oauth2/access_token",
        { platform: weixin, methods: get, action: login, answer: oauthEndpoint(parts) },
      ],
    ]),
    token: {
      weixin: new Map([
        [
          "/cgi-bin/ticket/getticket",
          { platform: weixin, methods: both, action: ticketRead, answer: weixinTicketEndpoint(parts) },
        ],
      ]),
      wecom: new Map<string, Dropin<TokenEndpoint>>([
        [
          "/cgi-bin/get_jsapi_ticket",
          { platform: wecom, methods: both, action: ticketRead, answer: wecomCorpTicketEndpoint(parts) },
        ],
        [
          "/cgi-bin/ticket/get",
          { platform: wecom, methods: both, action: ticketRead, answer: wecomAppTicketEndpoint(parts) },
        ],
        [
          "/cgi-bin/auth/getuserinfo",
          { platform: wecom, methods: get, action: login, answer: userLogin("wecom_user") },
        ],
        [
          "/cgi-bin/user/getuserinfo",
          { platform: wecom, methods: get, action: login, answer: userLogin("wecom_user_old_form") },
        ],
        [
          "/cgi-bin/school/getuserinfo",
          { platform: wecom, methods: get, action: login, answer: userLogin("wecom_school_user") },
        ],
        [
          "/cgi-bin/miniprogram/jscode2session",
          {
            ...{ platform: wecom, methods: get, action: login },
            answer: wecomLogin(parts, "js_code", "wecom_mini_program"),
          },
        ],
      ]),
    },
  };
}

/** What the ticket endpoints work with. */
interface TicketEndpointParts {
  readonly access: Access;
  readonly credentials: Pick<CredentialManager, "get">;
}

/** The context of an access token whose secret we hold. */
export type HeldSlot = TokenContext & { readonly slot: Slot };

/** An endpoint that takes an access token. */
type TokenEndpoint = (request: WechatRequest, held: HeldSlot, action: Action) => Promise<Reply>;

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
}

/** An endpoint that takes an app's secret, or an API key in its place. */
type SecretEndpoint = (request: WechatRequest, action: Action) => Reply | Promise<Reply>;

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
 * `GET /cgi-bin/gettoken`.
 *
 * https://developer.work.weixin.qq.com/document/path/91039
 */
function wecomTokenEndpoint(parts: TokenEndpointParts): SecretEndpoint {
  return async (request, action) => {
    const permit = wecomSlotOf(parts, request, await readParameters(request), action);
    return tokenReply(parts.delivery, permit, {}, (token) => ({
      errcode: 0,
      errmsg: "ok",
      ...tokenFields(token),
    }));
  };
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

/** What the login endpoints work with. */
interface LoginEndpointParts extends SlotChoiceParts {
  readonly login: Pick<Login, "oauth" | "miniProgram" | "wecom">;
  readonly loginCodes: Pick<LoginCodes, "codeFor">;
  readonly userTokens: Pick<UserTokens, "remember">;
}

const CODE = /^[!-~]{1,512}$/;

/**
 * `GET /sns/jscode2session`: a Mini Program's login code.
 *
 * https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-login/code2Session.html
 */
function miniProgramLoginEndpoint(parts: LoginEndpointParts): SecretEndpoint {
  return weixinLogin(parts, "js_code", ({ slot }, ...asked) => parts.login.miniProgram(slot, ...asked));
}

/**
 * `GET /sns/oauth2/access_token`: a web page's OAuth code. The token in the answer is the user's own.
 *
 * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/Wechat_webpage_authorization.html
 */
function oauthEndpoint(parts: LoginEndpointParts): SecretEndpoint {
  return weixinLogin(parts, "code", async (permit, code, caller) => {
    const theirs = await parts.loginCodes.codeFor(permit, code);
    const user = await parts.login.oauth(permit.slot, theirs, caller);
    parts.userTokens.remember(permit, user);
    return user;
  });
}

type Exchange = (permit: Permit, code: Secret, caller: string) => Promise<{ readonly answer: Secret }>;

function weixinLogin(parts: LoginEndpointParts, codeName: string, exchange: Exchange): SecretEndpoint {
  return async (request, action) => {
    const parameters = await readParameters(request);
    const grant = { action, grantType: "authorization_code" };
    const permit = weixinSlotOf(parts, request, parameters, grant);
    return exchanged(request.call, permit, codeIn(parameters, codeName, "weixin"), exchange);
  };
}

/**
 * `GET /cgi-bin/auth/getuserinfo`, `…/user/getuserinfo`, `…/school/getuserinfo` and `…/miniprogram/jscode2session`: the code
 * of a WeCom member or visitor.
 */
function wecomLogin(
  { access, login, loginCodes }: LoginEndpointParts,
  codeName: string,
  kind: WecomLoginKind,
): TokenEndpoint {
  return async (request, { principal, slot }, action) => {
    const permit = access.slotOfToken(principal, action, slot);
    const code = codeIn(await readParameters(request), codeName, "wecom");
    return exchanged(request.call, permit, code, async (given, sent, caller) =>
      login.wecom(kind, given.slot, await loginCodes.codeFor(given, sent), caller),
    );
  };
}

async function exchanged({ origin }: Call, permit: Permit, code: Secret, exchange: Exchange): Promise<Reply> {
  const caller = callerKey(permit.principal, origin);
  const { answer } = await onBehalf(permit, exchange(permit, code, caller));
  return new Reply(answer.reveal(), { permit });
}

function codeIn(parameters: Parameters, name: string, platform: Platform): Secret {
  const code = parameters.text(name);
  if (code === undefined) throw refusalOf(platform, 41008, "missing code");
  if (!CODE.test(code)) throw refusalOf(platform, 40029, "invalid code");
  return new Secret(code);
}
