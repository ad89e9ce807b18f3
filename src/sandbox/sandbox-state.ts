import { type IssuedTokens, masked, secondsLeft } from "./issued-tokens.ts";
import type { SandboxSwitches } from "./control.ts";
import type { WecomPlatform } from "./wecom-platform.ts";
import type { WeixinPlatform } from "./weixin-platform.ts";
import type { Clock } from "../clock.ts";

/** What the state shows besides the platforms. */
export interface StateSurroundings {
  time: SandboxTime;
  switches: SandboxSwitches;
  calls: Record<string, Record<string, number>>;
  debugCalls: number;
  faults: object[];
}

/** The whole sandbox as JSON for people. Secrets are left out; of a token, its beginning and its length are shown. */
export function sandboxState(
  weixin: WeixinPlatform,
  wecom: WecomPlatform,
  around: StateSurroundings,
): object {
  return {
    now: new Date(around.time.now()).toISOString(),
    beijing_day: around.time.day(),
    weixin: [...weixin.apps.values()].map((app) => ({
      app_id: app.settings.appId,
      live_tokens: liveTokens(weixin.tokens, app, around.time),
      used_today: app.usedToday(),
    })),
    wecom: wecom.apps.map((app) => ({
      corp_id: app.settings.corpId,
      agent: app.settings.agent,
      live_tokens: liveTokens(wecom.tokens, app, around.time),
    })),
    calls_per_day: around.calls,
    wecom_debug_calls: around.debugCalls,
    faults: around.faults,
    switches: around.switches,
  };
}

function liveTokens<Owner>(tokens: IssuedTokens<Owner>, owner: Owner, time: SandboxTime): object[] {
  return tokens.live(owner).map((token) => ({
    token: masked(token.value),
    expires_in: secondsLeft(token, time.now()),
    superseded: Number.isFinite(token.diesAt),
  }));
}

const DAY_MS = 86_400_000;
const BEIJING_OFFSET_MS = 8 * 3_600_000;

/**
 * The time of day on WeChat's side.
 *
 * It starts at the wall clock and from then on follows the age of things. Setting the wall clock of this machine
 * does not change the time at WeChat, so a jump of the wall clock leaves tokens here exactly as old as they were.
 */
export class SandboxTime {
  readonly #clock: Clock;
  readonly #offset: number;
  #date = { day: Number.NaN, text: "" };

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#offset = clock.now() - clock.monotonic();
  }

  /** Epoch milliseconds at WeChat. */
  now(): number {
    return this.#offset + this.#clock.monotonic();
  }

  /** Epoch seconds at WeChat, rounded down. */
  seconds(): number {
    return Math.floor(this.now() / 1000);
  }

  /** The date in Beijing as `2026-11-22`; daily quotas start again when it changes. */
  day(): string {
    const day = Math.floor((this.now() + BEIJING_OFFSET_MS) / DAY_MS);
    // Every request asks; the text is made once a day.
    if (day !== this.#date.day) this.#date = { day, text: new Date(day * DAY_MS).toISOString().slice(0, 10) };
    return this.#date.text;
  }

  /** The month in Beijing as `2026-11`. */
  month(): string {
    return this.day().slice(0, 7);
  }

  /** The running number of the current window of `ms` milliseconds, for quotas per minute and per hour. */
  window(ms: number): number {
    return Math.floor(this.now() / ms);
  }
}

/** An Official Account or Mini Program that api.weixin.qq.com of the sandbox knows. */
export interface SandboxWeixinApp {
  appId: string;
  secret: string;
  /** The white list: addresses, `1.2.3.*` or `1.2.3.0/24`. Absent: the white list is off. */
  ipList?: string[] | undefined;
  /** The secret is frozen: 40243. */
  frozenSecret?: boolean;
  /** The token API is forbidden for this account (50004) or the account is frozen (50007). */
  account?: "punished" | "frozen";
  /**
   * What risk control says to secret-bearing calls: ask the administrator (89503), still asking (89501),
   * refused for an hour (89507) or for a day (89506).
   */
  risk?: "ask" | "asking" | "refused_hour" | "refused_day";
  /** It is a third-party platform, whose tokens come from elsewhere: 61024. */
  component?: boolean;
}

/** A WeCom app, identified by its corp and its agent, that qyapi.weixin.qq.com of the sandbox knows. */
export interface SandboxWecomApp {
  corpId: string;
  agent: string;
  secret: string;
  /** Addresses from which business calls are accepted. Absent: from everywhere. */
  trustedIps?: string[] | undefined;
}

/**
 * Holds answers back until a test opens it.
 *
 * Wait for `arrived(n)` to know that n requests stand at the gate, do what has to happen meanwhile, then `open()`.
 */
export class Gate {
  readonly #opening = Promise.withResolvers<void>();
  #arrivals = 0;
  #expected: { count: number; resolve: () => void }[] = [];

  /** How many requests have come to the gate so far. */
  get arrivals(): number {
    return this.#arrivals;
  }

  /** Resolves as soon as `count` requests have come to the gate. */
  arrived(count = 1): Promise<void> {
    return new Promise((resolve) => {
      if (this.#arrivals >= count) resolve();
      else this.#expected.push({ count, resolve });
    });
  }

  /** Lets through all who wait and all who come later. */
  open(): void {
    this.#opening.resolve();
  }

  /** Waits at the gate; the sandbox calls it for each request that the fault catches. */
  async pass(): Promise<void> {
    this.#arrivals++;
    for (const { resolve } of this.#expected.filter(({ count }) => this.#arrivals >= count)) resolve();
    this.#expected = this.#expected.filter(({ count }) => this.#arrivals < count);
    await this.#opening.promise;
  }
}
