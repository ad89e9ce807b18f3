import { randomBytes } from "node:crypto";
import type { Slot } from "../apps/slot.ts";
import type { Clock } from "../clock.ts";
import type { CredentialManager, GetOptions } from "../credentials/manager.ts";
import { type CredentialKind, credentialRef } from "../credentials/credential.ts";
import { signJsApi } from "./signature.ts";

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
