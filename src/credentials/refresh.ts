import { ServiceError } from "../errors.ts";
import { failureFacts } from "../events.ts";
import type { Secret } from "../secret.ts";
import { type Backoff, handledError, terminalError, unavailable } from "./backoff.ts";
import { type CachedCredential, MIN_TTL_MS } from "./credential-cache.ts";
import { type Credential, credentialKey, type CredentialRecord, type CredentialRef } from "./credential.ts";
import {
  Fetcher,
  type FetchResult,
  isClassicToken,
  isStableToken,
  type LeaseScope,
  type RefreshParts,
} from "./fetcher.ts";
import { KINDS } from "./kinds.ts";
import { BUDGET_MESSAGE, FORCED_INTERVAL_MS } from "./pacing.ts";
import type { RefreshTrigger } from "./refresh-log.ts";

const DEADLINE_MS = 8000;
/** The life of a lease: longer than a refresh may take, so that only a holder that crashed or hangs loses it. */
export const LEASE_MS = 10_000;
/** How soon a lease that another has is asked for again: at first, and at most. Many may wait for theirs at the same time. */
const LEASE_POLL_MS = 20;
const MAX_LEASE_POLL_MS = 200;
/** How often a flight fetches when a clear overtakes its result. Clears are 10 s apart, so once more is enough. */
const MAX_FETCHES = 2;
const TRIGGERS = { renew: "ahead", replace: "replaced", refresh: "forced" } as const;

/** Who says that a credential was rejected. */
export interface ReplaceOptions {
  /** What a caller that complains has used it for. */
  readonly endpoint?: string | undefined;
  /** Whether WeChat rejected it when this process sent it; default false: a caller says so. */
  readonly seen?: boolean;
}

/** What a refresh is for, and so when another flight's result will do. */
export type RefreshGoal =
  /** Any valid one; `isAhead` where no caller waits for it. */
  | { readonly kind: "obtain"; readonly isAhead?: boolean }
  /** One that is valid for longer than the one that expires at `expiresAt` (epoch milliseconds). */
  | { readonly kind: "renew"; readonly expiresAt: number }
  /** One that is not `rejected`. */
  | ({ readonly kind: "replace"; readonly rejected: Secret } & ReplaceOptions)
  /** What the upstream issues now, whatever is current: a manual refresh. With `force`, a new one where it can be forced. */
  | { readonly kind: "refresh"; readonly force: boolean };

/**
 * One refresh: take the lease in the store, read again, ask the source, save fenced by the lease's generation, return
 * the current value.
 *
 * Joining the flight in this process comes before it and is the manager's part. Every refresh, whatever it is for,
 * goes through here, so at most one request per credential is under way among all processes.
 */
export class Refresh {
  readonly #parts: RefreshParts;
  readonly #fetcher: Fetcher;
  readonly #replacement: Replacement;

  constructor(parts: RefreshParts) {
    this.#parts = parts;
    this.#fetcher = new Fetcher(parts);
    this.#replacement = new Replacement(parts, this.#fetcher);
  }

  /** Runs until there is a credential that meets `goal`. Throws what prevented it, after making a backoff of it. */
  async run(ref: CredentialRef, goal: RefreshGoal): Promise<CachedCredential> {
    const { store, pacing, events, holder } = this.#parts;
    const seen = await pacing.seen(ref);
    const lease = { mayBeHeld: false };
    try {
      const held = await this.#underLease(ref, goal, seen, lease);
      // A backoff that can't be removed now ends by itself.
      await pacing.succeeded(seen).catch(() => undefined);
      return held;
    } catch (error) {
      const others = await this.#findOthers(ref, goal);
      if (others) return others;
      events.emit({ type: "credential.refresh_failed", key: credentialKey(ref), ...failureFacts(error) });
      if (!(error instanceof ServiceError)) throw error;
      throw await pacing.failed(ref, error, seen).catch(() => handledError(error));
    } finally {
      // After the backoff, so that the next holder of the lease sees it. A lease that can't be released expires.
      if (lease.mayBeHeld) await store.release(ref, holder).catch(() => undefined);
    }
  }

