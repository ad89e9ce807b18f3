import { roleOf, type SlotName } from "../apps/app.ts";
import type { AuditAction, AuditActor } from "../audit/audit-entry.ts";
import type { RequestResult } from "../events.ts";
import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { Clearing, type ClearRequest } from "./clearing.ts";
import {
  audited,
  credentialEntry,
  credentialKey,
  type CredentialName,
  type CredentialRecord,
  type CredentialRef,
} from "./credential.ts";
import { type CachedCredential, MIN_TTL_MS } from "./credential-cache.ts";
import { unavailable } from "./backoff.ts";
import { isClassicToken, isStableToken, type RefreshParts } from "./fetcher.ts";
import { Refresh, type RefreshGoal, type ReplaceOptions } from "./refresh.ts";
import type { Refusal } from "./pacing.ts";
import {
  type CredentialKind,
  type Kinds,
  KINDS,
  type Life,
  renewAgainMs,
  renewalAt,
  renewBeforeMs,
} from "./kinds.ts";
import { SharedRead, SingleFlight } from "./single-flight.ts";

const REPLACE_RETRY_MS = 10_000;
/** How long to wait after a renewal that failed, when nothing else says how long. */
const RENEWAL_FAILED_MS = 1000;
const PUSHED_RETRY_MS = 60_000;

/** What the manager works with. */
export interface ManagerParts extends RefreshParts {
  /** The kinds of credentials; default `KINDS`. */
  readonly kinds?: Kinds;
}

/** What a caller wants of a credential. */
export interface GetOptions {
  /** Wait for a longer life when less than this is left; milliseconds, default 0. */
  readonly minTtlMs?: number;
  /** The caller's own object, on which a get that succeeds notes how it came by its credential. */
  readonly notes?: GetNotes;
}

/** How a get came by its credential. */
export interface GetNotes {
  result?: RequestResult;
}

/** A flight of this process. */
interface Flight {
  readonly name: CredentialName;
  /** Whether a caller without a credential joins it: not a probe, and not a renewal. */
  readonly isAwaited: boolean;
}

/**
 * Keeps one current credential per key: `get`, `replace`, `accept`, `clear`.
 *
 * A warm `get` touches neither disk nor network. Every upstream request goes through one flight per credential
 * in this process, and through `Refresh` among the processes.
 */
export class CredentialManager {
  readonly #parts: ManagerParts;
  readonly #kinds: Kinds;
  readonly #refresh: Refresh;
  readonly #clearing: Clearing;
  readonly #flights = new SingleFlight<CachedCredential>();
  /** Of ten thousand who find nothing in memory, two ask the store. */
  readonly #looks = new SharedRead<CachedCredential | undefined>();
  readonly #checks = new SharedRead<Refusal | undefined>();
  readonly #flying = new Map<string, Flight>();
  /** Per key, when a caller may begin a renewal ahead of time again (monotonic). What has passed is dropped. */
  readonly #renewAgainAt = new Map<string, number>();

