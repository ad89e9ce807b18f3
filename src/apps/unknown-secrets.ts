import { LRUCache } from "lru-cache";
import type { Clock } from "../clock.ts";
import { type Platform, ServiceError, type UpstreamErrorClass } from "../errors.ts";
import { type Slot, slotKey, type SlotName } from "./app.ts";

const MINUTE_MS = 60_000;
const REMEMBER_MS = 10 * MINUTE_MS;
const RETRY_MS = 1000;
const MAX_REMEMBERED = 10_000;

/** How many refusals of unknown secrets the whole service allows itself in a window. */
const LIMITS: readonly { most: number; windowMs: number; platforms: readonly Platform[] }[] = [
  { most: 20, windowMs: MINUTE_MS, platforms: ["weixin", "wecom"] },
  // WeCom bans the calling address for an hour when wrong secrets keep coming (its 45009).
  { most: 200, windowMs: 60 * MINUTE_MS, platforms: ["wecom"] },
];

/** The refusals that the secret itself, or its app, is to blame for. A used code or a quota is not. */
const REFUSED: ReadonlySet<UpstreamErrorClass> = new Set(["config", "account", "risk", "permission"]);

const QUOTA: ReadonlySet<UpstreamErrorClass> = new Set(["quota_minute", "quota_day"]);

/**
 * Keeps secrets that we don't hold from costing upstream calls without end.
 *
 * A refusal is remembered for ten minutes for that app and secret. All refusals together are limited, because WeChat
 * and WeCom punish the address that sends wrong secrets, and with it every app of ours. Attempts that are under way
 * count as refusals until they are known to be none; who comes when the rest is taken up waits for one of them.
 */
export class UnknownSecrets {
  readonly #clock: Clock;
  readonly #isKnown: (slot: SlotName) => Promise<boolean>;
  /** Made when first used: each takes its whole size at once, which costs milliseconds of a start. */
  #refusalCache: LRUCache<string, ServiceError> | undefined;
  #provenCache: LRUCache<string, true> | undefined;
  /** The attempts under way with secrets that have not proven themselves. */
  readonly #trials = new Map<string, Promise<unknown>>();
  readonly #refusedAt: { platform: Platform; at: number }[] = [];
  readonly #underWay = new Map<Platform, number>();
  readonly #waiting: Readonly<Record<Platform, Set<() => void>>> = { weixin: new Set(), wecom: new Set() };

  /** `isKnown` tells whether a slot's secret was accepted in an earlier life of this service. */
  constructor(clock: Clock, isKnown: (slot: SlotName) => Promise<boolean>) {
    this.#clock = clock;
    this.#isKnown = isKnown;
  }

