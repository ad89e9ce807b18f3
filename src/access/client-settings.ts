import { ServiceError } from "../errors.ts";
import { ALLOW_ALL, type ApiPolicy, isUnrestricted } from "./api-policy.ts";
import type { Client, Grant } from "./client.ts";
import { Networks } from "./networks.ts";

/** What an administrator decides about a client. */
export type ClientSettings = Omit<Client, "name" | "createdAt" | "updatedAt" | "version">;

/** The same of a new client, where the environment may decide what it is given and what it may call. */
export type NewClientSettings = Omit<ClientSettings, "delivery" | "policy"> &
  Partial<Pick<ClientSettings, "delivery" | "policy">>;

/** The environment whose programs talk to real users. */
const PRODUCTION = "prod";

const NO_MESSAGING: ApiPolicy = { preset: "no-messaging", allow: [], deny: [] };

/**
 * Everything about a new client: outside production it gets virtual tokens and may not reach real users, unless something
 * else is said.
 *
 * @throws {ServiceError} `invalid_parameter` when real tokens are wanted beside a policy that refuses anything.
 */
export function withDefaults(said: NewClientSettings): ClientSettings {
  const isProduction = said.environment === PRODUCTION;
  const policy = said.policy ?? (isProduction ? ALLOW_ALL : NO_MESSAGING);
  const usual = isProduction && isUnrestricted(policy) ? "real" : "virtual";
  const facts = { ...said, policy, delivery: said.delivery ?? usual };
  checkDelivery(facts);
  return facts;
}

/**
 * `change` with what it brings along: a policy that refuses anything makes the client's tokens virtual.
 *
 * @throws {ServiceError} As `withDefaults`, of what would stand afterwards.
 */
export function changeWithDelivery(
  standing: ClientSettings,
  change: Partial<ClientSettings>,
): Partial<ClientSettings> {
  const { delivery, policy = standing.policy } = change;
  if (delivery !== undefined) {
    checkDelivery({ delivery, policy });
    return change;
  }
  return standing.delivery === "virtual" || isUnrestricted(policy)
    ? change
    : { ...change, delivery: "virtual" };
}

/** Throws `invalid_parameter` for grants or networks that mean nothing. */
export function validateSettings({ grants, networks }: ClientSettings): void {
  checkNetworks(networks);
  checkGrants(grants);
}

/** Whether a client is exactly so. */
export function isSame(client: ClientSettings, facts: ClientSettings): boolean {
  return JSON.stringify(inOrder(client)) === JSON.stringify(inOrder(facts));
}

/** Facts as the audit tells them. */
export function settingsForPeople(facts: Partial<ClientSettings>) {
  const { environment, grants, networks, expiresAt, rateLimit, concurrency, delivery, policy } = facts;
  const limits = { expires_at: expiresAt, rate_limit: rateLimit, concurrency };
  return { environment, grants, networks, ...limits, delivery, policy };
}

function inOrder(facts: ClientSettings): unknown[] {
  const { environment, grants, networks, expiresAt, rateLimit, concurrency, delivery } = facts;
  const { preset, allow, deny } = facts.policy;
  return [environment, grants, networks, expiresAt, rateLimit, concurrency, delivery, preset, allow, deny];
}

function checkDelivery({ delivery, policy }: Pick<ClientSettings, "delivery" | "policy">): void {
  if (delivery === "virtual" || isUnrestricted(policy)) return;
  throw new ServiceError(
    "invalid_parameter",
    "真实token不受接口策略约束：请去掉delivery或改为virtual，或同时指定policy为all (no policy can hold a real token: leave delivery out, make it virtual, or give the policy all with it)",
  );
}

/** What means every app on the command line would be an app here that nobody has. */
function checkGrants(grants: readonly Grant[]): void {
  if (grants.some(({ apps }) => apps.includes("all")))
    throw new ServiceError("invalid_parameter", "apps中全部应用写作 * (in apps, every app is written as *)");
}

function checkNetworks(networks: readonly string[]): void {
  for (const network of networks) {
    try {
      if (network.includes(",") || network.trim() === "") throw new RangeError(network);
      // Read for the error alone.
      void new Networks(network);
    } catch {
      throw new ServiceError("invalid_parameter", "networks应为CIDR (networks must be CIDR blocks)");
    }
  }
}