  constructor(parts: ManagerParts) {
    this.#parts = parts;
    this.#kinds = parts.kinds ?? KINDS;
    this.#refresh = new Refresh(parts);
    const flying = () => [...this.#flying.values()].map(({ name }) => name);
    this.#clearing = new Clearing(parts, flying);
  }

  /**
   * The current credential of `ref`; waits only when none is valid, or valid for long enough.
   *
   * One with less than `minTtlMs` left is returned when no longer life is available.
   *
   * @throws {ServiceError} What kept us from obtaining one, with `retryAfterMs` during a backoff.
   */
  async get(ref: CredentialRef, options: GetOptions = {}): Promise<CachedCredential> {
    const { minTtlMs = 0, notes } = options;
    const key = credentialKey(ref);
    if (notes) notes.result ??= "hit";
    const { memory } = this.#parts;
    const held = memory.current(key) ?? (this.#isAwaited(key) ? undefined : await this.#look(ref, key));
    const got = held?.isUsable()
      ? await this.#prolong(ref, key, held, minTtlMs, notes)
      : await this.#obtain(ref, key, notes);
    memory.markUsed(key);
    return got;
  }

  /**
   * What `get` returns, where that needs no read of the store and no renewal is due; else undefined: then call `get`.
   * Synchronous, and counts as a use.
   *
   * `key` is the credential's `credentialKey`. `now` and `monotonic` are the clock's, for a caller that has read it
   * already.
   */
  peek(
    key: string,
    minTtlMs = 0,
    now = this.#parts.clock.now(),
    monotonic = this.#parts.clock.monotonic(),
  ): CachedCredential | undefined {
    const { memory } = this.#parts;
    const known = memory.find(key, monotonic);
    if (!known) return undefined;
    const leftMs = known.held.remainingMs(now, monotonic);
    if (leftMs < Math.max(minTtlMs, MIN_TTL_MS)) return undefined;
    if (leftMs <= renewBeforeMs(this.#kinds.get(known.name), lifeOf(known.held), 1)) return undefined;
    memory.markUsed(key, now);
    return known.held;
  }

  /**
   * Fetches a credential that is valid longer than `valid`, or any when there is none. It counts as no use, and never
   * throws: what is valid stays in use.
   *
   * Resolves with undefined when the upstream answered, else with how long to back off, in milliseconds.
   */
  async renew(ref: CredentialRef, valid: CachedCredential | undefined): Promise<number | undefined> {
    const key = credentialKey(ref);
    if (valid) this.#noteRenewal(key, renewAgainMs(this.#kinds.get(ref), lifeOf(valid), valid.remainingMs()));
    try {
      const { pacing } = this.#parts;
      await pacing.admit("fetch", ref);
      if (valid && (await pacing.isNearQuota(ref))) return RENEWAL_FAILED_MS;
      const goal: RefreshGoal = valid
        ? { kind: "renew", expiresAt: valid.expiresAt }
        : { kind: "obtain", isAhead: true };
      const renewed = await this.#fly(ref, key, goal);
      if (!valid?.value.equals(renewed.value)) this.#renewAgainAt.delete(key);
      return undefined;
    } catch (error) {
      // The refresh has reported what went wrong; callers still have a valid credential.
      return (error instanceof ServiceError ? error.retryAfterMs : undefined) ?? RENEWAL_FAILED_MS;
    }
  }

  /**
   * Stores a credential that WeChat pushed to us, or that came with an authorization, without an upstream request.
   *
   * A flight that began before can't take its place. Of two pushes the one that was issued later wins, in whichever
   * order they arrive; the answer is the winner. `life` is in epoch milliseconds.
   *
   * @throws {ServiceError} `invalid_parameter` for a kind that we request alone; what kept it from being stored.
   */
  async accept(
    name: CredentialName,
    value: Secret,
    life: { readonly issuedAt: number; readonly expiresAt: number },
  ): Promise<CachedCredential | undefined> {
    const kind = this.#kinds.get(name);
    if (kind.obtainedBy !== "pushed" && kind.obtainedBy !== "parent") throw notPushed();
    const { store, memory, clock, events, log } = this.#parts;
    const key = credentialKey(name);
    const now = clock.now();
    if (kind.obtainedBy === "pushed" && life.issuedAt > now) {
      // Our clock is behind the sender's: by ours each one that comes would be the newest.
      const { held: current } = await memory.read(name);
      if (current && current.expiresAt > life.expiresAt) return current;
    }
    // The sender's clock may be ahead of ours; an issue time in the future would mean that our clock was set back.
    const credential = { value, issuedAt: Math.min(life.issuedAt, now), expiresAt: life.expiresAt };
    const wholeLife = { expiresAt: life.expiresAt, lifeMs: life.expiresAt - credential.issuedAt };
    const renewAt = renewalAt(kind, wholeLife, { now, isRepeated: false, chance: Math.random() });
    using pending = memory.begin(name);
    const accept = () => store.accept(name, credential, renewAt);
    const generationOf = (stored: CredentialRecord) =>
      stored.credential === credential ? stored.generation : undefined;
    const record = await (log ? log.noted(name, "pushed", accept, generationOf) : accept());
    const held = pending.put(record);
    if (record.credential === credential) {
      const { generation } = record;
      events.emit({
        type: "credential.accepted",
        key,
        lifeMs: Math.round(held?.remainingMs() ?? 0),
        generation,
      });
    }
    return held;
  }

  /**
   * A manual refresh: what the upstream issues now, whatever is current. It may be the same value while that is valid.
   *
   * With `force`, WeChat issues a new stable token; such calls, classic fetches and those of a third-party platform's token
   * are limited to 20 a day, 30 s apart. All others are 10 s apart. A new token ends the app's rejected ones.
   *
   * @throws {ServiceError} As `get`; `unavailable` when the budget is used up; `rate_limited` when it comes too soon.
   */
  async refresh(
    ref: CredentialRef,
    { force, actor }: { readonly force: boolean; readonly actor?: AuditActor },
  ): Promise<CachedCredential> {
    const key = credentialKey(ref);
    this.#refusePushed(ref);
    // A forced one uses its budget under the lease.
    const isForced = force && isStableToken(ref);
    // WeChat makes a new token of a component each time, as of a classic app.
    const endsOne = isClassicToken(ref) || roleOf(ref.slot) !== undefined;
    await this.#parts.pacing.admit(isForced ? "fetch" : endsOne ? "force" : "refresh", ref);
    return this.#audited("credential.refreshed", ref, actor, async () => {
      // A flight under way was not started for this request.
      while (this.#flights.has(key)) await this.#flights.landed(key);
      return this.#wait(key, () => this.#fly(ref, key, { kind: "refresh", force }));
    });
  }

  /**
   * The credential of `ref` that is not `rejected`.
   *
   * Call it with the value that WeChat rejected. If another caller has already replaced that value, the newer one is
   * returned without an upstream request, so a burst of complaints about one token costs one request. WeChat is asked
   * whether the value is revoked before anything is done that would revoke it; a false complaint gets the same value
   * back, and that verdict is trusted for 10 s. A complaint from another `endpoint` (a path family, or a kind of
   * caller) triggers one more check in that time. A rejection that we have `seen` ourselves is checked at once, whatever
   * was said before it came: three times in 10 s for an app, and for a minute not for a client that has met three in a
   * row which were none.
   *
   * @throws {ServiceError} `unavailable` with `retryAfterMs` when the value is revoked and no other is available, or
   *   when a complaint about this app was checked less than 10 s ago.
   */
  async replace(
    ref: CredentialRef,
    rejected: Secret,
    actor?: AuditActor,
    { endpoint, seen = false }: ReplaceOptions = {},
  ): Promise<CachedCredential> {
    const { pacing, clock } = this.#parts;
    const key = credentialKey(ref);
    const since = clock.monotonic();
    const another = async () => {
      try {
        if (seen && actor) pacing.refuseMuted(actor.client);
        return await this.#flyReplacement(ref, key, rejected, { actor, endpoint, seen });
      } catch (error) {
        // Over the budget of complaints: WeChat's last verdict counts.
        if (!pacing.isKnownValid(key, rejected)) throw error;
        return this.get(ref);
      }
    };
    for (let round = 1; round <= 2; round++) {
      // A flight under way may bring another value.
      await this.#flights.landed(key);
      const { held, record } = await this.#parts.memory.read(ref);
      const other = held?.isUsable() && !held.value.equals(rejected) ? held : undefined;
      if (!other) this.#refusePushed(ref);
      const isCurrent = record.credential?.value.equals(rejected) || record.revoked?.equals(rejected);
      const isFalse = seen
        ? pacing.isKnownValid(key, rejected, since)
        : pacing.isFalseComplaint(key, rejected, endpoint);
      const got = other ?? (await (isCurrent && !isFalse ? another() : this.get(ref)));
      // A flight that began for another reason may have returned the rejected value.
      if (!got.value.equals(rejected) || pacing.isKnownValid(key, rejected)) {
        this.#parts.memory.markUsed(key);
        return got;
      }
    }
    const message = "暂时没有可替换的凭证，请稍后重试 (no other credential is available; try again later)";
    throw unavailable(message, REPLACE_RETRY_MS);
  }

  /**
   * Clears the credential of `name`, without an upstream request; a no-op when there is none.
   *
   * @throws {ServiceError} `rate_limited` when it was cleared less than 10 s ago, or a complaint about its app was
   *   checked in that time; then nothing changes.
   */
  clear(name: CredentialName, request: ClearRequest): Promise<void> {
    return this.#clearing.clear([name], request);
  }

  /** As `clear`, for every slot of an app: all of them, or none. */
  clearApp(
    app: Pick<SlotName, "platform" | "appId">,
    kind: CredentialKind,
    request: ClearRequest,
  ): Promise<void> {
    return this.#clearing.clearApp(app, kind, request);
  }

  /** Removes every backoff of the slot's app: the next caller's request goes to the upstream. */
  unblock(slot: SlotName, actor: AuditActor): Promise<void> {
    return this.#parts.pacing.unblock(slot, actor);
  }

  /** Resolves when no refresh runs any more. */
  settle(): Promise<void> {
    return this.#flights.settle();
  }

  /** The stored credential; while the store can't be read, the last known one if it is still valid. */
  async #look(ref: CredentialRef, key: string): Promise<CachedCredential | undefined> {
    const { memory } = this.#parts;
    try {
      return await this.#looks.run(key, async () => (await memory.read(ref)).held);
    } catch (error) {
      const known = memory.lastKnown(key);
      if (known?.isUsable()) return known;
      throw error;
    }
  }

  /** Throws for a pushed kind, which can't be requested. */
  #refusePushed(ref: CredentialRef): void {
    if (this.#kinds.get(ref).obtainedBy !== "pushed") return;
    throw unavailable(
      "该凭证由微信推送，尚未收到或已过期，请检查推送地址并等待下一次推送 (WeChat pushes this credential, and none has arrived or it has expired; check the callback URL and wait for the next push)",
      PUSHED_RETRY_MS,
    );
  }

  /** Keeps callers from beginning a renewal for `againMs`. */
  #noteRenewal(key: string, againMs: number): void {
    const now = this.#parts.clock.monotonic();
    this.#renewAgainAt.delete(key);
    this.#renewAgainAt.set(key, now + againMs);
    // In the order of insertion, so that mostly the oldest have passed.
    for (const [oldest, at] of this.#renewAgainAt) {
      if (at > now) break;
      this.#renewAgainAt.delete(oldest);
    }
  }

  async #obtain(ref: CredentialRef, key: string, notes: GetOptions["notes"]): Promise<CachedCredential> {
    this.#refusePushed(ref);
    if (!this.#isAwaited(key)) {
      const refusal = await this.#checks.run(key, () => this.#parts.pacing.check(ref));
      // The upstream was down a moment ago. One probe finds out whether it still is; no caller waits for it.
      if (refusal?.mayProbe && !this.#flying.has(key))
        this.#fly(ref, key, { kind: "obtain" }, false).catch(() => undefined);
      if (refusal) throw refusal.error;
      await this.#parts.source.ready?.(ref);
    }
    const { memory } = this.#parts;
    const isJoining = this.#flying.has(key);
    const got = await this.#wait(key, () => this.#fly(ref, key, { kind: "obtain" }), notes);
    if (!isJoining || memory.current(key) === got) return got;
    // The result of a joined flight may have been cleared elsewhere before this caller came.
    const held = await this.#look(ref, key);
    return held?.isUsable() ? held : this.#obtain(ref, key, notes);
  }

  /** Renews a valid credential where that is due or asked for; waits only for a caller whose `minTtlMs` it misses. */
  async #prolong(
    ref: CredentialRef,
    key: string,
    valid: CachedCredential,
    minTtlMs: number,
    notes: GetOptions["notes"],
  ): Promise<CachedCredential> {
    const suffices = valid.isUsable(minTtlMs);
    const kind = this.#kinds.get(ref);
    const isDue = valid.remainingMs() <= renewBeforeMs(kind, lifeOf(valid), 1);
    if ((suffices && !isDue) || kind.obtainedBy === "pushed") return valid;
    const mayRenew = this.#parts.clock.monotonic() >= (this.#renewAgainAt.get(key) ?? 0);
    if (!mayRenew && !this.#flying.has(key)) return valid;
    const renew = async (): Promise<void> => {
      await (mayRenew ? this.renew(ref, valid) : this.#flights.landed(key));
    };
    if (suffices) {
      void renew();
      return valid;
    }
    await this.#wait(key, renew, notes);
    const renewed = this.#parts.memory.current(key);
    return renewed?.isUsable() ? renewed : valid;
  }

  /** Waits for what `begin` begins or joins, and counts the caller as a waiter meanwhile. */
  async #wait<T>(key: string, begin: () => Promise<T>, notes?: GetOptions["notes"]): Promise<T> {
    const { events } = this.#parts;
    if (notes) notes.result = this.#flying.has(key) ? "wait" : "refresh";
    events.emit({ type: "waiter.added", key });
    try {
      return await begin();
    } finally {
      events.emit({ type: "waiter.removed", key });
    }
  }

  #fly(ref: CredentialRef, key: string, goal: RefreshGoal, isAwaited = goal.kind === "obtain") {
    return this.#launch(ref, key, isAwaited, () => this.#refresh.run(ref, goal));
  }

