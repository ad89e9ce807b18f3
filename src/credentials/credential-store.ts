import type { AuditEntry } from "../audit/audit-entry.ts";
import type { Platform } from "../errors.ts";
import type { Credential, CredentialName, CredentialRecord } from "./credential.ts";

/** Who wants the lease of a credential, and for how long. */
export interface LeaseRequest {
  /** Unique among all processes. */
  readonly holder: string;
  /** Epoch milliseconds. */
  readonly now: number;
  readonly lifeMs: number;
}

/** Whether the lease was granted, and what stood at that moment. */
export interface LeaseAnswer {
  readonly isGranted: boolean;
  /** With the generation of the lease, when it was granted. */
  readonly record: CredentialRecord;
}

/**
 * Where credentials outlive the process, their values sealed, and where the right to refresh one is kept.
 *
 * What a promise has resolved for is on the disk. All processes see one store.
 */
export interface CredentialStore {
  /** What stands; `NO_RECORD` when nothing was ever saved. A value that is damaged is as good as none. */
  find(name: CredentialName): Promise<CredentialRecord>;
  /** The names of every credential of one app that was ever saved, whatever its slot and kind. */
  listOfApp(platform: Platform, appId: string): Promise<CredentialName[]>;
  /** Calls `each` with every living credential that was used at or after `since` (epoch milliseconds). */
  listUsed(since: number): Promise<{ name: CredentialName; issuedAt: number; expiresAt: number }[]>;
  /**
   * Takes the lease of a credential in one conditional write, with a new generation. It is granted when nobody has
   * it, its life is over, or the same holder has it.
   */
  lease(name: CredentialName, request: LeaseRequest): Promise<LeaseAnswer>;
  /** Gives the lease back, if `holder` still has it. */
  release(name: CredentialName, holder: string): Promise<void>;
  /**
   * Stores `credential` if `generation` still stands, and answers with what stands then: the very object that was
   * given, or what somebody else saved or cleared meanwhile. The lease stays as it is.
   */
  save(name: CredentialName, credential: Credential, generation: number): Promise<CredentialRecord>;
  /**
   * Forgets the value, with `generation` only if that still stands, and answers with what stands then. The audit entry
   * is written with it or not at all.
   */
  clear(name: CredentialName, generation?: number, entry?: AuditEntry): Promise<CredentialRecord>;
  /** Marks the value as rejected if `generation` still stands, and answers with what stands then; `entry` as in `clear`. */
  reject(name: CredentialName, generation: number, entry?: AuditEntry): Promise<CredentialRecord>;
  /**
   * Remembers `dead` as dead, and forgets the value if `generation` still stands; answers with what stands then. A
   * death stays one when a clear has overtaken it. `earlyMs` is how long before its time it died, not above zero when
   * it did not.
   */
  bury(
    name: CredentialName,
    dead: Credential["value"],
    generation: number,
    death: { readonly now: number; readonly earlyMs: number },
  ): Promise<CredentialRecord>;
  /**
   * Gives the value that stands another end, if it is still the one of `standing`, and answers with what stands then.
   * Whoever has the lease is not disturbed.
   */
  shorten(
    name: CredentialName,
    standing: Credential,
    life: { readonly expiresAt: number; readonly renewLeftMs: number },
  ): Promise<CredentialRecord>;
  /** Writes down when credentials were last handed out. */
  touch(uses: readonly { name: CredentialName; usedAt: number }[]): Promise<void>;
  /** A number that changes when another process has changed anything. Cheap and synchronous. */
  version(): number;
}
