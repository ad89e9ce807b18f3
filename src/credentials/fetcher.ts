import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import { CachedCredential, type CredentialCache } from "./credential-cache.ts";
import type { CredentialStore } from "./credential-store.ts";
import {
  type Credential,
  credentialKey,
  type CredentialRecord,
  type CredentialRef,
  type RecordEntry,
} from "./credential.ts";
import { KINDS, renewalAt } from "./kinds.ts";
import type { Pacing } from "./pacing.ts";
import type { RefreshLog } from "./refresh-log.ts";
import type { CredentialSource, TokenProbe } from "./source.ts";

/** What a refresh, and each part of one, works with. */
export interface RefreshParts {
  readonly source: CredentialSource;
  readonly store: CredentialStore;
  readonly pacing: Pacing;
  readonly probe: TokenProbe;
  readonly memory: CredentialCache;
  readonly clock: Clock;
  readonly events: EventBus;
  /** Writes the audit entries of manual refreshes and of replacements; without it there are none. */
  readonly record?: RecordEntry;
  /** Notes how each attempt ends; without it nobody does. */
  readonly log?: Pick<RefreshLog, "noted">;
  /** This process's name as a holder of leases; unique among all processes. */
  readonly holder: string;
  /** Overrides the 8 s that one refresh may take. */
  readonly deadlineMs?: number;
}

/** After this many attempts the exponential backoff begins. */
const MAX_ATTEMPTS = 3;
const RETRY_DELAY_MS = 200;
/** How long to wait before a save is tried again, which has itself waited for the store. */
const SAVE_RETRY_MS = 50;
const CAPPED_RENEW_LEFT_MS = 60_000;

/** What the holder of a lease works on, and what it may spend. */
export interface LeaseScope {
  readonly ref: CredentialRef;
  /** What was current when the lease was taken; its generation fences every write. */
  readonly record: CredentialRecord;
  /** Ends every request under this lease. */
  readonly signal: AbortSignal;
  /** Whether the upstream failed a moment ago: then one attempt is enough. */
  readonly isRecovering: boolean;
  /** By the monotonic clock: until then nobody else fetches. */
  readonly leaseEndsAt: number;
  /** Whether a new access token ends the app's rejected ones. */
  readonly endsRejected: boolean;
}

/** What the source returned. */
export interface FetchResult {
  readonly credential: Credential;
  /** When it expires by the monotonic clock; undefined when nothing was fetched. */
  readonly endsAtMonotonic: number | undefined;
}

/** Fetches from the source, with retries where they do no harm, and saves the result under the fence of a lease. */
export class Fetcher {
  readonly #parts: RefreshParts;

  constructor(parts: RefreshParts) {
    this.#parts = parts;
  }

