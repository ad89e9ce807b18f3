import type { Slot, SlotName } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { CredentialName } from "./credential.ts";
import type { CredentialCache } from "./credential-cache.ts";
import type { CredentialStore } from "./credential-store.ts";
import { KINDS, renewBeforeMs } from "./kinds.ts";
import type { CredentialManager } from "./manager.ts";
import type { Pacing } from "./pacing.ts";

/** How long a process keeps a renewal that it took: longer than one may take, so that only a crashed process loses it. */
const TAKEN_MS = 30_000;
/** How long to sleep while nothing is due, and at the least. */
const MAX_SLEEP_MS = 5000;
const MIN_SLEEP_MS = 100;
/** How often uses are stored, and how old the stored one must be for a use to be stored again. */
const USES_EVERY_MS = 5000;
const USES_MIN_AGE_MS = 60_000;
/** A longer backoff is checked again after this time. */
const MAX_BACKOFF_MS = 600_000;

/** What renewals are done with. */
export interface RenewalDeps {
  readonly manager: Pick<CredentialManager, "renew">;
  readonly memory: Pick<CredentialCache, "read" | "flushUses">;
  readonly store: Pick<CredentialStore, "nextDueAt" | "takeDue" | "reschedule">;
  readonly pacing: Pick<Pacing, "renewalBudget">;
  /** The slot of that name with its secret, if we hold it. */
  readonly slotOf: (name: SlotName) => Slot | undefined;
  readonly clock: Clock;
  /** A credential that is not used for this long is left to expire; milliseconds. */
  readonly idleAfterMs: number;
}

/**
 * Renews credentials before they expire, so that callers never wait.
 *
 * The store knows when each renewal is due, and any process takes what is due: in one transaction it postpones what it
 * takes by 30 s, so no other process takes the same, and uses the pacer's budget of all processes. If the process crashes, the others take over. A process that comes late finds, under
 * the lease, that the credential was renewed already.
 *
 * Between polls it sleeps until the first renewal is due, 5 s at most, because another process may have stored an
 * earlier one. A credential that was not used lately, in any process, is left to expire.
 */
export class Renewal {
  readonly #deps: RenewalDeps;
  readonly #running = new Set<Promise<void>>();
  #timer: Timer | undefined;
  #isStopping = false;
  /** By the monotonic clock. */
  #flushedAt: number;
  /** Whether the store knows of this process's uses; until then nothing counts as idle. */
  #areUsesStored = true;

  constructor(deps: RenewalDeps) {
    this.#deps = deps;
    this.#flushedAt = deps.clock.monotonic();
  }

  /** Begins to renew what is due. */
  start(): void {
    this.#sleep(MIN_SLEEP_MS);
  }

  /** Takes what is due now and begins to renew it; stores uses. Never throws. */
  async tick(): Promise<void> {
    const { clock, store, memory, pacing, idleAfterMs } = this.#deps;
    if (clock.monotonic() - this.#flushedAt >= USES_EVERY_MS) {
      this.#flushedAt = clock.monotonic();
      this.#areUsesStored = false;
      // What can't be stored now is stored next time.
      await memory.flushUses(USES_MIN_AGE_MS).then(
        () => (this.#areUsesStored = true),
        () => undefined,
      );
    }
    if (this.#isStopping) return;
    const now = clock.now();
    const until = now + TAKEN_MS;
    const usedSince = this.#areUsesStored ? now - idleAfterMs : undefined;
    const request = { now, until, usedSince, budget: pacing.renewalBudget() };
    for (const name of await store.takeDue(request).catch(() => [])) {
      // A failed one is due again at `until`.
      const renewal = this.#renew(name, until).catch(() => undefined);
      this.#running.add(renewal);
      void renewal.finally(() => this.#running.delete(renewal));
    }
  }

  /** Stops the timer and stores uses; resolves when no renewal runs any more. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    await this.#deps.memory.flushUses().catch(() => undefined);
    await Promise.allSettled(this.#running);
  }

  #sleep(ms: number): void {
    if (this.#isStopping) return;
    this.#timer = setTimeout(() => void this.#wake(), ms);
  }

  async #wake(): Promise<void> {
    await this.tick();
    const dueAt = await this.#deps.store.nextDueAt().catch(() => undefined);
    const inMs = (dueAt ?? Number.POSITIVE_INFINITY) - this.#deps.clock.now();
    this.#sleep(Math.min(MAX_SLEEP_MS, Math.max(MIN_SLEEP_MS, inMs)));
  }

  /** Renews one that was taken `until` then. A success has set the next instant; otherwise it is set here. */
  async #renew(name: CredentialName, until: number): Promise<void> {
    const { manager, memory, store, clock } = this.#deps;
    const slot = this.#deps.slotOf(name.slot);
    if (!slot) return store.reschedule(name, until);
    const { held } = await memory.read(name);
    const valid = held?.isUsable() ? held : undefined;
    const remainingMs = valid?.remainingMs() ?? 0;
    if (valid) {
      const kind = KINDS.get(name);
      const life = { lifeMs: valid.lifeMs(), renewBeforeMs: valid.renewBeforeMs };
      // Another process has renewed it meanwhile, or the wall clock was set.
      if (remainingMs > renewBeforeMs(kind, life, 0)) {
        const inMs = remainingMs - renewBeforeMs(kind, life, Math.random());
        return store.reschedule(name, until, Math.round(clock.now() + inMs));
      }
    }
    const retryAfterMs = await manager.renew({ slot, kind: name.kind }, valid);
    if (retryAfterMs === undefined) return;
    const inMs = Math.max(
      Math.min(retryAfterMs, MAX_BACKOFF_MS),
      valid ? Math.min(TAKEN_MS, remainingMs) : TAKEN_MS,
    );
    await store.reschedule(name, until, Math.round(clock.now() + inMs));
  }
}
