import { LRUCache } from "lru-cache";
import { type Slot, slotKey, type SlotName } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import { type Platform, ServiceError, type UpstreamErrorClass } from "../errors.ts";
import type { PacingStore } from "./pacing-store.ts";

const ENTRY_POLL_MS = 50;
const ENTRY_RETRY_MS = 1000;
const MAX_PROVEN = 10_000;

/** The refusals that blame the secret or its app, unlike a used code or a quota. */
const BLAMES_SECRET: ReadonlySet<UpstreamErrorClass> = new Set(["config", "account", "risk", "permission"]);
const QUOTA: ReadonlySet<UpstreamErrorClass> = new Set(["quota_minute", "quota_day"]);

/** A budget that was used, or how long it is exhausted, and by what. */
export type Used =
  | { readonly uses: readonly string[] }
  | {
      readonly waitMs: number;
      /** Whether uses that may still be given back are to blame. */
      readonly isPending: boolean;
      /** What the use that blocks was for. */
      readonly note: string | undefined;
    };

/** What the trials work with. */
interface TrialParts {
  readonly store: Pick<PacingStore, "settle" | "giveBack">;
  readonly clock: Clock;
  /** Whether a slot's secret was accepted before this process started; default false. */
  readonly isKnown?: (slot: SlotName) => Promise<boolean>;
}

/**
 * The pacer's part for secrets that we don't hold: each uses a budget until WeChat accepts it.
 *
 * Attempts under way count as refusals until they turn out to be none, and further ones wait for them.
 */
export class SecretTrials {
  readonly #parts: TrialParts;
  readonly #use: (slot: Slot) => Promise<Used>;
  readonly #refusal: (retryAfterMs: number) => ServiceError;
  /** The slots whose secrets were accepted. Created on first use: it allocates its whole size at once. */
  #provenCache: LRUCache<string, true> | undefined;
  /** The attempts under way with secrets that were not accepted yet. */
  readonly #trials = new Map<string, Promise<unknown>>();
  /** Per platform, the last attempt that waits for the budget. */
  readonly #entries = new Map<Platform, Promise<unknown>>();
  /** Per platform, until when the budget is used up for good (monotonic): a flood of secrets costs no disk. */
  readonly #usedUpUntil = new Map<Platform, number>();

  /** `use` uses the budget, as pending; `refusal` makes the error of one that is used up. */
  constructor(
    parts: TrialParts,
    use: (slot: Slot) => Promise<Used>,
    refusal: (retryAfterMs: number) => ServiceError,
  ) {
    this.#parts = parts;
    this.#use = use;
    this.#refusal = refusal;
  }

  get #proven(): LRUCache<string, true> {
    return (this.#provenCache ??= new LRUCache({ max: MAX_PROVEN }));
  }

  /** Whether the secret of the slot `key` was accepted, as far as this process knows. */
  isProven(key: string): boolean {
    return this.#proven.has(key);
  }

  /**
   * Runs `ask`, which sends the slot's secret upstream. Waits, until `signal` is aborted, while attempts under way
   * take up the rest of the budget.
   *
   * @throws {ServiceError} `rate_limited` when too many unknown secrets were refused.
   */
  async run<T>(slot: Slot, ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const key = slotKey(slot);
    // Until a secret is accepted, one attempt at a time: a burst with one wrong secret costs one refusal.
    const trial = this.#trials.get(key);
    if (trial) {
      try {
        await trial;
      } catch (error) {
        if (!this.#proven.has(key)) throw error;
      }
    }
    if (this.#proven.has(key)) return this.#judged(key, ask);
    const attempt = this.#try(slot, key, ask, signal).finally(() => this.#trials.delete(key));
    this.#trials.set(key, attempt);
    return attempt;
  }

  /** An attempt with a secret that was not accepted by this process yet. */
  async #try<T>(slot: Slot, key: string, ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (await this.#parts.isKnown?.(slot)) return this.#judged(key, ask);
    // One of each platform waits at the store; WeCom's own limit must not hold WeChat's up.
    const before = this.#entries.get(slot.platform) ?? Promise.resolve();
    const entry = before.then(() => this.#enter(slot, signal));
    this.#entries.set(
      slot.platform,
      entry.catch(() => undefined),
    );
    return this.#judged(key, ask, await entry);
  }

  async #enter(slot: Slot, signal: AbortSignal): Promise<readonly string[]> {
    const { clock } = this.#parts;
    const { platform } = slot;
    for (;;) {
      const leftMs = (this.#usedUpUntil.get(platform) ?? 0) - clock.monotonic();
      if (leftMs > 0) throw this.#refusal(leftMs);
      const used = await this.#use(slot);
      if ("uses" in used) return used.uses;
      if (!used.isPending) {
        this.#usedUpUntil.set(platform, clock.monotonic() + used.waitMs);
        throw this.#refusal(used.waitMs);
      }
      if (signal.aborted) throw this.#refusal(ENTRY_RETRY_MS);
      await clock.sleep(ENTRY_POLL_MS);
    }
  }

  /** Runs `ask`, and notes its verdict on the secret. `uses` is what it has used of the budget. */
  async #judged<T>(key: string, ask: () => Promise<T>, uses: readonly string[] = []): Promise<T> {
    const { store } = this.#parts;
    let isRefused = false;
    try {
      const answer = await ask();
      this.#proven.set(key, true);
      return answer;
    } catch (error) {
      const refusal =
        error instanceof ServiceError && error.pacing !== "handled" ? error.upstream : undefined;
      // WeChat checks the secret before the code, so the secret is right.
      if (refusal?.class === "input") this.#proven.set(key, true);
      if (refusal && BLAMES_SECRET.has(refusal.class)) this.#proven.delete(key);
      isRefused = refusal !== undefined && (BLAMES_SECRET.has(refusal.class) || QUOTA.has(refusal.class));
      throw error;
    } finally {
      // A use that can't be given back now expires.
      if (uses.length > 0)
        await (isRefused ? store.settle(uses) : store.giveBack(uses)).catch(() => undefined);
    }
  }
}
