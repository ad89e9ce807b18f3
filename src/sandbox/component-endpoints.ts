import type { Authorization, Component } from "./component.ts";
import type { ComponentControl } from "./component-control.ts";
import { type IssuedToken, secondsLeft } from "./issued-tokens.ts";
import {
  type Answer,
  cgiAnswer,
  jsonBody,
  ok,
  Refusal,
  requirePost,
  type SandboxRequest,
  text,
} from "./sandbox-request.ts";
import { isListed } from "./sandbox-settings.ts";
import { miniProgramSession, redeem, refreshUser, userSession } from "./weixin-login-endpoints.ts";
import type { WeixinApp, WeixinPlatform } from "./weixin-platform.ts";

/** All third-party platforms of the sandbox, and the accounts behind them. */
export interface Components {
  readonly weixin: WeixinPlatform;
  readonly byAppId: ReadonlyMap<string, ComponentControl>;
}

/** `undefined`: the call is not about a component. */
type Endpoint = (components: Components, request: SandboxRequest) => Answer | undefined;

const TOKEN = "/cgi-bin/component/api_component_token";
const MAX_COUNT = 500;

const ENDPOINTS = new Map<string, Endpoint>([
  [TOKEN, componentToken],
  ["/cgi-bin/component/api_start_push_ticket", startPushing],
  ["/cgi-bin/clear_quota/v2", clearQuota],
  ["/cgi-bin/component/api_create_preauthcode", withCaller(preAuthCode)],
  ["/cgi-bin/component/api_query_auth", withCaller(queryAuth)],
  ["/cgi-bin/component/api_authorizer_token", withCaller(authorizerToken)],
  ["/cgi-bin/component/api_get_authorizer_list", withCaller(list)],
  ["/cgi-bin/component/api_get_authorizer_info", withCaller(info)],
  ["/cgi-bin/component/get_authorizer_option", getOption],
  ["/cgi-bin/component/set_authorizer_option", setOption],
  ["/sns/component/jscode2session", miniProgramLogin],
  ["/sns/oauth2/component/access_token", webLogin],
  ["/sns/oauth2/component/refresh_token", refreshWebLogin],
]);

/**
 * What api.weixin.qq.com answers third-party platforms; `undefined` for the calls of everybody else.
 *
 * @throws {Refusal} what it refuses with.
 */
export function answerComponent(components: Components, request: SandboxRequest): Answer | undefined {
  return ENDPOINTS.get(request.path)?.(components, request);
}

/**
 * `POST /cgi-bin/component/api_component_token`: refuses in the order appid, allow-list, secret, ticket, quota.
 *
 * @see https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getcomponentaccesstoken.html
 */
function componentToken(components: Components, request: SandboxRequest): Answer {
  const body = posted(request);
  const { component } = authenticate(components, request, body, "component_appsecret");
  const now = components.weixin.time.now();
  const token = component.issueToken(text(body["component_verify_ticket"]), request.path);
  return cgiAnswer({ component_access_token: token.value, expires_in: secondsLeft(token, now) });
}

/**
 * `POST /cgi-bin/component/api_start_push_ticket`: turns the pushing of tickets on; takes `component_secret` where the
 * token takes `component_appsecret`.
 *
 * @see https://developers.weixin.qq.com/doc/oplatform/OpenApiDoc/thirdparty/ticket-token/api_start_push_ticket.html
 */
function startPushing(components: Components, request: SandboxRequest): Answer {
  const control = authenticate(components, request, posted(request), "component_secret");
  return ok({ errmsg: control.resumePushing() ? "ok" : "in a normal state" });
}

/**
 * `POST /cgi-bin/clear_quota/v2` with a `component_appid`: its own quotas, or with an `appid` an authorizer's. Without
 * one it is an app's own call.
 *
 * @see https://developers.weixin.qq.com/doc/oplatform/openApi/openapi/api_componentclearquota_v2.html
 */
function clearQuota(components: Components, request: SandboxRequest): Answer | undefined {
  if (request.query.has("appid") || request.body.length === 0) return undefined;
  const body = posted(request);
  if (body["component_appid"] === undefined) return undefined;
  const { component } = authenticate(components, request, body, "appsecret");
  const appId = text(body["appid"]);
  (appId === "" ? component : component.authorization(appId)).account.clearQuota();
  return ok();
}

/** @see https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getpreauthcode.html */
function preAuthCode(component: Component): Answer {
  const { value, expiresIn } = component.createPreAuthCode();
  return cgiAnswer({ pre_auth_code: value, expires_in: expiresIn });
}

