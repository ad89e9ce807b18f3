import { appName, roleOf, type Slot, slotKey, type SlotName } from "../apps/app.ts";
import type { AuditActor } from "../audit/audit-entry.ts";
import type { CallCounter } from "../audit/call-counts.ts";
import { type Clock, untilMidnightInBeijing } from "../clock.ts";
import { ServiceError, type UpstreamErrorClass } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { Secret } from "../secret.ts";
import {
  type Backoff,
  backoffAfter,
  backoffError,
  backoffKeys,
  backoffKeysOfApp,
  callsForBackoff,
  concernedBy,
  handledError,
  isActive,
  isCredible,
  isRefusal,
  loginBackoffKey,
  type SlotOrCorp,
  unavailable,
} from "./backoff.ts";
import { credentialKey, type CredentialName, type CredentialRef } from "./credential.ts";
import { KINDS, kindsOf } from "./kinds.ts";
import type { Budget, PacingStore, UseRequest } from "./pacing-store.ts";
import { SecretTrials, type Used } from "./secret-trials.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** WeChat forces a new stable token 20 times a day and app, and ignores a call within 30 s of the last. */
export const MAX_FORCED_PER_DAY = 20;
export const FORCED_INTERVAL_MS = 30_000;
/** The message of a used-up budget of forced refreshes. */
export const BUDGET_MESSAGE =
  "今日强制刷新次数已用完或间隔不足30秒，请稍后重试 (forced refreshes: 20 a day, 30 s apart; try again later)";
const COMPLAINT_MESSAGE =
  "10秒内已核实过该应用的凭证，请稍后再试 (a complaint about this app was checked less than 10 s ago; try again later)";

/** One budget: at most `most` uses within `windowMs`, or within a day in Beijing, of each `scope`. */
interface Limit {
  /** Undefined where the budget does not concern the credential, or whoever calls. */
  readonly scope: (name: CredentialName, caller: string | undefined) => string | undefined;
  readonly most: number;
  readonly windowMs: number | "day";
  /** Whether a use counts although the purpose came to nothing; then no other limit has that scope. */
  readonly isKept?: boolean;
}

/** What paces one purpose. */
interface Rule {
  /** The backoffs that block it. */
  readonly backoffs?: (name: CredentialName) => string[];
  readonly limits: readonly Limit[];
  /** The error of a used-up budget. */
  readonly code?: "unavailable" | "rate_limited";
  readonly message?: string;
}

const ofApp = ({ slot }: CredentialName) => `${slot.platform}:${slot.appId}`;
const ofCaller = (name: CredentialName, caller: string | undefined) =>
  caller === undefined ? undefined : `${ofApp(name)}:${caller}`;

const RENEWAL_LIMIT = { scope: () => "all", most: 20, windowMs: 1000 };
const SECRET_LIMITS: readonly Limit[] = [
  { scope: () => "all", most: 20, windowMs: MINUTE_MS },
  // WeCom bans the calling address for an hour when wrong secrets keep coming (its 45009).
  {
    scope: ({ slot }) => (slot.platform === "wecom" ? "wecom" : undefined),
    most: 200,
    windowMs: 60 * MINUTE_MS,
  },
];

