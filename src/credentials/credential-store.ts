import type { AuditEntry } from "../audit/audit-entry.ts";
import type { Piece } from "../audit/call-counts.ts";
import type { Platform } from "../errors.ts";
import type { Credential, CredentialName, CredentialRecord } from "./credential.ts";
import type { CredentialKind } from "./kinds.ts";
import type { Budget } from "./pacing-store.ts";
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
  /** What was used before is left to expire; undefined to take it as well. */
  readonly usedSince: number | undefined;
  /** Of the pacer; it is used by as many as are taken. */
  readonly budget: Budget;
}

/** What is stored with a credential that was obtained. */
export interface SaveOptions {
  /** When its renewal is due, in epoch milliseconds; never, by default. */
  readonly renewAt?: number | undefined;
  /** Whether a new value ends the app's rejected tokens at once, in every process; default false. */
  readonly endsRejected?: boolean;
}

/** A credential that this process has and the store has lost. */
export interface Lost {
  readonly name: CredentialName;
  readonly credential: Credential;
  /** What the store has in its place. */
  readonly found: Pick<CredentialRecord, "generation" | "epoch">;
  /** As in `SaveOptions`. */
  readonly renewAt: number | undefined;
}

/** One credential of a clear. */
export interface Clear {
  readonly name: CredentialName;
  /** Whether there is a value to be cleared, or a flight to be overtaken; else its row stays as it is. */
  readonly isCurrent: boolean;
  /** Written in the same transaction if anything is cleared or ended. */
  readonly entry?: AuditEntry;
}

/** One value that is reported as rejected. */
export interface Rejection extends Pick<Clear, "name" | "entry"> {
  /** The generation that it was read in: an overtaken report changes nothing. */
  readonly generation: number;
}

/** The record then, and whether this call has marked it as rejected: not when the report was overtaken. */
export interface RejectAnswer {
  readonly isMarked: boolean;
  readonly record: CredentialRecord;
}

/** Whether the lease was granted, and the record at that moment. */
export interface LeaseAnswer {
  readonly isGranted: boolean;
  /** With the generation of the lease, when it was granted. */
  readonly record: CredentialRecord;
}

/**
 * Where credentials outlive the process, their values sealed, and where the right to refresh one is kept.
 *
 * A write is on the disk when its promise resolves. All processes share one store. A write that changes what may be
 * returned raises the epoch of `credentials`; leases and uses alone don't.
 */
export interface CredentialStore {
  /** The current record; `NO_RECORD` when nothing was ever saved. A damaged value counts as missing. */
  find(name: CredentialName): Promise<CredentialRecord>;
  /** The names of every credential of one app that was ever saved, whatever its slot and kind. */
  listOfApp(platform: Platform, appId: string): Promise<CredentialName[]>;
  /** When the first renewal is due, in epoch milliseconds; undefined when none is. Cheap: it is polled. */
  nextDueAt(): Promise<number | undefined>;
  /**
   * Takes credentials whose renewal is due, the longest overdue first, and postpones their renewal until
   * `request.until`: of several processes that take at once, one gets each.
   *
   * All processes together are given no more than `budget` allows. Those that were not used since `usedSince` are left to
   * expire: no renewal of theirs is due from now on.
   */
  takeDue(request: DueRequest): Promise<CredentialName[]>;
  /** Sets when a renewal that was taken `until` then is due again, unless a new one was set meanwhile; never, by default. */
  reschedule(name: CredentialName, until: number, renewAt?: number): Promise<void>;
  /**
   * Takes the lease of a credential in one conditional write, with a new generation. It is granted when it is
   * free, has expired, or belongs to the same holder.
   */
  lease(name: CredentialName, request: LeaseRequest): Promise<LeaseAnswer>;
  /** Releases the lease, if `holder` still has it. */
  release(name: CredentialName, holder: string): Promise<void>;
  /**
   * Stores `credential` if `generation` is still current, and returns the record then: with the very object that was
   * given, or with what another process saved or cleared meanwhile. The lease is not changed.
   */
  save(
    name: CredentialName,
    credential: Credential,
    generation: number,
    options?: SaveOptions,
  ): Promise<CredentialRecord>;
  /**
   * Stores a credential that came to us unasked, with a new generation, so that no flight that began before can replace
   * it. Returns the record then: one that was issued later than `credential` stays. It is due to be renewed at `renewAt`.
   */
  accept(name: CredentialName, credential: Credential, renewAt?: number): Promise<CredentialRecord>;
  /**
   * Stores again what another store had before this one took its place, as after a failover, with new generations: a
   * flight that began before can't replace it. Each only while its record is as it was found. Returns the records then,
   * with the very objects that were given, or with what another process stored meanwhile.
   */
  restore(lost: readonly Lost[]): Promise<CredentialRecord[]>;
  /**
   * Clears all these, or none, and returns the records then. It also ends the rejected tokens of their apps at once, in
   * every process: no access token that was issued until now is recognized from now on once it is rejected.
   */
  clear(clears: readonly Clear[]): Promise<CredentialRecord[]>;
  /** Marks all these values as rejected that are still current, or none when it fails. */
  reject(rejections: readonly Rejection[]): Promise<RejectAnswer[]>;
  /**
   * Stores `revoked`, and clears the value if `generation` is still current; returns the record then. A revocation is
   * stored even when a clear has overtaken it. `earlyMs` is how long before its expiry it came, 0 when it did not.
   */
  markRevoked(
    name: CredentialName,
    revoked: Credential["value"],
    generation: number,
    revocation: { readonly now: number; readonly earlyMs: number },
  ): Promise<CredentialRecord>;
  /**
   * Makes the value expire earlier, if it is still that of `current`, and returns the record then. Its renewal, if it
   * has one, is due `renewBeforeMs` before that. The lease is not changed.
   */
  shorten(
    name: CredentialName,
    current: Credential,
    life: { readonly expiresAt: number; readonly renewBeforeMs: number },
  ): Promise<CredentialRecord>;
  /** Stores when credentials were last used. */
  touch(uses: readonly { name: CredentialName; usedAt: number }[]): Promise<void>;
}

