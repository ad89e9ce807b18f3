import type { Slot } from "../apps/slot.ts";
import { repeaterOf } from "../clients/access.ts";
import type { Login } from "../login/login.ts";
import { Secret } from "../secret.ts";
import type { Platform } from "../errors.ts";
import { type Parameters, readParameters } from "./parameters.ts";
import type { TokenEndpoint } from "./ticket-endpoints.ts";
import { type SlotChoiceParts, weixinSlotOf } from "./slot-choice.ts";
import type { SecretEndpoint } from "./token-endpoints.ts";
import { refusalOf } from "./wechat-failure.ts";

/** What the endpoints that exchange users' codes work with. */
export interface LoginEndpointParts extends SlotChoiceParts {
  readonly login: Pick<Login, "oauth" | "miniProgram" | "wecomUser" | "wecomMiniProgram">;
}

const CODE = /^[!-~]{1,512}$/;
const BY_CODE = { action: "login", grantType: "authorization_code" } as const;

/**
 * `GET /sns/jscode2session`: a Mini Program's login code.
 *
 * https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-login/code2Session.html
 */
export function miniProgramLoginEndpoint(parts: LoginEndpointParts): SecretEndpoint {
  return weixinLogin(parts, "js_code", (...asked) => parts.login.miniProgram(...asked));
}

/**
 * `GET /sns/oauth2/access_token`: a web page's OAuth code. The token in the answer is the user's own.
 *
 * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/Wechat_webpage_authorization.html
 */
export function oauthEndpoint(parts: LoginEndpointParts): SecretEndpoint {
  return weixinLogin(parts, "code", (...asked) => parts.login.oauth(...asked));
}

/**
 * `GET /cgi-bin/auth/getuserinfo`: a WeCom member's or visitor's code.
 *
 * https://developer.work.weixin.qq.com/document/path/96442
 */
export function wecomUserEndpoint(parts: LoginEndpointParts): TokenEndpoint {
  return wecomLogin(parts, "code", (...asked) => parts.login.wecomUser(...asked));
}

/** `GET /cgi-bin/miniprogram/jscode2session`: the login code of a Mini Program inside WeCom. */
export function wecomMiniProgramEndpoint(parts: LoginEndpointParts): TokenEndpoint {
  return wecomLogin(parts, "js_code", (...asked) => parts.login.wecomMiniProgram(...asked));
}

type Exchange = (slot: Slot, code: Secret, caller: string) => Promise<{ readonly answer: Secret }>;

function weixinLogin(parts: LoginEndpointParts, codeName: string, exchange: Exchange): SecretEndpoint {
  return async (request) => {
    const parameters = await readParameters(request);
    const slot = weixinSlotOf(parts, request, parameters, BY_CODE);
    const code = codeIn(parameters, codeName, "weixin");
    return (await exchange(slot, code, repeaterOf(request.caller))).answer.reveal();
  };
}

function wecomLogin({ access }: LoginEndpointParts, codeName: string, exchange: Exchange): TokenEndpoint {
  return async (request, slot) => {
    const { caller } = request;
    access.slotOfToken(caller, "login", slot);
    const code = codeIn(await readParameters(request), codeName, "wecom");
    return (await exchange(slot, code, repeaterOf(caller))).answer.reveal();
  };
}

function codeIn(parameters: Parameters, name: string, platform: Platform): Secret {
  const code = parameters.text(name);
  if (code === undefined) throw refusalOf(platform, 41008, "missing code");
  if (!CODE.test(code)) throw refusalOf(platform, 40029, "invalid code");
  return new Secret(code);
}
