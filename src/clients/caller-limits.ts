import type { Clock } from "../clock.ts";
import type { Client } from "./client.ts";
import { callerNetwork } from "./networks.ts";
import { type BucketSize, TokenBuckets } from "./token-buckets.ts";

/** What a caller may try wrongly in a minute. */
const WRONG_A_MINUTE = 20;
/** For so many seconds' worth of requests a caller may come all at once. */
const ANONYMOUS_BURST_SECONDS = 10;

/** What the limits go by. */
export interface CallerLimitParts {
  readonly clock: Clock;
  /** Requests a second of one address without a key; 0 for no limit. */
  readonly anonymousPerSecond: number;
  /** Among how many processes each limit is divided. */
  readonly workers: number;
}

/** How often callers may ask. Each method counts one request and gives the milliseconds to wait: 0 for none. */
export class CallerLimits {
  readonly #parts: CallerLimitParts;
  readonly #requests: TokenBuckets;
  readonly #wrong: TokenBuckets;

  constructor(parts: CallerLimitParts) {
    this.#parts = parts;
    this.#requests = new TokenBuckets(parts.clock);
    this.#wrong = new TokenBuckets(parts.clock);
  }

  /** A request of a client, wherever it asks from. */
  ofClient({ name, rateLimit }: Client): number {
    if (rateLimit === undefined) return 0;
    return this.#requests.take(`client ${name}`, this.#share(rateLimit, rateLimit));
  }

  /** A request of somebody without a key. */
  ofAddress(address: string): number {
    const { anonymousPerSecond } = this.#parts;
    if (anonymousPerSecond === 0) return 0;
    const burst = anonymousPerSecond * ANONYMOUS_BURST_SECONDS;
    return this.#requests.take(callerNetwork(address), this.#share(anonymousPerSecond, burst));
  }

  /** A wrong key or secret. */
  ofWrong(address: string): number {
    return this.#wrong.take(callerNetwork(address), this.#share(WRONG_A_MINUTE / 60, WRONG_A_MINUTE));
  }

  #share(perSecond: number, burst: number): BucketSize {
    const { workers } = this.#parts;
    return { perSecond: perSecond / workers, burst: Math.max(1, burst / workers) };
  }
}
