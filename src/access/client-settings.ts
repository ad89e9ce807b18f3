import { ServiceError } from "../errors.ts";
import { ALLOW_ALL, isUnrestricted, policyFields, SAFE } from "./api-policy.ts";
import { type Action, ANY_APP, type Client, type Grant, grantTable, SERVICE_ACTIONS } from "./client.ts";
import { Networks } from "./networks.ts";
import { isWebOrigin } from "./origin.ts";

/** What an administrator decides about a client. */
export type ClientSettings = Omit<Client, "name" | "createdAt" | "updatedAt" | "version">;

/** The same of a new client, whose delivery and policy have defaults. */
export type NewClientSettings = Omit<ClientSettings, "delivery" | "policy"> &
  Partial<Pick<ClientSettings, "delivery" | "policy">>;

/**
 * The settings of a new client: by default it gets virtual tokens, which heal in programs that never fetch another; and
 * outside production it may neither message real users nor delete or set what production uses. `isProduction` tells of
 * its environment.
 *
 * @throws {ServiceError} `invalid_parameter` when real tokens are asked for beside a policy that refuses anything.
 */
export function withDefaults(input: NewClientSettings, isProduction: boolean): ClientSettings {
  const policy = input.policy ?? (isProduction ? ALLOW_ALL : SAFE);
  const settings = { ...input, policy, delivery: input.delivery ?? "virtual" };
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

/** Throws `invalid_parameter` for invalid grants, networks, origins or test openids, as far as there are any. */
export function validateSettings(settings: Partial<ClientSettings>): void {
  const { grants = [], networks = [], origins = [], policy } = settings;
  checkNetworks(networks);
  checkOrigins(origins, "origins");
  checkGrants(grants);
  if (policy?.testOpenids && policy.preset === "all")
    throw new ServiceError(
      "invalid_parameter",
      "预设all允许向任何人发消息：请改用其他预设（如safe），或去掉test_openids (the preset all lets messages go to anybody: take another, such as safe, or leave test_openids out)",
    );
}

/** What a virtual token is good for, or what a client without any use of it may do all the same. */
const USES: readonly Action[] = ["api:call", "ticket:read", "login"];

/**
 * Refuses grants by which a client gets virtual tokens of an app and can do nothing there.
 *
 * @throws {ServiceError} `invalid_parameter`, which names the apps.
 */
export function checkUse({ grants, delivery }: Pick<ClientSettings, "grants" | "delivery">): void {
  if (delivery === "real") return;
  const allows = grantTable(grants);
  const apps = new Set(grants.flatMap((grant) => grant.apps));
  const useless = [...apps].filter(
    (app) => allows("token:read", app) && !USES.some((action) => allows(action, app)),
  );
  if (useless.length === 0) return;
  const names = useless.join(", ");
  throw new ServiceError(
    "invalid_parameter",
    `虚拟token只能经本服务使用，而该客户端在 ${names} 上无法使用：请同时授予 api:call、ticket:read 或 login，或去掉 token:read；自行调用微信的程序请用 --delivery real (a virtual token works through this service only, where the client may do nothing with that of ${names}: grant api:call, ticket:read or login too, or take token:read away; for programs that call WeChat themselves use --delivery real)`,
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
  const reach = { networks, origins: settings.origins };
  return { environment, grants, ...reach, ...limits, delivery, policy: policy && policyFields(policy) };
}

function inOrder(settings: ClientSettings): unknown[] {
  const { environment, grants, networks, expiresAt, rateLimit, concurrency, delivery } = settings;
  const { preset, allow, deny, testOpenids } = settings.policy;
  const policy = [preset, allow, deny, testOpenids];
  const origins = settings.origins ?? [];
  return [environment, grants, networks, origins, expiresAt, rateLimit, concurrency, delivery, policy];
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

/** Throws `invalid_parameter`, which names `field`, for what is no origin as browsers send it. */
export function checkOrigins(origins: readonly string[], field: string): void {
  if (origins.every(isWebOrigin)) return;
  throw new ServiceError(
    "invalid_parameter",
    `${field}应为源，如 https://www.example.com，小写、不带路径 (${field} must be origins like https://www.example.com, in lower case, without a path)`,
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
