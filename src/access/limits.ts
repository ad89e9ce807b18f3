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
  /** Among how many processes each limit is divided; it may change. */
  readonly processes: () => number;
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
    const processes = this.#parts.processes();
    return { perSecond: perSecond / processes, burst: Math.max(1, burst / processes) };
  }
}

/** A guess: how long the calls under way take is not known. */
const RETRY_MS = 1000;
/** How many calls and how many uploads of one caller are under way at once: never all that the forwarder lets through. */
const DEFAULT_CONCURRENCY = { calls: 96, uploads: 12 } as const;
const WAIT_MS = { calls: 10_000, uploads: 120_000 } as const;
/** How much of all bodies together a process holds; with what sending them takes, it stays below 200 MB. */
const MAX_HELD_BYTES = 64 << 20;
/** How much of it one caller alone takes. */
const MAX_HELD_BYTES_OF_ONE = 48 << 20;

type Kind = keyof typeof DEFAULT_CONCURRENCY;

/** A call that wants to be counted. */
export interface CountedCall {
  /** The caller's abort, which counts the call out: nobody reads or cancels the answer of a caller that has gone. */
  readonly signal: AbortSignal;
  /** How many bytes of its body are held at most while it waits; default 0. */
  readonly heldBytes?: number;
  /** Whether its body is streamed: uploads queue apart, because each may take minutes. */
  readonly isUpload?: boolean;
}

/**
 * Bounds each caller's calls under way: a client's, wherever it calls from, or those of one address. A caller that has
 * none under way takes no memory.
 */
export class Concurrency {
  readonly #processes: () => number;
  readonly #waitMs: Readonly<Record<Kind, number>>;
  /** By client, of those that have a limit of their own. */
  readonly #underWay = new Map<string, number>();
  /** By kind and caller, of all others. */
  readonly #defaults = new Map<string, Semaphore>();
  /** By caller, of those whose bodies are held. */
  readonly #heldBy = new Map<string, number>();
  #held = 0;

  /**
   * Each limit is divided among `processes` processes, and each of them lets through at least one call at once. `waitMs`
   * overrides how long a call waits under the default limit: 10 s, and an upload 2 min.
   */
  constructor(processes: () => number, waitMs: Readonly<Record<Kind, number>> = WAIT_MS) {
    this.#processes = processes;
    this.#waitMs = waitMs;
  }

  /**
   * Counts a call in and returns what counts it out, once however often it is called.
   *
   * A client's own limit refuses what exceeds it. Callers without one have 96 calls and 12 uploads, and wait their turn,
   * first come, first served. A body beyond those that may be held is refused at once: it would be held while it waits.
   *
   * @throws {ServiceError} `rate_limited`, also for a caller that has gone while it waited.
   */
  async enter(caller: Caller, call: CountedCall): Promise<() => void> {
    const { principal, origin } = caller;
    const { signal, heldBytes = 0, isUpload = false } = call;
    const client = principal.kind === "client" ? principal.owner.client : undefined;
    const key = client ? `client ${client.name}` : callerNetwork(origin.address);
    const release = this.#hold(principal, key, heldBytes);
    try {
      const end = await (client?.concurrency === undefined
        ? this.#default(principal, key, isUpload ? "uploads" : "calls", signal)
        : this.#count(principal, client.name, client.concurrency));
      const leave = once(() => {
        end();
        release();
      });
      if (signal.aborted) leave();
      else signal.addEventListener("abort", leave, { once: true });
      return leave;
    } catch (error) {
      release();
      throw error;
    }
  }

  #hold(principal: Principal, key: string, bytes: number): () => void {
    const held = this.#heldBy.get(key) ?? 0;
    const isTooMuch = this.#held + bytes > MAX_HELD_BYTES || held + bytes > MAX_HELD_BYTES_OF_ONE;
    if (bytes > 0 && isTooMuch) throw denied(principal, tooManyCalls());
    this.#add(key, bytes);
    return () => this.#add(key, -bytes);
  }

  #add(key: string, bytes: number): void {
    this.#held += bytes;
    const held = (this.#heldBy.get(key) ?? 0) + bytes;
    if (held > 0) this.#heldBy.set(key, held);
    else this.#heldBy.delete(key);
  }

  async #default(principal: Principal, caller: string, kind: Kind, signal: AbortSignal): Promise<() => void> {
    const key = `${kind} ${caller}`;
    const semaphore = this.#defaults.get(key) ?? new Semaphore(this.#share(DEFAULT_CONCURRENCY[kind]));
    this.#defaults.set(key, semaphore);
    if (!semaphore.tryAcquire()) {
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(), this.#waitMs[kind]);
      try {
        await semaphore.acquire(AbortSignal.any([signal, late.signal]));
      } catch {
        // Nobody was refused who hung up.
        throw signal.aborted ? tooManyCalls() : denied(principal, tooManyCalls());
      } finally {
        clearTimeout(timer);
      }
    }
    return () => {
      semaphore.release();
      if (semaphore.isIdle) this.#defaults.delete(key);
    };
  }

  #count(principal: Principal, name: string, limit: number): () => void {
    const underWay = this.#underWay.get(name) ?? 0;
    if (underWay >= this.#share(limit)) throw denied(principal, tooManyCalls());
    this.#underWay.set(name, underWay + 1);
    return () => {
      const left = (this.#underWay.get(name) ?? 1) - 1;
      if (left > 0) this.#underWay.set(name, left);
      else this.#underWay.delete(name);
    };
  }

  #share(limit: number): number {
    return Math.max(1, Math.floor(limit / this.#processes()));
  }
}

function tooManyCalls(): ServiceError {
  return tooMany("同时进行的请求过多", "too many requests at once", RETRY_MS);
}

function once(work: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) work();
    isDone = true;
  };
}
