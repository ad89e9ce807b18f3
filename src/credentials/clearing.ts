import type { AuditActor } from "../audit/audit-entry.ts";
import type { SlotName } from "../apps/app.ts";
import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { COMPLAINT_PAUSE_MS, type RejectionThrottle } from "./throttles.ts";
import { credentialEntry, credentialKey, type CredentialName, type CredentialRecord } from "./credential.ts";
import { type CredentialKind } from "./kinds.ts";
import type { RefreshParts } from "./refresh.ts";

const CLEAR_PAUSE_MS = 10_000;
const TOO_OFTEN = "10秒内已清除过该凭证，请稍后再试 (it was cleared less than 10 s ago; try again later)";

/** Who asked for a clear, for the record. */
export interface ClearRequest {
  readonly actor: AuditActor;
  /** Clear only while this is still the value, and treat it as refused by WeChat: the next get looks into it. */
  readonly onlyIf?: Secret;
}

/** Forgets credentials, or marks them as rejected, and lets nobody do so too often. */
export class Clearing {
  readonly #parts: Pick<RefreshParts, "store" | "memory" | "pauses" | "clock" | "events">;
  readonly #complaints: RejectionThrottle;
  /** The credentials that this process is obtaining at the moment. */
  readonly #flying: () => Iterable<CredentialName>;
  readonly #clearedAt = new Map<string, number>();

  constructor(
    parts: Pick<RefreshParts, "store" | "memory" | "pauses" | "clock" | "events">,
    complaints: RejectionThrottle,
    flying: () => Iterable<CredentialName>,
  ) {
    this.#parts = parts;
    this.#complaints = complaints;
    this.#flying = flying;
  }

  /** As `CredentialManager.clear`, for every credential of one kind that belongs to an app: all of them, or none. */
  async clearApp(
    app: Pick<SlotName, "platform" | "appId">,
    kind: CredentialKind,
    request: ClearRequest,
  ): Promise<void> {
    const names = new Map<string, CredentialName>();
    const known = await this.#parts.store.listOfApp(app.platform, app.appId);
    for (const name of [...known, ...this.#flying()]) {
      const { platform, appId } = name.slot;
      if (platform === app.platform && appId === app.appId && name.kind === kind)
        names.set(credentialKey(name), name);
    }
    await this.clear([...names.values()], request);
  }

  /** Clears all of `names`, or none when one of them was cleared less than 10 s ago. */
  async clear(names: readonly CredentialName[], { actor, onlyIf }: ClearRequest): Promise<void> {
    const hit: { key: string; name: CredentialName; record: CredentialRecord }[] = [];
    for (const name of names) {
      const key = credentialKey(name);
      const record = await this.#parts.store.find(name);
      const isHit = onlyIf ? this.#isRejectable(key, record, onlyIf) : this.#isClearable(key, record);
      if (isHit) hit.push({ key, name, record });
    }
    for (const { key, record } of hit) {
      const leftMs = this.#pauseLeftMs(key);
      // Where nothing stands but a flight of some process, there is nothing to complain of.
      if (leftMs > 0 && record.credential) throw tooOften(leftMs);
    }
    // What was rejected ends with every clear, whether there is a current one or not.
    const cleared = onlyIf ? [] : names.filter(({ kind }) => kind === "access_token");
    for (const { slot } of cleared) await this.#parts.store.forgetRejected(slot);
    const unused = await this.#claim(hit.filter(({ record }) => record.credential).map(({ key }) => key));
    try {
      if (onlyIf && hit[0]) await this.#beginComplaint(hit[0].name);
    } catch (error) {
      await this.#parts.pauses.remove(unused);
      throw error;
    }
    for (const { key, name, record } of hit) {
      this.#clearedAt.set(key, this.#parts.clock.monotonic());
      try {
        await this.#write(name, record, onlyIf !== undefined, actor);
        if (record.credential) unused.shift();
      } catch (error) {
        this.#clearedAt.delete(key);
        await this.#parts.pauses.remove(unused).catch(() => undefined);
        throw error;
      }
      // A flight is overtaken by it, although nothing stood yet.
      if (record.credential || this.#isFlying(key))
        this.#parts.events.emit({ type: "credential.cleared", key, address: actor.address });
    }
  }

  async #write(
    name: CredentialName,
    { generation, credential }: CredentialRecord,
    isRejection: boolean,
    actor: AuditActor,
  ): Promise<void> {
    const { store, memory } = this.#parts;
    const entry = credentialEntry("credential.cleared", name, actor, { value: credential?.value });
    using pending = memory.begin(name);
    const standing = await (isRejection
      ? store.reject(name, generation, entry)
      : store.clear(name, undefined, entry));
    pending.put(standing);
  }

  #isRejectable(key: string, { credential, isRejected }: CredentialRecord, value: Secret): boolean {
    return !isRejected && credential?.value.equals(value) === true && !this.#complaints.isAlive(key, value);
  }

  /** A row without a value may belong to a flight: who asks after the clear wants an answer newer than that one's. */
  #isClearable(key: string, { credential, generation }: CredentialRecord): boolean {
    return credential !== undefined || (generation > 0 && this.#pauseLeftMs(key) <= 0);
  }

  #isFlying(key: string): boolean {
    return [...this.#flying()].some((name) => credentialKey(name) === key);
  }

  /** Takes the right to clear them all from every process for 10 s, or throws and takes none. */
  async #claim(keys: readonly string[]): Promise<string[]> {
    const { pauses, clock } = this.#parts;
    const claims: string[] = [];
    for (const key of keys) {
      const now = clock.now();
      const last = await pauses.claim({
        key: claimKey(key),
        reason: "quota",
        failure: { code: "rate_limited", message: TOO_OFTEN },
        count: 1,
        since: now,
        until: now + CLEAR_PAUSE_MS,
      });
      if (last) {
        await pauses.remove(claims);
        throw tooOften(Math.min(CLEAR_PAUSE_MS, Math.max(1, last.until - now)));
      }
      claims.push(claimKey(key));
    }
    return claims;
  }

  async #beginComplaint({ slot }: CredentialName): Promise<void> {
    const kept = await this.#complaints.begin(slot);
    if (!kept) return;
    const leftMs = kept.until - this.#parts.clock.now();
    throw tooOften(Math.min(COMPLAINT_PAUSE_MS, Math.max(1000, leftMs)));
  }

  #pauseLeftMs(key: string): number {
    const clearedAt = this.#clearedAt.get(key) ?? Number.NEGATIVE_INFINITY;
    return clearedAt + CLEAR_PAUSE_MS - this.#parts.clock.monotonic();
  }
}

function claimKey(key: string): string {
  return `clear:${key}`;
}

function tooOften(retryAfterMs: number): ServiceError {
  return new ServiceError("rate_limited", TOO_OFTEN, { retryAfterMs });
}
