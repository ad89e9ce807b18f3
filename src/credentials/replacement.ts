import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { terminalError, unavailable } from "./backoff.ts";
import type { CachedCredential } from "./credential-cache.ts";
import { type Credential, credentialKey } from "./credential.ts";
import {
  type Fetcher,
  type FetchResult,
  isClassicToken,
  isStableToken,
  type LeaseScope,
  type RefreshParts,
} from "./fetcher.ts";
import { KINDS } from "./kinds.ts";
import { BUDGET_MESSAGE, FORCED_INTERVAL_MS } from "./pacing.ts";

/** A token that was revoked this long before it would have expired was revoked by another program's fetch. */
const EARLY_MS = 60_000;
/** How often WeChat is asked for another token while the budget of forced refreshes is used up. */
const BUDGET_RETRY_MS = 60_000;
const UNKNOWN_MS = 10_000;

/**
 * Replaces a rejected token, under the lease.
 *
 * No call that revokes a token is made before WeChat has confirmed that the rejected one is revoked.
 */
export class Replacement {
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
    endpoint: string | undefined,
  ): Promise<CachedCredential | undefined> {
    const { ref, record, signal } = scope;
    // A classic fetch revokes, so there the check comes first.
    const fetched = isClassicToken(ref) ? undefined : await this.#fetcher.fetchWithRetries(scope);
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
      "无法向微信核实该凭证是否失效，请稍后重试 (can't check with WeChat whether this credential is revoked; try again later)",
      UNKNOWN_MS,
    );
  }

  /** WeChat has confirmed that `revoked` is revoked. Only a new token helps; where none can be forced, waiting. */
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
    if (isClassicToken(ref))
      return this.#fetcher.save(cleared, await this.#fetcher.fetchWithRetries(cleared));
    throw terminalError(
      "企业微信仍返回已失效的凭证，请稍后重试 (WeCom still returns the revoked token; try again later)",
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
      // Only the quota of forced calls is used up; ordinary calls are still allowed.
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

  /** Stores the revoked value, and continues as if there were none. */
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
