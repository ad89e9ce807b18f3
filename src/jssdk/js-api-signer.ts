import { randomBytes } from "node:crypto";
import type { Slot } from "../apps/slot.ts";
import type { Clock } from "../clock.ts";
import type { CredentialManager } from "../credentials/manager.ts";
import { signJsApi } from "./signature.ts";

/** What a page hands to `wx.config`. */
export interface JsApiSignature {
  readonly nonce: string;
  /** Seconds since the epoch. */
  readonly timestamp: number;
  readonly signature: string;
}

/** Signs pages' addresses with the app's jsapi_ticket, which never leaves the service. */
export class JsApiSigner {
  readonly #credentials: Pick<CredentialManager, "get">;
  readonly #clock: Clock;

  constructor(credentials: Pick<CredentialManager, "get">, clock: Clock) {
    this.#credentials = credentials;
    this.#clock = clock;
  }

  /** A signature with a nonce and timestamp of its own. Throws what obtaining the ticket throws. */
  async sign(slot: Slot, url: string): Promise<JsApiSignature> {
    const ticket = await this.#credentials.get({ slot, kind: "jsapi_ticket" });
    const nonce = randomBytes(8).toString("hex");
    const timestamp = Math.floor(this.#clock.now() / 1000);
    return {
      nonce,
      timestamp,
      signature: signJsApi({ ticket: ticket.value.reveal(), nonce, timestamp, url }),
    };
  }
}
