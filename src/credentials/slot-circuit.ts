import { type Slot, slotKey } from "../apps/slot.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import { isActive, pauseAfter, pausedError, type PauseStore } from "./pause.ts";

/**
 * Keeps a slot whose secret or account was refused from being asked for again, for calls that send the secret
 * without obtaining a credential. It shares the circuits of the credentials: what closes or opens one does so for all.
 */
export class SlotCircuit {
  readonly #pauses: PauseStore;
  readonly #clock: Clock;
  readonly #isOutdated: (slot: Slot) => Promise<boolean>;

  /** `isOutdated`: see `RefreshParts`. */
  constructor(
    pauses: PauseStore,
    clock: Clock,
    isOutdated: (slot: Slot) => Promise<boolean> = async () => false,
  ) {
    this.#pauses = pauses;
    this.#clock = clock;
    this.#isOutdated = isOutdated;
  }

  /** Runs `ask` unless the slot's circuit is open, and opens it when WeChat blames the secret or the account. */
  async run<T>(slot: Slot, ask: () => Promise<T>): Promise<T> {
    if (!slot.configured) return ask();
    const before = await this.#pauses.find([slotKey(slot)]);
    const open = before.find((pause) => isActive(pause, this.#clock.now()));
    if (open) throw pausedError(open, this.#clock.now());
    try {
      return await ask();
    } catch (error) {
      if (error instanceof ServiceError && error.upstream) {
        const pause = pauseAfter({ slot, kind: "access_token" }, error, before, this.#clock.now());
        // An account that may not log users in may have a token all the same.
        const concernsSlot = error.upstream.class !== "permission";
        const isMeant = pause.reason === "circuit" && concernsSlot && !(await this.#isOutdated(slot));
        if (isMeant) await this.#pauses.put(pause);
      }
      throw error;
    }
  }
}
