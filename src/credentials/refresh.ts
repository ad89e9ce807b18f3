import type { Slot } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import type { EventBus, FailureFacts } from "../events.ts";
import type { Secret } from "../secret.ts";
import { Asking, isStableToken, type Turn } from "./fetcher.ts";
import type { RejectionThrottle, ForcedRefreshes } from "./throttles.ts";
import { credentialKey, type CredentialRecord, type CredentialRef, type RecordEntry } from "./credential.ts";
import type { CredentialSource, TokenProbe } from "./source.ts";
import type { CredentialStore } from "./credential-store.ts";
import { KINDS } from "./kinds.ts";
import { type CachedCredential, type CredentialCache, MIN_TTL_MS } from "./credential-cache.ts";
import {
  callsForPause,
  isActive,
  markAccounted,
  type Pause,
  pauseAfter,
  pausedError,
  pauseKeys,
  type PauseStore,
  unavailable,
} from "./backoff.ts";
import { Replacement } from "./replacement.ts";

const DEADLINE_MS = 8000;
/** How long a lease lives: longer than a refresh may take, so that only a holder that died or hangs loses it. */
export const LEASE_MS = 10_000;
const LEASE_POLL_MS = 20;
/** How often a flight asks when a clear overtakes its answer. Clears are 10 s apart, so once more is enough. */
const MAX_TURNS = 2;

/** What a refresh works with. */
export interface RefreshParts {
  readonly source: CredentialSource;
  readonly store: CredentialStore;
  readonly pauses: PauseStore;
  readonly forced: ForcedRefreshes;
  readonly probe: TokenProbe;
  readonly memory: CredentialCache;
  readonly clock: Clock;
  readonly events: EventBus;
  /** Whether the app of a configured slot has another secret by now, or is gone; false where it is missing. */
  readonly isOutdated?: (slot: Slot) => Promise<boolean>;
  /** Writes down what somebody ordered; nothing is, where it is missing. */
  readonly record?: RecordEntry;
  /** This process's name as a holder of leases; unique among all processes. */
  readonly holder: string;
  /** Overrides the 8 s that one refresh may take. */
  readonly deadlineMs?: number;
}

/** What a refresh is for, and so when somebody else's result will do. */
export type RefreshGoal =
  /** There is none that lives: any living one will do. */
  | { readonly kind: "obtain" }
  /** One that lives longer than the one that ends at `expiresAt` (epoch milliseconds). */
  | { readonly kind: "renew"; readonly expiresAt: number }
  /** One that is not `rejected`. */
  | { readonly kind: "replace"; readonly rejected: Secret }
  /** A new one, whatever stands: an operator's order. */
  | { readonly kind: "force" };

/**
 * One refresh: take the lease in the store, read again, ask the source, save fenced by the lease's generation, answer
 * with the value that stands.
 *
 * Joining the flight in this process comes before it and is the manager's part. Every refresh, whatever it is for,
 * goes through here, so at most one request per credential is under way among all processes.
 */
export class Refresh {
  readonly #parts: RefreshParts;
  readonly #asking: Asking;
  readonly #replacement: Replacement;

  constructor(parts: RefreshParts, complaints: RejectionThrottle) {
    this.#parts = parts;
    this.#asking = new Asking(parts);
    this.#replacement = new Replacement(parts, this.#asking, complaints);
  }

