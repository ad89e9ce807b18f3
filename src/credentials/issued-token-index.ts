import type { SlotName } from "../apps/slot.ts";
import type { Secret } from "../secret.ts";

/** An access token that was issued to us, without its text. */
export interface IssuedToken {
  /** To whose slot. */
  readonly slot: SlotName;
  /** From then on it is nobody's, in epoch milliseconds. */
  readonly until: number;
}

/** Knows the access tokens again that were issued to us, out of what the store keeps of them. */
export interface IssuedTokenIndex {
  /**
   * Whose token it is: the one that stands, or on WeChat the one before for the five minutes that it lives on. Undefined
   * for a token that was never ours, is over at `now` (epoch milliseconds), was cleared or rejected, or is dead.
   */
  findIssued(token: Secret, now: number): Promise<IssuedToken | undefined>;
  /** A number that grows with whatever this process writes in the store. Cheap and synchronous. */
  writes(): number;
}
