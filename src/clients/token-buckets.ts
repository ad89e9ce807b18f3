import type { Clock } from "../clock.ts";

/** For so many callers a bucket is kept; beyond that the oldest is forgotten, which is as good as a full one. */
const BUCKETS_MOST = 10_000;
/** A token that lacks no more than this is whole: a sum of fractions is seldom exact, and a wait that was told must do. */
const ROUNDING = 1e-9;

interface Bucket {
  level: number;
  /** By the monotonic clock. */
  filledAt: number;
}

/** How fast a bucket fills and how much it holds. */
export interface BucketSize {
  readonly perSecond: number;
  /** At least 1. */
  readonly burst: number;
}

/** Token buckets, one for each caller: each request takes one token, and tokens come back at a steady rate. */
export class TokenBuckets {
  readonly #clock: Clock;
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes a token of `caller`'s bucket. 0 when there was one; else the milliseconds until there is. */
  take(caller: string, { perSecond, burst }: BucketSize): number {
    const now = this.#clock.monotonic();
    let bucket = this.#buckets.get(caller);
    if (!bucket) {
      bucket = { level: burst, filledAt: now };
      this.#keep(caller, bucket);
    }
    bucket.level = Math.min(burst, bucket.level + ((now - bucket.filledAt) / 1000) * perSecond);
    bucket.filledAt = now;
    const lacking = 1 - ROUNDING - bucket.level;
    if (lacking > 0) {
      // To be forgotten first is no way out for the one who asks most.
      this.#buckets.delete(caller);
      this.#keep(caller, bucket);
      return Math.ceil((lacking / perSecond) * 1000);
    }
    bucket.level -= 1;
    return 0;
  }

  #keep(caller: string, bucket: Bucket): void {
    this.#buckets.set(caller, bucket);
    if (this.#buckets.size <= BUCKETS_MOST) return;
    const [oldest] = this.#buckets.keys();
    if (oldest !== undefined) this.#buckets.delete(oldest);
  }
}
