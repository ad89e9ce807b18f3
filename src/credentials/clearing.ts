import type { AuditActor } from "../audit/audit-entry.ts";
import { isAuthorizer, type SlotName } from "../apps/app.ts";
import type { Secret } from "../secret.ts";
import { credentialEntry, credentialKey, type CredentialName, type CredentialRecord } from "./credential.ts";
import { isLostIn } from "./credential-cache.ts";
import type { RefreshParts } from "./fetcher.ts";
import type { CredentialKind } from "./kinds.ts";
import type { Admission } from "./pacing.ts";

/** How long the clear of a key without a value is not repeated. */
const RECENT_MS = 10_000;

/** Who asked for a clear, for the record. */
export interface ClearRequest {
  readonly actor: AuditActor;
  /** Clear only while this is still the value, and treat it as rejected by WeChat: the next get verifies it. */
  readonly onlyIf?: Secret;
}

type ClearingParts = Pick<RefreshParts, "store" | "memory" | "pacing" | "clock" | "events">;

/** Clears credentials, or marks them as rejected, within the pacer's budgets. */
export class Clearing {
  readonly #parts: ClearingParts;
  /** The credentials that this process is obtaining at the moment. */
  readonly #flying: () => Iterable<CredentialName>;
  /** When this process cleared a key last (monotonic), for 10 s, oldest first. */
  readonly #clearedAt = new Map<string, number>();

  constructor(parts: ClearingParts, flying: () => Iterable<CredentialName>) {
    this.#parts = parts;
    this.#flying = flying;
  }

  /**
   * As `CredentialManager.clear`, for every credential of one kind that belongs to an app: all of them, or none. An account
   * that a component has is another app, whoever else has its AppID.
   */
  async clearApp(
    app: Pick<SlotName, "platform" | "appId">,
    kind: CredentialKind,
    request: ClearRequest,
  ): Promise<void> {
    const names = new Map<string, CredentialName>();
    const known = await this.#parts.store.listOfApp(app.platform, app.appId);
    const doubted = this.#parts.memory.inDoubt().map(({ name }) => name);
    for (const name of [...known, ...doubted, ...this.#flying()]) {
      const { platform, appId } = name.slot;
      const isOfApp = platform === app.platform && appId === app.appId && !isAuthorizer(name.slot);
      if (isOfApp && name.kind === kind) names.set(credentialKey(name), name);
    }
    await this.clear([...names.values()], request);
  }

  /** Clears all of `names`, or none when one of them was cleared less than 10 s ago. */
  async clear(names: readonly CredentialName[], { actor, onlyIf }: ClearRequest): Promise<void> {
    const doubted = new Map(this.#parts.memory.inDoubt().map((known) => [credentialKey(known.name), known]));
    const found = await Promise.all(
      names.map(async (name) => {
        const key = credentialKey(name);
        const record = await this.#parts.store.find(name);
        // What the store has lost would be stored again.
        const known = doubted.get(key);
        const lost = known && isLostIn(record, known) ? known.held.value : undefined;
        const value = record.credential?.value ?? lost;
        const isClearable = value !== undefined || this.#mayBeFlying(key, record);
        const isCurrent = onlyIf ? this.#isRejectable(key, record, onlyIf) : isClearable;
        const entry = credentialEntry("credential.cleared", name, actor, { value });
        return { name, key, value, record, isCurrent, entry, generation: record.generation };
      }),
    );
    const hit = found.filter(({ isCurrent }) => isCurrent);
    const admissions = await this.#admit(hit.filter(({ value }) => value));
    let done = hit;
    try {
      const { store, memory, pacing } = this.#parts;
      // The last one, which is for all of them together.
      if (onlyIf && hit[0]) admissions.push(await pacing.admit("complaint", hit[0].name, { asked: "clear" }));
      using stack = new DisposableStack();
      const ended = onlyIf ? hit : found;
      const pending = ended.map(({ name }) => stack.use(memory.begin(name)));
      const answers = onlyIf
        ? await store.reject(hit)
        : (await store.clear(ended)).map((record) => ({ isMarked: true, record }));
      for (const [index, { record }] of answers.entries()) pending[index]?.put(record);
      if (onlyIf) {
        // A complaint that was overtaken is none.
        const isMarked = (index: number) => answers[index]?.isMarked === true;
        done = hit.filter((_, index) => isMarked(index));
        const isUsed = (index: number) => (index < hit.length ? isMarked(index) : done.length > 0);
        await giveBack(admissions.filter((_, index) => !isUsed(index)));
      }
    } catch (error) {
      await giveBack(admissions);
      throw error;
    }
    for (const { key, value } of done) {
      this.#noteCleared(key);
      // A flight is overtaken by it, also where there was no value yet.
      if (value || this.#isFlying(key))
        this.#parts.events.emit({ type: "credential.cleared", key, address: actor.address });
    }
  }

  #isRejectable(key: string, { credential, isRejected }: CredentialRecord, value: Secret): boolean {
    const isCurrent = !isRejected && credential?.value.equals(value) === true;
    return isCurrent && !this.#parts.pacing.isKnownValid(key, value);
  }

  /** A row without a value may belong to a flight, whose result must not reach callers that come after the clear. */
  #mayBeFlying(key: string, { generation }: CredentialRecord): boolean {
    return generation > 0 && !this.#wasJustCleared(key);
  }

  #isFlying(key: string): boolean {
    return [...this.#flying()].some((name) => credentialKey(name) === key);
  }

  /** Uses the budgets of them all, or throws and uses none. */
  async #admit(hit: readonly { readonly name: CredentialName }[]): Promise<Admission[]> {
    const admissions: Admission[] = [];
    try {
      for (const { name } of hit) admissions.push(await this.#parts.pacing.admit("clear", name));
      return admissions;
    } catch (error) {
      await giveBack(admissions);
      throw error;
    }
  }

  #noteCleared(key: string): void {
    const now = this.#parts.clock.monotonic();
    for (const [each, clearedAt] of this.#clearedAt) {
      if (clearedAt + RECENT_MS > now) break;
      this.#clearedAt.delete(each);
    }
    this.#clearedAt.delete(key);
    this.#clearedAt.set(key, now);
  }

  #wasJustCleared(key: string): boolean {
    const clearedAt = this.#clearedAt.get(key) ?? Number.NEGATIVE_INFINITY;
    return this.#parts.clock.monotonic() < clearedAt + RECENT_MS;
  }
}

async function giveBack(admissions: readonly Admission[]): Promise<void> {
  // What can't be given back now expires in ten seconds.
  for (const admission of admissions) await admission.giveBack().catch(() => undefined);
}
