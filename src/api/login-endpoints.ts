import { onBehalf, type Permit } from "../access/permits.ts";
import { mayUse } from "../access/authenticator.ts";
import { callerKey } from "../access/principal.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { appName, nameOfApp } from "../apps/app.ts";
import { type Platform, refusalOf } from "../errors.ts";
import type { Login, WecomLoginKind } from "../login/login.ts";
import type { UserTokens } from "../login/user-tokens.ts";
import type { LoginCodes } from "../oauth/login-codes.ts";
import { Secret } from "../secret.ts";
import { accountName } from "./authorization-endpoints.ts";
import type { SecretEndpoint, TokenEndpoint } from "./dropin.ts";
import { type Call, Reply } from "./face.ts";
import { type SlotChoiceParts, weixinSlotOf } from "./slot-choice.ts";
import { type Parameters, readParameters } from "./wechat-request.ts";

/** What the login endpoints work with. */
export interface LoginEndpointParts extends SlotChoiceParts {
  readonly directory: Pick<AppDirectory, "namesOfCorp" | "findSlot" | "authorizedTo">;
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
export function miniProgramLoginEndpoint(parts: LoginEndpointParts): SecretEndpoint {
  return weixinLogin(parts, "js_code", miniProgramExchange(parts));
}

function miniProgramExchange({ login }: LoginEndpointParts): Exchange {
  return ({ slot }, ...asked) => login.miniProgram(slot, ...asked);
}

/**
 * `GET /sns/oauth2/access_token`: a web page's OAuth code. The token in the answer is the user's own.
 *
 * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/Wechat_webpage_authorization.html
 */
export function oauthEndpoint(parts: LoginEndpointParts): SecretEndpoint {
  return weixinLogin(parts, "code", oauthExchange(parts));
}

function oauthExchange({ login, loginCodes, userTokens }: LoginEndpointParts): Exchange {
  return async (permit, code, caller) => {
    const user = await login.oauth(permit.slot, await loginCodes.codeFor(permit, code), caller);
    userTokens.remember(permit, user);
    return user;
  };
}

/**
 * `GET /sns/component/jscode2session` and `/sns/oauth2/component/access_token`: the same codes, of an account that a
 * component has, which the call names.
 *
 * https://developers.weixin.qq.com/doc/oplatform/openApi/miniprogram-management/login/api_thirdpartycode2session.html
 * https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/Official_Accounts/official_account_website_authorization.html
 */
export function componentLogin(parts: LoginEndpointParts, codeName: "code" | "js_code"): TokenEndpoint {
  return async (request, { principal, slot: component }, action) => {
    const parameters = await readParameters(request);
    const appId = parameters.text("appid");
    if (appId === undefined) throw refusalOf("weixin", 41002, "appid missing");
    if (parameters.text("component_appid") !== component.appId)
      throw refusalOf("weixin", 40094, "invalid component credential");
    const name = accountName(appId, component);
    if (principal.kind === "client" && !mayUse(principal, action, name))
      throw parts.access.notGranted(principal, action, name);
    const slot = parts.directory.findSlot(name);
    if (!slot) throw refusalOf("weixin", 61003, "component is not authorized by this account");
    const permit = parts.access.slotOfToken(principal, action, slot);
    if (parameters.text("grant_type") !== "authorization_code")
      throw refusalOf("weixin", 40002, "invalid grant_type");
    const exchange = codeName === "code" ? oauthExchange(parts) : miniProgramExchange(parts);
    return exchanged(request.call, permit, codeIn(parameters, codeName, "weixin"), exchange);
  };
}

/**
 * `GET /cgi-bin/service/auth/getuserinfo3rd`, `…/getuserinfo3rd` and `…/miniprogram/jscode2session`: the code of a user of a
 * suite's app, whose corp the answer names.
 *
 * https://developer.work.weixin.qq.com/document/path/91121
 */
export function suiteLogin(
  { access, directory, login, loginCodes }: LoginEndpointParts,
  codeName: string,
  kind: WecomLoginKind,
): TokenEndpoint {
  return async (request, { principal, slot: suite }, action) => {
    const isGranted = (name: string) => mayUse(principal, action, name);
    // Whose code it is shows afterwards: it is not spent for a caller that may log in nobody's users.
    // A corp whose authorization is lost must not keep out the users of the others.
    const corp = directory
      .authorizedTo(suite.appId)
      .flatMap((app) => directory.findSlot(nameOfApp(app)) ?? [])
      .find((slot) => !slot.isDisabled && isGranted(appName(slot)));
    const permit = access.slotOfToken(principal, action, corp ?? suite);
    const code = codeIn(await readParameters(request), codeName, "wecom");
    return exchanged(request.call, { ...permit, slot: suite }, code, async (given, sent, caller) => {
      const user = await login.wecom(kind, suite, await loginCodes.codeFor(given, sent), caller);
      const { corpid, CorpId = corpid } = JSON.parse(user.answer.reveal()) as Partial<
        Record<string, unknown>
      >;
      const name = typeof CorpId === "string" ? accountName(CorpId, suite) : suite.appId;
      if (!isGranted(name)) throw access.notGranted(principal, action, name);
      return user;
    });
  };
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
export function wecomLogin(
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
