import { callerKey, type Caller, tooMany } from "../access/principal.ts";
import type { Changes } from "../changes.ts";
import type { Clock } from "../clock.ts";

/** So many wait in this process at once, and so many of one caller. */
const MAX_WAITING = 4096;
const MAX_OF_CALLER = 512;
/** How often it is looked whose time is over, and who may wait no more. */
const LOOK_MS = 250;
const TRY_AGAIN_MS = 5000;
/** Waits last longer by up to this part, so that those that began together do not end together. */
const JITTER = 1 / 16;

/** What was found, or in how many milliseconds to look again although nothing has changed. */
export type Look<T> = { readonly found: T } | { readonly againInMs: number };

/** How a caller waits. */
export interface WaitOptions {
  readonly waitMs: number;
  readonly caller: Pick<Caller, "principal" | "origin">;
  /** Throws when the caller may wait no more, as `look` does then; called every 250 ms. */
  readonly check: () => unknown;
  /** Of the request; aborted when nobody waits for its answer any more. */
  readonly signal: AbortSignal;
}

interface Waiter {
  /** By the monotonic clock. */
  until: number;
  readonly check: () => unknown;
  readonly wake: () => void;
}

/**
 * Callers that wait for a change of one credential, which any process may make.
 *
 * A change wakes those alone who wait for that credential. While nobody waits, it costs nothing.
 */
export class CredentialWaits {
  readonly #changes: Pick<Changes, "subscribe">;
  readonly #clock: Clock;
  readonly #waiters = new Map<string, Set<Waiter>>();
  readonly #counts = new Map<string, number>();
  #unsubscribe: (() => void) | undefined;
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(changes: Pick<Changes, "subscribe">, clock: Clock) {
    this.#changes = changes;
    this.#clock = clock;
  }

  /**
   * What `look` finds: it is called at once and after each change of the credential under `key`. Undefined when the time is
   * over, nobody waits for the answer any more, or the service stops.
   *
   * @throws {ServiceError} `rate_limited` when too many wait; what `look` throws.
   */
  async until<T>(key: string, look: () => Promise<Look<T>>, options: WaitOptions): Promise<T | undefined> {
    const { waitMs, signal, check, caller } = options;
    const end = this.#clock.monotonic() + waitMs * (1 + Math.random() * JITTER);
    const leave = this.#enter(callerKey(caller.principal, caller.origin));
    try {
      for (;;) {
        const { promise, resolve } = Promise.withResolvers<void>();
        // Waits before it looks, so that it misses no change in between.
        const waiter = { until: end, check, wake: resolve };
        const remove = this.#add(key, waiter, signal);
        try {
          const seen = await look();
          if ("found" in seen) return seen.found;
          const now = this.#clock.monotonic();
          if (now >= end || this.#isStopped) return undefined;
          waiter.until = Math.min(end, now + seen.againInMs);
          if (!signal.aborted) await promise;
          if (signal.aborted) return undefined;
        } finally {
          remove();
        }
      }
    } finally {
      leave();
    }
  }

  /** Ends every wait. */
  stop(): void {
    this.#isStopped = true;
    this.#wake();
  }

  /** Takes a place among those who wait; returns the function that gives it back. */
  #enter(owner: string): () => void {
    const count = this.#counts.get(owner) ?? 0;
    const all = [...this.#counts.values()].reduce((sum, each) => sum + each, 0);
    if (count >= MAX_OF_CALLER || all >= MAX_WAITING)
      throw tooMany(
        "等待凭证变更的请求过多",
        "too many requests wait for a credential to change",
        TRY_AGAIN_MS,
      );
    this.#counts.set(owner, count + 1);
    this.#unsubscribe ??= this.#changes.subscribe("credentials", (changed) => this.#wake(changed?.keys()));
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS);
    return () => {
      const left = (this.#counts.get(owner) ?? 0) - 1;
      if (left > 0) this.#counts.set(owner, left);
      else this.#counts.delete(owner);
      if (this.#counts.size > 0) return;
      this.#unsubscribe?.();
      this.#unsubscribe = undefined;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  }

  #add(key: string, waiter: Waiter, signal: AbortSignal): () => void {
    const waiters = this.#waiters.get(key) ?? new Set();
    this.#waiters.set(key, waiters.add(waiter));
    signal.addEventListener("abort", waiter.wake);
    return () => {
      signal.removeEventListener("abort", waiter.wake);
      waiters.delete(waiter);
      if (waiters.size === 0 && this.#waiters.get(key) === waiters) this.#waiters.delete(key);
    };
  }

  /** Wakes those who wait for the credentials under `keys`, or everybody. */
  #wake(keys: Iterable<string> = this.#waiters.keys()): void {
    for (const key of keys) for (const { wake } of this.#waiters.get(key) ?? []) wake();
  }

  #look(): void {
    const now = this.#clock.monotonic();
    for (const waiters of this.#waiters.values())
      for (const { until, check, wake } of waiters) if (now >= until || fails(check)) wake();
  }
}

function fails(check: () => unknown): boolean {
  try {
    check();
    return false;
  } catch {
    return true;
  }
}
