import { API_PATTERN, API_PRESETS, type ApiPreset } from "../clients/api-policy.ts";
import { DELIVERIES, type Delivery } from "../clients/client.ts";
import { Networks } from "../clients/networks.ts";
import { type Arguments, usageError } from "./arguments.ts";
import type { OptionSpec } from "./command-spec.ts";
import { findList } from "./names.ts";
import { parseInstant } from "./time-arguments.ts";

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

const RATE_MOST = 1_000_000;
const CONCURRENCY_MOST = 100_000;

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
  return args.findNumber("rate", { least: 1, most: RATE_MOST });
}

/** `--concurrency` in requests at once; undefined without it. */
export function findConcurrency(args: Arguments): number | undefined {
  return args.findNumber("concurrency", { least: 1, most: CONCURRENCY_MOST });
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
