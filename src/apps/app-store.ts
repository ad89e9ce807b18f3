import type { AuditEntry } from "../audit/audit-entry.ts";
import type { App } from "./app.ts";

/** Stores the apps that we hold, their secrets sealed. A change of managed apps raises the epoch of `apps`. */
export interface AppStore {
  /** Every app, in no particular order. Secrets are decrypted on first use, and throw `store_unusable` then when damaged;
   * a managed app has `isDamaged` instead. */
  list(): Promise<App[]>;
  /** Every app that an administrator has registered, in the same way. */
  listManaged(): Promise<App[]>;
  /**
   * Makes the stored apps of the environment equal to `apps`, in one transaction; managed ones stay as they are.
   *
   * An app that the environment no longer names is removed; one that did not change is not written. Where a secret
   * changed or an app was removed, what was issued to the old one is cleared, because the new one may belong to another
   * application, and its backoff ends: the refusals of the old one mean nothing.
   *
   * Throws `invalid_config` when one of them is a managed app, `store_unusable` when they changed and a stored one is
   * damaged.
   */
  replaceAll(apps: readonly App[]): Promise<void>;
  /**
   * Adds a managed app, with its audit entry, at a version that no earlier app of that name can have had: an ETag of
   * that one must not match this one. Throws `conflict` when there is an app of that name.
   */
  create(app: App, entry: AuditEntry): Promise<void>;
  /**
   * Replaces version `version - 1` of a managed app, with its audit entry. With a new secret, what was issued to
   * the old one is cleared, as in `replaceAll`. Throws `precondition_failed` when the current version is another.
   */
  update(app: App, entry: AuditEntry): Promise<void>;
  /** Removes a managed app of that version and clears what was issued to it. Throws `precondition_failed` likewise. */
  remove(app: App, entry: AuditEntry): Promise<void>;
}
