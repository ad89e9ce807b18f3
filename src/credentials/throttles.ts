import { appName, slotKey, type SlotName } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { Secret } from "../secret.ts";
import {
  BUDGET_MESSAGE,
  isActive,
  markAccounted,
  type Pause,
  pausedError,
  pauseKeys,
  pauseKeysOfApp,
  type PauseStore,
  unavailable,
} from "./backoff.ts";
import type { AuditActor } from "../audit/audit-entry.ts";
import { isClassicToken, isStableToken } from "./fetcher.ts";
import { credentialKey, type CredentialName, type CredentialRef } from "./credential.ts";
import { KINDS } from "./kinds.ts";
import type { RefreshGoal, RefreshParts } from "./refresh.ts";
import type { CallCounter } from "../audit/call-counts.ts";
import type { EventBus } from "../events.ts";

/** How often a complaint about an app is looked into. */
export const COMPLAINT_PAUSE_MS = 10_000;
const ALIVE_MS = 60_000;

/** Keeps complaints from costing more than they should: one is looked into per app in 10 s, and what was false is remembered. */
export class RejectionThrottle {
  readonly #pauses: Pick<PauseStore, "claim">;
  readonly #clock: Clock;
  /** Per credential, the value that WeChat said is alive, and until when that is believed (monotonic). */
  readonly #alive = new Map<string, { value: Secret; until: number }>();

  constructor(pauses: Pick<PauseStore, "claim">, clock: Clock) {
    this.#pauses = pauses;
    this.#clock = clock;
  }

  /** Undefined when a complaint about the slot's app may be looked into now; else what keeps it, for all processes. */
  begin({ platform, appId }: SlotName): Promise<Pause | undefined> {
    const now = this.#clock.now();
    const message =
      "10秒内已处理过该应用的凭证投诉，请稍后再试 (a complaint about this app was looked into less than 10 s ago)";
    return this.#pauses.claim({
      key: `complaint:${platform}:${appId}`,
      reason: "quota",
      failure: { code: "unavailable", message },
      count: 1,
      since: now,
      until: now + COMPLAINT_PAUSE_MS,
    });
  }

  /** Notes that WeChat has just said of the value that it is alive. */
  cacheAlive(key: string, value: Secret): void {
    this.#alive.set(key, { value, until: this.#clock.monotonic() + ALIVE_MS });
  }

  /** Whether WeChat has said of the value that it is alive, in the last 60 s and to this process. */
  isAlive(key: string, value: Secret): boolean {
    const alive = this.#alive.get(key);
    return alive !== undefined && this.#clock.monotonic() < alive.until && alive.value.equals(value);
  }
}

const ORDER_PAUSE_MS = 10_000;

/** What operators may order: a new credential, as often as that may be over all processes, and the end of a pause. */
export class ManualRefresh {
  readonly #parts: Pick<RefreshParts, "pauses" | "forced" | "clock" | "events">;

  constructor(parts: Pick<RefreshParts, "pauses" | "forced" | "clock" | "events">) {
    this.#parts = parts;
  }

  /**
   * What a refresh by this order is for.
   *
   * @throws {ServiceError} The failure of a pause that holds; `unavailable` when the budget of what kills a token is
   *   used up; `rate_limited` within 10 s of the last order.
   */
  async admit(ref: CredentialRef, force: boolean): Promise<RefreshGoal> {
    const { forced, pauses, clock } = this.#parts;
    const now = clock.now();
    const pause = (await pauses.find(pauseKeys(ref))).find((each) => isActive(each, now));
    if (pause) throw markAccounted(pausedError(pause, now));
    // A forced one takes from the budget when its turn has come.
    if (force && isStableToken(ref)) return { kind: "force" };
    if (isClassicToken(ref)) {
      const waitMs = await forced.take(ref.slot.appId, now);
      if (waitMs > 0) throw unavailable(BUDGET_MESSAGE, waitMs);
    } else {
      const message =
        "10秒内已刷新过该凭证，请稍后再试 (it was refreshed less than 10 s ago; try again later)";
      const last = await pauses.claim({
        key: `refresh:${credentialKey(ref)}`,
        reason: "quota",
        failure: { code: "rate_limited", message },
        count: 1,
        since: now,
        until: now + ORDER_PAUSE_MS,
      });
      if (last) throw markAccounted(pausedError(last, now));
    }
    return { kind: "renew", expiresAt: Number.MAX_SAFE_INTEGER };
  }

  /** Ends every pause of the slot's app. */
  async unblock(slot: SlotName, actor: AuditActor): Promise<void> {
    const { pauses, events } = this.#parts;
    const facts = {
      action: "app.unblocked",
      app: appName(slot),
      outcome: "ok",
      tokenDigest: "",
      detail: {},
    } as const;
    await pauses.remove(pauseKeysOfApp(slot), { ...actor, ...facts });
    events.emit({ type: "app.unblocked", key: slotKey(slot), address: actor.address });
  }
}

/** WeChat forces a new stable token 20 times a day and app, and ignores a call within 30 s of the last. */
export const MAX_FORCED_PER_DAY = 20;
export const FORCED_PAUSE_MS = 30_000;

/** Counts the forced refreshes of WeChat's stable tokens, in the store, for all processes together. */
export interface ForcedRefreshes {
  /**
   * Takes one of today's forced refreshes of a WeChat app, if one is left and 30 s have passed since the last.
   *
   * `now` is in epoch milliseconds. The answer is 0 when it was taken, else the milliseconds until the next may be.
   */
  take(appId: string, now: number): Promise<number>;
}

/** Tells how many forced refreshes an app has had. */
export interface ForcedRefreshCount {
  /** Since the last midnight in Beijing; `now` is in epoch milliseconds. */
  takenToday(appId: string, now: number): Promise<number>;
}

/** From which share of a day's calls on we hold back. */
const CAREFUL_SHARE = 0.9;

/**
 * Whether renewals ahead of time should stop, so that what is left of the day's calls is there for callers without any
 * token. Reports it by `quota.nearly_used`.
 */
export class QuotaGuard {
  readonly #calls: Pick<CallCounter, "today">;
  readonly #events: EventBus;

  constructor(calls: Pick<CallCounter, "today">, events: EventBus) {
    this.#calls = calls;
    this.#events = events;
  }

  /** Whether the app of `name` has used nine tenths of the calls a day that the upstream allows for this kind. */
  async isNearQuota(name: CredentialName): Promise<boolean> {
    const daily = KINDS.find(name)?.daily;
    if (!daily) return false;
    const { platform, appId } = name.slot;
    const { endpoint, limit } = daily;
    const calls = (await this.#calls.today(platform, appId)).get(endpoint) ?? 0;
    const isNear = calls >= limit * CAREFUL_SHARE;
    if (isNear) this.#events.emit({ type: "quota.nearly_used", key: credentialKey(name), calls, limit });
    return isNear;
  }
}