/**
 * `POST /cgi-bin/component/api_query_auth`: what an authorization code stands for, once. Only from then on there is a
 * refresh token.
 *
 * @see https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getauthorizerrefreshtoken.html
 */
function queryAuth(component: Component, body: Record<string, unknown>, { weixin }: Components): Answer {
  const code = text(body["authorization_code"]);
  if (code === "") throw new Refusal(40097, "invalid args");
  const authorization = component.redeem(code);
  const now = weixin.time.now();
  const issued = authorization.query();
  return cgiAnswer({
    authorization_info: {
      authorizer_appid: authorization.authorizer.appId,
      ...(issued && authorizerTokens(issued, now)),
      func_info: funcInfo(authorization),
    },
  });
}

/** @see https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getauthorizeraccesstoken.html */
function authorizerToken(
  component: Component,
  body: Record<string, unknown>,
  { weixin }: Components,
): Answer {
  const authorization = component.authorization(text(body["authorizer_appid"]));
  const now = weixin.time.now();
  const issued = authorization.refresh(text(body["authorizer_refresh_token"]));
  return cgiAnswer(authorizerTokens(issued, now));
}

function authorizerTokens(
  { token, refreshToken }: { token: IssuedToken<WeixinApp>; refreshToken: string },
  now: number,
): object {
  return {
    authorizer_access_token: token.value,
    expires_in: secondsLeft(token, now),
    authorizer_refresh_token: refreshToken,
  };
}

/**
 * `POST /cgi-bin/component/api_get_authorizer_list`: an account whose code was never exchanged has no `refresh_token`.
 *
 * @see https://developers.weixin.qq.com/doc/oplatform/openApi/authorization-management/api_getauthorizerlist.html
 */
function list(component: Component, body: Record<string, unknown>): Answer {
  const [offset, count] = [Number(body["offset"] ?? 0), Number(body["count"] ?? 0)];
  if (!(offset >= 0 && count > 0)) throw new Refusal(40097, "invalid args");
  if (count > MAX_COUNT) throw new Refusal(40170, "args count exceed count limit");
  const all = [...component.authorizers.values()].filter(({ isAuthorized }) => isAuthorized);
  return cgiAnswer({
    total_count: all.length,
    list: all.slice(offset, offset + count).map(({ authorizer, refreshToken, authorizedAt }) => ({
      authorizer_appid: authorizer.appId,
      ...(refreshToken !== undefined && { refresh_token: refreshToken }),
      auth_time: authorizedAt,
    })),
  });
}

/** @see https://developers.weixin.qq.com/doc/oplatform/openApi/authorization-management/api_getauthorizerinfo.html */
function info(component: Component, body: Record<string, unknown>): Answer {
  const authorization = component.authorization(text(body["authorizer_appid"]));
  const { appId, name, userName, kind } = authorization.authorizer;
  const network = { RequestDomain: [], WsRequestDomain: [], UploadDomain: [], DownloadDomain: [] };
  return cgiAnswer({
    authorizer_info: {
      nick_name: name,
      head_img: `http://wx.qlogo.sandbox.invalid/${appId}/0`,
      service_type_info: { id: kind === "official" ? 2 : 0 },
      verify_type_info: { id: 0 },
      user_name: userName,
      principal_name: "沙箱公司",
      alias: "",
      qrcode_url: `http://mmbiz.qpic.sandbox.invalid/${appId}/0`,
      business_info: { open_pay: 0, open_shake: 0, open_scan: 0, open_card: 0, open_store: 0 },
      signature: "",
      ...(kind === "miniprogram" && {
        MiniProgramInfo: { network, categories: [], visit_status: 0 },
      }),
      register_type: 0,
      account_status: 1,
      basic_config: { is_phone_configured: true, is_email_configured: true },
    },
    authorization_info: {
      authorizer_appid: appId,
      authorizer_refresh_token: authorization.refreshToken ?? "",
      func_info: funcInfo(authorization),
    },
  });
}

function funcInfo({ funcIds }: Authorization): object[] {
  return funcIds.map((id) => ({ funcscope_category: { id } }));
}

function getOption(components: Components, request: SandboxRequest): Answer {
  const { authorization, name, value } = option(components, request);
  return ok({ authorizer_appid: authorization.authorizer.appId, option_name: name, option_value: value });
}

function setOption(components: Components, request: SandboxRequest): Answer {
  const { authorization, name, body } = option(components, request);
  authorization.options.set(name, text(body["option_value"]));
  return ok();
}