/** What the store knows of one credential, without its value. Instants are epoch milliseconds. */
export interface CredentialFacts {
  readonly kind: CredentialKind;
  readonly generation: number;
  /** Undefined when there is no value, or none that may be returned. */
  readonly life:
    { readonly issuedAt: number; readonly expiresAt: number; readonly renewBeforeMs?: number } | undefined;
  readonly usedAt: number | undefined;
  /** When its renewal is due; undefined when none is. */
  readonly renewAt: number | undefined;
  /** When the lease expires; undefined when there is none. */
  readonly leaseExpiresAt: number | undefined;
  /** The last value that was revoked before it expired: when that was detected, and how long before. */
  readonly revokedEarly: { readonly at: number; readonly earlyMs: number } | undefined;
}

/** What a list of apps needs to know of one credential, and of which slot that is. */
export interface ListedCredential extends Pick<CredentialFacts, "kind" | "life" | "usedAt" | "revokedEarly"> {
  readonly slot: SlotName;
}

/** What is known of credentials without their values; nothing is unsealed for it. */
export interface CredentialFactsStore {
  /**
   * For each of the slots a row for each of its credentials that was ever saved or is being obtained, in no particular
   * order. One statement, as the next.
   */
  ofSlots(slots: readonly SlotName[]): Promise<CredentialFacts[][]>;
  /** Of every slot, at most `limit` credentials behind `after`. */
  page(after: string | undefined, limit: number): Promise<Piece<ListedCredential>>;
  /** For each of the slots, how many rejected tokens of its app are still known at `now` (epoch milliseconds). */
  countRejected(slots: readonly SlotName[], now: number): Promise<number[]>;
}

/** An access token that was issued to us, without its text. */
export interface IssuedToken {
  readonly slot: SlotName;
  /** Until when it is recognized, in epoch milliseconds. */
  readonly until: number;
  /** Whether WeChat rejected it before it expired: then it serves to heal its holders' calls, and for nothing else. */
  readonly isRejected: boolean;
}

/** Recognizes the access tokens that were issued to us, by what the store keeps of them. */
export interface IssuedTokenIndex {
  /**
   * Whose token it is: the current one; on WeChat its predecessor for the five minutes that it stays valid; or one that
   * was rejected, until it would have expired. Undefined for a token that was never ours, has expired at `now` (epoch
   * milliseconds) or was cleared.
   *
   * A rejected one ends earlier when a client or key expires that may have been given it, and at once with a clear, a
   * forced refresh, a new secret of the app, its removal or disabling, and the revocation of any such client or key.
   */
  findIssued(token: Secret, now: number): Promise<IssuedToken | undefined>;
}

/** A current credential and when it expires, in epoch milliseconds. */
export interface StandingLife {
  readonly name: CredentialName;
  readonly expiresAt: number;
}