  get #refusals(): LRUCache<string, ServiceError> {
    return (this.#refusalCache ??= new LRUCache({
      max: MAX_REMEMBERED,
      ttl: REMEMBER_MS,
      ttlResolution: 0,
      perf: { now: () => this.#clock.monotonic() },
    }));
  }

  get #proven(): LRUCache<string, true> {
    return (this.#provenCache ??= new LRUCache({ max: MAX_REMEMBERED }));
  }

  /**
   * Runs `ask`, which sends the slot's secret upstream, unless that secret may not be sent now.
   *
   * A configured slot always may. Waits, until `signal` is aborted, while the rest of the limit is taken up by attempts
   * under way.
   *
   * @throws {ServiceError} The remembered refusal; or `rate_limited` when too many unknown secrets were refused.
   */
  async run<T>(slot: Slot, ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (slot.configured) return ask();
    const key = slotKey(slot);
    // Until a secret has proven itself, one attempt at a time: a burst with one wrong secret costs one refusal.
    const trial = this.#trials.get(key);
    if (trial) {
      try {
        await trial;
      } catch (error) {
        if (!this.#proven.has(key)) throw error;
      }
    }
    this.#throwIfRefused(key);
    if (this.#proven.has(key)) return this.#judged(slot, key, ask);
    const attempt = this.#try(slot, key, ask, signal).finally(() => this.#trials.delete(key));
    this.#trials.set(key, attempt);
    return attempt;
  }

  /** An attempt with a secret that has not proven itself in this process. */
  async #try<T>(slot: Slot, key: string, ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (await this.#isKnown(slot)) return this.#judged(slot, key, ask);
    await this.#enter(slot.platform, signal);
    try {
      return await this.#judged(slot, key, ask);
    } finally {
      this.#leave(slot.platform);
    }
  }

  async #judged<T>(slot: Slot, key: string, ask: () => Promise<T>): Promise<T> {
    try {
      const answer = await ask();
      this.#proven.set(key, true);
      return answer;
    } catch (error) {
      if (error instanceof ServiceError) this.#judge(slot, key, error);
      throw error;
    }
  }

  #throwIfRefused(key: string): void {
    const remembered = this.#refusals.get(key);
    if (remembered) throw remembered;
  }

  #judge(slot: Slot, key: string, error: ServiceError): void {
    if (error.upstream === undefined) return;
    if (error.upstream.class === "input") {
      // The secret is checked before the code: WeChat got as far as the code, so the secret is right.
      this.#proven.set(key, true);
    } else if (REFUSED.has(error.upstream.class) || QUOTA.has(error.upstream.class)) {
      // A quota says nothing of the secret, but asking on prolongs the ban of the address: leave it for a minute.
      const isQuota = QUOTA.has(error.upstream.class);
      if (isQuota && this.#proven.has(key)) return;
      if (!isQuota) this.#proven.delete(key);
      this.#refusals.set(key, error, { ttl: isQuota ? MINUTE_MS : REMEMBER_MS });
      this.#refusedAt.push({ platform: slot.platform, at: this.#clock.monotonic() });
    }
  }

  async #enter(platform: Platform, signal: AbortSignal): Promise<void> {
    for (;;) {
      const { refusals, retryAfterMs, underWay, room } = this.#roomFor(platform);
      if (refusals >= room || signal.aborted) {
        this.#wakeNext();
        throw tooManyRefusals(refusals >= room ? retryAfterMs : RETRY_MS);
      }
      if (refusals + underWay < room) break;
      await this.#turn(platform, signal);
    }
    this.#underWay.set(platform, (this.#underWay.get(platform) ?? 0) + 1);
  }

  #leave(platform: Platform): void {
    this.#underWay.set(platform, (this.#underWay.get(platform) ?? 0) - 1);
    this.#wakeNext();
  }

  /** Resolves when it is this caller's turn to look again, or its time is over. */
  #turn(platform: Platform, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = this.#waiting[platform];
    waiting.add(resolve);
    signal.addEventListener("abort", () => resolve(), { once: true });
    return promise.finally(() => waiting.delete(resolve));
  }

  /**
   * Wakes the first of each platform: WeCom's own limit may hold its first back while WeChat's could go on. Whoever is
   * let in wakes the next when it leaves, and whoever is turned away at once: nobody is forgotten.
   */
  #wakeNext(): void {
    for (const waiting of Object.values(this.#waiting)) {
      const [first] = waiting;
      if (!first) continue;
      waiting.delete(first);
      first();
    }
  }

  /** The tightest of the limits that hold for `platform`. */
  #roomFor(platform: Platform): { refusals: number; underWay: number; room: number; retryAfterMs: number } {
    const now = this.#clock.monotonic();
    while (this.#refusedAt[0] && now - this.#refusedAt[0].at >= 60 * MINUTE_MS) this.#refusedAt.shift();
    const states = LIMITS.filter((limit) => limit.platforms.includes(platform)).map((limit) => {
      const within = this.#refusedAt.filter(
        (refusal) => limit.platforms.includes(refusal.platform) && now - refusal.at < limit.windowMs,
      );
      const underWay = limit.platforms.reduce((sum, each) => sum + (this.#underWay.get(each) ?? 0), 0);
      const first = within[within.length - limit.most];
      const retryAfterMs = first ? first.at + limit.windowMs - now : 0;
      return { refusals: within.length, underWay, room: limit.most, retryAfterMs };
    });
    return states.reduce((tightest, state) =>
      state.room - state.refusals - state.underWay < tightest.room - tightest.refusals - tightest.underWay
        ? state
        : tightest,
    );
  }
}

function tooManyRefusals(retryAfterMs: number): ServiceError {
  return new ServiceError(
    "rate_limited",
    "未知的secret尝试次数过多，请稍后再试 (too many unknown secrets were tried; try again later)",
    { retryAfterMs },
  );
}
