import { setImmediate as nextTurn } from "node:timers/promises";
import type { Changes } from "../changes.ts";
import type { Clock } from "../clock.ts";
import type { Secret } from "../secret.ts";
import { type Credential, credentialKey, type CredentialName, type CredentialRecord } from "./credential.ts";
import { KINDS } from "./kinds.ts";
import type { SlotName } from "../apps/app.ts";
import type { CredentialStore } from "./credential-store.ts";

/** How many uses are stored in one transaction. */
const MAX_USES_AT_ONCE = 500;

/** Of so many tickets the replaced one is kept. */
const MAX_REPLACED = 10_000;

/** A credential with less left than this is not returned: its life could not be stated in whole seconds. */
export const MIN_TTL_MS = 1000;

/**
 * A credential in this process's memory, with its life on both clocks.
 *
 * The wall clock survives a restart, the monotonic clock survives a change of the wall clock. The credential expires by
 * whichever comes first.
 */
export class CachedCredential {
  readonly value: Secret;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly renewBeforeMs: number | undefined;
  readonly generation: number;
  /** Names its value and its life in an ETag: alike in all processes, and another one as soon as either changes. */
  readonly version: string;
  readonly #clock: Clock;
  readonly #endsAtMonotonic: number;

  /** `endsAtMonotonic` is when its life ends by the monotonic clock; by default what the wall clock makes of it. */
  constructor(credential: Credential, generation: number, clock: Clock, endsAtMonotonic?: number) {
    this.value = credential.value;
    this.issuedAt = credential.issuedAt;
    this.expiresAt = credential.expiresAt;
    this.renewBeforeMs = credential.renewBeforeMs;
    this.generation = generation;
    this.version = `${credential.issuedAt}-${credential.expiresAt}`;
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

  /** The life that is left, in milliseconds; not above zero when it has expired. Both clocks may be given. */
  remainingMs(now = this.#clock.now(), monotonic = this.#clock.monotonic()): number {
    return Math.min(this.expiresAt - now, this.#endsAtMonotonic - monotonic);
  }

  /** Whether at least `minTtlMs`, and in any case `MIN_TTL_MS`, are left. */
  isUsable(minTtlMs = 0): boolean {
    return this.remainingMs() >= Math.max(minTtlMs, MIN_TTL_MS);
  }
}

/** A credential in memory, and its name. */
interface NamedCredential {
  readonly name: CredentialName;
  readonly held: CachedCredential;
}

interface Entry extends NamedCredential {
  held: CachedCredential;
  /** The epoch in which it changed last, as far as is known. */
  epoch: number;
  /** Whether it may have changed since. */
  isStale: boolean;
  /** Whether it was current when the store became another one, which was not asked since what it has in its place. */
  isInDoubt: boolean;
  /** Epoch milliseconds of the last use. */
  usedAt: number;
  /** The last use that is stored. */
  writtenUsedAt: number;
}

/** A credential as this process knows it of the store. */
export type KnownCredential = Readonly<Pick<Entry, "name" | "held" | "epoch" | "isInDoubt">>;

/** An answer of the store that is under way; a change until it is `put` outdates it. Use it with `using`. */
export interface PendingAnswer extends Disposable {
  /**
   * Takes what the store answered into memory; undefined when it may not be returned, or was overtaken by a change of
   * this credential. `endsAtMonotonic`: see `CachedCredential`.
   */
  put(record: CredentialRecord, endsAtMonotonic?: number): CachedCredential | undefined;
}

/**
 * The valid credentials that this process knows, so that a warm read touches no disk.
 *
 * It is out of date for 25 ms at most: the change feed names the credentials that any process has changed, and only
 * those are read again.
 */
export class CredentialCache {
  readonly #store: Pick<CredentialStore, "find" | "touch">;
  readonly #changes: Changes;
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  /** By key, the ticket before the current one. */
  readonly #replaced = new Map<string, Secret>();
  /** Per key, the answers of the store that are under way, and the latest change that has become known meanwhile. */
  readonly #pending = new Map<string, { newest: number; readonly answers: Set<Pending> }>();

  constructor(store: Pick<CredentialStore, "find" | "touch">, changes: Changes, clock: Clock) {
    this.#store = store;
    this.#changes = changes;
    this.#clock = clock;
    changes.subscribe("credentials", (changed, isAnother = false) => {
      if (!changed) this.#doubtAll(isAnother);
      else for (const [key, epoch] of changed) this.#overtake(key, epoch);
    });
  }

  /** The credential under `key` if this process knows it and it has not changed since. */
  current(key: string): CachedCredential | undefined {
    return this.find(key)?.held;
  }

  /** As `current`, with its name. `monotonic` is `Clock.monotonic()` now, for a caller that has read it already. */
  find(key: string, monotonic?: number): NamedCredential | undefined {
    // Marks what has changed as stale.
    this.#changes.epoch("credentials", monotonic);
    const entry = this.#entries.get(key);
    return entry && !entry.isStale && this.#changes.isLive ? entry : undefined;
  }

  /** What this process knew last, whether it has changed since or not: for when the store can't be read. */
  lastKnown(key: string): CachedCredential | undefined {
    return this.#entries.get(key)?.held;
  }

  /**
   * The ticket that the current one has replaced, valid or not, to recognize what was signed with it; undefined where this
   * process has not seen it replaced. It is never handed out, and nowhere stored.
   */
  replaced(key: string): Secret | undefined {
    return this.#replaced.get(key);
  }

  /** Reads what is in the store. */
  async read(
    name: CredentialName,
  ): Promise<{ held: CachedCredential | undefined; record: CredentialRecord }> {
    for (;;) {
      using pending = this.#begin(name);
      const record = await this.#store.find(name);
      const held = pending.put(record);
      // What this process has written meanwhile, and what it knows that another has, is newer than what was read.
      if (!pending.isOvertaken) return { held, record };
    }
  }

  /** Call it before something is done in the store that answers with a record of `name`. */
  begin(name: CredentialName): PendingAnswer {
    return this.#begin(name);
  }

  /** What was current here when the store became another one, and was not read since; that of the latest change first. */
  inDoubt(): readonly KnownCredential[] {
    const entries = [...this.#entries.values()].filter(({ isInDoubt }) => isInDoubt);
    return entries.toSorted((a, b) => b.epoch - a.epoch).map((entry) => ({ ...entry }));
  }

  /** Evicts the credentials of those slots. */
  evictSlots(isOne: (slot: SlotName) => boolean): void {
    for (const [key, { name }] of this.#entries) {
      if (!isOne(name.slot)) continue;
      this.#entries.delete(key);
      this.#replaced.delete(key);
    }
  }

  /** Notes a use of the credential under `key`, at `now` in epoch milliseconds. */
  markUsed(key: string, now = this.#clock.now()): void {
    const entry = this.#entries.get(key);
    if (entry) entry.usedAt = now;
  }

  /** The last use of the credential in this process, in epoch milliseconds; 0 for never. */
  usedAt(key: string): number {
    return this.#entries.get(key)?.usedAt ?? 0;
  }

  /** Stores the uses that are later than the stored ones by more than `minAgeMs`. */
  async flushUses(minAgeMs = 0): Promise<void> {
    const changed = [...this.#entries.values()].filter(
      ({ usedAt, writtenUsedAt }) => usedAt - writtenUsedAt > minAgeMs,
    );
    for (let start = 0; start < changed.length; start += MAX_USES_AT_ONCE) {
      // Neither requests here nor writers elsewhere wait for all of them.
      if (start > 0) await nextTurn();
      const piece = changed.slice(start, start + MAX_USES_AT_ONCE);
      const uses = piece.map(({ name, usedAt }) => ({ name, usedAt }));
      await this.#store.touch(uses);
      for (const [index, entry] of piece.entries()) entry.writtenUsedAt = uses[index]?.usedAt ?? 0;
    }
  }

  #begin(name: CredentialName): Pending {
    const key = credentialKey(name);
    // Learnt before the store is asked, so that only later changes overtake the answer.
    this.#changes.epoch("credentials");
    const group = this.#pending.get(key) ?? { newest: 0, answers: new Set() };
    this.#pending.set(key, group);
    const put: PendingAnswer["put"] = (record, endsAt) => this.#put(name, pending, record, endsAt);
    const pending = new Pending(put, () => {
      group.answers.delete(pending);
      if (group.answers.size === 0 && this.#pending.get(key) === group) this.#pending.delete(key);
    });
    group.answers.add(pending);
    return pending;
  }

  /** The credential under `key` has changed in `epoch`: what is known of it from before is old. */
  #overtake(key: string, epoch: number): void {
    const entry = this.#entries.get(key);
    if (entry && entry.epoch < epoch) entry.isStale = true;
    const group = this.#pending.get(key);
    // Of ten thousand callers who read the same, the first alone goes through all.
    if (!group || group.newest >= epoch) return;
    group.newest = epoch;
    for (const pending of group.answers) pending.newest = epoch;
  }

  #doubtAll(isAnother: boolean): void {
    for (const entry of this.#entries.values()) {
      entry.isInDoubt ||= isAnother && !entry.isStale;
      entry.isStale = true;
    }
    for (const group of this.#pending.values()) {
      // Another store numbers its changes anew.
      if (isAnother) group.newest = 0;
      for (const each of group.answers) {
        each.isDoubtful = true;
        if (isAnother) each.newest = 0;
      }
    }
  }

  #put(
    name: CredentialName,
    pending: Pending,
    record: CredentialRecord,
    endsAtMonotonic?: number,
  ): CachedCredential | undefined {
    const key = credentialKey(name);
    this.#changes.epoch("credentials");
    const { credential, generation, isRejected, revoked, epoch } = record;
    pending.isOvertaken = epoch < pending.newest;
    if (pending.isOvertaken) return undefined;
    this.#overtake(key, epoch);
    const known = this.#entries.get(key);
    // Another store may answer before it is known that it is another.
    if (known && (known.isInDoubt || !known.isStale) && isLostIn(record, known)) return known.held;
    if (known && !credential?.value.equals(known.held.value)) this.#keepReplaced(known);
    if (!credential || isRejected || revoked?.equals(credential.value)) {
      this.#entries.delete(key);
      return undefined;
    }
    const isStale = pending.isDoubtful;
    if (known && isSame(known.held, credential)) {
      known.epoch = epoch;
      known.isStale = isStale;
      known.isInDoubt = false;
      return known.held;
    }
    const held = new CachedCredential(credential, generation, this.#clock, endsAtMonotonic);
    const usedAt = Math.max(known?.usedAt ?? 0, record.usedAt ?? 0);
    const writtenUsedAt = Math.max(known?.writtenUsedAt ?? 0, record.usedAt ?? 0);
    this.#entries.set(key, { name, held, epoch, isStale, isInDoubt: false, usedAt, writtenUsedAt });
    return held;
  }

  /** An access token is recognized by its digest in the store, and signs nothing. */
  #keepReplaced({ name, held }: NamedCredential): void {
    if (KINDS.find(name)?.isPresented) return;
    const key = credentialKey(name);
    this.#replaced.delete(key);
    this.#replaced.set(key, held.value);
    if (this.#replaced.size <= MAX_REPLACED) return;
    const [oldest] = this.#replaced.keys();
    if (oldest !== undefined) this.#replaced.delete(oldest);
  }
}

class Pending implements PendingAnswer {
  /** The epoch of the latest change of the credential that has become known meanwhile. */
  newest = 0;
  /** Whether it may have changed meanwhile. */
  isDoubtful = false;
  /** Whether what was `put` was known as old. */
  isOvertaken = false;
  readonly put: PendingAnswer["put"];
  readonly #end: () => void;

  constructor(put: PendingAnswer["put"], end: () => void) {
    this.put = put;
    this.#end = end;
  }

  [Symbol.dispose](): void {
    this.#end();
  }
}

/**
 * Whether a store with `record` has lost a credential that it once had: its record is from before that, or has an older
 * credential, which another process had and stored again.
 */
export function isLostIn(
  { generation, credential, revoked, epoch: stored }: CredentialRecord,
  { held, epoch, isInDoubt }: KnownCredential,
): boolean {
  const isBefore = generation < held.generation || (generation === held.generation && stored < epoch);
  const isOlder = isInDoubt && credential !== undefined && credential.issuedAt < held.issuedAt;
  const isThere = credential?.value.equals(held.value) || revoked?.equals(held.value);
  return (isBefore || isOlder) && !isThere && held.isUsable();
}

function isSame(held: CachedCredential, credential: NonNullable<CredentialRecord["credential"]>): boolean {
  return (
    held.expiresAt === credential.expiresAt &&
    held.issuedAt === credential.issuedAt &&
    held.renewBeforeMs === credential.renewBeforeMs &&
    held.value.equals(credential.value)
  );
}
