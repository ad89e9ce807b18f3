import type { AuditEntry } from "../audit/audit-entry.ts";
import type { ApiKeyRecord, Client } from "./client.ts";

/**
 * Where clients and their keys are kept.
 *
 * Each change writes its audit entry in the same transaction, so an unaudited change is impossible, and raises the
 * epoch of `clients`.
 */
export interface ClientStore {
  /** Every client and every key, for a process's memory. */
  load(): Promise<{ readonly clients: readonly Client[]; readonly keys: readonly ApiKeyRecord[] }>;
  /** When keys of a client were last used, as far as any process has stored it; epoch milliseconds. */
  lastUsesOf(client: string): Promise<readonly { readonly prefix: string; readonly usedAt: number }[]>;
  /**
   * Adds a client at a version that no earlier client of that name can have had: an ETag of that one must not match
   * this one. Throws `conflict` when its name is taken.
   */
  create(client: Omit<Client, "version">, entry: AuditEntry): Promise<void>;
  /** Replaces version `client.version - 1`. Throws `precondition_failed` when another version is current. */
  update(client: Client, entry: AuditEntry): Promise<void>;
  /** Removes a client of that version, and its keys. Throws `precondition_failed` when another version is current. */
  remove(name: string, version: number, entry: AuditEntry): Promise<void>;
  /** Adds a key. Throws `conflict` when its label is taken among the client's valid keys. */
  addKey(key: ApiKeyRecord, entry: AuditEntry): Promise<void>;
  /** Adds `next` and makes `prefix` expire at `expiresAt` at the latest. Throws `not_found` if it is revoked or gone. */
  rollKey(prefix: string, expiresAt: number, next: ApiKeyRecord, entry: AuditEntry): Promise<void>;
  /** Revokes a key of a client. Throws `not_found` when there is none that is not revoked. */
  revokeKey(client: string, prefix: string, at: number, entry: AuditEntry): Promise<void>;
  /** Stores when keys were last used; raises no epoch. */
  touchKeys(uses: readonly { readonly prefix: string; readonly usedAt: number }[]): Promise<void>;
}
