import type { Slot } from "../apps/slot.ts";
import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import type { CredentialRef } from "./credential.ts";
import type { CredentialManager } from "./manager.ts";

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
