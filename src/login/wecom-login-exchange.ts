import type { Slot } from "../apps/slot.ts";
import type { Secret } from "../secret.ts";

/** A user of a WeCom application, as WeCom told it. */
export interface WecomUser {
  /** The JSON text of WeCom's answer, exactly as it came. */
  readonly answer: Secret;
}

/**
 * Exchanges a one-time code of WeCom's with an access token of the application. Nothing here is ever sent twice.
 *
 * Throws as `LoginExchange`; of class `token_invalid` when the token is dead, and then the code is not used up.
 */
export interface WecomLoginExchange {
  /** https://developer.work.weixin.qq.com/document/path/96442 */
  user(slot: Slot, accessToken: Secret, code: Secret, signal: AbortSignal): Promise<WecomUser>;
  /** https://developer.work.weixin.qq.com/document/path/91507 */
  miniProgram(slot: Slot, accessToken: Secret, code: Secret, signal: AbortSignal): Promise<WecomUser>;
}
