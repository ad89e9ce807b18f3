import type { Clock } from "../clock.ts";
import type { Secret } from "../secret.ts";
import { type Credential, credentialKey, type CredentialName, type CredentialRecord } from "./credential.ts";
import type { SlotName } from "../apps/app.ts";
import type { CredentialStore } from "./credential-store.ts";

/** A credential with less left than this is not handed out: its life could not be stated in whole seconds. */
export const MIN_TTL_MS = 1000;

/**
 * A credential in this process's memory, with its life on both clocks.
 *
 * The wall clock survives a restart, the monotonic clock survives somebody who sets the wall clock. Whichever ends
 * first ends the life.
 */
export class CachedCredential {
  readonly value: Secret;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly renewBeforeMs: number | undefined;
  readonly generation: number;
  readonly #clock: Clock;
  readonly #endsAtMonotonic: number;

  /** `endsAtMonotonic` is when its life ends by the monotonic clock; by default what the wall clock makes of it. */
  constructor(credential: Credential, generation: number, clock: Clock, endsAtMonotonic?: number) {
    this.value = credential.value;
    this.issuedAt = credential.issuedAt;
    this.expiresAt = credential.expiresAt;
    this.renewBeforeMs = credential.renewBeforeMs;
    this.generation = generation;
    this.#clock = clock;
    const now = clock.now();
    // A credential from the future proves that the wall clock was set back, and then its age is unknown.
    const leftMs = credential.issuedAt > now ? 0 : credential.expiresAt - now;
    this.#endsAtMonotonic = endsAtMonotonic ?? clock.monotonic() + leftMs;
  }

  /** The whole life that it was issued with, in milliseconds. */
  lifeMs(): number {
    return this.expiresAt - this.issuedAt;
  }

  /** The life that is left, in milliseconds; not above zero when it is over. */
  remainingMs(): number {
    return Math.min(this.expiresAt - this.#clock.now(), this.#endsAtMonotonic - this.#clock.monotonic());
  }

  /** Whether at least `minTtlMs`, and in any case `MIN_TTL_MS`, are left. */
  isUsable(minTtlMs = 0): boolean {
    return this.remainingMs() >= Math.max(minTtlMs, MIN_TTL_MS);
  }
}

/** How old this process's knowledge of the store may be, in milliseconds: half of the 50 that are promised. */
const KNOWLEDGE_MS = 25;

interface Entry {
  readonly name: CredentialName;
  held: CachedCredential;
  /** The store's version that `held` was read under. */
  version: number;
  /** Epoch milliseconds of the last hand-out. */
  usedAt: number;
  /** Up to which hand-out the store knows. */
  writtenUsedAt: number;
}

/** One read of the store that has not come back yet. */
interface Read {
  isOvertaken: boolean;
}

/**
 * What this process knows of the credentials that stand, so that a warm read touches no disk.
 *
 * What it knows is trusted only while no other process has changed anything: `current` asks the store for its version
 * at most every 25 ms, when somebody asks, and reads again what may have changed.
 */
export class CredentialCache {
  readonly #store: Pick<CredentialStore, "find" | "version" | "touch">;
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  /** Per key, the generation of the last clear: nothing older may be held again, however late it arrives. */
  readonly #oldest = new Map<string, number>();
  /** Per key, the reads under way; whatever this process stores or forgets meanwhile overtakes them. */
  readonly #reads = new Map<string, Set<Read>>();
  #version = 0;
  #askedAt = Number.NEGATIVE_INFINITY;

