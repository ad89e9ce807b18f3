import type { Slot } from "../apps/app.ts";
import type { Secret } from "../secret.ts";

/** A user of a web page, as WeChat's OAuth returns it. The tokens are the user's, not the app's. */
export interface OauthUser {
  readonly accessToken: Secret;
  /** Seconds, as WeChat states it: the token is the caller's, and not renewed here. */
  readonly expiresIn: number;
  readonly refreshToken: Secret;
  readonly openId: string;
  readonly scope: string;
  readonly unionId?: string;
  /** 1 for a virtual account, whose ids must not be stored; absent otherwise. */
  readonly isSnapshotUser?: number;
  /** The JSON text of WeChat's answer, exactly as it came. */
  readonly answer: Secret;
}

/** A user of a Mini Program. */
export interface MiniProgramUser {
  readonly openId: string;
  readonly unionId: string | undefined;
  readonly sessionKey: Secret;
  /** The JSON text of WeChat's answer, exactly as it came. */
  readonly answer: Secret;
}

/**
 * Exchanges a user's one-time code. Every code works once, so nothing here is ever sent twice.
 *
 * Throws `upstream_rejected` (class `input` when the code is to blame), `upstream_invalid`, `upstream_unreachable`
 * and `upstream_timeout`.
 */
export interface LoginExchange {
  /** https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/Wechat_webpage_authorization.html */
  oauth(slot: Slot, code: Secret, signal: AbortSignal): Promise<OauthUser>;
  /** https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-login/code2Session.html */
  miniProgram(slot: Slot, code: Secret, signal: AbortSignal): Promise<MiniProgramUser>;
}

/** A user of a WeCom application, as WeCom returns it. */
export interface WecomUser {
  /** The JSON text of WeCom's answer, exactly as it came. */
  readonly answer: Secret;
}

/**
 * Exchanges a one-time code of WeCom's with an access token of the application. Nothing here is ever sent twice.
 *
 * Throws as `LoginExchange`; of class `token_invalid` when the token is rejected, and then the code is not used up.
 */
export interface WecomLoginExchange {
  /** https://developer.work.weixin.qq.com/document/path/96442 */
  user(slot: Slot, accessToken: Secret, code: Secret, signal: AbortSignal): Promise<WecomUser>;
  /** https://developer.work.weixin.qq.com/document/path/91507 */
  miniProgram(slot: Slot, accessToken: Secret, code: Secret, signal: AbortSignal): Promise<WecomUser>;
}
