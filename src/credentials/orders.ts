import { appName, type SlotName, slotKey } from "../apps/slot.ts";
import type { AuditActor } from "../audit/audit-entry.ts";
import { isClassicToken, isStableToken } from "./asking.ts";
import { type CredentialRef, credentialKey } from "./credential.ts";
import { BUDGET_MESSAGE, markAccounted, unavailable } from "./paced-errors.ts";
import { isActive, pausedError, pauseKeys, pauseKeysOfApp } from "./pause.ts";
import type { RefreshGoal, RefreshParts } from "./refresh.ts";

const ORDER_PAUSE_MS = 10_000;

/** What operators may order: a new credential, as often as that may be over all processes, and the end of a pause. */
export class Orders {
  readonly #parts: Pick<RefreshParts, "pauses" | "forced" | "clock" | "events">;

  constructor(parts: Pick<RefreshParts, "pauses" | "forced" | "clock" | "events">) {
    this.#parts = parts;
  }

  /**
   * What a refresh by this order is for.
   *
   * @throws {ServiceError} The failure of a pause that holds; `unavailable` when the budget of what kills a token is
   *   used up; `rate_limited` within 10 s of the last order.
   */
  async admit(ref: CredentialRef, force: boolean): Promise<RefreshGoal> {
    const { forced, pauses, clock } = this.#parts;
    const now = clock.now();
    const pause = (await pauses.find(pauseKeys(ref))).find((each) => isActive(each, now));
    if (pause) throw markAccounted(pausedError(pause, now));
    // A forced one takes from the budget when its turn has come.
    if (force && isStableToken(ref)) return { kind: "force" };
    if (isClassicToken(ref)) {
      const waitMs = await forced.take(ref.slot.appId, now);
      if (waitMs > 0) throw unavailable(BUDGET_MESSAGE, waitMs);
    } else {
      const message =
        "10秒内已刷新过该凭证，请稍后再试 (it was refreshed less than 10 s ago; try again later)";
      const last = await pauses.claim({
        key: `refresh:${credentialKey(ref)}`,
        reason: "quota",
        failure: { code: "rate_limited", message },
        count: 1,
        since: now,
        until: now + ORDER_PAUSE_MS,
      });
      if (last) throw markAccounted(pausedError(last, now));
    }
    return { kind: "renew", expiresAt: Number.MAX_SAFE_INTEGER };
  }

  /** Ends every pause of the slot's app. */
  async unblock(slot: SlotName, actor: AuditActor): Promise<void> {
    const { pauses, events } = this.#parts;
    const facts = {
      action: "app.unblocked",
      app: appName(slot),
      outcome: "ok",
      tokenDigest: "",
      detail: {},
    } as const;
    await pauses.remove(pauseKeysOfApp(slot), { ...actor, ...facts });
    events.emit({ type: "app.unblocked", key: slotKey(slot), address: actor.address });
  }
}