  /** What another process has stored meanwhile if it meets `goal`: this one may have been stopped for long. */
  async #findOthers(ref: CredentialRef, goal: RefreshGoal): Promise<CachedCredential | undefined> {
    const { held } = await this.#parts.memory.read(ref).catch(() => ({ held: undefined }));
    return held?.isUsable() && meets(goal, held) ? held : undefined;
  }

  async #underLease(
    ref: CredentialRef,
    goal: RefreshGoal,
    seen: readonly Backoff[],
    lease: { mayBeHeld: boolean },
  ): Promise<CachedCredential> {
    const { store, pacing, memory, clock, events, holder, deadlineMs = DEADLINE_MS } = this.#parts;
    const isRecovering = seen.some(({ reason }) => reason === "exponential");
    const endsAt = clock.monotonic() + deadlineMs;
    let fetches = 0;
    let waitingSince: number | undefined;
    const stopWaiting = () => {
      if (waitingSince === undefined) return;
      const waitedMs = clock.monotonic() - waitingSince;
      events.emit({ type: "credential.lease_wait_ended", key: credentialKey(ref), waitedMs });
      waitingSince = undefined;
    };
    for (let round = 1; ; round++) {
      const askedAt = clock.monotonic();
      using pending = memory.begin(ref);
      lease.mayBeHeld = true;
      const { isGranted, record } = await store.lease(ref, { holder, now: clock.now(), lifeMs: LEASE_MS });
      lease.mayBeHeld = isGranted;
      const current = pending.put(record);
      const met = current?.isUsable() && meets(goal, current) ? current : undefined;
      if (met || isGranted || askedAt >= endsAt) stopWaiting();
      if (met) return met;
      if (isGranted) {
        await pacing.confirm(ref);
        // Looked at last: the store may have been busy for long, and the lease ends all the same.
        const leftMs = endsAt - clock.monotonic();
        // With too little time left, a time-out would look like a silent upstream.
        if (leftMs < deadlineMs / 4) throw busy();
        const scope: LeaseScope = {
          ref,
          record,
          isRecovering,
          leaseEndsAt: askedAt + LEASE_MS,
          endsRejected:
            goal.kind === "refresh" && ref.kind === "access_token" && (goal.force || isClassicToken(ref)),
          signal: AbortSignal.timeout(leftMs),
        };
        const held = await this.#noted(scope, goal, () => this.#fetchUnder(scope, goal, current));
        if (held) return held;
        if (++fetches === MAX_FETCHES) throw overtaken();
      } else {
        if (askedAt >= endsAt) throw busy();
        if (waitingSince === undefined) {
          waitingSince = askedAt;
          events.emit({ type: "credential.lease_waited", key: credentialKey(ref) });
        }
        const pollMs = Math.min(LEASE_POLL_MS * round, MAX_LEASE_POLL_MS);
        await clock.sleep(pollMs * (0.5 + Math.random()));
      }
    }
  }

  #noted(
    { ref, record }: LeaseScope,
    goal: RefreshGoal,
    attempt: () => Promise<CachedCredential | undefined>,
  ): Promise<CachedCredential | undefined> {
    const { log } = this.#parts;
    if (!log) return attempt();
    return log.noted(ref, triggerOf(goal), attempt, (held) =>
      held?.generation === record.generation ? held.generation : undefined,
    );
  }

  /** What the holder of the lease does; undefined when the result was overtaken or has expired. */
  async #fetchUnder(
    scope: LeaseScope,
    goal: RefreshGoal,
    current: CachedCredential | undefined,
  ): Promise<CachedCredential | undefined> {
    const { ref, record } = scope;
    if (goal.kind === "refresh" && goal.force && isStableToken(ref)) return this.#replacement.force(scope);
    const rejected = rejectedBy(goal, record);
    const complaint: ReplaceOptions = goal.kind === "replace" ? goal : {};
    const kind = KINDS.get(ref);
    if (rejected && kind.hasProbe) return this.#replacement.run(scope, rejected, complaint);
    // WeCom repeats a value to its last second: what is fetched then would expire on its way.
    const lastMs = kind.repeatedUntilLeftMs === 0 && current ? current.remainingMs() : 0;
    if (lastMs > 0 && lastMs < MIN_TTL_MS) await this.#parts.clock.sleep(lastMs);
    const fetched = await this.#fetcher.fetchWithRetries(scope);
    // Where nobody can be asked, that it is issued once more is the verdict.
    if (rejected && fetched.credential.value.equals(rejected))
      this.#parts.pacing.rememberValid(credentialKey(ref), rejected, complaint.endpoint);
    const { revoked } = record;
    if (revoked?.equals(fetched.credential.value)) return this.#replacement.escalate(scope, revoked);
    return this.#fetcher.save(scope, fetched);
  }
}

