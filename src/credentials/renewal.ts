import { credentialKey, type CredentialKind, type CredentialName, type CredentialRef } from "./credential.ts";
import type { CachedCredential, CredentialCache } from "./credential-cache.ts";
import type { Slot, SlotName } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { CredentialStore } from "./credential-store.ts";
import type { CredentialManager } from "./manager.ts";

/** The life for which the figures below hold; shorter lives scale them down. */
const FULL_LIFE_MS = 7_200_000;
const TOKEN_FIRST_LEFT_MS = 285_000;
const TOKEN_LAST_LEFT_MS = 200_000;
const TICKET_LEFT_MS = 600_000;
const ASK_AGAIN_MS = 15_000;

/** What the policy needs to know of a credential. */
export interface RenewalSubject {
  readonly platform: "weixin" | "wecom";
  readonly kind: CredentialKind;
  /** The life that it was issued with. */
  readonly lifeMs: number;
  /** Overrides the policy; see `Credential.renewBeforeMs`. */
  readonly renewBeforeMs?: number | undefined;
}

/** What the policy needs to know of a credential in this process's memory. */
export function renewalSubject({ slot, kind }: CredentialName, held: CachedCredential): RenewalSubject {
  return { platform: slot.platform, kind, lifeMs: held.lifeMs(), renewBeforeMs: held.renewBeforeMs };
}

/**
 * How much life is left when a credential is first renewed ahead of its end, in milliseconds.
 *
 * WeChat's tokens from 285 s on: before 300 s stable mode repeats the same token, and a classic fetch would leave
 * those who were told a longer life with a dead one, because the predecessor lives 300 s. Jitter only goes later, down
 * to 200 s. WeCom repeats its token to the very end, so it is asked a second after it. `chance` is in [0, 1).
 */
export function renewBeforeMs(subject: RenewalSubject, chance: number): number {
  if (subject.renewBeforeMs !== undefined) return subject.renewBeforeMs;
  const scale = Math.min(1, subject.lifeMs / FULL_LIFE_MS);
  if (subject.kind !== "access_token") return TICKET_LEFT_MS * scale;
  if (subject.platform === "wecom") return -1000;
  return (TOKEN_FIRST_LEFT_MS - (TOKEN_FIRST_LEFT_MS - TOKEN_LAST_LEFT_MS) * chance) * scale;
}

/**
 * When to ask again after a renewal brought no longer life, in milliseconds.
 *
 * A stable token is asked for every 15 s until WeChat hands out the next; a ticket, whose calls are few, when half of
 * what is left is gone.
 */
export function renewAgainMs(subject: RenewalSubject, remainingMs: number): number {
  const scale = Math.min(1, subject.lifeMs / FULL_LIFE_MS);
  const step = Math.max(1000, ASK_AGAIN_MS * scale);
  return subject.kind === "access_token" ? step : Math.max(step, remainingMs / 2);
}

const TICK_MS = 1000;
const MAX_CALLS_PER_SECOND = 20;
const FLUSH_MS = 60_000;
/** For how long a renewal that failed is left alone when nothing else says how long. */
const FAILED_MS = 30_000;

/** What the refresher works with. */
export interface RefresherParts {
  readonly manager: Pick<CredentialManager, "renew">;
  readonly memory: CredentialCache;
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
      this.#plan(name, expiresAt - now - renewBeforeMs(subject, Math.random()));
    }
    this.#timer = setInterval(() => void this.tick(), TICK_MS);
  }

  /** Plans the renewal of a credential that has just begun to stand. */
  plan(name: CredentialName, held: CachedCredential): void {
    const subject = renewalSubject(name, held);
    this.#plan(name, held.remainingMs() - renewBeforeMs(subject, Math.random()));
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
    while (this.#started < MAX_CALLS_PER_SECOND) {
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
    if (living && living.remainingMs() > renewBeforeMs(renewalSubject(name, living), 0))
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

/** Something that is due at a moment. */
interface Due<T> {
  readonly at: number;
  readonly item: T;
}

/** A binary heap: the earliest is at hand, adding and taking cost the logarithm of the size. */
class DueHeap<T> {
  readonly #heap: Due<T>[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** The earliest, which stays. */
  peek(): Due<T> | undefined {
    return this.#heap[0];
  }

  push(due: Due<T>): void {
    let index = this.#heap.push(due) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = this.#heap[parent];
      if (!above || above.at <= due.at) break;
      this.#heap[index] = above;
      index = parent;
    }
    this.#heap[index] = due;
  }

  /** Takes the earliest out. */
  pop(): Due<T> | undefined {
    const first = this.#heap[0];
    const last = this.#heap.pop();
    if (!first || !last || this.#heap.length === 0) return first;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      const right = left + 1;
      const [leftAt, rightAt] = [this.#heap[left]?.at ?? Infinity, this.#heap[right]?.at ?? Infinity];
      const child = rightAt < leftAt ? right : left;
      const below = this.#heap[child];
      if (!below || last.at <= below.at) break;
      this.#heap[index] = below;
      index = child;
    }
    this.#heap[index] = last;
    return first;
  }
}
