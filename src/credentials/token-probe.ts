import type { Platform } from "../errors.ts";
import type { Secret } from "../secret.ts";

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
