import { outdated } from "../apps/app-administration.ts";
import type { AuditAction, AuditActor, AuditEntry } from "../audit/audit-entry.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { apiKeyDigest, apiKeyPrefix, createApiKey } from "./api-key.ts";
import type { ClientDirectory } from "./client-directory.ts";
import type { ApiKeyRecord, Client, ClientStore } from "./client.ts";
import {
  changeWithDelivery,
  type ClientSettings,
  isSame,
  type NewClientSettings,
  settingsForPeople,
  validateSettings,
  withDefaults,
} from "./client-settings.ts";

/** For so long a rolled key may go on beside the new one, at most. */
export const OVERLAP_MOST_MS = 7 * 86_400_000;

/** A key that was just made: what is kept of it, and the key itself, which is never seen again. */
export interface CreatedKey {
  readonly record: ApiKeyRecord;
  readonly key: Secret;
}

/** What the administration of clients works with. */
export interface ClientAdministrationParts {
  readonly store: ClientStore;
  readonly directory: ClientDirectory;
  readonly clock: Clock;
}

/** Who changes what, and optionally which version alone. */
interface Order {
  readonly actor: AuditActor;
  readonly version?: number | undefined;
}

/** Creates, changes and removes clients and their keys, each change with its audit entry. */
export class ClientAdministration {
  readonly #parts: ClientAdministrationParts;

  constructor(parts: ClientAdministrationParts) {
    this.#parts = parts;
  }

  /**
   * Creates a client. Whether it is new: the very same again is none, so that a repeated request does no harm.
   *
   * @throws {ServiceError} `conflict` when there is another of that name; `invalid_parameter` for a bad network, or for
   *   real tokens beside a policy that refuses anything.
   */
  async create(name: string, said: NewClientSettings, { actor }: Order): Promise<boolean> {
    const { directory, store, clock } = this.#parts;
    const facts = withDefaults(said);
    validateSettings(facts);
    if (this.#isThere(name, facts)) return false;
    this.#checkEnd(facts.expiresAt);
    const now = clock.now();
    const client = { name, ...facts, createdAt: now, updatedAt: now };
    try {
      await store.create(client, entryOf("client.created", actor, name, settingsForPeople(facts)));
    } catch (error) {
      // Somebody else was faster, perhaps with the very same.
      await directory.refresh();
      if (this.#isThere(name, facts)) return false;
      throw error;
    }
    await this.#learn();
    return true;
  }

  /** Changes what is given of a client. Throws `not_found`, `precondition_failed`, `invalid_parameter`. */
  async update(name: string, said: Partial<ClientSettings>, { actor, version }: Order): Promise<void> {
    const { store, clock } = this.#parts;
    const standing = this.#find(name, version);
    const change = changeWithDelivery(standing, said);
    const changed: Client = {
      ...standing,
      ...change,
      updatedAt: clock.now(),
      version: standing.version + 1,
    };
    validateSettings(changed);
    await store.update(changed, entryOf("client.updated", actor, name, settingsForPeople(change)));
    await this.#learn();
  }

  /** Removes a client; its keys are worth nothing any more. Throws `not_found`, `precondition_failed`. */
  async remove(name: string, { actor, version }: Order): Promise<void> {
    const standing = this.#find(name, version);
    await this.#parts.store.remove(name, standing.version, entryOf("client.deleted", actor, name, {}));
    await this.#learn();
  }

  /** Makes a key. Throws `not_found` for no such client, `conflict` for a label that is taken. */
  async createKey(
    client: string,
    { label, expiresAt }: { readonly label: string; readonly expiresAt: number | undefined },
    { actor }: Order,
  ): Promise<CreatedKey> {
    const { store } = this.#parts;
    this.#find(client);
    this.#checkEnd(expiresAt);
    const made = this.#make({ client, label, expiresAt });
    const detail = { key: made.record.prefix, label, expires_at: expiresAt };
    await store.addKey(made.record, entryOf("key.created", actor, client, detail));
    await this.#learn();
    return made;
  }

  /** Makes a key in the place of another, which goes on for `overlapMs`. Throws `not_found`. */
  async rollKey(client: string, prefix: string, overlapMs: number, { actor }: Order): Promise<CreatedKey> {
    const { store, directory, clock } = this.#parts;
    const now = clock.now();
    const old = directory.keysOf(client).find((key) => key.prefix === prefix && isLive(key, now));
    if (!old) throw noSuchKey();
    // A key for a while stays one.
    const made = this.#make({ client, label: old.label, expiresAt: old.expiresAt });
    const endsAt = Math.min(old.expiresAt ?? Infinity, now + Math.min(overlapMs, OVERLAP_MOST_MS));
    const detail = { key: made.record.prefix, in_place_of: prefix, old_ends_at: endsAt };
    await store.rollKey(prefix, endsAt, made.record, entryOf("key.rolled", actor, client, detail));
    await this.#learn();
    return made;
  }

  /** Ends a key at once, in every process within a second. Throws `not_found`. */
  async revokeKey(client: string, prefix: string, { actor }: Order): Promise<void> {
    const { store, clock } = this.#parts;
    const entry = entryOf("key.revoked", actor, client, { key: prefix });
    await store.revokeKey(client, prefix, clock.now(), entry);
    await this.#learn();
  }

  #checkEnd(expiresAt: number | undefined): void {
    if (expiresAt === undefined || expiresAt > this.#parts.clock.now()) return;
    throw new ServiceError(
      "invalid_parameter",
      "expires_at应为将来的时间，单位毫秒 (expires_at must lie ahead; epoch milliseconds)",
    );
  }

  /** After a change that stands: it was made, whether it can be read again at once or not. */
  async #learn(): Promise<void> {
    await this.#parts.directory.refresh().catch(() => undefined);
  }

  /** Whether there is that very client. Throws `conflict` when there is another of that name. */
  #isThere(name: string, facts: ClientSettings): boolean {
    const standing = this.#parts.directory.find(name);
    if (!standing || isSame(standing, facts)) return standing !== undefined;
    throw new ServiceError(
      "conflict",
      "该客户端已存在且内容不同，请改用修改 (the client exists and differs; change it instead)",
    );
  }

  #find(name: string, version?: number): Client {
    const client = this.#parts.directory.find(name);
    if (!client) throw new ServiceError("not_found", "没有该客户端 (no such client)");
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

/** Whether a key is good at `now` (epoch milliseconds), as far as itself is concerned. */
export function isLive({ revokedAt, expiresAt }: ApiKeyRecord, now: number): boolean {
  return revokedAt === undefined && (expiresAt === undefined || now < expiresAt);
}

/** There is no such key, or it is over. */
export function noSuchKey(): ServiceError {
  return new ServiceError("not_found", "没有该密钥，或已失效 (no such key, or it is over)");
}

function entryOf(
  action: AuditAction,
  actor: AuditActor,
  client: string,
  facts: Readonly<Record<string, unknown>>,
): AuditEntry {
  return { ...actor, action, app: "", outcome: "ok", tokenDigest: "", detail: { of: client, ...facts } };
}