/** The option that is asked about: by the authorizer's own token, or as older pages say by the component's. */
function option(components: Components, request: SandboxRequest) {
  const { owner } = components.weixin.requireToken(tokenOf(request));
  const body = posted(request);
  const own = [...components.byAppId.values()]
    .map(({ component }) => component.authorizers.get(owner.settings.appId))
    .find((each) => each?.isAuthorized);
  const authorization = own ?? caller(components, request).authorization(text(body["authorizer_appid"]));
  const name = text(body["option_name"]);
  const value = authorization.options.get(name);
  if (value === undefined) throw new Refusal(40097, "invalid args");
  return { authorization, name, value, body };
}

/** @see https://developers.weixin.qq.com/doc/oplatform/openApi/miniprogram-management/login/api_thirdpartycode2session.html */
function miniProgramLogin(components: Components, request: SandboxRequest): Answer {
  const app = onBehalf(components, request, "authorization_code");
  return miniProgramSession(app, redeem(app, request.query.get("js_code") ?? ""));
}

/** @see https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/Official_Accounts/official_account_website_authorization.html */
function webLogin(components: Components, request: SandboxRequest): Answer {
  const app = onBehalf(components, request, "authorization_code");
  return userSession(components.weixin, app, redeem(app, request.query.get("code") ?? ""));
}

function refreshWebLogin(components: Components, request: SandboxRequest): Answer {
  return refreshUser(components.weixin, onBehalf(components, request, "refresh_token"), request);
}

/** The account for which a component logs a user in. */
function onBehalf(components: Components, request: SandboxRequest, grantType: string): WeixinApp {
  const { query, peerIp } = request;
  const { owner } = components.weixin.requireToken(tokenOf(request));
  const component = components.byAppId.get(owner.settings.appId)?.component;
  if (!component) throw new Refusal(48001, "api unauthorized");
  if (query.get("component_appid") !== owner.settings.appId)
    throw new Refusal(40094, "invalid component credential");
  if (!isAllowed(component, peerIp))
    throw new Refusal(40090, `invalid request source (bad client ip), requestIP: ${peerIp}`);
  const appId = query.get("appid") ?? "";
  if (appId === "") throw new Refusal(41002, "appid missing");
  const { account } = component.authorization(appId);
  if (query.get("grant_type") !== grantType) throw new Refusal(40002, "invalid grant_type");
  return account;
}

/** An endpoint below `/cgi-bin/component/` that takes the component's token and names the component in its body. */
function withCaller(
  answer: (component: Component, body: Record<string, unknown>, components: Components) => Answer,
): Endpoint {
  return (components, request) => answer(caller(components, request), posted(request), components);
}

function caller(components: Components, request: SandboxRequest): Component {
  const { owner } = components.weixin.requireToken(tokenOf(request));
  const { component } = components.byAppId.get(owner.settings.appId) ?? {};
  if (!component) throw new Refusal(61014, "must use component token for component api");
  requireAllowed(component, request.peerIp);
  const named = text(posted(request)["component_appid"]);
  if (named === "") throw new Refusal(41018, "missing component_appid");
  if (named !== owner.settings.appId) throw new Refusal(61011, "invalid component");
  owner.spend(request.path);
  return component;
}

/** The component that knows its secret, which each endpoint calls otherwise. */
function authenticate(
  { byAppId }: Components,
  { peerIp }: SandboxRequest,
  body: Record<string, unknown>,
  secretField: string,
): ComponentControl {
  const appId = text(body["component_appid"]);
  if (appId === "") throw new Refusal(41018, "missing component_appid");
  const control = byAppId.get(appId);
  if (!control) throw new Refusal(40013, "invalid appid");
  requireAllowed(control.component, peerIp);
  const secret = text(body[secretField]);
  if (secret === "") throw new Refusal(41004, "appsecret missing");
  if (secret !== control.component.account.settings.secret) throw new Refusal(40125, "invalid appsecret");
  return control;
}

function requireAllowed(component: Component, peerIp: string): void {
  if (!isAllowed(component, peerIp))
    throw new Refusal(61004, `access clientip is not registered requestIP: ${peerIp}`);
}

function isAllowed({ account }: Component, peerIp: string): boolean {
  const { ipList } = account.settings;
  return ipList === undefined || isListed(peerIp, ipList);
}

function tokenOf({ query }: SandboxRequest): string {
  return query.get("component_access_token") ?? query.get("access_token") ?? "";
}

function posted(request: SandboxRequest): Record<string, unknown> {
  requirePost(request);
  if (request.body.length === 0) throw new Refusal(44002, "empty post data");
  return jsonBody(request);
}
