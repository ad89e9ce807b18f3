import type { SlotName } from "../apps/slot.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import type { EventBus, FailureFacts } from "../events.ts";
import type { Secret } from "../secret.ts";
import type { CredentialSource } from "./credential-source.ts";
import type { CredentialStore } from "./credential-store.ts";
import {
  type Credential,
  type CredentialKind,
  type CredentialName,
  type CredentialRecord,
  type CredentialRef,
  credentialKey,
} from "./credential.ts";
import { HeldCredential, LEAST_LIFE_MS } from "./held-credential.ts";
import { SingleFlight } from "./single-flight.ts";

/** How long one `get` may ask upstream in all, its retries included. */
const REFRESH_DEADLINE_MS = 8000;
const ATTEMPTS_MOST = 3;
const RETRY_PAUSE_MS = 200;
const CLEAR_PAUSE_MS = 10_000;
/** How often a flight asks again because a clear overtook it. Clears are 10 s apart, so once is enough. */
const OVERTAKEN_MOST = 2;

/** What the manager works with. */
export interface CredentialManagerParts {
  readonly source: CredentialSource;
  readonly store: CredentialStore;
  readonly clock: Clock;
  readonly events: EventBus;
  /** Overrides the 8 s. */
  readonly deadlineMs?: number;
}

/** Who asked for a clear, for the record. */
export interface ClearRequest {
  readonly address: string;
  /** Clear only while this is still the value. */
  readonly onlyIf?: Secret;
}

/**
 * Keeps one current credential per key and hands it to whoever asks.
 *
 * One refresh is always the same sequence: join the flight in this process, read the store again, ask the source,
 * save fenced by the generation, answer with the value that stands. A warm `get` touches neither disk nor network.
 */
export class CredentialManager {
  readonly #parts: CredentialManagerParts;
  readonly #held = new Map<string, HeldCredential>();
  /** Per key, the generation of the last clear: nothing older may be held again, however late it arrives. */
  readonly #oldest = new Map<string, number>();
  readonly #flights = new SingleFlight<HeldCredential>();
  readonly #flying = new Map<string, CredentialName>();
  readonly #clearedAt = new Map<string, number>();
  /** Failures that were thrown after their attempts: a ticket whose token failed is not tried as often again. */
  readonly #spent = new WeakSet<ServiceError>();

  constructor(parts: CredentialManagerParts) {
    this.#parts = parts;
  }

  /**
   * The current credential of `ref`; waits only when there is none that lives.
   *
   * @throws {ServiceError} What the source threw, after up to three attempts within the deadline.
   */
  async get(ref: CredentialRef): Promise<HeldCredential> {
    const key = credentialKey(ref);
    const held = this.#held.get(key);
    if (held?.isUsable()) return held;
    return this.#flights.run(key, () => this.#refresh(ref, key));
  }

  /**
   * The credential of `ref` that is not `rejected`.
   *
   * Call it with the value that WeChat refused. When somebody has replaced that value already, the newer one is
   * returned and WeChat is left alone, so a burst of complaints about one token costs one request. In stable mode
   * WeChat may issue the same value again; it is then returned.
   */
  async replace(ref: CredentialRef, rejected: Secret): Promise<HeldCredential> {
    const current = await this.get(ref);
    if (!current.value.equals(rejected)) return current;
    await this.#forget(ref, current.generation);
    return this.get(ref);
  }

  /**
   * Forgets the credential of `name`. Never asks upstream, and is content when there is nothing to forget.
   *
   * @throws {ServiceError} `rate_limited` when it was cleared less than 10 s ago; then nothing changes.
   */
  clear(name: CredentialName, request: ClearRequest): Promise<void> {
    return this.#clearAll([name], request);
  }

  /** As `clear`, for every slot of an app: all of them, or none when one of them was cleared less than 10 s ago. */
  async clearApp(
    app: Pick<SlotName, "platform" | "appId">,
    kind: CredentialKind,
    request: ClearRequest,
  ): Promise<void> {
    const names = new Map<string, CredentialName>();
    for (const name of await this.#parts.store.listOfApp(app.platform, app.appId, kind)) {
      names.set(credentialKey(name), name);
    }
    for (const [key, name] of this.#flying) {
      const { platform, appId } = name.slot;
      if (platform === app.platform && appId === app.appId && name.kind === kind) names.set(key, name);
    }
    await this.#clearAll([...names.values()], request);
  }

  /** Resolves when no refresh runs any more. */
  settle(): Promise<void> {
    return this.#flights.settle();
  }

  async #clearAll(names: readonly CredentialName[], { address, onlyIf }: ClearRequest): Promise<void> {
    const { store, clock, events } = this.#parts;
    const effective: { key: string; name: CredentialName; generation: number | undefined }[] = [];
    for (const name of names) {
      const key = credentialKey(name);
      const record = await store.find(name);
      // A flight that began before the clear is overtaken by it too: who asks afterwards wants a newer answer.
      const hits = onlyIf
        ? record?.credential?.value.equals(onlyIf)
        : record?.credential || this.#flying.has(key);
      if (hits) effective.push({ key, name, generation: onlyIf ? record?.generation : undefined });
    }
    const now = clock.monotonic();
    for (const { key } of effective) {
      const sinceMs = now - (this.#clearedAt.get(key) ?? -CLEAR_PAUSE_MS);
      if (sinceMs < CLEAR_PAUSE_MS) throw clearedTooOften(CLEAR_PAUSE_MS - sinceMs);
    }
    for (const { key } of effective) this.#clearedAt.set(key, now);
    for (const [done, { key, name, generation }] of effective.entries()) {
      try {
        await this.#forget(name, generation);
      } catch (error) {
        for (const missed of effective.slice(done)) this.#clearedAt.delete(missed.key);
        throw error;
      }
      events.emit({ type: "credential.cleared", key, address });
    }
  }

