import type { UnknownSecrets } from "../apps/unknown-secrets.ts";
import type { CredentialRef, IssuedCredential } from "./credential.ts";
import { type Platform, ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import type { Slot } from "../apps/app.ts";
import type { CredentialManager } from "./manager.ts";

/** How to ask. */
export interface ObtainOptions {
  readonly signal: AbortSignal;
  /** WeChat's stable tokens only: make a new one, whatever the current one has left. */
  readonly force?: boolean;
}

/** Obtains a new credential from wherever it is issued. It never caches and never retries. */
export interface CredentialSource {
  /**
   * Asks for the credential of `ref`.
   *
   * @throws {ServiceError} `upstream_rejected`, `upstream_invalid`, `upstream_unreachable` or `upstream_timeout`;
   *   also when the signal is aborted.
   */
  obtain(ref: CredentialRef, options: ObtainOptions): Promise<IssuedCredential>;
}

/** A source that sends the app's secret, kept from sending unknown ones without end. */
export class GuardedSource implements CredentialSource {
  readonly #source: CredentialSource;
  readonly #unknownSecrets: UnknownSecrets;

  constructor(source: CredentialSource, unknownSecrets: UnknownSecrets) {
    this.#source = source;
    this.#unknownSecrets = unknownSecrets;
  }

  obtain(ref: CredentialRef, options: ObtainOptions): Promise<IssuedCredential> {
    return this.#unknownSecrets.run(ref.slot, () => this.#source.obtain(ref, options), options.signal);
  }
}

/** What WeChat itself says of a token that somebody complained about. */
export type TokenVerdict = "alive" | "dead" | "unknown";

/** Asks WeChat with a call that costs little whether a token is still good. */
export interface TokenProbe {
  /** `unknown` when no answer came, or none before the signal was aborted. Never throws. */
  check(
    app: { readonly platform: Platform; readonly appId: string },
    token: Secret,
    signal: AbortSignal,
  ): Promise<TokenVerdict>;
}

/** Where the access token comes from that something is asked with. */
export type TokenKeeper = Pick<CredentialManager, "get" | "replace">;

/** How long there is time for a token, and what is done about one that is refused although it lives. */
export interface TokenUse {
  /** Ends the wait for a token, which then still comes to those who want it. */
  readonly signal: AbortSignal;
  /** Whether a token that WeChat itself calls alive is tried once more; default false: its refusal stands. */
  readonly triesLivingAgain?: boolean;
}

/**
 * What `ask` brings with the access token of `slot`. A token that turns out to be dead is replaced, once, and `ask`
 * called again with the one that came: WeChat and WeCom look at the token before they do anything.
 *
 * @throws {ServiceError} What `ask` throws; what kept us from having a token; `upstream_timeout` when the time is over.
 */
export async function withToken<T>(
  tokens: TokenKeeper,
  slot: Slot,
  ask: (token: Secret) => Promise<T>,
  { signal, triesLivingAgain = false }: TokenUse,
): Promise<T> {
  const ref: CredentialRef = { slot, kind: "access_token" };
  const token = await before(signal, tokens.get(ref));
  try {
    return await ask(token.value);
  } catch (error) {
    if (!(error instanceof ServiceError) || error.upstream?.class !== "token_invalid") throw error;
    const another = await before(signal, tokens.replace(ref, token.value));
    if (!triesLivingAgain && another.value.equals(token.value)) throw error;
    return ask(another.value);
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
