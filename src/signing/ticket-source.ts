import {
  type CredentialSource,
  type ObtainOptions,
  type TokenKeeper,
  withToken,
} from "../credentials/source.ts";
import type { CredentialRef, IssuedCredential } from "../credentials/credential.ts";
import type { Secret } from "../secret.ts";

/** Asks WeChat or WeCom for a ticket with an access token. */
export interface TicketExchange {
  /** Throws `upstream_rejected` of class `token_invalid` when the token is rejected. */
  ticketFor(ref: CredentialRef, accessToken: Secret, signal: AbortSignal): Promise<IssuedCredential>;
}

/** Obtains tickets with the access token of the same slot; a token that was rejected is replaced, once. */
export class TicketSource implements CredentialSource {
  readonly #exchange: TicketExchange;
  readonly #tokens: TokenKeeper;

  constructor(exchange: TicketExchange, tokens: TokenKeeper) {
    this.#exchange = exchange;
    this.#tokens = tokens;
  }

  obtain(ref: CredentialRef, { signal }: ObtainOptions): Promise<IssuedCredential> {
    const ask = (token: Secret) => this.#exchange.ticketFor(ref, token, signal);
    return withToken(this.#tokens, ref.slot, ask, { signal, endpoint: ref.kind, triesValidAgain: true });
  }
}
