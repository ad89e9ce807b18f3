import type { Static } from "@sinclair/typebox";
import type { ApiPolicy } from "../access/api-policy.ts";
import type { Delivery, Grant } from "../access/client.ts";
import type { clientData } from "../api/v1-clients-schema.ts";
import { type ApiAnswer, apiPath, ApiRefusal } from "./api.ts";
import { ALL_APPS, clientOf } from "./argument-values.ts";
import type { Managing } from "./managing.ts";
import { localTime, textFields, textTable } from "./terminal.ts";

/** A client as `/v1` shows it. */
export type ClientData = Static<typeof clientData>;

/** A client as it is sent to be made. */
export interface NewClient {
  readonly client: string;
  readonly environment: string;
  readonly grants: readonly Grant[];
  readonly networks?: readonly string[];
  readonly expires_at?: number;
  readonly rate_limit?: number;
  readonly concurrency?: number;
  readonly delivery?: Delivery;
  readonly policy?: Pick<ApiPolicy, "preset"> & Partial<ApiPolicy>;
}

const DIFFERS =
  "授权用 clients grant 或 revoke 修改，其余用 clients set 修改 (clients grant or revoke changes its grants, clients set the rest)";

/** Makes a client. For the very first one, the person learns what that means for callers without a key. */
export async function createClient({ api, note }: Managing, body: NewClient): Promise<ClientData> {
  const before = await api.get<{ readonly clients: readonly unknown[] }>("/v1/clients?limit=1");
  const answer = await post(api, body);
  if (answer.status !== 201) {
    note({ en: "It exists already, unchanged", zh: "该客户端已存在，且完全相同" });
  } else if (before.clients.length === 0) {
    note({
      en: "From now on callers without a key or an app's secret are refused, unless ANONYMOUS=on",
      zh: "从现在起，不带密钥或应用secret的请求将被拒绝，除非设置 ANONYMOUS=on",
    });
  }
  return answer.data;
}

async function post(api: Managing["api"], body: NewClient): Promise<ApiAnswer<ClientData>> {
  try {
    return await api.send<ClientData>({ method: "POST", path: "/v1/clients", body });
  } catch (error) {
    throw error instanceof ApiRefusal && error.status === 409 ? error.hinted(DIFFERS) : error;
  }
}

/** How often a change is tried when others change the same client meanwhile. */
const ATTEMPTS = 3;

/**
 * Changes a client, and tries again when another change came first. Resolves with the client afterwards, and whether it was
 * changed: `change` returns the body of the change, or undefined for none.
 */
export async function changeClient(
  { api, args }: Managing,
  change: (current: ClientData) => object | undefined,
): Promise<{ readonly client: ClientData; readonly isChanged: boolean }> {
  const path = apiPath`/v1/clients/${clientOf(args)}`;
  for (let attempt = 1; ; attempt++) {
    const { data: current, etag } = await api.send<ClientData>({ method: "GET", path });
    const body = change(current);
    if (!body) return { client: current, isChanged: false };
    try {
      const request = { method: "PATCH", path, body, ...(etag ? { ifMatch: etag } : {}) } as const;
      return { client: (await api.send<ClientData>(request)).data, isChanged: true };
    } catch (error) {
      const wasOvertaken = error instanceof ApiRefusal && error.status === 412;
      if (!wasOvertaken || attempt === ATTEMPTS) throw error;
    }
  }
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
    concurrency: client.concurrency?.toString() ?? "96 (default)",
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