  async #forget(name: CredentialName, generation?: number): Promise<void> {
    const key = credentialKey(name);
    const standing = await this.#parts.store.clear(name, generation);
    this.#oldest.set(key, standing.generation);
    const held = this.#held.get(key);
    if (held && held.generation < standing.generation) this.#held.delete(key);
  }

  async #refresh(ref: CredentialRef, key: string): Promise<HeldCredential> {
    const { store, events } = this.#parts;
    this.#flying.set(key, ref);
    try {
      const record = await store.find(ref);
      const stored = this.#hold(key, record);
      if (stored?.isUsable()) return stored;
      return await this.#obtain(ref, key, record?.generation ?? 0);
    } catch (error) {
      events.emit({ type: "credential.refresh_failed", key, ...failureFacts(error) });
      throw error;
    } finally {
      this.#flying.delete(key);
    }
  }

  async #obtain(ref: CredentialRef, key: string, generation: number): Promise<HeldCredential> {
    const { store, clock, events } = this.#parts;
    const deadline = AbortSignal.timeout(this.#parts.deadlineMs ?? REFRESH_DEADLINE_MS);
    let expected = generation;
    for (let asked = 0; asked < OVERTAKEN_MOST; asked++) {
      const { credential, askedAt } = await this.#ask(ref, deadline);
      const standing = await store.save(ref, credential, expected);
      // How old our own answer is, the monotonic clock knows; of somebody else's only the wall clock does.
      const ageMs = standing.credential === credential ? clock.monotonic() - askedAt : undefined;
      const held = this.#hold(key, standing, ageMs);
      if (held?.isUsable()) {
        events.emit({
          type: "credential.refreshed",
          key,
          lifeMs: held.remainingMs(),
          generation: held.generation,
        });
        return held;
      }
      events.emit({ type: "credential.fenced", key, generation: standing.generation });
      expected = standing.generation;
    }
    throw new ServiceError(
      "unavailable",
      "凭证在获取途中被清除或已过期，请重试 (cleared or expired on the way; try again)",
      {
        retryAfterMs: LEAST_LIFE_MS,
      },
    );
  }

  /** Asks the source until it answers, refuses for good, or three attempts are spent. */
  async #ask(
    ref: CredentialRef,
    deadline: AbortSignal,
  ): Promise<{ credential: Credential; askedAt: number }> {
    const { source, clock } = this.#parts;
    for (let attempt = 1; ; attempt++) {
      // Counted from before the request: an answer that was long on its way is older than it looks.
      const issuedAt = clock.now();
      const askedAt = clock.monotonic();
      try {
        const issued = await source.obtain(ref, deadline);
        const credential = { value: issued.value, issuedAt, expiresAt: issuedAt + issued.lifeMs };
        return { credential, askedAt };
      } catch (error) {
        const isSpent = error instanceof ServiceError && this.#spent.has(error);
        if (attempt === ATTEMPTS_MOST || deadline.aborted || isSpent || !mayAskAgain(ref, error)) {
          if (error instanceof ServiceError) this.#spent.add(error);
          throw error;
        }
        await clock.sleep(RETRY_PAUSE_MS * attempt * (0.5 + Math.random()));
      }
    }
  }

  /** Takes what the store said stands into memory, unless a clear has overtaken it. */
  #hold(key: string, record: CredentialRecord | undefined, ageMs?: number): HeldCredential | undefined {
    if (!record?.credential || record.generation < (this.#oldest.get(key) ?? 0)) return undefined;
    const known = this.#held.get(key);
    // Read again, it would get its age from the wall clock, which somebody may have set back meanwhile.
    if (known?.generation === record.generation) return known;
    const held = new HeldCredential(record.credential, record.generation, this.#parts.clock, ageMs);
    this.#held.set(key, held);
    return held;
  }
}

/**
 * Whether the same request may be sent again.
 *
 * Not after a lost answer to a classic fetch: WeChat may have issued a token in it, and each further one kills the
 * token before the last, which others still hold.
 */
function mayAskAgain(ref: CredentialRef, error: unknown): boolean {
  if (!(error instanceof ServiceError)) return false;
  if (error.upstream) return error.upstream.class === "transient";
  if (error.code === "upstream_unreachable") return true;
  const repeatable = ref.kind !== "access_token" || ref.slot.tokenMode === "stable";
  return repeatable && (error.code === "upstream_timeout" || error.code === "upstream_invalid");
}

function clearedTooOften(retryAfterMs: number): ServiceError {
  const message = "10秒内已清除过该凭证，请稍后再试 (it was cleared less than 10 s ago; try again later)";
  return new ServiceError("rate_limited", message, { retryAfterMs });
}

function failureFacts(error: unknown): FailureFacts {
  if (!(error instanceof ServiceError)) return { code: "internal" };
  if (!error.upstream) return { code: error.code };
  return { code: error.code, errcode: error.upstream.errcode, class: error.upstream.class };
}
