import type { PolicyFields } from "../../src/access/api-policy.ts";
import type { Delivery, Grant } from "../../src/access/client.ts";
import type { Harness } from "./harness.ts";

/** A client that a test wants. Instants are epoch milliseconds, by the world's clock. */
export interface WantedClient {
  readonly name: string;
  readonly grants: readonly Grant[];
  /** Default `dev`. */
  readonly environment?: string;
  /** CIDR blocks; default anywhere. */
  readonly networks?: readonly string[];
  readonly expiresAt?: number;
  /** When its key ends, in the place of the client. */
  readonly keyExpiresAt?: number;
  /** Requests a second. */
  readonly rateLimit?: number;
  /** Requests under way at once through the gateway. */
  readonly concurrency?: number;
  /** Default `real`, unless there is a policy. */
  readonly delivery?: Delivery;
  /** Default `all`. */
  readonly policy?: Pick<PolicyFields, "preset"> & Partial<PolicyFields>;
}

/** Makes a client with one key, as an administrator of the machine. Gives the API key, which is good at once. */
export async function createClient(world: Harness, wanted: WantedClient): Promise<string> {
  const { name, grants, environment = "dev", networks, expiresAt, keyExpiresAt, rateLimit } = wanted;
  const { concurrency, policy = { preset: "all" }, delivery = wanted.policy ? undefined : "real" } = wanted;
  const limits = { networks, expires_at: expiresAt, rate_limit: rateLimit, concurrency };
  const body = { client: name, environment, grants, ...limits, delivery, policy };
  await create(world, "/v1/clients", body);
  const key = await create(world, `/v1/clients/${name}/keys`, { expires_at: keyExpiresAt });
  return String(key["api_key"]);
}

/** A client that may do everything, and its API key. */
export function createAdmin(world: Harness, name = "admin"): Promise<string> {
  return createClient(world, { name, grants: [{ apps: ["*"], actions: ["admin"] }] });
}

async function create(world: Harness, path: string, body: object): Promise<Record<string, unknown>> {
  const headers = { "content-type": "application/json" };
  const { status, text, data } = await world.administer(path, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
  });
  if (status !== 201) throw new Error(`it was not made: ${text}`);
  return data;
}
