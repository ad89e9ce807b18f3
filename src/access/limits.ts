import type { Clock } from "../clock.ts";
import type { ServiceError } from "../errors.ts";
import type { Client } from "./client.ts";
import { callerNetwork } from "./networks.ts";
import { type Caller, denied, type Principal, tooMany } from "./principal.ts";
import { Semaphore } from "./semaphore.ts";

/** How many buckets are kept; beyond that the oldest is evicted, which equals a full one. */
const MAX_BUCKETS = 10_000;
/** Tolerance for rounding: after the wait that was reported, a request must succeed. */
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
      // Moved to the end: eviction must not reset the limit of the busiest caller.
      this.#buckets.delete(caller);
      this.#keep(caller, bucket);
      return Math.ceil((lacking / perSecond) * 1000);
    }
    bucket.level -= 1;
    return 0;
  }

  #keep(caller: string, bucket: Bucket): void {
    this.#buckets.set(caller, bucket);
    if (this.#buckets.size <= MAX_BUCKETS) return;
    const [oldest] = this.#buckets.keys();
    if (oldest !== undefined) this.#buckets.delete(oldest);
  }
}

/** What a caller may try wrongly in a minute. */
const MAX_WRONG_PER_MINUTE = 20;
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
  readonly #clients: TokenBuckets;
  readonly #addresses: TokenBuckets;
  readonly #wrong: TokenBuckets;

  constructor(parts: CallerLimitParts) {
    this.#parts = parts;
    this.#clients = new TokenBuckets(parts.clock);
    this.#addresses = new TokenBuckets(parts.clock);
    this.#wrong = new TokenBuckets(parts.clock);
  }

  /** A request of a client, wherever it asks from. */
  ofClient({ name, rateLimit }: Client): number {
    if (rateLimit === undefined) return 0;
    return this.#clients.take(name, this.#share(rateLimit, rateLimit));
  }

  /** A request without a key. */
  ofAddress(address: string): number {
    const { anonymousPerSecond } = this.#parts;
    if (anonymousPerSecond === 0) return 0;
    const burst = anonymousPerSecond * ANONYMOUS_BURST_SECONDS;
    return this.#addresses.take(callerNetwork(address), this.#share(anonymousPerSecond, burst));
  }

  /** A wrong key or secret. */
  ofWrong(address: string): number {
    return this.#wrong.take(
      callerNetwork(address),
      this.#share(MAX_WRONG_PER_MINUTE / 60, MAX_WRONG_PER_MINUTE),
    );
  }

  #share(perSecond: number, burst: number): BucketSize {
    const { workers } = this.#parts;
    return { perSecond: perSecond / workers, burst: Math.max(1, burst / workers) };
  }
}

/** A guess: how long the calls under way take is not known. */
const RETRY_MS = 1000;
/** Half of what the forwarder lets through at once, so that one caller alone never takes all of it. */
const DEFAULT_CONCURRENCY = 96;
const WAIT_MS = 10_000;

/** A call that wants to be counted. */
export interface CountedCall {
  /** The caller's abort, which counts the call out: nobody reads or cancels the answer of a caller that has gone. */
  readonly signal: AbortSignal;
  /** As how many calls it counts against the default; default 1. */
  readonly permits?: number;
}

/**
 * Bounds each caller's calls under way: a client's, wherever it calls from, or those of one address. A caller that has
 * none under way takes no memory.
 */
export class Concurrency {
  readonly #workers: number;
  readonly #waitMs: number;
  /** By client, of those that have a limit of their own. */
  readonly #underWay = new Map<string, number>();
  /** By caller, of all others. */
  readonly #defaults = new Map<string, Semaphore>();

  /**
   * Each limit is divided among `workers` processes, and each of them lets through at least one call at once. `waitMs`
   * overrides how long a call waits under the default limit: 10 s.
   */
  constructor(workers: number, waitMs = WAIT_MS) {
    this.#workers = workers;
    this.#waitMs = waitMs;
  }

  /**
   * Counts a call in and returns what counts it out, once however often it is called.
   *
   * A client's own limit refuses what exceeds it. Callers without one have 96, and wait their turn.
   *
   * @throws {ServiceError} `rate_limited`, also for a caller that has gone while it waited.
   */
  async enter(caller: Caller, call: CountedCall): Promise<() => void> {
    const leave = once(await this.#enter(caller, call));
    if (call.signal.aborted) leave();
    else call.signal.addEventListener("abort", leave, { once: true });
    return leave;
  }

  async #enter({ principal, origin }: Caller, { signal, permits = 1 }: CountedCall): Promise<() => void> {
    const client = principal.kind === "client" ? principal.owner.client : undefined;
    if (client?.concurrency !== undefined) return this.#count(principal, client.name, client.concurrency);
    const key = client ? `client ${client.name}` : callerNetwork(origin.address);
    const semaphore = this.#defaults.get(key) ?? new Semaphore(this.#share(DEFAULT_CONCURRENCY));
    this.#defaults.set(key, semaphore);
    try {
      if (!semaphore.tryAcquire(permits)) await this.#wait(semaphore, principal, signal, permits);
    } finally {
      if (semaphore.isIdle) this.#defaults.delete(key);
    }
    return () => {
      semaphore.release(permits);
      if (semaphore.isIdle) this.#defaults.delete(key);
    };
  }

  async #wait(
    semaphore: Semaphore,
    principal: Principal,
    signal: AbortSignal,
    permits: number,
  ): Promise<void> {
    try {
      await semaphore.acquire(AbortSignal.any([signal, AbortSignal.timeout(this.#waitMs)]), permits);
    } catch {
      throw tooManyAtOnce(principal);
    }
  }

  #count(principal: Principal, name: string, limit: number): () => void {
    const underWay = this.#underWay.get(name) ?? 0;
    if (underWay >= this.#share(limit)) throw tooManyAtOnce(principal);
    this.#underWay.set(name, underWay + 1);
    return () => {
      const left = (this.#underWay.get(name) ?? 1) - 1;
      if (left > 0) this.#underWay.set(name, left);
      else this.#underWay.delete(name);
    };
  }

  #share(limit: number): number {
    return Math.max(1, Math.floor(limit / this.#workers));
  }
}

function tooManyAtOnce(principal: Principal): ServiceError {
  return denied(principal, tooMany("同时进行的请求过多", "too many requests at once", RETRY_MS));
}

function once(work: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) work();
    isDone = true;
  };
}
