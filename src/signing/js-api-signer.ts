import { createHash, randomBytes } from "node:crypto";
import type { Slot } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { CredentialManager, GetOptions } from "../credentials/manager.ts";
import { credentialRef } from "../credentials/credential.ts";
import { type CredentialKind } from "../credentials/kinds.ts";

/** What a page passes to `wx.config` or `wx.agentConfig`. */
export interface JsApiSignature {
  readonly nonce: string;
  /** Seconds since the epoch. */
  readonly timestamp: number;
  readonly signature: string;
}

/** Signs pages' addresses with the app's tickets, which never leave the service. */
export class JsApiSigner {
  readonly #credentials: Pick<CredentialManager, "get">;
  readonly #clock: Clock;

  constructor(credentials: Pick<CredentialManager, "get">, clock: Clock) {
    this.#credentials = credentials;
    this.#clock = clock;
  }

  /** A signature with a nonce and timestamp of its own. Throws what obtaining the ticket throws. */
  sign(slot: Slot, url: string, options: GetOptions = {}): Promise<JsApiSignature> {
    return this.#signWith(slot, "jsapi_ticket", url, options);
  }

  /**
   * As `sign`, for `wx.agentConfig` of WeCom: with the ticket of the application itself.
   *
   * @throws {ServiceError} Also `invalid_parameter` for an app that is none of WeCom's.
   */
  signAgentConfig(slot: Slot, url: string, options: GetOptions = {}): Promise<JsApiSignature> {
    return this.#signWith(slot, "agent_config_ticket", url, options);
  }

  async #signWith(
    slot: Slot,
    kind: CredentialKind,
    url: string,
    options: GetOptions,
  ): Promise<JsApiSignature> {
    const ticket = await this.#credentials.get(credentialRef(slot, kind), options);
    const nonce = randomBytes(8).toString("hex");
    const timestamp = Math.floor(this.#clock.now() / 1000);
    return {
      nonce,
      timestamp,
      signature: signJsApi({ ticket: ticket.value.reveal(), nonce, timestamp, url }),
    };
  }
}

/** What goes into a JS-SDK signature. */
export interface JsApiSignatureInput {
  readonly ticket: string;
  readonly nonce: string;
  /** Seconds since the epoch. */
  readonly timestamp: number;
  /** The page's address as the browser has it. What follows the first `#` is not signed; the rest is not touched. */
  readonly url: string;
}

/**
 * The signature that `wx.config` of WeChat and WeCom expects: SHA-1 in lower-case hex over the raw values.
 *
 * Nothing is decoded, encoded or normalised: WeChat compares with the address that its own browser shows.
 * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/JS-SDK.html (appendix 1)
 */
export function signJsApi({ ticket, nonce, timestamp, url }: JsApiSignatureInput): string {
  const [page = ""] = url.split("#", 1);
  const text = `jsapi_ticket=${ticket}&noncestr=${nonce}&timestamp=${timestamp}&url=${page}`;
  return createHash("sha1").update(text).digest("hex");
}

/**
 * The signature of `wx.addCard` and `wx.chooseCard`: SHA-1 in lower-case hex over the values, sorted by their bytes and
 * joined without anything between.
 *
 * The names of the values do not go in, and empty ones drop out.
 * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/JS-SDK.html (appendix 4)
 */
export function signCard(values: readonly string[]): string {
  const bytes = values.map((value) => Buffer.from(value));
  return createHash("sha1")
    .update(Buffer.concat(bytes.toSorted((a, b) => Buffer.compare(a, b))))
    .digest("hex");
}
