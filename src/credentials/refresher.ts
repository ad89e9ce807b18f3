import type { Slot, SlotName } from "../apps/slot.ts";
import type { Clock } from "../clock.ts";
import type { CredentialStore } from "./credential-store.ts";
import { type CredentialName, type CredentialRef, credentialKey } from "./credential.ts";
import { DueHeap } from "./due-heap.ts";
import type { HeldCredential } from "./held-credential.ts";
import type { HeldCredentials } from "./held-credentials.ts";
import type { CredentialManager } from "./manager.ts";
import { renewAgainMs, renewalLeftMs, renewalSubject } from "./renewal-policy.ts";

const TICK_MS = 1000;
const CALLS_A_SECOND = 20;
const FLUSH_MS = 60_000;
/** For how long a renewal that failed is left alone when nothing else says how long. */
const FAILED_MS = 30_000;

/** What the refresher works with. */
export interface RefresherParts {
  readonly manager: Pick<CredentialManager, "renew">;
  readonly memory: HeldCredentials;
  readonly store: Pick<CredentialStore, "listUsed">;
  /** The slot of that name with its secret, if we hold it. */
  readonly slotOf: (name: SlotName) => Slot | undefined;
  readonly clock: Clock;
  /** A credential that nobody asked for in so long is left to end; milliseconds. */
  readonly idleAfterMs: number;
}

/**
 * Renews credentials ahead of their end, so that callers never wait.
 *
 * One timer for all of them and a heap of what is due; at most 20 upstream calls a second, so that a restart with
 * many due at once is no burst. A credential that nobody has asked for lately is left to end.
 */
export class Refresher {
  readonly #parts: RefresherParts;
  readonly #heap = new DueHeap<CredentialName>();
  /** Per key, the one entry in the heap that counts; an older one for the same key is void. */
  readonly #dueAt = new Map<string, number>();
  #timer: Timer | undefined;
  #flushedAt: number;
  /** The second in which `#started` renewals were begun, by the monotonic clock. */
  #second = 0;
  #started = 0;
  readonly #running = new Set<Promise<void>>();

  constructor(parts: RefresherParts) {
    this.#parts = parts;
    this.#flushedAt = parts.clock.monotonic();
  }

  /** Takes up what the store says was used lately, and begins to tick. */
  async start(): Promise<void> {
    const { store, clock, idleAfterMs } = this.#parts;
    const now = clock.now();
    for (const { name, issuedAt, expiresAt } of await store.listUsed(now - idleAfterMs)) {
      const { platform } = name.slot;
      const subject = { platform, kind: name.kind, lifeMs: expiresAt - issuedAt };
      this.#plan(name, expiresAt - now - renewalLeftMs(subject, Math.random()));
    }
    this.#timer = setInterval(() => void this.tick(), TICK_MS);
  }

  /** Plans the renewal of a credential that has just begun to stand. */
  plan(name: CredentialName, held: HeldCredential): void {
    const subject = renewalSubject(name, held);
    this.#plan(name, held.remainingMs() - renewalLeftMs(subject, Math.random()));
  }

  /** Starts the renewals that are due, 20 at the most, and writes down what was used. Never throws. */
  async tick(): Promise<void> {
    const { clock, memory } = this.#parts;
    const now = clock.monotonic();
    const second = Math.floor(now / TICK_MS);
    if (second !== this.#second) {
      this.#second = second;
      this.#started = 0;
    }
    while (this.#started < CALLS_A_SECOND) {
      const due = this.#heap.peek();
      if (!due || due.at > now) break;
      this.#heap.pop();
      const key = credentialKey(due.item);
      if (this.#dueAt.get(key) !== due.at) continue;
      this.#dueAt.delete(key);
      this.#started += 1;
      const renewal = this.#renew(due.item).catch(() => this.#plan(due.item, FAILED_MS));
      this.#running.add(renewal);
      void renewal.finally(() => this.#running.delete(renewal));
    }
    if (now - this.#flushedAt < FLUSH_MS) return;
    this.#flushedAt = now;
    // What can't be written now is written next time; it only decides who is renewed after a restart.
    await memory.flushUses().catch(() => undefined);
  }

  /** Ends the ticking, and resolves when nothing runs any more and what was used is written down. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.allSettled(this.#running);
    await this.#parts.memory.flushUses().catch(() => undefined);
  }

  async #renew(name: CredentialName): Promise<void> {
    const { manager, memory, clock, idleAfterMs } = this.#parts;
    const slot = this.#parts.slotOf(name.slot);
    if (!slot) return;
    const ref: CredentialRef = { slot, kind: name.kind };
    const { held, record } = await memory.read(name);
    const usedAt = Math.max(memory.usedAt(credentialKey(name)), record.usedAt ?? 0);
    if (!record.credential || record.isRejected || clock.now() - usedAt > idleAfterMs) return;
    const living = held?.isUsable() ? held : undefined;
    // Another process may have renewed it meanwhile.
    if (living && living.remainingMs() > renewalLeftMs(renewalSubject(name, living), 0))
      return this.plan(name, living);
    const renewed = await manager.renew(ref, living);
    if (!renewed) return this.#plan(name, living ? Math.min(FAILED_MS, living.remainingMs()) : FAILED_MS);
    // A value that is repeated can seem to live a moment longer, when its answer was faster than the last.
    if (!living?.value.equals(renewed.value)) return this.plan(name, renewed);
    return this.#plan(name, renewAgainMs(renewalSubject(name, renewed), renewed.remainingMs()));
  }

  #plan(name: CredentialName, inMs: number): void {
    const at = this.#parts.clock.monotonic() + Math.max(0, inMs);
    this.#dueAt.set(credentialKey(name), at);
    this.#heap.push({ at, item: name });
  }
}
