import type { IssuedToken, IssuedTokens } from "./issued-tokens.ts";

/** How a token line makes its tokens. */
export interface TokenLineSettings<Owner> {
  owner: Owner;
  /** The text of the next token. */
  nextText: () => string;
  lifeMs: number;
  /** How long a token outlives its successor's birth. */
  handoverMs: number;
}

/**
 * The tokens of one owner that follow each other: at most the newest and its predecessor are alive.
 *
 * A WeChat app has two such lines, classic and stable, which don't disturb each other.
 */
export class TokenLine<Owner> {
  readonly #tokens: IssuedTokens<Owner>;
  readonly #settings: TokenLineSettings<Owner>;
  #newest: IssuedToken<Owner> | undefined;
  #previous: IssuedToken<Owner> | undefined;

  constructor(tokens: IssuedTokens<Owner>, settings: TokenLineSettings<Owner>) {
    this.#tokens = tokens;
    this.#settings = settings;
  }

  /** The newest token, as long as the platform believes that it is alive. */
  current(): IssuedToken<Owner> | undefined {
    return this.#newest && this.#tokens.believedAlive(this.#newest) ? this.#newest : undefined;
  }

  /**
   * Issues the next token.
   *
   * The newest one so far has the hand-over left, or nothing with `killsNewest`. The one before it dies now,
   * unless `sparesOldest`.
   */
  rotate(now: number, how: { killsNewest?: boolean; sparesOldest?: boolean } = {}): IssuedToken<Owner> {
    if (this.#previous && !how.sparesOldest) dieAt(this.#previous, now);
    if (this.#newest) dieAt(this.#newest, how.killsNewest ? now : now + this.#settings.handoverMs);
    this.#previous = this.#newest;
    const { owner, nextText, lifeMs } = this.#settings;
    this.#newest = this.#tokens.issue(owner, nextText(), lifeMs);
    return this.#newest;
  }
}

function dieAt(token: { diesAt: number }, at: number): void {
  token.diesAt = Math.min(token.diesAt, at);
}