  /** Fetches until the source answers, refuses for good, or the attempts are spent: three, or one while recovering. */
  async fetchWithRetries(scope: LeaseScope): Promise<FetchResult> {
    const { ref, signal } = scope;
    const attempts = scope.isRecovering ? 1 : MAX_ATTEMPTS;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.fetchOnce(scope);
      } catch (error) {
        if (isClassicToken(ref) && mayHaveIssued(error)) await this.#cap(ref, scope.record);
        if (attempt >= attempts || signal.aborted || !mayRetry(ref, error)) throw error;
        await this.#parts.clock.sleep(RETRY_DELAY_MS * attempt * (0.5 + Math.random()));
        // Another attempt would only say that nothing was sent.
        if (signal.aborted) throw error;
      }
    }
  }

  /** Fetches once; with `force`, a new token whatever is current. */
  async fetchOnce({ ref, record, signal }: LeaseScope, force = false): Promise<FetchResult> {
    const { source, pacing, clock } = this.#parts;
    // Counted from before the request: a slow answer is older than it looks.
    const now = clock.now();
    const askedAt = clock.monotonic();
    const obtain = () => source.obtain(ref, { signal, force });
    // A ticket is fetched with a token, which sends no secret.
    const sendsSecret = KINDS.get(ref).obtainedBy === "secret";
    const { value, lifeMs } = await (sendsSecret ? pacing.sendSecret(ref.slot, obtain, signal) : obtain());
    // A value that is repeated keeps its first instant: its whole life decides when it is renewed.
    const first = record.credential?.value.equals(value) ? record.credential.issuedAt : now;
    const credential = { value, issuedAt: Math.min(first, now), expiresAt: now + lifeMs };
    return { credential, endsAtMonotonic: askedAt + lifeMs };
  }

  /**
   * Saves, and returns what is current then: this result, or that of another process. Undefined when nothing is current
   * that may be returned.
   *
   * While the store is busy it is tried again until the lease ends. Where that is in vain, the result is returned all the
   * same, to this flight alone, if nothing was cleared or obtained since.
   *
   * @throws {ServiceError} What keeps it from being stored, where it must not be returned.
   */
  async save(
    scope: LeaseScope,
    { credential, endsAtMonotonic }: FetchResult,
  ): Promise<CachedCredential | undefined> {
    const { store, memory, clock, events } = this.#parts;
    const { ref, record } = scope;
    using pending = memory.begin(ref);
    let saved: CredentialRecord;
    try {
      saved = await this.#store(scope, credential);
    } catch (error) {
      // Rejected tokens that should end would live on.
      if (scope.endsRejected || (await store.find(ref)).generation !== record.generation) throw error;
      const unsaved = new CachedCredential(credential, record.generation, clock, endsAtMonotonic);
      return unsaved.isUsable() ? unsaved : undefined;
    }
    const isOurs = saved.credential === credential;
    // The monotonic expiry is known for our own result only.
    const held = pending.put(saved, isOurs ? endsAtMonotonic : undefined);
    const key = credentialKey(ref);
    if (isOurs) {
      const { generation } = record;
      events.emit({
        type: "credential.refreshed",
        key,
        lifeMs: Math.round(held?.remainingMs() ?? 0),
        generation,
      });
    } else {
      events.emit({ type: "credential.fenced", key, generation: saved.generation });
      if (isClassicToken(ref)) await this.#cap(ref, saved);
    }
    return held?.isUsable() ? held : undefined;
  }

  async #store(scope: LeaseScope, credential: Credential): Promise<CredentialRecord> {
    const { store, clock } = this.#parts;
    const { ref, record, endsRejected, leaseEndsAt } = scope;
    const options = { renewAt: this.#renewalAt(scope, credential), endsRejected };
    for (;;) {
      try {
        return await store.save(ref, credential, record.generation, options);
      } catch (error) {
        const isBusy = error instanceof ServiceError && error.code === "unavailable";
        if (!isBusy || clock.monotonic() >= leaseEndsAt) throw error;
        await clock.sleep(SAVE_RETRY_MS);
      }
    }
  }

  /** WeChat may have issued a classic token that we never received, so the current one may expire in five minutes. */
  async #cap(ref: CredentialRef, { credential, isRejected }: CredentialRecord): Promise<void> {
    const { store, memory, clock } = this.#parts;
    if (!credential || isRejected) return;
    const expiresAt = Math.min(credential.expiresAt, clock.now() + KINDS.get(ref).predecessorMs);
    using pending = memory.begin(ref);
    pending.put(await store.shorten(ref, credential, { expiresAt, renewBeforeMs: CAPPED_RENEW_LEFT_MS }));
  }

  /** When a new credential is due for renewal. A secret that we don't hold is available only while a caller sends it. */
  #renewalAt(
    { ref, record }: LeaseScope,
    { value, issuedAt, expiresAt, renewBeforeMs }: Credential,
  ): number | undefined {
    if (!ref.slot.configured) return undefined;
    const life = { expiresAt, lifeMs: expiresAt - issuedAt, renewBeforeMs };
    const isRepeated = record.credential?.value.equals(value) === true;
    return renewalAt(KINDS.get(ref), life, {
      now: this.#parts.clock.now(),
      isRepeated,
      chance: Math.random(),
    });
  }
}

/** Whether it is a token that WeChat repeats until its last five minutes, and replaces on demand. */
export function isStableToken(ref: CredentialRef): boolean {
  return KINDS.get(ref).canForce === true;
}

/** Whether it is a token that WeChat replaces at each call. */
export function isClassicToken(ref: CredentialRef): boolean {
  return KINDS.get(ref).invalidatesPredecessor === true;
}

/** Whether the upstream may have done what it was asked although no usable answer came. */
function mayHaveIssued(error: unknown): boolean {
  return (
    error instanceof ServiceError && (error.code === "upstream_timeout" || error.code === "upstream_invalid")
  );
}

/**
 * Whether the same request may be sent again.
 *
 * Not after a lost answer to a classic fetch: WeChat may have issued a token in it, and each further one revokes
 * the token before the last, which others still use.
 */
function mayRetry(ref: CredentialRef, error: unknown): boolean {
  if (!(error instanceof ServiceError) || error.pacing === "handled") return false;
  if (error.upstream) return error.upstream.class === "transient";
  if (error.code === "upstream_unreachable") return true;
  return !isClassicToken(ref) && mayHaveIssued(error);
}
