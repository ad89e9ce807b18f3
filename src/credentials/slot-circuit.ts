import { type Slot, slotKey } from "../apps/slot.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import { isAccounted } from "./paced-errors.ts";
import { isActive, loginPauseKey, pauseAfter, pausedError, type PauseStore } from "./pause.ts";

/**
 * Keeps a slot whose secret or account was refused from being asked for again, for calls that obtain no credential.
 *
 * One that sends the secret shares the circuit of the access token: what closes or opens one does so for both. What is
 * refused to a call that sends a token says nothing of the secret, so such calls have a circuit of their own, as
 * tickets have.
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

  /**
   * Runs `ask` unless the circuit of what it sends is open, and opens it when the upstream blames the secret or the
   * account.
   */
  async run<T>(slot: Slot, sends: "secret" | "token", ask: () => Promise<T>): Promise<T> {
    if (!slot.configured) return ask();
    const key = sends === "secret" ? slotKey(slot) : loginPauseKey(slot);
    const before = await this.#pauses.find([key]);
    const open = before.find((pause) => isActive(pause, this.#clock.now()));
    if (open) throw pausedError(open, this.#clock.now());
    try {
      return await ask();
    } catch (error) {
      // What kept us from having the token has its own pause.
      if (error instanceof ServiceError && error.upstream && !isAccounted(error)) {
        const pause = pauseAfter({ slot, kind: "access_token" }, error, before, this.#clock.now());
        // An account that may not log users in may have a token all the same.
        const concernsSlot = error.upstream.class !== "permission";
        const isMeant = pause.reason === "circuit" && concernsSlot && !(await this.#isOutdated(slot));
        if (isMeant) await this.#pauses.put({ ...pause, key });
      }
      throw error;
    }
  }
}
