import { API_PATTERN, API_PRESETS, type ApiPreset } from "../access/api-policy.ts";
import { type Action, DELIVERIES, type Delivery, type Grant } from "../access/client.ts";
import { Networks } from "../access/networks.ts";
import { type Arguments, type OptionSpec, usageError } from "./arguments.ts";
import { ALL_APPS, findList, parseInstant } from "./argument-values.ts";
import { ServiceError } from "../errors.ts";

/** What `clients add` and `clients set` say alike: which tokens a client is given, and which paths it may call. */
export const REACH_OPTIONS: readonly OptionSpec[] = [
  {
    name: "delivery",
    value: "<kind>",
    meaning: {
      en: "real: WeChat's own tokens; virtual: ours, which only this service takes",
      zh: "real 发放微信的真实token；virtual 发放只有本服务接受的虚拟token",
    },
  },
  {
    name: "policy",
    value: "<preset>",
    meaning: {
      en: `What it may call through the gateway: ${API_PRESETS.join(", ")}`,
      zh: `经网关可调用的接口：${API_PRESETS.join("、")}`,
    },
  },
  {
    name: "allow",
    value: "<path,…>",
    meaning: {
      en: "Paths that it may call whatever the preset says; /** at the end for all below",
      zh: "不论预设一律允许的路径，以逗号分隔；末尾 /** 包含其下全部",
    },
  },
  {
    name: "deny",
    value: "<path,…>",
    meaning: { en: "Paths that it may never call", zh: "一律拒绝的路径，以逗号分隔" },
  },
];

/** In the place of a number, networks or a time: no limit. In the place of paths: no path. */
export const NO_LIMIT = { number: "any", network: "any", time: "never", paths: "none" } as const;

const MAX_RATE = 1_000_000;
const MAX_CONCURRENCY = 100_000;

/** `--delivery`; undefined without it. */
export function findDelivery(args: Arguments): Delivery | undefined {
  return findOneOf(args, "delivery", DELIVERIES);
}

/** `--policy`; undefined without it. */
export function findPreset(args: Arguments): ApiPreset | undefined {
  return findOneOf(args, "policy", API_PRESETS);
}

/** The paths of `--allow` or `--deny`; undefined without it, empty for `none`. */
export function findPatterns(args: Arguments, option: "allow" | "deny"): readonly string[] | undefined {
  if (args.find(option) === NO_LIMIT.paths) return [];
  const patterns = findList(args, option);
  if (patterns?.every((pattern) => API_PATTERN.test(pattern)) !== false) return patterns;
  throw usageError(
    `--${option}: 应为以逗号分隔的路径，如 /cgi-bin/user/get,/cgi-bin/message/** (must be paths, comma-separated)`,
  );
}

/** The CIDR blocks of `--network`, each checked. */
export function networksOf(args: Arguments): readonly string[] {
  const networks = args.all("network");
  networks.forEach(checkNetwork);
  return networks;
}

/** `--expires` as epoch milliseconds; undefined without it. */
export function findEnd(args: Arguments, now: number): number | undefined {
  const expires = args.find("expires");
  return expires === undefined ? undefined : parseInstant("expires", expires, now, false);
}

/** `--rate` in requests a second; undefined without it. */
export function findRate(args: Arguments): number | undefined {
  return args.findNumber("rate", { least: 1, most: MAX_RATE });
}

/** `--concurrency` in requests at once; undefined without it. */
export function findConcurrency(args: Arguments): number | undefined {
  return args.findNumber("concurrency", { least: 1, most: MAX_CONCURRENCY });
}

function findOneOf<T extends string>(args: Arguments, option: string, known: readonly T[]): T | undefined {
  const text = args.find(option);
  const found = known.find((each) => each === text);
  if (text === undefined || found) return found;
  throw usageError(`--${option}: 应为 ${known.join("、")} 之一 (must be one of these)`);
}

function checkNetwork(text: string): void {
  try {
    // The service's own judge, who takes a list, while this option is given once for each.
    if (text === "" || /[,\s]/.test(text)) throw new RangeError();
    void new Networks(text);
  } catch {
    throw usageError(
      "--network: 应为CIDR网段，如 10.0.0.0/8，或单个地址 (must be a CIDR block, as 10.0.0.0/8, or an address)",
    );
  }
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