/** Why requests are sent to WeChat or WeCom, and how often. */
const PURPOSES = {
  /** A caller or a renewal needs a credential. */
  fetch: { backoffs: backoffKeys, limits: [] },
  /** A caller reports that WeChat rejected a credential. */
  complaint: {
    limits: [{ scope: ofApp, most: 1, windowMs: 10_000 }],
    code: "unavailable",
    message: COMPLAINT_MESSAGE,
  },
  /** A different endpoint than that of the last complaint reports it too. */
  second_complaint: {
    limits: [{ scope: ofApp, most: 1, windowMs: 10_000 }],
    code: "unavailable",
    message: COMPLAINT_MESSAGE,
  },
  /** WeChat rejected a credential that we sent ourselves, which is no caller's word. For a platform's own, which all share, each caller has a part. */
  rejection: {
    limits: [
      { scope: (name) => `${ofApp(name)}:at once`, most: 3, windowMs: 10_000, isKept: true },
      { scope: ofApp, most: 60, windowMs: 60 * MINUTE_MS },
      {
        scope: (name, caller) => (roleOf(name.slot) ? ofCaller(name, caller) : undefined),
        most: 20,
        windowMs: 60 * MINUTE_MS,
      },
    ],
    code: "unavailable",
    message:
      "近期已多次核实该应用的凭证，请稍后再试 (the credential of this app was checked several times just now; try again later)",
  },
  /** Renewals that become due: after a long stop there may be many. */
  renewal: { limits: [RENEWAL_LIMIT] },
  clear: {
    limits: [{ scope: credentialKey, most: 1, windowMs: 10_000 }],
    code: "rate_limited",
    message:
      "10秒内已清除过该凭证，请稍后再试 (this credential was cleared less than 10 s ago; try again later)",
  },
  /** A manual refresh that ends no token. */
  refresh: {
    backoffs: backoffKeys,
    limits: [{ scope: credentialKey, most: 1, windowMs: 10_000 }],
    code: "rate_limited",
    message:
      "10秒内已刷新过该凭证，请稍后再试 (this credential was refreshed less than 10 s ago; try again later)",
  },
  /** What makes WeChat revoke the current token: a forced refresh, a manual fetch of a classic or a platform's token. */
  force: {
    backoffs: backoffKeys,
    limits: [
      { scope: ofApp, most: 1, windowMs: FORCED_INTERVAL_MS },
      { scope: ofApp, most: MAX_FORCED_PER_DAY, windowMs: "day" },
    ],
    code: "unavailable",
    message: BUDGET_MESSAGE,
  },
  /** WeChat and WeCom punish the address that sends wrong secrets, and with it every app of ours. */
  unknown_secret: {
    limits: SECRET_LIMITS,
    code: "rate_limited",
    message: "未知的secret尝试次数过多，请稍后再试 (too many unknown secrets were tried; try again later)",
  },
  /** Somebody brings a code that authorizes a platform, of which no push has told; only what comes to nothing counts. */
  exchange: {
    limits: [
      { scope: ofCaller, most: 10, windowMs: MINUTE_MS },
      { scope: ofCaller, most: 100, windowMs: 60 * MINUTE_MS },
      { scope: ofApp, most: 60, windowMs: MINUTE_MS },
      { scope: ofApp, most: 600, windowMs: 60 * MINUTE_MS },
    ],
    code: "rate_limited",
    message:
      "无效的授权码尝试次数过多，请稍后再试 (too many authorization codes came to nothing; try again later)",
  },
  /** An administrator has a new secret checked: apart from callers' secrets, because something was fixed. */
  secret_check: {
    limits: SECRET_LIMITS,
    code: "rate_limited",
    message: "核实secret过于频繁，请稍后再试 (too many secret verifications; try again later)",
  },
} satisfies Record<string, Rule>;

/** Why a request is sent to WeChat or WeCom. Logins are paced by `Pacing.login`. */
export type Purpose = keyof typeof PURPOSES;

/** How long after an exponential backoff its failure is still returned at once, while one probe checks for recovery. */
const PROBED_MS = MINUTE_MS;
/** How long WeChat's verdict that a rejected credential is valid is trusted. */
const VALID_MS = 10_000;
/** After so many rejections in a row of credentials that are valid, none of that client's is verified for a minute. */
const MAX_FALSE = 3;
const MUTED_MS = MINUTE_MS;
const MAX_CLIENTS = 10_000;
/** The share of a daily quota at which renewals ahead of time stop. */
const CAREFUL_SHARE = 0.9;

/** What the pacer works with. */
export interface PacingParts {
  readonly store: PacingStore;
  readonly clock: Clock;
  readonly events: EventBus;
  /** Today's upstream calls; without it no quota is near its end. */
  readonly calls?: Pick<CallCounter, "today">;
  /** See `AppAdministration.isOutdated`; default false. */
  readonly isOutdated?: (slot: Slot, about: "use" | "failure") => Promise<boolean>;
  /** Whether a slot's secret was accepted before this process started; default false. */
  readonly isKnown?: (slot: SlotName) => Promise<boolean>;
}

