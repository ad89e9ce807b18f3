import type { UsageCounter } from "../audit/usage.ts";
import type { EventBus } from "../events.ts";
import { type CredentialName, credentialKey } from "./credential.ts";

/** What WeChat allows of classic fetches a day. */
export const CLASSIC_A_DAY = 2000;
/** From which share of them on we hold back. */
const CAREFUL_SHARE = 0.9;

/**
 * Whether renewals ahead of time should stop, so that what is left of the day's classic fetches is there for callers
 * without any token. Tells so by `quota.nearly_used`.
 */
export class QuotaWatch {
  readonly #usage: Pick<UsageCounter, "today">;
  readonly #events: EventBus;

  constructor(usage: Pick<UsageCounter, "today">, events: EventBus) {
    this.#usage = usage;
    this.#events = events;
  }

  /** Whether `name` is a classic token of an app that has used nine tenths of the day's calls. */
  async isShort(name: CredentialName): Promise<boolean> {
    const { platform, appId, name: mode } = name.slot;
    if (platform !== "weixin" || mode !== "classic" || name.kind !== "access_token") return false;
    const calls = (await this.#usage.today(platform, appId)).get("/cgi-bin/token") ?? 0;
    const isShort = calls >= CLASSIC_A_DAY * CAREFUL_SHARE;
    if (isShort)
      this.#events.emit({ type: "quota.nearly_used", key: credentialKey(name), calls, limit: CLASSIC_A_DAY });
    return isShort;
  }
}
