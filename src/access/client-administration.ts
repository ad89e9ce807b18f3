import { notReadBack, outdated } from "../apps/app-administration.ts";
import type { AuditAction, AuditActor, AuditEntry, ChangeOptions } from "../audit/audit-entry.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { apiKeyDigest, apiKeyPrefix, createApiKey } from "./api-key.ts";
import type { ClientDirectory } from "./client-directory.ts";
import type { AccessSettings, ApiKeyRecord, Client, ClientStore } from "./client.ts";
import type { EnvironmentDirectory } from "./environments.ts";
import {
  changeWithDelivery,
  type ClientSettings,
  isSame,
  type NewClientSettings,
  auditDetail,
  checkOrigins,
  checkUse,
  validateSettings,
  withDefaults,
} from "./client-settings.ts";

/** How long a rolled key may stay valid beside the new one. */
export const MAX_OVERLAP_MS = 7 * 86_400_000;

/** A new key: what is stored of it, and the key itself, which is never shown again. */
export interface CreatedKey {
  readonly record: ApiKeyRecord;
  readonly key: Secret;
}

/** What the administration of clients works with. */
export interface ClientAdministrationParts {
  readonly store: ClientStore;
  readonly directory: ClientDirectory;
  readonly environments: Pick<EnvironmentDirectory, "isProduction" | "refresh">;
  readonly clock: Clock;
}

/** Creates, changes and removes clients and their keys, each change with its audit entry. */
export class ClientAdministration {
  readonly #parts: ClientAdministrationParts;

  constructor(parts: ClientAdministrationParts) {
    this.#parts = parts;
  }

  /**
   * Creates a client. False when the same client exists already, so that the request is idempotent.
   *
   * @throws {ServiceError} `conflict` when there is another of that name; `invalid_parameter` for a bad network, for
   *   real tokens beside a policy that refuses anything, or for virtual ones without a use.
   */
  async create(name: string, input: NewClientSettings, { actor }: ChangeOptions): Promise<boolean> {
    const { directory, environments, store, clock } = this.#parts;
    await environments.refresh();
    const settings = withDefaults(input, environments.isProduction(input.environment));
    validateSettings(settings);
    if (this.#exists(name, settings, input)) return false;
    checkUse(settings);
    this.#checkExpiry(settings.expiresAt);
    const now = clock.now();
    const client = { name, ...settings, createdAt: now, updatedAt: now };
    try {
      await store.create(client, entryOf("client.created", actor, name, auditDetail(settings)));
    } catch (error) {
      if (!(error instanceof ServiceError && error.code === "conflict")) throw error;
      // Another process was faster, perhaps with the same client.
      await directory.refresh();
      if (this.#exists(name, settings, input)) return false;
      throw error;
    }
    await this.#reload();
    return true;
  }

  /** Changes the given settings of a client. Throws `not_found`, `precondition_failed`, `invalid_parameter`. */
  async update(
    name: string,
    input: Partial<ClientSettings>,
    { actor, version }: ChangeOptions,
  ): Promise<void> {
    const { change, changed } = this.#change(name, input, version);
    await this.#parts.store.update(changed, entryOf("client.updated", actor, name, auditDetail(change)));
    await this.#reload();
  }

  /** A client as `update` would leave it; nothing is changed. Throws `not_found`, `invalid_parameter`, `conflict`. */
  preview(name: string, input: Partial<ClientSettings>): Client {
    return Object.keys(input).length === 0 ? this.#find(name) : this.#change(name, input).changed;
  }

  /** Removes a client and its keys. Throws `not_found`, `precondition_failed`. */
  async remove(name: string, { actor, version }: ChangeOptions): Promise<void> {
    const { version: current } = this.#find(name, version);
    await this.#parts.store.remove(name, current, entryOf("client.deleted", actor, name, {}));
    await this.#reload();
  }

  /** Creates a key. Throws `not_found` for no such client, `conflict` for a label that is in use. */
  async createKey(
    client: string,
    { label, expiresAt }: { readonly label: string; readonly expiresAt: number | undefined },
    { actor }: ChangeOptions,
  ): Promise<CreatedKey> {
    const { store } = this.#parts;
    this.#find(client);
    this.#checkExpiry(expiresAt);
    const made = this.#make({ client, label, expiresAt });
    const detail = { key: made.record.prefix, label, expires_at: expiresAt };
    await store.addKey(made.record, entryOf("key.created", actor, client, detail));
    await this.#reload();
    return made;
  }

  /** Creates a key in place of another, which stays valid for `overlapMs`. Throws `not_found`. */
  async rollKey(
    client: string,
    prefix: string,
    overlapMs: number,
    { actor }: ChangeOptions,
  ): Promise<CreatedKey> {
    const { store, directory, clock } = this.#parts;
    const now = clock.now();
    const old = directory.keysOf(client).find((key) => key.prefix === prefix && isLive(key, now));
    if (!old) throw noSuchKey();
    // A temporary key stays temporary.
    const made = this.#make({ client, label: old.label, expiresAt: old.expiresAt });
    const oldExpiresAt = Math.min(old.expiresAt ?? Infinity, now + Math.min(overlapMs, MAX_OVERLAP_MS));
    const detail = { key: made.record.prefix, in_place_of: prefix, old_ends_at: oldExpiresAt };
    await store.rollKey(prefix, oldExpiresAt, made.record, entryOf("key.rolled", actor, client, detail));
    await this.#reload();
    return made;
  }

  /** Revokes a key at once, in every process within a second. Throws `not_found`. */
  async revokeKey(client: string, prefix: string, { actor }: ChangeOptions): Promise<void> {
    const { store, clock } = this.#parts;
    const entry = entryOf("key.revoked", actor, client, { key: prefix });
    await store.revokeKey(client, prefix, clock.now(), entry);
    await this.#reload();
  }

  /** Changes what is given of the settings for all processes. Throws `invalid_parameter` for what is no origin. */
  async changeSettings(change: Partial<AccessSettings>, { actor }: ChangeOptions): Promise<void> {
    const { isAnonymousOn, corsOrigins } = change;
    const detail = {
      anonymous: isAnonymousOn === undefined ? undefined : stateOf(isAnonymousOn),
      cors_origins: "corsOrigins" in change ? (corsOrigins ?? null) : undefined,
    };
    checkOrigins(corsOrigins ?? [], "cors_origins");
    await this.#parts.store.saveSettings(change, {
      ...actor,
      ...{ action: "setting.changed", app: "", outcome: "ok", tokenDigest: "", detail },
    });
    await this.#reload();
  }

