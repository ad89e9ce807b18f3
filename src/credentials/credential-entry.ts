import { type AuditAction, type AuditActor, type AuditEntry, tokenDigest } from "../audit/audit-entry.ts";
import { appName } from "../apps/slot.ts";
import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import type { CredentialName } from "./credential.ts";

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
 * What can't be written down first is not done. The second entry tells the outcome; that the first stands alone means
 * that the process ended in between.
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
