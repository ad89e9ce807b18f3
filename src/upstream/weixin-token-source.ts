import type { CredentialSource, ObtainOptions } from "../credentials/credential-source.ts";
import type { CredentialRef, IssuedCredential } from "../credentials/credential.ts";
import type { HttpClient } from "./http-client.ts";
import { readIssued } from "./issued-answer.ts";

/** Access tokens of Official Accounts and Mini Programs, by the slot's token mode. */
export class WeixinTokenSource implements CredentialSource {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async obtain(ref: CredentialRef, options: ObtainOptions): Promise<IssuedCredential> {
    const isClassic = ref.slot.tokenMode === "classic";
    const answer = await (isClassic ? this.#classic(ref, options) : this.#stable(ref, options));
    return readIssued("weixin", "access_token", answer);
  }

  /**
   * Repeats the same token until its last five minutes, so asking again is harmless; with `force` it makes a new one,
   * 20 times a day and 30 s apart.
   *
   * https://developers.weixin.qq.com/doc/subscription/api/base/api_getstableaccesstoken.html
   */
  #stable(
    { slot }: CredentialRef,
    { signal, force = false }: ObtainOptions,
  ): Promise<Record<string, unknown>> {
    const { appId, secret } = slot;
    return this.#http.call({
      platform: "weixin",
      appId,
      path: "/cgi-bin/stable_token",
      body: { grant_type: "client_credential", appid: appId, secret: secret.reveal(), force_refresh: force },
      takes: "takes_secret",
      repeatable: !force,
      mayFallBack: true,
      signal,
    });
  }

  /**
   * Makes a new token at each call and leaves the one before five minutes to live: it must not be sent twice, not even
   * to another of WeChat's hosts.
   *
   * https://developers.weixin.qq.com/doc/subscription/api/base/api_getaccesstoken.html
   */
  #classic({ slot }: CredentialRef, { signal }: ObtainOptions): Promise<Record<string, unknown>> {
    const { appId, secret } = slot;
    return this.#http.call({
      platform: "weixin",
      appId,
      path: "/cgi-bin/token",
      query: { grant_type: "client_credential", appid: appId, secret: secret.reveal() },
      takes: "takes_secret",
      repeatable: false,
      signal,
    });
  }
}