  #change(name: string, input: Partial<ClientSettings>, version?: number) {
    const { damaged, ...current } = this.#find(name, version);
    checkRepair(damaged ?? [], input);
    const change = changeWithDelivery(current, input);
    const updatedAt = this.#parts.clock.now();
    const changed: Client = { ...current, ...change, updatedAt, version: current.version + 1 };
    // Not what stands: an address list must not wait until an old grant is mended.
    validateSettings(change);
    if (change.grants) checkUse(changed);
    return { change, changed };
  }

  #checkExpiry(expiresAt: number | undefined): void {
    if (expiresAt === undefined || expiresAt > this.#parts.clock.now()) return;
    // Seconds in the place of milliseconds show as a day of 1970.
    const end = new Date(expiresAt).toISOString();
    throw new ServiceError(
      "invalid_parameter",
      `expires_at为 ${end}，已经过去，应为将来的时间 (expires_at is ${end}, which has passed: give a time to come)`,
    );
  }

  /** Rereads what a change has changed, which is made even where that fails. Throws `unavailable`. */
  async #reload(): Promise<void> {
    const { directory, environments } = this.#parts;
    try {
      await Promise.all([directory.refresh(), environments.refresh()]);
    } catch (cause) {
      throw notReadBack(cause);
    }
  }

  /** Whether the same client exists, with any defaults. Throws `conflict` when there is another of that name. */
  #exists(name: string, settings: ClientSettings, { delivery, policy }: NewClientSettings): boolean {
    const current = this.#parts.directory.find(name);
    if (!current) return false;
    // What was the default when it was made may be another by now.
    const wanted = {
      ...settings,
      delivery: delivery ?? current.delivery,
      policy: policy ?? current.policy,
    };
    if (!current.damaged && isSame(current, wanted)) return true;
    throw new ServiceError(
      "conflict",
      "该客户端已存在且内容不同，请改用修改 (the client exists with other settings; update it instead)",
    );
  }

  #find(name: string, version?: number): Client {
    const client = this.#parts.directory.find(name);
    if (!client) throw noSuchClient();
    if (version !== undefined && version !== client.version) throw outdated();
    return client;
  }

  #make(of: Pick<ApiKeyRecord, "client" | "label" | "expiresAt">): CreatedKey {
    const key = createApiKey();
    const record: ApiKeyRecord = {
      ...of,
      prefix: apiKeyPrefix(key),
      digest: apiKeyDigest(key.reveal()),
      createdAt: this.#parts.clock.now(),
      revokedAt: undefined,
      lastUsedAt: undefined,
    };
    return { record, key };
  }
}

/** Whether anonymous access is on, in one word. */
export function stateOf(isAnonymousOn: boolean): "on" | "off" {
  return isAnonymousOn ? "on" : "off";
}

/** Whether a key is neither revoked, damaged nor expired at `now` (epoch milliseconds). */
export function isLive({ revokedAt, isDamaged, expiresAt }: ApiKeyRecord, now: number): boolean {
  return revokedAt === undefined && !isDamaged && (expiresAt === undefined || now < expiresAt);
}

/** The settings of a client by their names in `/v1`. */
const SETTINGS: Readonly<Record<string, keyof ClientSettings>> = {
  environment: "environment",
  grants: "grants",
  networks: "networks",
  origins: "origins",
  expires_at: "expiresAt",
  rate_limit: "rateLimit",
  concurrency: "concurrency",
  delivery: "delivery",
  policy: "policy",
};

/** Refuses a change that would put a default in the place of a damaged setting, which may have been a narrower one. */
function checkRepair(damaged: readonly string[], input: Partial<ClientSettings>): void {
  const missing = damaged.filter((name) => {
    const setting = SETTINGS[name];
    return setting !== undefined && !(setting in input);
  });
  if (missing.length === 0) return;
  const names = missing.join(", ");
  throw new ServiceError(
    "conflict",
    `该客户端的 ${names} 已损坏，请在本次修改中一并设置 (its ${names} can't be read; set them with this change)`,
  );
}

/** There is no such client. */
export function noSuchClient(): ServiceError {
  return new ServiceError("not_found", "没有该客户端 (no such client)");
}

/** There is no such key, or it is revoked or expired. */
export function noSuchKey(): ServiceError {
  return new ServiceError("not_found", "没有该密钥，或已失效 (no such key, or it is revoked or expired)");
}

function entryOf(
  action: AuditAction,
  actor: AuditActor,
  client: string,
  facts: Readonly<Record<string, unknown>>,
): AuditEntry {
  return { ...actor, action, app: "", outcome: "ok", tokenDigest: "", detail: { of: client, ...facts } };
}
