import type { Changes } from "../changes.ts";
import type { Clock } from "../clock.ts";
import { type EventBus, failureFacts } from "../events.ts";
import { type CredentialCache, isLostIn, type KnownCredential } from "./credential-cache.ts";
import { credentialKey, type CredentialRecord } from "./credential.ts";
import type { CredentialStore, Lost } from "./credential-store.ts";
import { KINDS, renewalAt } from "./kinds.ts";

/** How soon it is tried again when the store can't be asked: twice as late each time, up to the longest. Milliseconds. */
const RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;
/** What is lost is lost from some moment on: after so many in a row that are there, the older ones are. */
const ENOUGH_KEPT = 10;
/** How many are stored in one transaction. */
const MAX_AT_ONCE = 100;

/** What `LostCredentials` works with. */
export interface LostCredentialsParts {
  readonly memory: Pick<CredentialCache, "inDoubt" | "read">;
  readonly store: Pick<CredentialStore, "restore">;
  readonly changes: Changes;
  readonly clock: Clock;
  readonly events: EventBus;
}

/**
 * Stores again what this process has in memory and a store has lost, as after a failover to a server that lagged behind:
 * otherwise processes would hand out different tokens, and ask for new ones in vain.
 *
 * Only what was current here and is newer than what the store has. Of several processes that have different ones the newest
 * stays, whichever is stored first. A clear that is lost is lost.
 */
export class LostCredentials {
  readonly #parts: LostCredentialsParts;
  #running: Promise<void> | undefined;
  #unsubscribe: (() => void) | undefined;

  constructor(parts: LostCredentialsParts) {
    this.#parts = parts;
  }

  /** Begins to look, each time that the store is another one. After `memory` has subscribed. */
  start(): void {
    this.#unsubscribe ??= this.#parts.changes.subscribe("credentials", (_, isAnother) => {
      if (isAnother) this.#running = (this.#running ?? Promise.resolve()).then(() => this.#run());
    });
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    await this.#running;
  }

  /** Never rejects. What is under way goes on after a stop, and is not tried again. */
  async #run(): Promise<void> {
    for (let pauseMs = RETRY_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_RETRY_MS)) {
      try {
        return await this.#restoreAll();
      } catch (error) {
        if (pauseMs === RETRY_MS)
          this.#parts.events.emit({ type: "credential.restore_failed", ...failureFacts(error) });
      }
      if (!this.#unsubscribe) return;
      await this.#parts.clock.sleep(pauseMs);
    }
  }

  async #restoreAll(): Promise<void> {
    let lost: Lost[] = [];
    let kept = 0;
    for (const known of this.#parts.memory.inDoubt()) {
      if (kept >= ENOUGH_KEPT) break;
      const { record } = await this.#parts.memory.read(known.name);
      const isKept = record.epoch === known.epoch && record.credential?.value.equals(known.held.value);
      kept = isKept ? kept + 1 : 0;
      if (isLostIn(record, known)) lost.push(this.#lost(known, record));
      if (lost.length < MAX_AT_ONCE) continue;
      await this.#restore(lost);
      lost = [];
    }
    await this.#restore(lost);
  }

  #lost({ name, held }: KnownCredential, found: CredentialRecord): Lost {
    const { value, issuedAt, expiresAt, renewBeforeMs } = held;
    const renewal = renewBeforeMs === undefined ? {} : { renewBeforeMs };
    const when = { now: this.#parts.clock.now(), isRepeated: false, chance: Math.random() };
    const life = { expiresAt, lifeMs: held.lifeMs(), renewBeforeMs };
    const renewAt = renewalAt(KINDS.get(name), life, when);
    return { name, credential: { value, issuedAt, expiresAt, ...renewal }, found, renewAt };
  }

  async #restore(lost: readonly Lost[]): Promise<void> {
    const records = await this.#parts.store.restore(lost);
    for (const [n, { name, credential }] of lost.entries()) {
      const { credential: current, generation } = records[n] ?? {};
      if (generation !== undefined && current === credential)
        this.#parts.events.emit({ type: "credential.restored", key: credentialKey(name), generation });
    }
  }
}
