import type { SlotName } from "../apps/slot.ts";
import type { Clock } from "../clock.ts";
import type { Secret } from "../secret.ts";
import type { Pause, PauseStore } from "./pause.ts";

/** How often a complaint about an app is looked into. */
export const COMPLAINT_PAUSE_MS = 10_000;
const ALIVE_MS = 60_000;

/** Keeps complaints from costing more than they should: one is looked into per app in 10 s, and what was false is remembered. */
export class Complaints {
  readonly #pauses: Pick<PauseStore, "claim">;
  readonly #clock: Clock;
  /** Per credential, the value that WeChat said is alive, and until when that is believed (monotonic). */
  readonly #alive = new Map<string, { value: Secret; until: number }>();

  constructor(pauses: Pick<PauseStore, "claim">, clock: Clock) {
    this.#pauses = pauses;
    this.#clock = clock;
  }

  /** Undefined when a complaint about the slot's app may be looked into now; else what keeps it, for all processes. */
  begin({ platform, appId }: SlotName): Promise<Pause | undefined> {
    const now = this.#clock.now();
    const message =
      "10秒内已处理过该应用的凭证投诉，请稍后再试 (a complaint about this app was looked into less than 10 s ago)";
    return this.#pauses.claim({
      key: `complaint:${platform}:${appId}`,
      reason: "quota",
      failure: { code: "unavailable", message },
      count: 1,
      since: now,
      until: now + COMPLAINT_PAUSE_MS,
    });
  }

  /** Notes that WeChat has just said of the value that it is alive. */
  rememberAlive(key: string, value: Secret): void {
    this.#alive.set(key, { value, until: this.#clock.monotonic() + ALIVE_MS });
  }

  /** Whether WeChat has said of the value that it is alive, in the last 60 s and to this process. */
  isAlive(key: string, value: Secret): boolean {
    const alive = this.#alive.get(key);
    return alive !== undefined && this.#clock.monotonic() < alive.until && alive.value.equals(value);
  }
}
