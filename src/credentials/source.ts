import type { CredentialRef, IssuedCredential } from "./credential.ts";
import { tokenKindOf } from "./kinds.ts";
import { type Platform, ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import type { Slot } from "../apps/app.ts";

/** Options of `CredentialSource.obtain`. */
export interface ObtainOptions {
  readonly signal: AbortSignal;
  /** WeChat's stable tokens only: issue a new one, whatever the current one has left. */
  readonly force?: boolean;
}

/** Obtains a new credential from wherever it is issued. It never caches and never retries. */
export interface CredentialSource {
  /**
   * Throws what `obtain` would for want of something that nobody can ask for, as a ticket. Asked before anything is begun for
   * a caller, and so for nothing that is written.
   */
  ready?(ref: CredentialRef): Promise<unknown>;
  /**
   * Asks for the credential of `ref`.
   *
   * @throws {ServiceError} `upstream_rejected`, `upstream_invalid`, `upstream_unreachable` or `upstream_timeout`;
   *   also when the signal is aborted.
   */
  obtain(ref: CredentialRef, options: ObtainOptions): Promise<IssuedCredential>;
}

/** WeChat's own verdict on a token that a caller has reported as rejected. */
export type TokenVerdict = "valid" | "revoked" | "unknown";

/** Asks WeChat with a call that costs little whether a token is still valid. */
export interface TokenProbe {
  /** `unknown` when no answer came, or none before the signal was aborted. Never throws. */
  check(
    app: { readonly platform: Platform; readonly appId: string },
    token: Secret,
    signal: AbortSignal,
  ): Promise<TokenVerdict>;
}

/** Where the access tokens come from; see `CredentialManager`. */
export interface TokenKeeper {
  get(ref: CredentialRef): Promise<{ readonly value: Secret }>;
  replace(
    ref: CredentialRef,
    rejected: Secret,
    actor: undefined,
    options: { readonly seen: true },
  ): Promise<{ readonly value: Secret }>;
}

/** How a token is used, and what happens to one that is rejected although it is valid. */
export interface TokenUse {
  /** Ends the wait for a token; the fetch goes on for other callers. */
  readonly signal: AbortSignal;
  /** Whether a token that WeChat itself calls valid is tried once more; default false: its refusal is passed on. */
  readonly triesValidAgain?: boolean;
}

/**
 * Returns what `ask` returns with the token of `slot`: its access token, or that of a third-party platform. A token that was rejected is replaced, once, and `ask`
 * called again with the new one: WeChat and WeCom look at the token before they do anything.
 *
 * @throws {ServiceError} What `ask` throws; what kept us from having a token; `upstream_timeout` when the signal is aborted.
 */
export async function withToken<T>(
  tokens: TokenKeeper,
  slot: Slot,
  ask: (token: Secret) => Promise<T>,
  { signal, triesValidAgain = false }: TokenUse,
): Promise<T> {
  const ref: CredentialRef = { slot, kind: tokenKindOf(slot) };
  const token = await before(signal, tokens.get(ref));
  try {
    return await ask(token.value);
  } catch (error) {
    if (!(error instanceof ServiceError) || error.upstream?.class !== "token_invalid") throw error;
    const another = await before(signal, tokens.replace(ref, token.value, undefined, { seen: true }));
    if (!triesValidAgain && another.value.equals(token.value)) throw error;
    return ask(another.value);
  }
}

/**
 * The result of `work`, unless the signal is aborted first: then it throws `upstream_timeout`, and the work goes on for other
 * callers.
 */
export async function before<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () =>
    reject(
      new ServiceError(
        "upstream_timeout",
        "微信服务器未在规定时间内应答，请稍后重试 (WeChat did not answer in time; try again later)",
      ),
    );
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** Asks WeChat or WeCom for a ticket with an access token. */
export interface TicketExchange {
  /** Throws `upstream_rejected` of class `token_invalid` when the token is rejected. */
  ticketFor(ref: CredentialRef, accessToken: Secret, signal: AbortSignal): Promise<IssuedCredential>;
}

/** Obtains tickets with the access token of the same slot; a token that was rejected is replaced, once. */
export function ticketSource(exchange: TicketExchange, tokens: TokenKeeper): CredentialSource {
  return {
    obtain: (ref, { signal }) => {
      const ask = (token: Secret) => exchange.ticketFor(ref, token, signal);
      return withToken(tokens, ref.slot, ask, { signal, triesValidAgain: true });
    },
  };
}
