import type { Grant } from "../access/client.ts";
import { ALL_APPS } from "./names.ts";
import { localTime, textFields, textTable } from "./terminal.ts";

/** A client as `/v1` shows it. */
export interface ClientData {
  readonly client: string;
  readonly environment: string;
  readonly grants: readonly Grant[];
  readonly networks: readonly string[];
  readonly expires_at?: number;
  readonly rate_limit?: number;
  readonly concurrency?: number;
  readonly delivery: string;
  readonly policy: {
    readonly preset: string;
    readonly allow: readonly string[];
    readonly deny: readonly string[];
  };
  readonly created_at: number;
  readonly updated_at: number;
  readonly version: number;
}

/** Clients for a person, a line each. */
export function clientsText(clients: readonly ClientData[]): string {
  return textTable(
    ["CLIENT", "ENVIRONMENT", "EXPIRES", "RATE", "NETWORKS", "DELIVERY", "POLICY", "GRANTS"],
    clients.map(({ client, environment, expires_at, rate_limit, networks, grants, delivery, policy }) => [
      client,
      environment,
      localTime(expires_at),
      rate_limit?.toString(),
      networks.join(","),
      delivery,
      policyText(policy),
      grants.map(grantText).join("; "),
    ]),
  );
}

/** One client for a person. */
export function clientText(client: ClientData): string {
  const grants = client.grants.map((grant, n) => [`grant ${n + 1}`, grantText(grant)]);
  return textFields({
    client: client.client,
    environment: client.environment,
    networks: client.networks.join(",") || "any",
    expires: localTime(client.expires_at) ?? "never",
    rate: client.rate_limit === undefined ? "any" : `${client.rate_limit}/s`,
    concurrency: client.concurrency?.toString() ?? "any",
    delivery: client.delivery,
    policy: client.policy.preset,
    allow: client.policy.allow.join(","),
    deny: client.policy.deny.join(","),
    ...(grants.length === 0 ? { grants: "none" } : Object.fromEntries(grants)),
    created: localTime(client.created_at),
    updated: localTime(client.updated_at),
    version: String(client.version),
  });
}

/** With a sign for lists that say more than the preset. */
function policyText({ preset, allow, deny }: ClientData["policy"]): string {
  return `${preset}${allow.length > 0 ? "+allow" : ""}${deny.length > 0 ? "+deny" : ""}`;
}

function grantText({ apps, actions }: Grant): string {
  return `${apps[0] === ALL_APPS ? "all" : apps.join(",")}: ${actions.join(",")}`;
}
