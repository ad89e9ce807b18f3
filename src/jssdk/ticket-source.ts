import type { CredentialSource, ObtainOptions } from "../credentials/credential-source.ts";
import type { CredentialRef, IssuedCredential } from "../credentials/credential.ts";
import type { CredentialManager } from "../credentials/manager.ts";
import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";

/** Asks WeChat or WeCom for a ticket with an access token. */
export interface TicketExchange {
  /** Throws `upstream_rejected` of class `token_invalid` when the token is dead. */
  ticketFor(ref: CredentialRef, accessToken: Secret, signal: AbortSignal): Promise<IssuedCredential>;
}

/** Obtains tickets with the access token of the same slot; a token that turns out to be dead is replaced, once. */
export class TicketSource implements CredentialSource {
  readonly #exchange: TicketExchange;
  readonly #tokens: Pick<CredentialManager, "get" | "replace">;

  constructor(exchange: TicketExchange, tokens: Pick<CredentialManager, "get" | "replace">) {
    this.#exchange = exchange;
    this.#tokens = tokens;
  }

  async obtain(ref: CredentialRef, { signal }: ObtainOptions): Promise<IssuedCredential> {
    const tokenRef: CredentialRef = { slot: ref.slot, kind: "access_token" };
    const token = await before(signal, this.#tokens.get(tokenRef));
    try {
      return await this.#exchange.ticketFor(ref, token.value, signal);
    } catch (error) {
      if (!(error instanceof ServiceError) || error.upstream?.class !== "token_invalid") throw error;
      const another = await before(signal, this.#tokens.replace(tokenRef, token.value));
      return this.#exchange.ticketFor(ref, another.value, signal);
    }
  }
}

/** What `work` brings, unless the caller's time is over first; the work then goes on for those who still wait. */
async function before<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const { promise: over, reject } = Promise.withResolvers<never>();
  const tooLate = () =>
    reject(
      new ServiceError(
        "upstream_timeout",
        "微信服务器未在规定时间内应答，请稍后重试 (WeChat did not answer in time; try again later)",
      ),
    );
  if (signal.aborted) tooLate();
  signal.addEventListener("abort", tooLate, { once: true });
  try {
    return await Promise.race([work, over]);
  } finally {
    signal.removeEventListener("abort", tooLate);
  }
}
