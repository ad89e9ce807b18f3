import type { Slot } from "../apps/slot.ts";
import type { WecomLoginExchange, WecomUser } from "../login/wecom-login-exchange.ts";
import type { Secret } from "../secret.ts";
import type { HttpClient } from "./http-client.ts";

/**
 * Login of WeCom's web pages and Mini Programs. These endpoints take an access token and a one-time code.
 *
 * A member, somebody else and each kind of application have other fields: any object without an errcode is an answer.
 */
export class WecomLogin implements WecomLoginExchange {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  user(slot: Slot, accessToken: Secret, code: Secret, signal: AbortSignal): Promise<WecomUser> {
    return this.#ask(slot, "/cgi-bin/auth/getuserinfo", accessToken, { code: code.reveal() }, signal);
  }

  miniProgram(slot: Slot, accessToken: Secret, code: Secret, signal: AbortSignal): Promise<WecomUser> {
    const query = { js_code: code.reveal(), grant_type: "authorization_code" };
    return this.#ask(slot, "/cgi-bin/miniprogram/jscode2session", accessToken, query, signal);
  }

  async #ask(
    { appId }: Slot,
    path: string,
    accessToken: Secret,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<WecomUser> {
    const { text } = await this.#http.exchange({
      platform: "wecom",
      appId,
      path,
      query: { access_token: accessToken.reveal(), ...query },
      takes: "takes_token",
      repeatable: false,
      signal,
    });
    return { answer: text };
  }
}
