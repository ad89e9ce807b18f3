import { ServiceError } from "../errors.ts";
import { type Credential, credentialKey, type CredentialRecord, type CredentialRef } from "./credential.ts";
import type { CachedCredential } from "./credential-cache.ts";
import { KINDS, renewalAt } from "./kinds.ts";
import { isAccounted } from "./backoff.ts";
import type { RefreshParts } from "./refresh.ts";

/** After so many the ladder begins. */
const MAX_ATTEMPTS = 3;
const RETRY_PAUSE_MS = 200;
const CAPPED_RENEW_LEFT_MS = 60_000;

/** One holder's turn: what it is about, and what it may spend. */
export interface Turn {
  readonly ref: CredentialRef;
  /** What stood when the lease was taken; its generation fences every write. */
  readonly record: CredentialRecord;
  /** Ends everything that is asked in this turn. */
  readonly signal: AbortSignal;
  /** Whether the upstream failed a moment ago: then one attempt is enough. */
  readonly isOnLadder: boolean;
}

/** What the source answered with. */
export interface Asked {
  readonly credential: Credential;
  /** When its life ends by the monotonic clock; undefined when nothing was asked. */
  readonly endsAtMonotonic: number | undefined;
}

/** Asks the source, with retries where they do no harm, and saves what it answers under the fence of a turn. */
export class Asking {
  readonly #parts: RefreshParts;

  constructor(parts: RefreshParts) {
    this.#parts = parts;
  }

  /** Asks until the source answers, refuses for good, or the attempts are spent: three, or one on the ladder. */
  async ask(turn: Turn): Promise<Asked> {
    const { ref, signal } = turn;
    const most = turn.isOnLadder ? 1 : MAX_ATTEMPTS;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.once(turn);
      } catch (error) {
        if (isClassicToken(ref) && mayHaveIssued(error)) await this.#cap(ref, turn.record);
        if (attempt >= most || signal.aborted || !mayAskAgain(ref, error)) throw error;
        await this.#parts.clock.sleep(RETRY_PAUSE_MS * attempt * (0.5 + Math.random()));
      }
    }
  }

  /** Asks once; with `force`, for a new token whatever stands. */
  async once({ ref, record, signal }: Turn, force = false): Promise<Asked> {
    const { source, clock } = this.#parts;
    // Counted from before the request: an answer that was long on its way is older than it looks.
    const now = clock.now();
    const askedAt = clock.monotonic();
    const { value, lifeMs } = await source.obtain(ref, { signal, force });
    // A value that is repeated keeps its first instant: its whole life decides when it is renewed.
    const first = record.credential?.value.equals(value) ? record.credential.issuedAt : now;
    const credential = { value, issuedAt: Math.min(first, now), expiresAt: now + lifeMs };
    return { credential, endsAtMonotonic: askedAt + lifeMs };
  }

  /**
   * Saves and answers with what stands then: this answer, or what somebody else has put there meanwhile. Undefined
   * when nothing stands that may be handed out.
   */
  async save(turn: Turn, { credential, endsAtMonotonic }: Asked): Promise<CachedCredential | undefined> {
    const { store, memory, events } = this.#parts;
    const { ref, record } = turn;
    const renewAt = this.#renewalAt(turn, credential);
    using pending = memory.begin(ref);
    const standing = await store.save(ref, credential, record.generation, renewAt);
    const isOurs = standing.credential === credential;
    // When our own answer ends, the monotonic clock knows; of somebody else's only the wall clock does.
    const held = pending.put(standing, isOurs ? endsAtMonotonic : undefined);
    const key = credentialKey(ref);
    if (isOurs) {
      const { generation } = record;
      events.emit({ type: "credential.refreshed", key, lifeMs: held?.remainingMs() ?? 0, generation });
    } else {
      events.emit({ type: "credential.fenced", key, generation: standing.generation });
      if (isClassicToken(ref)) await this.#cap(ref, standing);
    }
    return held?.isUsable() ? held : undefined;
  }

  /** WeChat may have issued a classic token that nobody has, so the standing one may end in five minutes. */
  async #cap(ref: CredentialRef, { credential, isRejected }: CredentialRecord): Promise<void> {
    const { store, memory, clock } = this.#parts;
    if (!credential || isRejected) return;
    const expiresAt = Math.min(credential.expiresAt, clock.now() + KINDS.get(ref).predecessorMs);
    using pending = memory.begin(ref);
    pending.put(await store.shorten(ref, credential, { expiresAt, renewBeforeMs: CAPPED_RENEW_LEFT_MS }));
  }

  /** When what was obtained is due to be renewed. A secret that we don't hold is at hand only when a caller brings it. */
  #renewalAt(
    { ref, record }: Turn,
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
 * Not after a lost answer to a classic fetch: WeChat may have issued a token in it, and each further one kills the
 * token before the last, which others still hold.
 */
function mayAskAgain(ref: CredentialRef, error: unknown): boolean {
  if (!(error instanceof ServiceError) || isAccounted(error)) return false;
  if (error.upstream) return error.upstream.class === "transient";
  if (error.code === "upstream_unreachable") return true;
  return !isClassicToken(ref) && mayHaveIssued(error);
}
