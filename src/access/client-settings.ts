import { ServiceError } from "../errors.ts";
import { ALLOW_ALL, isUnrestricted, policyFields, SAFE } from "./api-policy.ts";
import { ANY_APP, type Client, type Grant, SERVICE_ACTIONS } from "./client.ts";
import { Networks } from "./networks.ts";

/** What an administrator decides about a client. */
export type ClientSettings = Omit<Client, "name" | "createdAt" | "updatedAt" | "version">;

/** The same of a new client, whose delivery and policy have defaults by environment. */
export type NewClientSettings = Omit<ClientSettings, "delivery" | "policy"> &
  Partial<Pick<ClientSettings, "delivery" | "policy">>;

/** The environments whose programs talk to real users. */
const PRODUCTION = /^(prod|production|prd|online)$/i;

/**
 * The settings of a new client: outside production it gets virtual tokens by default, and may neither message real users
 * nor delete or set what production uses.
 *
 * @throws {ServiceError} `invalid_parameter` when real tokens are asked for beside a policy that refuses anything.
 */
export function withDefaults(input: NewClientSettings): ClientSettings {
  const isProduction = PRODUCTION.test(input.environment);
  const policy = input.policy ?? (isProduction ? ALLOW_ALL : SAFE);
  const usual = isProduction && isUnrestricted(policy) ? "real" : "virtual";
  const settings = { ...input, policy, delivery: input.delivery ?? usual };
  checkDelivery(settings);
  return settings;
}

/**
 * `change` with what it implies: a policy that refuses anything makes the client's tokens virtual.
 *
 * @throws {ServiceError} As `withDefaults`, for the resulting settings.
 */
export function changeWithDelivery(
  current: ClientSettings,
  change: Partial<ClientSettings>,
): Partial<ClientSettings> {
  const { delivery, policy = current.policy } = change;
  if (delivery !== undefined) {
    checkDelivery({ delivery, policy });
    return change;
  }
  return current.delivery === "virtual" || isUnrestricted(policy)
    ? change
    : { ...change, delivery: "virtual" };
}

/** Throws `invalid_parameter` for invalid grants, networks or test openids, as far as there are any. */
export function validateSettings({ grants = [], networks = [], policy }: Partial<ClientSettings>): void {
  checkNetworks(networks);
  checkGrants(grants);
  if (policy?.testOpenids && policy.preset === "all")
    throw new ServiceError(
      "invalid_parameter",
      "预设all允许向任何人发消息，test_openids请改用其他预设（如safe）或去掉test_openids (the preset all lets messages go to anybody: take another, such as safe, or leave test_openids out)",
    );
}

/** Whether two clients have the same settings. */
export function isSame(a: ClientSettings, b: ClientSettings): boolean {
  return JSON.stringify(inOrder(a)) === JSON.stringify(inOrder(b));
}

/** Settings as an audit entry shows them. */
export function auditDetail(settings: Partial<ClientSettings>) {
  const { environment, grants, networks, expiresAt, rateLimit, concurrency, delivery, policy } = settings;
  const limits = { expires_at: expiresAt, rate_limit: rateLimit, concurrency };
  return { environment, grants, networks, ...limits, delivery, policy: policy && policyFields(policy) };
}

function inOrder(settings: ClientSettings): unknown[] {
  const { environment, grants, networks, expiresAt, rateLimit, concurrency, delivery } = settings;
  const { preset, allow, deny, testOpenids } = settings.policy;
  const policy = [preset, allow, deny, testOpenids];
  return [environment, grants, networks, expiresAt, rateLimit, concurrency, delivery, policy];
}

function checkDelivery({ delivery, policy }: Pick<ClientSettings, "delivery" | "policy">): void {
  if (delivery === "virtual" || isUnrestricted(policy)) return;
  throw new ServiceError(
    "invalid_parameter",
    "真实token不受接口策略约束：请去掉delivery或改为virtual，或同时指定policy为all (no policy can restrict a real token: omit delivery, make it virtual, or set the policy to all)",
  );
}

/** `all`, as the command line writes it, would be the name of an app here. */
function checkGrants(grants: readonly Grant[]): void {
  if (grants.some(({ apps }) => apps.includes("all")))
    throw new ServiceError("invalid_parameter", "apps中请用 * 表示全部应用 (in apps, write * for every app)");
  const isForOne = ({ apps, actions }: Grant) =>
    !apps.includes(ANY_APP) && SERVICE_ACTIONS.some((each) => actions.includes(each));
  if (grants.some(isForOne))
    throw new ServiceError(
      "invalid_parameter",
      "admin和metrics:read针对整个服务，apps须为 * (admin and metrics:read are about the whole service: apps must be *)",
    );
}

function checkNetworks(networks: readonly string[]): void {
  for (const network of networks) {
    try {
      if (network.includes(",") || network.trim() === "") throw new RangeError(network);
      // For its error alone.
      void new Networks(network);
    } catch {
      throw new ServiceError("invalid_parameter", "networks应为CIDR (networks must be CIDR blocks)");
    }
  }
}
