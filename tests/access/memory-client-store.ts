import { ALLOW_ALL } from "../../src/access/api-policy.ts";
import type { AccessSettings, ApiKeyRecord, Client, ClientStore } from "../../src/access/client.ts";
import { apiKeyDigest, apiKeyPrefix, createApiKey } from "../../src/access/api-key.ts";
import { ManualChanges } from "../support/manual-changes.ts";

/** Clients and keys in memory, which a test puts there: what the directory reads of a store. */
export class MemoryClientStore implements Pick<ClientStore, "load" | "lastUsesOf" | "touchKeys"> {
  readonly #clients = new Map<string, Client>();
  readonly #keys = new Map<string, ApiKeyRecord>();
  readonly changes = new ManualChanges();
  /** Raise `clients` after a change. */
  settings: AccessSettings = { isAnonymousOn: false, corsOrigins: undefined };

  async load() {
    return {
      clients: [...this.#clients.values()],
      keys: [...this.#keys.values()],
      settings: this.settings,
    };
  }

  async lastUsesOf() {
    return [];
  }

  async touchKeys(): Promise<void> {}

  /** Adds a client with one key, and gives the key. */
  add(facts: Pick<Client, "name" | "grants"> & Partial<Client>, ofKey: Partial<ApiKeyRecord> = {}): string {
    const [none, made] = [undefined, { createdAt: 0, updatedAt: 0, version: 1 }];
    const limits = { networks: [], expiresAt: none, rateLimit: none, concurrency: none };
    const reach = { delivery: "real", policy: ALLOW_ALL } as const;
    this.#clients.set(facts.name, { environment: "dev", ...limits, ...reach, ...made, ...facts });
    const key = createApiKey();
    const named = { prefix: apiKeyPrefix(key), digest: apiKeyDigest(key.reveal()) };
    const ends = { expiresAt: none, revokedAt: none, lastUsedAt: none };
    const record = { ...named, client: facts.name, label: "default", createdAt: 0, ...ends, ...ofKey };
    this.#keys.set(record.prefix, record);
    this.changes.raise("clients");
    return key.reveal();
  }

  /** Removes a client; its keys are known no more. */
  remove(name: string): void {
    this.#clients.delete(name);
    this.changes.raise("clients");
  }
}
