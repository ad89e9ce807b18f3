import type { ApiPolicy } from "./api-policy.ts";
import { allows, type Grant } from "./grant.ts";

/** Which access tokens a client is given: WeChat's own, or ours in their place, which only our gateway takes. */
export const DELIVERIES = ["real", "virtual"] as const;
export type Delivery = (typeof DELIVERIES)[number];

/** A program of one environment that may ask, and what for. Instants are epoch milliseconds. */
export interface Client {
  /** Unique; `CLIENT_NAME`. */
  readonly name: string;
  /** `prod`, `pre`, `st`, `dev`, or any other name. */
  readonly environment: string;
  readonly grants: readonly Grant[];
  /** CIDR blocks from which it may ask; empty for anywhere. */
  readonly networks: readonly string[];
  /** From then on it is refused. */
  readonly expiresAt: number | undefined;
  /** Requests a second; undefined for no limit. */
  readonly rateLimit: number | undefined;
  /** Requests under way at once through the gateway; undefined for no limit. */
  readonly concurrency: number | undefined;
  /** `virtual` wherever the policy refuses anything: a real token names nobody, so no policy can hold it. */
  readonly delivery: Delivery;
  /** What it may call through the gateway. */
  readonly policy: ApiPolicy;
  readonly createdAt: number;
  readonly updatedAt: number;
  /** Grows with each change. */
  readonly version: number;
}

/** What a client is called. Whoever is none has a name in parentheses in the audit, which can't be one of these. */
export const CLIENT_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** One key of a client, without the key. Instants are epoch milliseconds. */
export interface ApiKeyRecord {
  /** The public beginning of the key, which names it. */
  readonly prefix: string;
  readonly client: string;
  /** SHA-256 of the whole key, hex. */
  readonly digest: string;
  /** What people call it; unique among the client's keys that are not over, but for one that is being rolled. */
  readonly label: string;
  readonly createdAt: number;
  readonly expiresAt: number | undefined;
  readonly revokedAt: number | undefined;
  /** To the minute, as far as it is written down. */
  readonly lastUsedAt: number | undefined;
}

/** Whether the client manages this service. */
export function isAdmin({ grants }: Pick<Client, "grants">): boolean {
  return allows(grants, "admin", "");
}
