import type { CredentialSource, ObtainOptions } from "../credentials/credential-source.ts";
import type { CredentialRef, IssuedCredential } from "../credentials/credential.ts";
import type { HttpClient } from "./http-client.ts";
import { readIssued } from "./issued-answer.ts";

/**
 * Access tokens of WeCom applications, one per corp and secret. WeCom repeats the same token until it expires.
 *
 * https://developer.work.weixin.qq.com/document/path/91039
 */
export class WecomTokenSource implements CredentialSource {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async obtain({ slot }: CredentialRef, { signal }: ObtainOptions): Promise<IssuedCredential> {
    const answer = await this.#http.call({
      platform: "wecom",
      appId: slot.appId,
      path: "/cgi-bin/gettoken",
      query: { corpid: slot.appId, corpsecret: slot.secret.reveal() },
      takes: "takes_secret",
      repeatable: true,
      signal,
    });
    return readIssued("wecom", "access_token", answer);
  }
}
