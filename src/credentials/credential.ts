import { appName, type Slot, slotKey, type SlotName } from "../apps/app.ts";
import { ServiceError } from "../errors.ts";
import { type CredentialKind, KINDS } from "./kinds.ts";
import type { Secret } from "../secret.ts";
import { type AuditAction, type AuditActor, type AuditEntry, tokenDigest } from "../audit/audit-entry.ts";

/** Names one credential: whose it is, and which kind. */
export interface CredentialName {
  readonly slot: SlotName;
  readonly kind: CredentialKind;
}

/** Names one credential and brings the secret with which it can be obtained. */
export interface CredentialRef extends CredentialName {
  readonly slot: Slot;
}

/**
 * The reference of a slot's credential.
 *
 * @throws {ServiceError} `invalid_parameter` when the platform issues none of that kind.
 */
export function credentialRef(slot: Slot, kind: CredentialKind): CredentialRef {
  KINDS.get({ slot, kind });
  return { slot, kind };
}

const KEYS = new WeakMap<CredentialName["slot"], Map<CredentialKind, string>>();

/**
 * The one name of a credential in maps and log lines. It says nothing secret.
 *
 * Of a slot that stays it is made once: to make and hash it again for each request costs more than to look it up.
 */
export function credentialKey({ slot, kind }: CredentialName): string {
  if (!("key" in slot) || typeof slot.key !== "string") return `${slotKey(slot)}:${kind}`;
  const keys = KEYS.get(slot);
  const known = keys?.get(kind);
  if (known !== undefined) return known;
  const key = `${slot.key}:${kind}`;
  if (keys) keys.set(kind, key);
  else KEYS.set(slot, new Map([[kind, key]]));
  return key;
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
  /**
   * How much life is left when it is first renewed, where that differs from the policy: WeChat may have issued a
   * token that we never saw, and a third one now would revoke this one.
   */
  readonly renewBeforeMs?: number;
}

/**
 * The stored state of one credential.
 *
 * `generation` is the fencing number: it grows with every lease and every clear and never returns. A save names the
 * generation of its lease, and one that was overtaken changes nothing. It is the time of day or later, so that it does not
 * return either where a store has lost the last ones, as after a failover.
 */
export interface CredentialRecord {
  readonly generation: number;
  /** Undefined after a clear. */
  readonly credential: Credential | undefined;
  /** The value was reported as rejected, and this is not verified yet. It is not returned. */
  readonly isRejected: boolean;
  /** The last value that WeChat itself confirmed to be revoked. It is never returned again. */
  readonly revoked: Secret | undefined;
  /** Whether anything was ever saved under this name: a slot with a token has proven its secret. */
  readonly wasSaved: boolean;
  /** Epoch milliseconds of the last use that any process has stored. */
  readonly usedAt: number | undefined;
  /** The epoch of `credentials` in `Changes` in which what may be returned changed last; 0 where it never did. */
  readonly epoch: number;
}

/** A record before anything was ever saved. */
export const NO_RECORD: CredentialRecord = {
  generation: 0,
  credential: undefined,
  isRejected: false,
  revoked: undefined,
  wasSaved: false,
  usedAt: undefined,
  epoch: 0,
};

/** The audit entry of something that an actor did with a credential; `value` is the one concerned. */
export function credentialEntry(
  action: AuditAction,
  { slot, kind }: CredentialName,
  actor: AuditActor,
  { outcome = "ok", value }: { readonly outcome?: string; readonly value?: Secret | undefined } = {},
): AuditEntry {
  // A slot of a secret that we don't hold is named by a digest, which tells two of them apart.
  const isForeign = slot.name.startsWith("~");
  const detail = isForeign ? { kind, slot: slot.name } : { kind };
  return {
    ...actor,
    action,
    app: appName(slot),
    outcome,
    tokenDigest: value ? tokenDigest(value) : "",
    detail,
  };
}

/** Writes an entry. Throws when it can't be written. */
export type RecordEntry = (entry: AuditEntry) => Promise<void>;

/**
 * Runs `work`, which makes or replaces a credential, between an entry that it has begun and one that it has ended.
 *
 * Without the first entry nothing is done. The second has the outcome; when it is missing, the process ended in
 * between.
 */
export async function audited<T extends { readonly value: Secret }>(
  record: RecordEntry,
  entry: (outcome: string, value?: Secret) => AuditEntry,
  work: () => Promise<T>,
): Promise<T> {
  await record(entry("begun"));
  try {
    const made = await work();
    await record(entry("ok", made.value)).catch(() => undefined);
    return made;
  } catch (error) {
    const outcome = error instanceof ServiceError ? error.code : "internal";
    await record(entry(outcome)).catch(() => undefined);
    throw error;
  }
}