  constructor(store: Pick<CredentialStore, "find" | "version" | "touch">, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** The credential under `key` if this process knows it and nothing has changed since. */
  current(key: string): CachedCredential | undefined {
    const entry = this.#entries.get(key);
    return entry?.version === this.version() ? entry.held : undefined;
  }

  /**
   * The store's version, at most 25 ms old. Ask for it *before* something is done in the store, and give it to `hold`
   * with the result: what another process changes between the two then makes the result known as old.
   */
  version(): number {
    const now = this.#clock.monotonic();
    if (now - this.#askedAt >= KNOWLEDGE_MS) {
      try {
        this.#version = this.#store.version();
      } catch {
        // Nobody can tell now whether anything has changed. A failing disk must not take away what lives.
      }
      this.#askedAt = now;
    }
    return this.#version;
  }

  /** What this process knew last, be it true still or not: for when the store can't be read. */
  lastKnown(key: string): CachedCredential | undefined {
    return this.#entries.get(key)?.held;
  }

  /** Reads what stands in the store. */
  async read(
    name: CredentialName,
  ): Promise<{ held: CachedCredential | undefined; record: CredentialRecord }> {
    const key = credentialKey(name);
    for (;;) {
      const version = this.version();
      const read = this.#beginRead(key);
      try {
        const record = await this.#store.find(name);
        // What this process has stored or forgotten meanwhile is newer than what was read.
        if (!read.isOvertaken) return { held: this.#take(key, name, record, version), record };
      } finally {
        this.#endRead(key, read);
      }
    }
  }

  /**
   * Takes what the store answered to something that this process did into memory, unless a clear has overtaken it;
   * `undefined` when it may not be handed out.
   *
   * `version`: see there. `endsAtMonotonic`: see `CachedCredential`.
   */
  hold(
    name: CredentialName,
    record: CredentialRecord,
    version: number,
    endsAtMonotonic?: number,
  ): CachedCredential | undefined {
    const key = credentialKey(name);
    this.#overtakeReads(key);
    return this.#take(key, name, record, version, endsAtMonotonic);
  }

  /** Nothing of a generation below this is held from now on. */
  forgetBefore(name: CredentialName, generation: number): void {
    const key = credentialKey(name);
    this.#overtakeReads(key);
    this.#oldest.set(key, generation);
    this.#entries.delete(key);
  }

  /** Nothing of those slots is held from now on that stood before. */
  forgetSlots(isOne: (slot: SlotName) => boolean): void {
    for (const { name, held } of this.#entries.values()) {
      if (isOne(name.slot)) this.forgetBefore(name, held.generation + 1);
    }
  }

  /** Notes that the credential under `key` was handed out. */
  markUsed(key: string): void {
    const entry = this.#entries.get(key);
    if (entry) entry.usedAt = this.#clock.now();
  }

  /** When this process handed the credential out last, in epoch milliseconds; 0 for never. */
  usedAt(key: string): number {
    return this.#entries.get(key)?.usedAt ?? 0;
  }

  /** Writes down the uses that are later than the written ones, by more than `minAgeMs`. */
  async flushUses(minAgeMs = 0): Promise<void> {
    const changed = [...this.#entries.values()].filter(
      ({ usedAt, writtenUsedAt }) => usedAt - writtenUsedAt > minAgeMs,
    );
    const uses = changed.map(({ name, usedAt }) => ({ name, usedAt }));
    if (uses.length > 0) await this.#store.touch(uses);
    for (const [index, entry] of changed.entries()) entry.writtenUsedAt = uses[index]?.usedAt ?? 0;
  }

  #beginRead(key: string): Read {
    const read: Read = { isOvertaken: false };
    const reads = this.#reads.get(key);
    if (reads) reads.add(read);
    else this.#reads.set(key, new Set([read]));
    return read;
  }

  #endRead(key: string, read: Read): void {
    const reads = this.#reads.get(key);
    reads?.delete(read);
    if (reads?.size === 0) this.#reads.delete(key);
  }

  #overtakeReads(key: string): void {
    for (const read of this.#reads.get(key) ?? []) read.isOvertaken = true;
  }

  #take(
    key: string,
    name: CredentialName,
    record: CredentialRecord,
    version: number,
    endsAtMonotonic?: number,
  ): CachedCredential | undefined {
    const { credential, generation, isRejected, dead } = record;
    if (generation < (this.#oldest.get(key) ?? 0)) return undefined;
    const known = this.#entries.get(key);
    if (!credential || isRejected || dead?.equals(credential.value)) {
      this.#entries.delete(key);
      return undefined;
    }
    if (known && isSame(known.held, credential)) {
      known.version = version;
      return known.held;
    }
    const held = new CachedCredential(credential, generation, this.#clock, endsAtMonotonic);
    const usedAt = Math.max(known?.usedAt ?? 0, record.usedAt ?? 0);
    const writtenUsedAt = Math.max(known?.writtenUsedAt ?? 0, record.usedAt ?? 0);
    this.#entries.set(key, { name, held, version, usedAt, writtenUsedAt });
    return held;
  }
}

function isSame(held: CachedCredential, credential: NonNullable<CredentialRecord["credential"]>): boolean {
  return (
    held.expiresAt === credential.expiresAt &&
    held.issuedAt === credential.issuedAt &&
    held.renewBeforeMs === credential.renewBeforeMs &&
    held.value.equals(credential.value)
  );
}
