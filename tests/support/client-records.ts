import { ALLOW_ALL } from "../../src/access/api-policy.ts";
import { apiKeyDigest, apiKeyPrefix, createApiKey } from "../../src/access/api-key.ts";
import type { ApiKeyRecord, Client } from "../../src/access/client.ts";

/** A client that may do nothing, as it is kept. */
export function newClient(name: string, facts: Partial<Client> = {}): Client {
  return {
    name,
    environment: "dev",
    grants: [],
    networks: [],
    expiresAt: undefined,
    rateLimit: undefined,
    concurrency: undefined,
    delivery: "real",
    policy: ALLOW_ALL,
    createdAt: 0,
    updatedAt: 0,
    version: 1,
    ...facts,
  };
}

/** What is kept of a new key of that client. */
export function newApiKey(client: string, label: string): ApiKeyRecord {
  const key = createApiKey();
  const named = { prefix: apiKeyPrefix(key), digest: apiKeyDigest(key.reveal()), client, label };
  return { ...named, createdAt: 0, expiresAt: undefined, revokedAt: undefined, lastUsedAt: undefined };
}