  /** Runs until there is a credential that meets `goal`. Throws what kept it from it, after noting a pause. */
  async run(ref: CredentialRef, goal: RefreshGoal): Promise<CachedCredential> {
    const { store, pauses, events, holder } = this.#parts;
    const before = await pauses.find(pauseKeys(ref));
    try {
      const held = await this.#underLease(ref, goal, before);
      if (before.length > 0) await pauses.remove(before.map(({ key }) => key));
      return held;
    } catch (error) {
      events.emit({ type: "credential.refresh_failed", key: credentialKey(ref), ...failureFacts(error) });
      const pause = error instanceof ServiceError && (await this.#pause(ref, error, before));
      throw pause ? this.pausedError(pause) : error;
    } finally {
      // After the pause, so that who gets the lease next knows of it. Nothing changes when somebody else has it by now.
      // One that can't be given back ends by itself, and what was obtained is as good as before.
      await store.release(ref, holder).catch(() => undefined);
    }
  }

  /** The error of a pause, marked so that nobody makes another pause of it. */
  pausedError(pause: Pause): ServiceError {
    return markAccounted(pausedError(pause, this.#parts.clock.now()));
  }

  /** Notes the pause that an error calls for; undefined when it calls for none. */
  async #pause(
    ref: CredentialRef,
    error: ServiceError,
    before: readonly Pause[],
  ): Promise<Pause | undefined> {
    const { pauses, clock } = this.#parts;
    if (!callsForPause(error)) return undefined;
    markAccounted(error);
    const pause = pauseAfter(ref, error, before, clock.now());
    // Refusals of secrets that we don't hold are remembered elsewhere, in bounded memory.
    if (!ref.slot.configured && pause.reason === "circuit") return undefined;
    // What was said of a secret that has been changed meanwhile says nothing of the new one.
    if (pause.reason === "circuit" && (await this.#parts.isOutdated?.(ref.slot))) return undefined;
    await pauses.put(pause);
    return pause;
  }

  async #underLease(
    ref: CredentialRef,
    goal: RefreshGoal,
    before: readonly Pause[],
  ): Promise<CachedCredential> {
    const { store, memory, clock, events, holder, deadlineMs = DEADLINE_MS } = this.#parts;
    const isOnLadder = before.some(({ reason }) => reason === "ladder");
    const endsAt = clock.monotonic() + deadlineMs;
    let turns = 0;
    for (let round = 1; ; round++) {
      const leftMs = endsAt - clock.monotonic();
      using pending = memory.begin(ref);
      const { isGranted, record } = await store.lease(ref, { holder, now: clock.now(), lifeMs: LEASE_MS });
      const standing = pending.put(record);
      if (standing?.isUsable() && meets(goal, standing)) return standing;
      if (isGranted) {
        // Too little time would be taken for a silent upstream.
        if (leftMs < deadlineMs / 4) throw busy();
        if (round > 1) await this.#refuseIfPaused(ref, before);
        const turn = { ref, record, isOnLadder, signal: AbortSignal.timeout(leftMs) };
        const held = await this.#take(turn, goal, standing);
        if (held) return held;
        if (++turns === MAX_TURNS) throw overtaken();
      } else {
        if (round === 1) events.emit({ type: "credential.lease_waited", key: credentialKey(ref) });
        if (leftMs <= 0) throw busy();
        await clock.sleep(LEASE_POLL_MS * (0.5 + Math.random()));
      }
    }
  }

  /** Whoever had the lease before may have failed: then the upstream is left alone, and not asked by each in turn. */
  async #refuseIfPaused(ref: CredentialRef, before: readonly Pause[]): Promise<void> {
    const now = this.#parts.clock.now();
    const known = new Set(before.map(({ key, until }) => `${key} ${until}`));
    const pauses = await this.#parts.pauses.find(pauseKeys(ref));
    const pause = pauses.find((each) => isActive(each, now) && !known.has(`${each.key} ${each.until}`));
    if (pause) throw this.pausedError(pause);
  }

  /** The holder's turn; undefined when what came of it was overtaken or has no life. */
  async #take(
    turn: Turn,
    goal: RefreshGoal,
    standing: CachedCredential | undefined,
  ): Promise<CachedCredential | undefined> {
    const { ref, record } = turn;
    if (goal.kind === "force" && isStableToken(ref)) return this.#replacement.force(turn);
    const rejected = rejectedBy(goal, record);
    const kind = KINDS.get(ref);
    if (rejected && kind.hasProbe) return this.#replacement.run(turn, rejected);
    // WeCom repeats a value to its last second: what is asked in it would have expired on arrival.
    const lastMs = kind.repeatedUntilLeftMs === 0 && standing ? standing.remainingMs() : 0;
    if (lastMs > 0 && lastMs < MIN_TTL_MS) await this.#parts.clock.sleep(lastMs);
    const asked = await this.#asking.ask(turn);
    if (record.dead?.equals(asked.credential.value)) return this.#replacement.escalate(turn, record.dead);
    return this.#asking.save(turn, asked);
  }
}

function rejectedBy(goal: RefreshGoal, record: CredentialRecord): Secret | undefined {
  if (goal.kind === "replace") return goal.rejected;
  return record.isRejected ? record.credential?.value : undefined;
}

function meets(goal: RefreshGoal, standing: CachedCredential): boolean {
  if (goal.kind === "obtain") return true;
  if (goal.kind === "renew") return standing.expiresAt > goal.expiresAt;
  return goal.kind === "replace" && !standing.value.equals(goal.rejected);
}

function busy(): ServiceError {
  return unavailable(
    "另一进程正在刷新该凭证，请稍后重试 (another process is refreshing it; try again later)",
    MIN_TTL_MS,
  );
}

function overtaken(): ServiceError {
  return unavailable(
    "凭证在获取途中被清除或已过期，请重试 (cleared or expired on the way; try again)",
    MIN_TTL_MS,
  );
}

function failureFacts(error: unknown): FailureFacts {
  if (!(error instanceof ServiceError)) return { code: "internal" };
  if (!error.upstream) return { code: error.code };
  return { code: error.code, errcode: error.upstream.errcode, class: error.upstream.class };
}
