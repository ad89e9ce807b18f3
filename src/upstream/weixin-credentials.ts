import type { CredentialSource } from "../credentials/credential-source.ts";
import type { CredentialRef, IssuedCredential } from "../credentials/credential.ts";
import type { TicketExchange } from "../jssdk/ticket-source.ts";
import type { Secret } from "../secret.ts";
import type { HttpClient } from "./http-client.ts";
import { readIssued } from "./issued-answer.ts";

/** Access tokens of Official Accounts and Mini Programs, by the slot's token mode. */
export class WeixinTokenSource implements CredentialSource {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async obtain({ slot }: CredentialRef, signal: AbortSignal): Promise<IssuedCredential> {
    const answer = await (slot.tokenMode === "classic"
      ? this.#classic(slot.appId, slot.secret, signal)
      : this.#stable(slot.appId, slot.secret, signal));
    return readIssued("weixin", "access_token", answer);
  }

  /**
   * Repeats the same token until its last five minutes, so asking again is harmless.
   *
   * https://developers.weixin.qq.com/doc/subscription/api/base/api_getstableaccesstoken.html
   */
  #stable(appId: string, secret: Secret, signal: AbortSignal): Promise<Record<string, unknown>> {
    const body = {
      grant_type: "client_credential",
      appid: appId,
      secret: secret.reveal(),
      force_refresh: false,
    };
    return this.#http.call({
      platform: "weixin",
      path: "/cgi-bin/stable_token",
      body,
      takes: "takes_secret",
      repeatable: true,
      signal,
    });
  }

  /**
   * Makes a new token at each call and leaves the one before five minutes to live: it must not be sent twice.
   *
   * https://developers.weixin.qq.com/doc/subscription/api/base/api_getaccesstoken.html
   */
  #classic(appId: string, secret: Secret, signal: AbortSignal): Promise<Record<string, unknown>> {
    return this.#http.call({
      platform: "weixin",
      path: "/cgi-bin/token",
      query: { grant_type: "client_credential", appid: appId, secret: secret.reveal() },
      takes: "takes_secret",
      repeatable: false,
      signal,
    });
  }
}

/**
 * The jsapi_ticket of an Official Account.
 *
 * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/JS-SDK.html
 */
export class WeixinTicketExchange implements TicketExchange {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async ticketFor(accessToken: Secret, signal: AbortSignal): Promise<IssuedCredential> {
    const answer = await this.#http.call({
      platform: "weixin",
      path: "/cgi-bin/ticket/getticket",
      query: { access_token: accessToken.reveal(), type: "jsapi" },
      takes: "takes_token",
      repeatable: true,
      signal,
    });
    return readIssued("weixin", "ticket", answer);
  }
}
