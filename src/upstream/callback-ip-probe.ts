import type { TokenProbe, TokenVerdict } from "../credentials/token-probe.ts";
import { type Platform, ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import type { HttpClient } from "./http-client.ts";

/**
 * Finds out whether a token is good with `getcallbackip`, which needs no permission and changes nothing.
 *
 * https://developers.weixin.qq.com/doc/subscription/api/base/api_getcallbackip.html
 */
export class CallbackIpProbe implements TokenProbe {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async check(
    { platform, appId }: { platform: Platform; appId: string },
    token: Secret,
    signal: AbortSignal,
  ): Promise<TokenVerdict> {
    try {
      await this.#http.call({
        platform,
        appId,
        path: "/cgi-bin/getcallbackip",
        query: { access_token: token.reveal() },
        takes: "takes_token",
        repeatable: true,
        signal,
      });
      return "alive";
    } catch (error) {
      if (!(error instanceof ServiceError) || !error.upstream || error.upstream.class === "transient")
        return "unknown";
      return error.upstream.class === "token_invalid" ? "dead" : "alive";
    }
  }
}