  #flyReplacement(
    ref: CredentialRef,
    key: string,
    rejected: Secret,
    { actor, endpoint, seen = false }: ReplaceOptions & { readonly actor: AuditActor | undefined },
  ): Promise<CachedCredential> {
    const work = async () => {
      const { pacing } = this.#parts;
      await pacing.admit("fetch", ref);
      const caller = actor?.client;
      const admission = await (seen
        ? pacing.admit("rejection", ref, { caller })
        : pacing.admit("complaint", ref, { endpoint }));
      const replace = () => this.#refresh.run(ref, { kind: "replace", rejected, endpoint, seen });
      const got = await this.#audited("credential.replaced", ref, actor, replace);
      const isFalse = got.value.equals(rejected);
      // Of a platform's token refusals that are none must not use up what heals it for all others.
      if (seen && isFalse && roleOf(ref.slot)) await admission.giveBack().catch(() => undefined);
      if (seen && actor) pacing.noteVerified(actor.client, isFalse);
      return got;
    };
    return this.#wait(key, () => this.#launch(ref, key, false, work));
  }

  /** Joins the flight under `key`, or begins one with `work`. */
  #launch(
    name: CredentialName,
    key: string,
    isAwaited: boolean,
    work: () => Promise<CachedCredential>,
  ): Promise<CachedCredential> {
    const { events, clock } = this.#parts;
    return this.#flights.run(key, async () => {
      this.#flying.set(key, { name, isAwaited });
      const startedAt = clock.monotonic();
      events.emit({ type: "refresh.started", key });
      try {
        return await work();
      } finally {
        this.#flying.delete(key);
        events.emit({ type: "refresh.finished", key, durationMs: clock.monotonic() - startedAt });
      }
    });
  }

  #audited(
    action: AuditAction,
    ref: CredentialRef,
    actor: AuditActor | undefined,
    work: () => Promise<CachedCredential>,
  ): Promise<CachedCredential> {
    const { record } = this.#parts;
    // What the service does on its own is in the log.
    if (!record || !actor) return work();
    return audited(record, (outcome, value) => credentialEntry(action, ref, actor, { outcome, value }), work);
  }

  #isAwaited(key: string): boolean {
    return this.#flying.get(key)?.isAwaited ?? false;
  }
}

function lifeOf(valid: CachedCredential): Life {
  return { lifeMs: valid.lifeMs(), renewBeforeMs: valid.renewBeforeMs };
}

function notPushed(): ServiceError {
  return new ServiceError("invalid_parameter", "该凭证不由微信推送 (WeChat does not push this credential)");
}
