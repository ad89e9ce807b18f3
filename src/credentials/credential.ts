import { type Slot, type SlotName, slotKey } from "../apps/slot.ts";
import type { Secret } from "../secret.ts";

/** The short-lived things that WeChat and WeCom issue to us. */
export type CredentialKind = "access_token" | "jsapi_ticket";

/** Names one credential: whose it is, and which kind. */
export interface CredentialName {
  readonly slot: SlotName;
  readonly kind: CredentialKind;
}

/** Names one credential and brings the secret with which it can be obtained. */
export interface CredentialRef extends CredentialName {
  readonly slot: Slot;
}

/** The one name of a credential in maps and log lines. It says nothing secret. */
export function credentialKey(name: CredentialName): string {
  return `${slotKey(name.slot)}:${name.kind}`;
}

/** What a source obtained: a value, and how long it lives from the moment *before* it was asked for. */
export interface IssuedCredential {
  readonly value: Secret;
  readonly lifeMs: number;
}

/** A credential as it is kept. Instants are epoch milliseconds of our own wall clock. */
export interface Credential {
  readonly value: Secret;
  /** When we asked for it: its life can't have begun earlier. */
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/**
 * What stands in the store under one key.
 *
 * `generation` grows with every save and every clear, and never returns: a save names the generation that it was
 * begun under, and one that was overtaken changes nothing.
 */
export interface CredentialRecord {
  readonly generation: number;
  /** Undefined after a clear. */
  readonly credential: Credential | undefined;
}
