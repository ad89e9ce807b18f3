import type { AuditEntry } from "../audit/audit-entry.ts";
import type { Platform } from "../errors.ts";
import type { Credential, CredentialName, CredentialRecord } from "./credential.ts";
import type { CredentialKind } from "./kinds.ts";
import type { SlotName } from "../apps/app.ts";
import type { Secret } from "../secret.ts";

/** Who wants the lease of a credential, and for how long. */
export interface LeaseRequest {
  /** Unique among all processes. */
  readonly holder: string;
  /** Epoch milliseconds. */
  readonly now: number;
  readonly lifeMs: number;
}

/** Who asks for due renewals, and how many there may be. Instants are epoch milliseconds. */
export interface DueRequest {
  readonly now: number;
  readonly until: number;
  readonly usedSince: number;
  readonly perSecond: number;
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
 * What a promise has resolved for is on the disk. All processes see one store. A write that changes what may be handed
 * out raises the epoch of `credentials`; leases and uses alone don't.
 */
export interface CredentialStore {
  /** What stands; `NO_RECORD` when nothing was ever saved. A value that is damaged is as good as none. */
  find(name: CredentialName): Promise<CredentialRecord>;
  /** The names of every credential of one app that was ever saved, whatever its slot and kind. */
  listOfApp(platform: Platform, appId: string): Promise<CredentialName[]>;
  /** When the first renewal is due, in epoch milliseconds; undefined when none is. Cheap: it is asked for all the time. */
  nextDueAt(): Promise<number | undefined>;
  /**
   * Takes credentials whose renewal is due, those that are due longest first, and puts their renewal off until
   * `request.until`: of several processes that take at once, one gets each.
   *
   * At most `perSecond` are given to all processes together in any second. Those that were not used since `usedSince`
   * are left to expire: no renewal of theirs is due from now on.
   */
  takeDue(request: DueRequest): Promise<CredentialName[]>;
  /** Sets when a renewal that was taken `until` then is due again, unless a new one was set meanwhile; never, by default. */
  reschedule(name: CredentialName, until: number, renewAt?: number): Promise<void>;
  /**
   * Takes the lease of a credential in one conditional write, with a new generation. It is granted when nobody has
   * it, its life is over, or the same holder has it.
   */
  lease(name: CredentialName, request: LeaseRequest): Promise<LeaseAnswer>;
  /**
   * Ends every rejected token of the slot's app at once, in every process: from now on none that was issued until now is
   * known again.
   */
  forgetRejected(slot: SlotName): Promise<void>;
  /** Gives the lease back, if `holder` still has it. */
  release(name: CredentialName, holder: string): Promise<void>;
  /**
   * Stores `credential` if `generation` still stands, and answers with what stands then: the very object that was
   * given, or what somebody else saved or cleared meanwhile. The lease stays as it is. `renewAt` is when its renewal is
   * due, in epoch milliseconds; never, by default.
   */
  save(
    name: CredentialName,
    credential: Credential,
    generation: number,
    renewAt?: number,
  ): Promise<CredentialRecord>;
  /**
   * Stores a credential that was pushed to us, with a new generation, so that no flight that began before can take its
   * place. Answers with what is current then: one that was issued later than `credential` stays.
   */
  accept(name: CredentialName, credential: Credential): Promise<CredentialRecord>;
  /**
   * Forgets the value, with `generation` only if that still stands, and answers with what stands then. The audit entry
   * is written with it or not at all.
   */
  clear(name: CredentialName, generation?: number, entry?: AuditEntry): Promise<CredentialRecord>;
  /** Marks the value as rejected if `generation` still stands, and answers with what stands then; `entry` as in `clear`. */
  reject(name: CredentialName, generation: number, entry?: AuditEntry): Promise<CredentialRecord>;
  /**
   * Remembers `revoked`, and clears the value if `generation` is still current; returns what is current then. A
   * revocation stays one when a clear has overtaken it. `earlyMs` is how long before its time it came, not above zero
   * when it did not.
   */
  markRevoked(
    name: CredentialName,
    revoked: Credential["value"],
    generation: number,
    revocation: { readonly now: number; readonly earlyMs: number },
  ): Promise<CredentialRecord>;
  /**
   * Gives the value that stands another end, if it is still the one of `standing`, and answers with what stands then.
   * Its renewal, if one is due at all, is due `renewBeforeMs` before that. Whoever has the lease is not disturbed.
   */
  shorten(
    name: CredentialName,
    standing: Credential,
    life: { readonly expiresAt: number; readonly renewBeforeMs: number },
  ): Promise<CredentialRecord>;
  /** Writes down when credentials were last handed out. */
  touch(uses: readonly { name: CredentialName; usedAt: number }[]): Promise<void>;
}

/** What the store knows of one credential, without its value. Instants are epoch milliseconds. */
export interface CredentialFacts {
  readonly kind: CredentialKind;
  readonly generation: number;
  /** Undefined when there is no value, or none that may be handed out. */
  readonly life:
    { readonly issuedAt: number; readonly expiresAt: number; readonly renewBeforeMs?: number } | undefined;
  readonly usedAt: number | undefined;
  /** When its renewal is due; undefined when none is. */
  readonly renewAt: number | undefined;
  /** Until when somebody has the right to refresh it; undefined when nobody does. */
  readonly leaseExpiresAt: number | undefined;
  /** The last value that was revoked before its time: when that was found out, and how long before. */
  readonly revokedEarly: { readonly at: number; readonly earlyMs: number } | undefined;
}

/** Tells what is known of credentials to those who need no value; nothing is unsealed for it. */
export interface CredentialFactsStore {
  /** A row for each credential of the slot that was ever saved or is being obtained, in no particular order. */
  ofSlot(slot: SlotName): Promise<CredentialFacts[]>;
  /** How many rejected tokens of the slot's app are still known at `now` (epoch milliseconds). */
  countRejected(slot: SlotName, now: number): Promise<number>;
}

/** An access token that was issued to us, without its text. */
export interface IssuedToken {
  /** To whose slot. */
  readonly slot: SlotName;
  /** From then on it is nobody's, in epoch milliseconds. */
  readonly until: number;
  /** Whether it was rejected before its end: then it serves to heal its holders' calls, and for nothing else. */
  readonly isRejected: boolean;
}

/** Knows the access tokens again that were issued to us, out of what the store keeps of them. */
export interface IssuedTokenIndex {
  /**
   * Whose token it is: the current one; on WeChat the one before for the five minutes that it lives on; or one that was
   * rejected, until its own end. Undefined for a token that was never ours, has expired at `now` (epoch milliseconds) or
   * was cleared.
   *
   * A rejected one ends earlier when a client or key expires that may have been given it, and at once with a clear, a
   * forced refresh, another secret of the app, its removal or disabling, and the end of any such client or key.
   */
  findIssued(token: Secret, now: number): Promise<IssuedToken | undefined>;
}

/** A credential that stands and when it ends, in epoch milliseconds. */
export interface StandingLife {
  readonly name: CredentialName;
  readonly expiresAt: number;
}
