import type { SlotName } from "../apps/slot.ts";
import type { CredentialKind } from "./credential.ts";

/** What the store knows of one credential, without its value. Instants are epoch milliseconds. */
export interface CredentialFacts {
  readonly kind: CredentialKind;
  readonly generation: number;
  /** Undefined when there is no value, or none that may be handed out. */
  readonly life:
    { readonly issuedAt: number; readonly expiresAt: number; readonly renewLeftMs?: number } | undefined;
  readonly usedAt: number | undefined;
  /** Until when somebody has the right to refresh it; undefined when nobody does. */
  readonly leaseExpiresAt: number | undefined;
  /** The last value that died before its time: when that was found out, and how long before. */
  readonly diedEarly: { readonly at: number; readonly earlyMs: number } | undefined;
}

/** Tells what is known of credentials to those who need no value; nothing is unsealed for it. */
export interface CredentialFactsStore {
  /** A row for each credential of the slot that was ever saved or is being obtained, in no particular order. */
  ofSlot(slot: SlotName): Promise<CredentialFacts[]>;
}
