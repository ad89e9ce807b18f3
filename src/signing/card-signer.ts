import { randomBytes } from "node:crypto";
import type { Slot } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import { credentialRef } from "../credentials/credential.ts";
import type { CredentialManager, GetOptions } from "../credentials/manager.ts";
import { signCard } from "./js-api-signer.ts";

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

/** What a page passes to the card call. */
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
