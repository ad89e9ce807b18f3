import { bilingual, type Text } from "./arguments.ts";
import type { Static } from "@sinclair/typebox";
import type { PolicyFields } from "../access/api-policy.ts";
import type { Action, Delivery, Grant } from "../access/client.ts";
import type { ClientData, createdClientData } from "../api/v1-clients-schema.ts";
import { ServiceError } from "../errors.ts";
import { type ApiAnswer, apiPath, ApiRefusal } from "./api.ts";
import { ALL_APPS, clientOf } from "./argument-values.ts";
import type { Managing } from "./managing.ts";
import { localTime, plainText, textFields, textTable } from "./terminal.ts";

/** A client as it is sent to be made. */
export interface NewClient {
  readonly client: string;
  readonly environment: string;
  readonly grants: readonly Grant[];
  readonly networks?: readonly string[];
  readonly origins?: readonly string[];
  readonly expires_at?: number;
  readonly rate_limit?: number;
  readonly concurrency?: number;
  readonly delivery?: Delivery;
  readonly policy?: Pick<PolicyFields, "preset"> & Partial<PolicyFields>;
}

const DIFFERS =
  "授权用 clients grant 或 revoke 修改，其余用 clients set 修改 (clients grant or revoke changes its grants, clients set the rest)";

/** One that was just made. */
type CreatedClientData = Static<typeof createdClientData>;

/** Makes a client. */
export async function createClient({ api, note }: Managing, body: NewClient): Promise<CreatedClientData> {
  const answer = await post(api, body);
  if (answer.status !== 201) note(bilingual("It exists already, unchanged", "该客户端已存在，且完全相同"));
  return answer.data;
}

async function post(api: Managing["api"], body: NewClient): Promise<ApiAnswer<CreatedClientData>> {
  try {
    return await api.send<CreatedClientData>({ method: "POST", path: "/v1/clients", body });
  } catch (error) {
    throw error instanceof ApiRefusal && error.status === 409 ? error.hinted(DIFFERS) : error;
  }
}

/** Says after `make` that the environment of that name came with it, where who asks may know of environments. */
export async function withEnvironment<T>(
  { api, note }: Managing,
  name: string,
  make: () => Promise<T>,
): Promise<T> {
  const isThere = await api.find(apiPath`/v1/environments/${name}`).catch((error: unknown) => {
    if (error instanceof ApiRefusal) return true;
    throw error;
  });
  const made = await make();
  if (!isThere) note(bilingual(`Environment ${plainText(name)} is new`, `新建了环境 ${plainText(name)}`));
  return made;
}

/** Where programs find the service: as the person wrote it, else as the answer has it. */
function baseUrlOf({ args }: Managing, { base_url: baseUrl }: { readonly base_url: string }): string {
  return plainText(args.find("url") ?? baseUrl);
}

/** What a program of a new client changes, and a first request with its key. */
export function firstSteps(at: Managing, created: { readonly base_url: string }): Text {
  const url = baseUrlOf(at, created);
  const curl = `  curl -H "Authorization: Bearer $KEY" '${url}/v1/apps'`;
  return bilingual(
    `In the program, ${url} takes the place of https://api.weixin.qq.com and https://qyapi.weixin.qq.com, the key that of the secret. A first request with the key:\n${curl}`,
    `在程序中用 ${url} 代替 https://api.weixin.qq.com 和 https://qyapi.weixin.qq.com，用密钥代替secret。用密钥试一下：\n${curl}`,
  );
}

/** Where virtual tokens work. */
export function virtualNote(at: Managing, created: { readonly base_url: string }): Text {
  const url = baseUrlOf(at, created);
  return bilingual(
    `virtual: works through ${url} only; for programs that call WeChat themselves use --delivery real`,
    `virtual：只能经 ${url} 使用；自行调用微信的程序请用 --delivery real`,
  );
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
  return textTable(clients, {
    CLIENT: ({ client }) => client,
    ENVIRONMENT: ({ environment }) => environment,
    DELIVERY: ({ delivery }) => delivery,
    POLICY: ({ policy }) => policyText(policy),
    RATE: ({ rate_limit }) => rate_limit?.toString(),
    EXPIRES: ({ expires_at }) => localTime(expires_at),
    NETWORKS: ({ networks }) => networks.join(","),
    GRANTS: ({ grants }) => grants.map(grantText).join("; "),
    ...(clients.some(({ damaged }) => damaged) ? { DAMAGED: ({ damaged }) => damaged?.join(",") } : {}),
  });
}