/** What keeps a credential from being fetched. */
export interface Refusal {
  readonly error: ServiceError;
  /** The backoff itself has ended: one probe may check for recovery while callers get the error. */
  readonly mayProbe: boolean;
}

/** A budget that was used for something that may still not happen. */
export interface Admission {
  /** The purpose came to nothing: the next one need not wait. */
  giveBack(): Promise<void>;
}

/**
 * Answers the one question "may we ask WeChat or WeCom now?", for every purpose and for all processes together.
 *
 * Two things block a purpose. A *backoff* is made of a failure and lasts as long as that failure deserves; a success
 * removes it. A *budget* is a number of uses in a window of time. Both are in the store.
 */
export class Pacing {
  readonly #parts: PacingParts;
  /** Per credential, the value that WeChat called valid, until when that is trusted (monotonic), and for which endpoints. */
  readonly #valid = new Map<string, { value: Secret; endsAt: number; endpoints: Set<string | undefined> }>();
  /** Per client, how many rejections in a row were of valid credentials, and until when none is verified (monotonic). */
  readonly #false = new Map<string, { readonly count: number; readonly until: number }>();
  readonly #trials: SecretTrials;

  constructor(parts: PacingParts) {
    this.#parts = parts;
    const use = (slot: Slot) =>
      this.#use("unknown_secret", { slot, kind: "access_token" }, { isPending: true });
    const refusal = (retryAfterMs: number) => budgetError("unknown_secret", retryAfterMs);
    this.#trials = new SecretTrials(parts, use, refusal);
  }