function triggerOf(goal: RefreshGoal): RefreshTrigger {
  if (goal.kind === "obtain") return goal.isAhead ? "ahead" : "on_demand";
  return TRIGGERS[goal.kind];
}

function rejectedBy(goal: RefreshGoal, record: CredentialRecord): Secret | undefined {
  if (goal.kind === "replace") return goal.rejected;
  return record.isRejected ? record.credential?.value : undefined;
}

function meets(goal: RefreshGoal, current: CachedCredential): boolean {
  if (goal.kind === "obtain") return true;
  if (goal.kind === "renew") return current.expiresAt > goal.expiresAt;
  return goal.kind === "replace" && !current.value.equals(goal.rejected);
}

function busy(): ServiceError {
  return unavailable(
    "另一进程正在刷新该凭证，请稍后重试 (another process is refreshing this credential; try again later)",
    MIN_TTL_MS,
  );
}

function overtaken(): ServiceError {
  return unavailable(
    "凭证在获取过程中被清除或已过期，请重试 (it was cleared or has expired while it was fetched; try again)",
    MIN_TTL_MS,
  );
}

/** A token that ends so long before its time was ended by another program. */
const EARLY_MS = 60_000;
/** How often WeChat is asked whether it has found out by itself that its token is revoked. */
const BUDGET_RETRY_MS = 60_000;
const UNKNOWN_MS = 10_000;

/**
 * What is done under the lease about a token that was rejected.
 *
 * Nothing that revokes a token is spent before WeChat has confirmed that it is revoked.
 */
class Replacement {
  readonly #parts: RefreshParts;
  readonly #fetcher: Fetcher;

  constructor(parts: RefreshParts, fetcher: Fetcher) {
    this.#parts = parts;
    this.#fetcher = fetcher;
  }

  /** Looks for a token that is not `rejected`; the same one when WeChat says that it is valid. */
  async run(
    scope: LeaseScope,
    rejected: Secret,
    { endpoint, seen = false }: ReplaceOptions,
  ): Promise<CachedCredential | undefined> {
    const { ref, record, signal } = scope;
    // A fetch that revokes comes after the question.
    const asksFirst = isClassicToken(ref) || KINDS.get(ref).probesFirst === true;
    const fetched = asksFirst ? undefined : await this.#fetchBeside(scope, rejected, seen);
    if (fetched && !fetched.credential.value.equals(rejected)) {
      const naturalMs = (KINDS.get(ref).repeatedUntilLeftMs ?? 0) + EARLY_MS;
      const isEarly =
        record.credential?.value.equals(rejected) && this.#leftMs(record.credential) > naturalMs;
      const cleared = isEarly ? await this.#markRevoked(scope, rejected, record.credential) : scope;
      return this.#fetcher.save(cleared, fetched);
    }
    const verdict = record.revoked?.equals(rejected)
      ? "revoked"
      : await this.#parts.probe.check(ref.slot, rejected, signal);
    if (verdict === "revoked")
      return this.escalate(scope, rejected, fetched?.credential ?? record.credential);
    if (verdict === "valid") return this.#keep(scope, rejected, fetched, endpoint);
    throw terminalError(
      "无法向微信核实该凭证是否失效，请稍后重试 (WeChat can't be asked whether it is revoked; try again later)",
      UNKNOWN_MS,
    );
  }

