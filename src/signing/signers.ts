import { createHash, randomBytes } from "node:crypto";
import type { Slot } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { CredentialManager, GetOptions } from "../credentials/manager.ts";
import { credentialRef } from "../credentials/credential.ts";
import type { CredentialKind } from "../credentials/kinds.ts";

/** What a page hands to `wx.config` or `wx.agentConfig`. */
export interface JsApiSignature {
  readonly nonce: string;
  /** Seconds since the epoch. */
  readonly timestamp: number;
  readonly signature: string;
}

/** Signs pages' addresses with the app's tickets, which need not leave the service for it. */
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
   * As `sign`, for `wx.agentConfig` of WeCom: with the ticket of the very application.
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
 * Nothing is decoded, encoded or normalised, because the browser signs nothing: WeChat compares with the address that
 * its own browser shows. https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/JS-SDK.html (appendix 1)
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

/** What a page hands on to the card call. */
export interface CardSignature {
  readonly nonce: string;
  /** Seconds since the epoch. */
  readonly timestamp: number;
  /** `signature` of addCard, `cardSign` of chooseCard. */
  readonly signature: string;
}

/** Signs card calls with the app's wx_card_ticket. */
export class CardSigner {
  readonly #credentials: Pick<CredentialManager, "get">;
  readonly #clock: Clock;

  constructor(credentials: Pick<CredentialManager, "get">, clock: Clock) {
    this.#credentials = credentials;
    this.#clock = clock;
  }

  /** The signature for `wx.addCard`. Throws what obtaining the ticket throws. */
  addCard(slot: Slot, card: AddCardInput, options: GetOptions = {}): Promise<CardSignature> {
    const { cardId, code = "", openId = "", balance = "" } = card;
    return this.#sign(slot, [cardId, code, openId, balance], options);
  }

  /** The signature for `wx.chooseCard`, in which the app itself is signed too. Throws what obtaining the ticket throws. */
  chooseCard(slot: Slot, cards: ChooseCardInput, options: GetOptions = {}): Promise<CardSignature> {
    const { locationId = "", cardId = "", cardType = "" } = cards;
    return this.#sign(slot, [slot.appId, locationId, cardId, cardType], options);
  }

  async #sign(slot: Slot, values: readonly string[], options: GetOptions): Promise<CardSignature> {
    const ticket = await this.#credentials.get(credentialRef(slot, "wx_card_ticket"), options);
    const nonce = randomBytes(8).toString("hex");
    const timestamp = Math.floor(this.#clock.now() / 1000);
    const signature = signCard([ticket.value.reveal(), String(timestamp), nonce, ...values]);
    return { nonce, timestamp, signature };
  }
}
