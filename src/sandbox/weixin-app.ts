import {
  countedTokenText,
  type IssuedToken,
  type IssuedTokens,
  Tickets,
  TokenSequence,
} from "./issued-tokens.ts";
import { OneTimeCodes } from "./user-tokens.ts";
import { Refusal } from "./sandbox-request.ts";
import type { SandboxSwitches, SandboxWeixinApp } from "./sandbox-settings.ts";
import { QuotaCounter, type SandboxTime } from "./sandbox-time.ts";

const MINUTE_MS = 60_000;
const TOKEN_LENGTH = 136;

/** What every app of api.weixin.qq.com shares. */
export interface WeixinSurroundings {
  time: SandboxTime;
  switches: SandboxSwitches;
  tokens: IssuedTokens<WeixinApp>;
  lifeMs: number;
  /** The five minutes in which old and new are both valid; shorter when tokens expire in less than two hours. */
  handoverMs: number;
}

/** One app of api.weixin.qq.com: its settings, its two sequences of tokens, its tickets and what it used up. */
export class WeixinApp {
  settings: SandboxWeixinApp;
  readonly tickets: Tickets;
  readonly codes = new OneTimeCodes();
  /** Codes for a phone number; WeChat doesn't mix them up with a login's. */
  readonly phoneCodes = new OneTimeCodes();
  /** The buttons below the chat; none before the first are made. */
  menu: readonly unknown[] = [];
  readonly #around: WeixinSurroundings;
  readonly #daily = new QuotaCounter();
  readonly #others = new QuotaCounter();
  readonly #classic: TokenSequence<WeixinApp>;
  readonly #stable: TokenSequence<WeixinApp>;
  #issued = 60;
  #messages = 0;
  #lastForcedAt = Number.NEGATIVE_INFINITY;

  constructor(settings: SandboxWeixinApp, around: WeixinSurroundings) {
    this.settings = settings;
    this.#around = around;
    this.tickets = new Tickets(around.time, around.lifeMs);
    const line = {
      owner: this,
      nextText: () => countedTokenText(this.#issued++, TOKEN_LENGTH),
      lifeMs: around.lifeMs,
      handoverMs: around.handoverMs,
    };
    this.#classic = new TokenSequence(around.tokens, line);
    this.#stable = new TokenSequence(around.tokens, line);
  }

  /**
   * A new classic token; its predecessor stays valid for the hand-over.
   *
   * @throws {Refusal} 45009 when the day's quota is used up.
   */
  fetchClassic(): IssuedToken<WeixinApp> {
    this.spend("/cgi-bin/token", this.#around.switches.classicPerDay);
    const sparesOldest = !this.#around.switches.thirdFetchKillsOldest;
    return this.#classic.rotate(this.#around.time.now(), { sparesOldest });
  }

  /**
   * The stable token: the same one until its last five minutes, then the next.
   *
   * A `forced` call replaces it at once, twenty times a day. Sooner than 30 s after the last forced call it does
   * not refresh, and gets what an ordinary call gets.
   *
   * @throws {Refusal} 45011 or 45009 when a quota is used up.
   */
  fetchStable(forced: boolean): IssuedToken<WeixinApp> {
    const { switches, time } = this.#around;
    const minute = time.window(MINUTE_MS);
    if (this.#others.add("stable", minute) > switches.stablePerMinute) throw minuteQuotaReached();
    this.spend("/cgi-bin/stable_token", switches.stablePerDay);

    if (forced && time.now() - this.#lastForcedAt >= switches.forcedSpacingSeconds * 1000) {
      if (this.#others.used("forced", time.day()) >= switches.forcedPerDay) throw dayQuotaReached();
      this.#others.add("forced", time.day());
      this.#lastForcedAt = time.now();
      return this.#stable.rotate(time.now(), { revokesNewest: switches.forcedKillsAtOnce });
    }
    const current = this.#stable.current();
    const inLastMinutes = current && current.expiresAt - time.now() <= this.#around.handoverMs;
    return current && !inLastMinutes ? current : this.#stable.rotate(time.now());
  }

  /** The number of the next message. */
  nextMessageId(): number {
    this.#messages += 1;
    return this.#messages;
  }

  /**
   * Counts one call of `endpoint` against its daily quota.
   *
   * @throws {Refusal} 45009 when `limit` is reached; the call is then not counted.
   */
  spend(endpoint: string, limit = this.#around.switches.apiPerDay): void {
    const day = this.#around.time.day();
    if (this.#daily.used(endpoint, day) >= limit) throw dayQuotaReached();
    this.#daily.add(endpoint, day);
  }

  /** What today's calls of `endpoint` cost so far, and how many there may be. */
  quota(endpoint: string): { daily_limit: number; used: number; remain: number } {
    const { classicPerDay, stablePerDay, apiPerDay } = this.#around.switches;
    const limits = new Map([
      ["/cgi-bin/token", classicPerDay],
      ["/cgi-bin/stable_token", stablePerDay],
    ]);
    const daily_limit = limits.get(endpoint) ?? apiPerDay;
    const used = this.#daily.used(endpoint, this.#around.time.day());
    return { daily_limit, used, remain: Math.max(0, daily_limit - used) };
  }

  /**
   * Gives the day's quotas back; the budget of forced refreshes is not among them.
   *
   * @throws {Refusal} 48006 when the month's ten clearings are used up.
   */
  clearQuota(): void {
    const { time, switches } = this.#around;
    if (this.#others.used("clear_quota", time.month()) >= switches.clearQuotaPerMonth) {
      throw new Refusal(48006, "forbid to clear quota because of reaching the limit");
    }
    this.#others.add("clear_quota", time.month());
    this.#daily.clear();
  }

  /** Today's calls by endpoint, and how many forced refreshes were among them. */
  usedToday(): Record<string, number> {
    const day = this.#around.time.day();
    return { ...this.#daily.usage(day), forced_refreshes: this.#others.used("forced", day) };
  }
}

function dayQuotaReached(): Refusal {
  return new Refusal(45009, "reach max api daily quota limit");
}

function minuteQuotaReached(): Refusal {
  return new Refusal(45011, "api minute-quota reach limit, must slower, retry next minute");
}