  /** Fetches in the ordinary way. Where that fails, a token that we saw rejected is issued no more once WeChat confirms it. */
  async #fetchBeside(scope: LeaseScope, rejected: Secret, seen: boolean): Promise<FetchResult> {
    try {
      return await this.#fetcher.fetchWithRetries(scope);
    } catch (error) {
      const { ref, record, signal } = scope;
      const isStanding = seen && record.credential?.value.equals(rejected) === true;
      if (isStanding && (await this.#parts.probe.check(ref.slot, rejected, signal)) === "revoked")
        await this.#markRevoked(scope, rejected, record.credential);
      throw error;
    }
  }

  /** WeChat has confirmed that `revoked` is revoked. Only what makes a new token helps, and where nothing does, waiting. */
  async escalate(
    scope: LeaseScope,
    revoked: Secret,
    credential?: Credential,
  ): Promise<CachedCredential | undefined> {
    const { ref, record } = scope;
    const cleared = record.revoked?.equals(revoked)
      ? scope
      : await this.#markRevoked(scope, revoked, credential);
    if (isStableToken(ref)) return this.#forceOnce(cleared, revoked);
    if (isClassicToken(ref) || KINDS.get(ref).probesFirst === true)
      return this.#fetcher.save(cleared, await this.#fetcher.fetchWithRetries(cleared));
    throw terminalError(
      "企业微信的凭证已失效且仍在重复下发，请稍后重试 (WeCom repeats a revoked token; try again later)",
      FORCED_INTERVAL_MS,
    );
  }

  /** Has WeChat make a new stable token, within the budget: a manual refresh. */
  async force(scope: LeaseScope): Promise<CachedCredential | undefined> {
    const waitMs = await this.#parts.pacing.take("force", scope.ref);
    // The current token stays, so this refusal is for this caller alone.
    if (waitMs > 0) throw unavailable(BUDGET_MESSAGE, waitMs);
    return this.#fetcher.save(scope, await this.#fetcher.fetchOnce(scope, true));
  }

  async #forceOnce(scope: LeaseScope, revoked: Secret): Promise<CachedCredential | undefined> {
    const waitMs = await this.#parts.pacing.take("force", scope.ref);
    if (waitMs > 0) throw terminalError(BUDGET_MESSAGE, Math.min(waitMs, BUDGET_RETRY_MS));
    const fetched = await this.#fetchForced(scope);
    if (revoked.equals(fetched.credential.value))
      throw terminalError(
        "微信仍返回已失效的凭证 (WeChat still returns the revoked token)",
        FORCED_INTERVAL_MS,
      );
    return this.#fetcher.save(scope, fetched);
  }

  async #fetchForced(scope: LeaseScope): Promise<FetchResult> {
    try {
      return await this.#fetcher.fetchOnce(scope, true);
    } catch (error) {
      // It is the quota of forced calls that WeChat says is used up; the ordinary ones go on.
      if (error instanceof ServiceError && error.upstream?.class === "quota_day")
        throw terminalError(BUDGET_MESSAGE, BUDGET_RETRY_MS);
      throw error;
    }
  }

  /** A false complaint: the value that was rejected stays. */
  async #keep(
    scope: LeaseScope,
    value: Secret,
    fetched: FetchResult | undefined,
    endpoint: string | undefined,
  ): Promise<CachedCredential | undefined> {
    const { ref, record } = scope;
    this.#parts.pacing.rememberValid(credentialKey(ref), value, endpoint);
    if (fetched) return this.#fetcher.save(scope, fetched);
    if (!record.credential) return undefined;
    return this.#fetcher.save(scope, { credential: { ...record.credential }, endsAtMonotonic: undefined });
  }

  /** Remembers the revoked value, and goes on as if there were none. */
  async #markRevoked(
    scope: LeaseScope,
    revoked: Secret,
    credential: Credential | undefined,
  ): Promise<LeaseScope> {
    const { store, memory, clock, events } = this.#parts;
    const { ref, record } = scope;
    const leftMs = credential ? this.#leftMs(credential) : 0;
    const earlyMs = leftMs > EARLY_MS ? leftMs : 0;
    if (earlyMs > 0) events.emit({ type: "credential.revoked_early", key: credentialKey(ref), earlyMs });
    const revocation = { now: clock.now(), earlyMs };
    using pending = memory.begin(ref);
    pending.put(await store.markRevoked(ref, revoked, record.generation, revocation));
    return { ...scope, record: { ...record, credential: undefined, isRejected: false, revoked } };
  }

  #leftMs(credential: Credential): number {
    return credential.expiresAt - this.#parts.clock.now();
  }
}
