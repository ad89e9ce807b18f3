import { createHash, hash, randomBytes } from "node:crypto";
import type { Slot } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { CredentialManager, GetOptions } from "../credentials/manager.ts";
import { credentialRef } from "../credentials/credential.ts";
import type { CredentialKind } from "../credentials/kinds.ts";
import { type PageUrl, pageUrl } from "./page-url.ts";

/** What a page passes to `wx.config`, `wx.agentConfig` or a card call. */
export interface PageSignature {
  readonly nonce: string;
  /** Seconds since the epoch. */
  readonly timestamp: number;
  /** `signature` of wx.config, agentConfig and addCard, `cardSign` of chooseCard. */
  readonly signature: string;
}

/** What `wx.addCard` signs of a card. What is empty or absent is not signed. */
export interface AddCardInput {
  readonly cardId: string;
  readonly code?: string | undefined;
  readonly openId?: string | undefined;
  /** Red-packet cards only. */
  readonly balance?: string | undefined;
}

/** What `wx.chooseCard` (and `wx.chooseInvoice`) signs of the cards to choose among. */
export interface ChooseCardInput {
  /** `shopId` of the call. */
  readonly locationId?: string | undefined;
  readonly cardId?: string | undefined;
  readonly cardType?: string | undefined;
}

/**
 * Signs pages' addresses and card calls with the app's tickets, which need not leave the service for it.
 *
 * Every signature has a nonce and timestamp of its own. All methods throw what obtaining the ticket throws.
 */
export class PageSigner {
  readonly #credentials: Pick<CredentialManager, "get">;
  readonly #clock: Clock;
  readonly #domainsOf: (slot: Slot) => readonly string[];

  /** `domainsOf` gives the hosts whose pages may use the JS-SDK; none where nobody said. */
  constructor(
    credentials: Pick<CredentialManager, "get">,
    clock: Clock,
    domainsOf: (slot: Slot) => readonly string[] = () => [],
  ) {
    this.#credentials = credentials;
    this.#clock = clock;
    this.#domainsOf = domainsOf;
  }

  /**
   * The signature of a page for `wx.config`, and what was signed.
   *
   * @throws {ServiceError} Also `invalid_parameter` for what can't be a page's address; then no ticket is obtained.
   */
  sign(slot: Slot, url: string, options: GetOptions = {}): Promise<PageSignature & PageUrl> {
    return this.#signPage(slot, "jsapi_ticket", url, options);
  }

  /**
   * As `sign`, for `wx.agentConfig` of WeCom: with the ticket of the application itself.
   *
   * @throws {ServiceError} Also `invalid_parameter` for an app that is none of WeCom's.
   */
  signAgentConfig(slot: Slot, url: string, options: GetOptions = {}): Promise<PageSignature & PageUrl> {
    return this.#signPage(slot, "agent_config_ticket", url, options);
  }

  /** The signature for `wx.addCard`. */
  addCard(slot: Slot, card: AddCardInput, options: GetOptions = {}): Promise<PageSignature> {
    const { cardId, code = "", openId = "", balance = "" } = card;
    return this.#signCard(slot, [cardId, code, openId, balance], options);
  }

  /** The signature for `wx.chooseCard`, in which the app itself is signed too. */
  chooseCard(slot: Slot, cards: ChooseCardInput, options: GetOptions = {}): Promise<PageSignature> {
    const { locationId = "", cardId = "", cardType = "" } = cards;
    return this.#signCard(slot, [slot.appId, locationId, cardId, cardType], options);
  }

  async #signPage(
    slot: Slot,
    kind: CredentialKind,
    sent: string,
    options: GetOptions,
  ): Promise<PageSignature & PageUrl> {
    const page = pageUrl(sent, this.#domainsOf(slot));
    const { url } = page;
    return {
      ...(await this.#signWith(slot, kind, options, (given) => signJsApi({ ...given, url }))),
      ...page,
    };
  }

  #signCard(slot: Slot, values: readonly string[], options: GetOptions): Promise<PageSignature> {
    return this.#signWith(slot, "wx_card_ticket", options, ({ ticket, timestamp, nonce }) =>
      signCard([ticket, String(timestamp), nonce, ...values]),
    );
  }

  async #signWith(
    slot: Slot,
    kind: CredentialKind,
    options: GetOptions,
    signatureOf: (given: Omit<JsApiSignatureInput, "url">) => string,
  ): Promise<PageSignature> {
    const ticket = await this.#credentials.get(credentialRef(slot, kind), options);
    const nonce = randomBytes(8).toString("hex");
    const timestamp = Math.floor(this.#clock.now() / 1000);
    return { nonce, timestamp, signature: signatureOf({ ticket: ticket.value.reveal(), nonce, timestamp }) };
  }
}

/** What goes into a JS-SDK signature. */
export interface JsApiSignatureInput {
  readonly ticket: string;
  readonly nonce: string;
  /** Seconds since the epoch. */
  readonly timestamp: number | string;
  /** The page's address as the browser has it. What follows the first `#` is not signed; the rest is not touched. */
  readonly url: string;
}

/**
 * The signature that `wx.config` of WeChat and WeCom expects: SHA-1 in lower-case hex over the raw values.
 *
 * Nothing is decoded, encoded or normalised: WeChat compares with the address that its own browser shows.
 * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/JS-SDK.html (appendix 1)
 */
export function signJsApi({ url, ...given }: JsApiSignatureInput): string {
  const [page = ""] = url.split("#", 1);
  return sha1(jsApiText({ ...given, url: page }));
}

/** The string that is hashed for it, with the address as it is given. */
export function jsApiText({ ticket, nonce, timestamp, url }: JsApiSignatureInput): string {
  return `jsapi_ticket=${ticket}&noncestr=${nonce}&timestamp=${timestamp}&url=${url}`;
}

/** SHA-1 in lower-case hex of the text's UTF-8 bytes. */
export function sha1(text: string): string {
  return hash("sha1", text, "hex");
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