/** One client for a person. */
export function clientText(client: ClientData): string {
  const grants = client.grants.map((grant, n) => [`grant ${n + 1}`, grantText(grant)]);
  return textFields({
    client: client.client,
    damaged: client.damaged?.join(","),
    environment: client.environment,
    networks: client.networks.join(",") || "any",
    origins: client.origins?.join(","),
    expires: localTime(client.expires_at) ?? "never",
    rate: client.rate_limit === undefined ? "any" : `${client.rate_limit}/s`,
    concurrency: client.concurrency?.toString() ?? "96 (default)",
    delivery: client.delivery,
    policy: client.policy.preset,
    allow: client.policy.allow.join(","),
    deny: client.policy.deny.join(","),
    "test openids": client.policy.test_openids?.join(","),
    ...(grants.length === 0 ? { grants: "none" } : Object.fromEntries(grants)),
    created: localTime(client.created_at),
    updated: localTime(client.updated_at),
    version: String(client.version),
  });
}

/** With a sign for lists that say more than the preset. */
function policyText({ preset, allow, deny, test_openids }: ClientData["policy"]): string {
  const lists = `${allow.length > 0 ? "+allow" : ""}${deny.length > 0 ? "+deny" : ""}`;
  return `${preset}${lists}${test_openids ? "+test" : ""}`;
}

/** A grant for a person: on which apps, and of what. */
export function grantText({ apps, actions }: Grant): string {
  return `${apps[0] === ALL_APPS ? "all" : apps.join(",")}: ${actions.join(",")}`;
}

/** What is taken away; what is undefined does not narrow. */
export interface Taking {
  /** Public names, or `*` alone for every app. */
  readonly apps: readonly string[] | undefined;
  readonly actions: readonly Action[] | undefined;
}

/** `grants` with one more; the very same list when they have it already. */
export function addGrant(grants: readonly Grant[], added: Grant): readonly Grant[] {
  const isThere = added.actions.every((action) =>
    added.apps.every((app) =>
      grants.some(({ apps, actions }) => actions.includes(action) && (isAll(apps) || apps.includes(app))),
    ),
  );
  if (isThere) return grants;
  const alike = grants.find(({ apps }) => apps.length === added.apps.length && includesAll(apps, added.apps));
  if (!alike) return [...grants, added];
  const joined = { ...alike, actions: [...new Set([...alike.actions, ...added.actions])] };
  return grants.map((grant) => (grant === alike ? joined : grant));
}

/**
 * `grants` without what is taken away; the very same list when they have nothing of it.
 *
 * @throws {ServiceError} `conflict` when a single app is to be taken from a grant on all: the rest has no name.
 */
export function takeGrants(grants: readonly Grant[], { apps, actions }: Taking): readonly Grant[] {
  const isHitApp = (app: string) => apps === undefined || isAll(apps) || apps.includes(app);
  const isHitAction = (action: Action) => actions?.includes(action) ?? true;
  const isHit = (grant: Grant) =>
    grant.actions.some(isHitAction) && (isAll(grant.apps) || grant.apps.some(isHitApp));
  if (!grants.some(isHit)) return grants;
  return grants.flatMap((grant) => {
    if (!isHit(grant)) return [grant];
    if (isAll(grant.apps) && !isHitApp(ALL_APPS)) throw grantOnAll();
    return [
      { apps: grant.apps.filter((app) => !isHitApp(app)), actions: grant.actions },
      { apps: grant.apps.filter(isHitApp), actions: grant.actions.filter((action) => !isHitAction(action)) },
    ].filter((rest) => rest.apps.length > 0 && rest.actions.length > 0);
  });
}

function isAll(apps: readonly string[]): boolean {
  return apps[0] === ALL_APPS;
}

function includesAll(list: readonly string[], wanted: readonly string[]): boolean {
  return wanted.every((each) => list.includes(each));
}

function grantOnAll(): ServiceError {
  return new ServiceError(
    "conflict",
    "该授权针对全部应用，无法只去掉其中一个 (the grant is for all apps, and one of them can't be taken out of it)",
    {
      hint: "请先用 --apps all 撤销，再授权其余应用 (take it away with --apps all, then grant the apps that are left)",
    },
  );
}