  /** What keeps `ref` from being fetched now; undefined when nothing does. */
  async check(ref: CredentialName): Promise<Refusal | undefined> {
    const now = this.#now();
    const [last] = (await this.#parts.store.find(backoffKeys(ref)))
      .filter((backoff) => isCredible(backoff, now))
      .toSorted((a, b) => b.until - a.until);
    if (!last) return undefined;
    const mayProbe = now >= last.until;
    if (mayProbe && (last.reason !== "exponential" || now >= last.until + PROBED_MS)) return undefined;
    return { error: backoffError(last, now), mayProbe };
  }

  /**
   * Uses the budgets of `purpose`, unless a backoff blocks it. `endpoint` says which of WeChat's endpoints a complaint
   * comes from: a second one, different from the first, has a budget of its own. `caller` is whoever has some budgets of its
   * own. `asked` is the purpose that the error of a used-up budget speaks of, by default this one.
   *
   * @throws {ServiceError} The failure of the backoff; `rate_limited` or `unavailable` when a budget is used up.
   */
  async admit(
    purpose: Purpose,
    name: CredentialName,
    {
      endpoint,
      caller,
      asked = purpose,
    }: {
      readonly endpoint?: string | undefined;
      readonly caller?: string | undefined;
      readonly asked?: Purpose;
    } = {},
  ): Promise<Admission> {
    const { store } = this.#parts;
    const rule: Rule = PURPOSES[purpose];
    if (rule.backoffs) await this.#refuseActive(rule.backoffs(name));
    const used = await this.#use(purpose, name, { note: endpoint, caller });
    if ("uses" in used) {
      const kept = rule.limits.filter(({ isKept }) => isKept);
      const keys = kept.map(({ scope }) => `${budgetKey(purpose, scope(name, caller) ?? "")}#`);
      const back = used.uses.filter((use) => !keys.some((key) => use.startsWith(key)));
      return { giveBack: () => store.giveBack(back) };
    }
    if (purpose === "complaint" && endpoint !== undefined && used.note !== endpoint)
      return this.admit("second_complaint", name);
    throw budgetError(asked, used.waitMs);
  }

  /** Uses the budgets of `purpose`, whatever backoff there is. Returns 0, or the milliseconds until that is possible. */
  async take(purpose: Purpose, name: CredentialName): Promise<number> {
    const used = await this.#use(purpose, name);
    return "uses" in used ? 0 : used.waitMs;
  }

  /** The budget of renewals from now on, which the store uses when it gives some. */
  renewalBudget(): Budget {
    const { scope, most, windowMs } = RENEWAL_LIMIT;
    return { key: budgetKey("renewal", scope()), most, from: this.#now() - windowMs };
  }

  /** The backoffs that `succeeded` and `failed` compare with; ask for them before the attempt. */
  seen(ref: CredentialName): Promise<Backoff[]> {
    return this.#parts.store.find(backoffKeys(ref));
  }

  /**
   * To be asked once more under the lease, right before the upstream is: another process may have failed meanwhile, whose
   * backoff holds for all, or changed the app.
   *
   * @throws {ServiceError} The failure of an active backoff; `unavailable` for a secret that we don't hold any more.
   */
  async confirm({ slot, kind }: CredentialRef): Promise<void> {
    await this.#refuseActive(backoffKeys({ slot, kind }));
    await this.#refuseOutdated(slot);
  }

  /** An attempt has succeeded: removes the backoffs that it saw. One that was made meanwhile stays. */
  async succeeded(seen: readonly Backoff[]): Promise<void> {
    if (seen.length > 0) await this.#parts.store.remove(seen);
  }

  /** An attempt has failed: makes the backoff that the error calls for. Returns the error for the callers. */
  async failed(ref: CredentialRef, error: ServiceError, seen: readonly Backoff[]): Promise<ServiceError> {
    if (!callsForBackoff(error)) return error;
    const backoff = backoffAfter(ref, error, seen, this.#now());
    if (!(await this.#put(ref.slot, backoff))) return handledError(error);
    // A caller that sent a secret of its own gets the upstream's error unchanged.
    return ref.slot.configured ? backoffError(backoff, backoff.since) : handledError(error);
  }

  /**
   * Runs `ask`, which exchanges a login code of a slot, unless a backoff of what it sends is active; makes one when the
   * secret or the account is to blame.
   *
   * Logins that send the secret share the backoff of the access token. The refusal of a call that sends a token says
   * nothing of the secret, so such logins have a backoff of their own, as tickets have.
   */
  async login<T>(
    slot: Slot,
    sends: "secret" | "token",
    ask: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const key = sends === "secret" ? slotKey(slot) : loginBackoffKey(slot);
    const seen = await this.#refuseActive([key]);
    if (sends === "secret") await this.#refuseOutdated(slot);
    const paced = async (): Promise<T> => {
      try {
        return await ask();
      } catch (error) {
        // Where it can't be stored, the caller still gets the upstream's own answer.
        if (error instanceof ServiceError)
          await this.#loginFailed(slot, key, error, seen).catch(() => undefined);
        throw error;
      }
    };
    return sends === "secret" ? this.sendSecret(slot, paced, signal) : paced();
  }

  /** As `SecretTrials.run`: runs `ask`, which sends the slot's secret upstream. */
  sendSecret<T>(slot: Slot, ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return slot.configured ? ask() : this.#trials.run(slot, ask, signal);
  }

  /** Remembers for 10 s that WeChat has just called the value valid, when `endpoint` had rejected it. */
  rememberValid(key: string, value: Secret, endpoint: string | undefined): void {
    const now = this.#parts.clock.monotonic();
    const known = this.isKnownValid(key, value) ? this.#valid.get(key) : undefined;
    for (const [each, { endsAt }] of this.#valid) if (endsAt <= now) this.#valid.delete(each);
    const endpoints = new Set([...(known?.endpoints ?? []), endpoint]);
    this.#valid.set(key, { value, endsAt: now + VALID_MS, endpoints });
  }

  /** Whether WeChat called the value valid in the last 10 s, and not before `since` (monotonic), to this process. */
  isKnownValid(key: string, value: Secret, since = -Infinity): boolean {
    const valid = this.#valid.get(key);
    if (!valid || valid.endsAt - VALID_MS < since) return false;
    return this.#parts.clock.monotonic() < valid.endsAt && valid.value.equals(value);
  }

  /** Throws `unavailable` for a client whose rejections are not verified just now. */
  refuseMuted(client: string): void {
    const waitMs = (this.#false.get(client)?.until ?? 0) - this.#parts.clock.monotonic();
    if (waitMs > 0) throw budgetError("rejection", waitMs);
  }

  /** A rejection that this client's call met was verified: `isFalse` when WeChat calls the credential valid. */
  noteVerified(client: string, isFalse: boolean): void {
    const count = isFalse ? (this.#false.get(client)?.count ?? 0) + 1 : 0;
    this.#false.delete(client);
    if (count === 0) return;
    if (this.#false.size >= MAX_CLIENTS) this.#false.clear();
    const until = count < MAX_FALSE ? 0 : this.#parts.clock.monotonic() + MUTED_MS;
    this.#false.set(client, { count: count % MAX_FALSE, until });
  }

  /** Whether that verdict covers a complaint from `endpoint`: the first one of a new endpoint is checked again. */
  isFalseComplaint(key: string, value: Secret, endpoint: string | undefined): boolean {
    if (!this.isKnownValid(key, value)) return false;
    return endpoint === undefined || this.#valid.get(key)?.endpoints.has(endpoint) === true;
  }

  /** Removes every backoff of the slot's app: an administrator has fixed what was wrong. */
  async unblock(slot: SlotName, actor: AuditActor): Promise<void> {
    const { store, events } = this.#parts;
    const facts = {
      action: "app.unblocked",
      app: appName(slot),
      outcome: "ok",
      tokenDigest: "",
      detail: {},
    } as const;
    await store.unblock(backoffKeysOfApp(slot), { ...actor, ...facts });
    events.emit({ type: "app.unblocked", key: slotKey(slot), address: actor.address });
  }

  /**
   * Whether the app of `name` has used nine tenths of the calls a day that the upstream allows for this kind. Then
   * renewals ahead of time stop, so that the rest is available to callers without any credential.
   */
  async isNearQuota(name: CredentialName): Promise<boolean> {
    const { calls, events } = this.#parts;
    const daily = KINDS.find(name)?.daily;
    if (!calls || !daily) return false;
    const { endpoint, limit } = daily;
    const used = (await calls.today(name.slot.platform, name.slot.appId)).get(endpoint) ?? 0;
    const isNear = used >= limit * CAREFUL_SHARE;
    if (isNear) events.emit({ type: "quota.nearly_used", key: credentialKey(name), calls: used, limit });
    return isNear;
  }

  /** Every backoff that concerns a credential of the slot, also those that ended within a day. */
  backoffsOf(slots: readonly SlotName[]): Promise<Backoff[]> {
    const keys = slots.flatMap((slot) => kindsOf(slot).flatMap((kind) => backoffKeys({ slot, kind })));
    return this.#parts.store.find([...new Set(keys)]);
  }

  /** What the upstream has refused us for now: of which slot, or corp, and why. */
  async blocked(): Promise<readonly { readonly slot: SlotOrCorp; readonly class: UpstreamErrorClass }[]> {
    const now = this.#now();
    const found = await this.#parts.store.listRefusals(now);
    return found.flatMap((backoff) => {
      const slot = concernedBy(backoff.key);
      const { upstream } = backoff.failure;
      const isOne = slot && upstream && isRefusal(backoff) && isActive(backoff, now);
      return isOne ? [{ slot, class: upstream.class }] : [];
    });
  }

  /** How many forced refreshes each of these WeChat apps has had since the last midnight in Beijing. */
  forcedToday(appIds: readonly string[]): Promise<number[]> {
    const now = this.#now();
    const keys = appIds.map((appId) => budgetKey("force", `weixin:${appId}`));
    return this.#parts.store.countUses(keys, now - windowAgeMs("day", now), now);
  }

  /** The WeChat apps with that many forced refreshes, or more, since the last midnight in Beijing. */
  async forcedOften(least: number): Promise<{ readonly appId: string; readonly count: number }[]> {
    const now = this.#now();
    const scope = budgetKey("force", "weixin:");
    const found = await this.#parts.store.countUsesUnder(scope, now - windowAgeMs("day", now), now);
    return [...found].flatMap(([key, count]) =>
      count >= least ? [{ appId: key.slice(scope.length), count }] : [],
    );
  }

  #now(): number {
    return this.#parts.clock.now();
  }

  /** Throws the failure of an active backoff; returns those that have ended. */
  async #refuseActive(keys: readonly string[]): Promise<Backoff[]> {
    const now = this.#now();
    const backoffs = await this.#parts.store.find(keys);
    const active = backoffs.find((backoff) => isActive(backoff, now));
    if (active) throw backoffError(active, now);
    return backoffs;
  }

  async #refuseOutdated(slot: Slot): Promise<void> {
    if (!(await this.#isOutdated(slot, "use"))) return;
    throw unavailable(
      "该应用刚被修改、停用或删除，请重试 (the app was just changed, disabled or removed; try again)",
      1000,
    );
  }

  async #isOutdated(slot: Slot, about: "use" | "failure"): Promise<boolean> {
    return slot.configured && (await this.#parts.isOutdated?.(slot, about)) === true;
  }

  /**
   * Stores a backoff; false where it blames a secret that was changed meanwhile: that says nothing of the new one. Asked
   * afterwards, since a change removes what was stored before it.
   */
  async #put(slot: Slot, backoff: Backoff): Promise<boolean> {
    const { store } = this.#parts;
    await store.put(backoff);
    if (backoff.reason !== "circuit_open" || !(await this.#isOutdated(slot, "failure"))) return true;
    await store.remove([backoff]);
    return false;
  }

  async #use(
    purpose: Purpose,
    name: CredentialName,
    {
      note,
      isPending,
      caller,
    }: Pick<UseRequest, "note" | "isPending"> & { readonly caller?: string | undefined } = {},
  ): Promise<Used> {
    const now = this.#now();
    const rule: Rule = PURPOSES[purpose];
    const limits = rule.limits.flatMap(({ scope, most, windowMs }) => {
      const of = scope(name, caller);
      if (of === undefined) return [];
      const endsInMs = windowMs === "day" ? untilMidnightInBeijing(now) : windowMs;
      return [
        { key: budgetKey(purpose, of), most, windowMs, endsInMs, from: now - windowAgeMs(windowMs, now) },
      ];
    });
    if (limits.length === 0) return { uses: [] };
    const until = now + Math.max(...limits.map(({ endsInMs }) => endsInMs));
    const answer = await this.#parts.store.use({ limits, now, until, note, isPending: isPending ?? false });
    if (!answer.blocked) return answer;
    const waits = answer.blocked.map(({ limit, since }) => {
      const { windowMs = 0, endsInMs = 0 } = limits[limit] ?? {};
      if (windowMs === "day") return endsInMs;
      return Math.min(windowMs, Math.max(1, since + windowMs - now));
    });
    return {
      waitMs: Math.max(...waits),
      isPending: answer.blocked.every((blocking) => blocking.isPending),
      note: answer.blocked[0]?.note,
    };
  }

  async #loginFailed(slot: Slot, key: string, error: ServiceError, seen: readonly Backoff[]): Promise<void> {
    // A failure to obtain the token has its own backoff.
    if (!error.upstream || error.pacing === "handled") return;
    const backoff = backoffAfter({ slot, kind: "access_token" }, error, seen, this.#now());
    const isOpen = backoff.reason === "circuit_open";
    if (!slot.configured) {
      // A quota says nothing of an unknown secret, but further requests prolong the ban of our address.
      const isQuota = backoff.reason === "quota" && !this.#trials.isProven(key);
      const until = isQuota ? backoff.since + MINUTE_MS : backoff.until;
      if (isOpen || isQuota) await this.#parts.store.put({ ...backoff, key, until });
      return;
    }
    // An account that may not log users in may have a token all the same.
    if (isOpen && error.upstream.class !== "permission") await this.#put(slot, { ...backoff, key });
  }
}

/** The error of a budget of `purpose` that is used up for `retryAfterMs`. */
function budgetError(purpose: Purpose, retryAfterMs: number): ServiceError {
  const { code = "unavailable", message = "" }: Rule = PURPOSES[purpose];
  return new ServiceError(code, message, { retryAfterMs: Math.max(1000, retryAfterMs), pacing: "handled" });
}

function budgetKey(purpose: Purpose, scope: string): string {
  return `${purpose}:${scope}`;
}

/** How long ago a window that ends at `now` began, in milliseconds. */
function windowAgeMs(windowMs: Limit["windowMs"], now: number): number {
  return windowMs === "day" ? DAY_MS - untilMidnightInBeijing(now) + 1 : windowMs;
}
