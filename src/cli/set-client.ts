import { API_PATTERN, API_PRESETS, type ApiPreset, type PolicyFields } from "../access/api-policy.ts";
import { DELIVERIES, type Delivery } from "../access/client.ts";
import { OPENID } from "../access/test-messages.ts";
import { Networks } from "../access/networks.ts";
import {
  type Arguments,
  type CommandSpec,
  type OptionSpec,
  usageError,
  option,
  bilingual,
} from "./arguments.ts";
import { CLIENT, findList, findOneOf, parseInstant } from "./argument-values.ts";
import type { ClientData } from "../api/v1-clients-schema.ts";
import { changeClient, clientText, type NewClient } from "./client.ts";
import { managingCommand } from "./managing.ts";

/** What `clients add` and `clients set` have in common: which tokens a client is given, and which paths it may call. */
export const REACH_OPTIONS: readonly OptionSpec[] = [
  {
    ...option(
      "--origin <origin>",
      "Origin of the pages that may call with its key; repeatable. any: all of CORS_ORIGINS",
      "可以用其密钥调用的网页的源，可重复；any 表示CORS_ORIGINS中的全部",
    ),
    isRepeatable: true,
  },
  option(
    "--delivery <kind>",
    "real: WeChat's own tokens; virtual: ours, which only this service takes",
    "real 发放微信的真实token；virtual 发放只有本服务接受的虚拟token",
  ),
  option(
    "--policy <preset>",
    `What it may call through the gateway: ${API_PRESETS.join(", ")}`,
    `经网关可调用的接口：${API_PRESETS.join("、")}`,
  ),
  option(
    "--allow <path,…>",
    "Paths that it may call whatever the preset says; /** at the end for all below",
    "不论预设一律允许的路径，以逗号分隔；末尾 /** 包含其下全部",
  ),
  option("--deny <path,…>", "Paths that it may never call", "一律拒绝的路径，以逗号分隔"),
  option(
    "--test-openids <openid,…>",
    "Users to whom it may send single messages, and to nobody else; not with --policy all",
    "只能向这些用户发送单发消息，以逗号分隔；不能与 --policy all 同用",
  ),
];

/** In the place of a number, networks or a time: no limit. In the place of paths or openids: none. */
const NO_LIMIT = { number: "any", network: "any", time: "never", paths: "none" } as const;

const MAX_RATE = 1_000_000;
const MAX_CONCURRENCY = 100_000;

/** `--delivery`; undefined without it. */
export function findDelivery(args: Arguments): Delivery | undefined {
  return findOneOf(args, "delivery", DELIVERIES);
}

/** `--policy`; undefined without it. */
function findPreset(args: Arguments): ApiPreset | undefined {
  return findOneOf(args, "policy", API_PRESETS);
}

/** The paths of `--allow` or `--deny`; undefined without it, empty for `none`. */
function findPatterns(args: Arguments, option: "allow" | "deny"): readonly string[] | undefined {
  if (args.find(option) === NO_LIMIT.paths) return [];
  const patterns = findList(args, option);
  if (patterns?.every((pattern) => API_PATTERN.test(pattern)) !== false) return patterns;
  throw usageError(
    `--${option}: 应为以逗号分隔的路径，如 /cgi-bin/user/get,/cgi-bin/message/** (must be paths, comma-separated)`,
  );
}

/** The users of `--test-openids`; undefined without it, empty for `none`. */
function findTestOpenids(args: Arguments): readonly string[] | undefined {
  if (args.find("test-openids") === NO_LIMIT.paths) return [];
  const openids = findList(args, "test-openids");
  if (openids?.every((openid) => OPENID.test(openid)) !== false) return openids;
  throw usageError(
    "--test-openids: 应为以逗号分隔的openid（o开头，28个字符） (must be openids, comma-separated: o and 27 more characters)",
  );
}

/** The policy of a new client; undefined for the one that its environment brings. */
export function findNewPolicy(args: Arguments): NewClient["policy"] {
  const allow = findPatterns(args, "allow");
  const deny = findPatterns(args, "deny");
  const test_openids = findTestOpenids(args);
  // Without a word of other paths, none but the safe ones can be meant.
  const preset = findPreset(args) ?? (test_openids && "safe");
  if (preset)
    return {
      preset,
      ...(allow ? { allow } : {}),
      ...(deny ? { deny } : {}),
      ...(test_openids ? { test_openids } : {}),
    };
  if (!allow && !deny) return undefined;
  throw usageError("--allow和--deny须与 --policy 一起使用 (--allow and --deny need --policy)");
}

/** The CIDR blocks of `--network`, each checked. */
export function networksOf(args: Arguments): readonly string[] {
  const networks = args.all("network");
  networks.forEach(checkNetwork);
  return networks;
}

/** The origins of `--origin`; undefined without it, empty for `any`. Whether they are origins, the service says. */
export function findOrigins(args: Arguments): readonly string[] | undefined {
  if (!args.isSet("origin")) return undefined;
  const origins = args.all("origin");
  return origins.join() === NO_LIMIT.network ? [] : origins;
}

/** `--expires` as epoch milliseconds; undefined without it. */
export function findEnd(args: Arguments, now: number): number | undefined {
  const expires = args.find("expires");
  return expires === undefined ? undefined : parseInstant("expires", expires, now, false);
}

/** `--rate` in requests a second; undefined without it. */
export function findRate(args: Arguments): number | undefined {
  return args.findNumber("rate", { min: 1, max: MAX_RATE });
}

/** `--concurrency` in requests at once; undefined without it. */
export function findConcurrency(args: Arguments): number | undefined {
  return args.findNumber("concurrency", { min: 1, max: MAX_CONCURRENCY });
}

function checkNetwork(text: string): void {
  try {
    // The service's own parser takes a list, while this option is given once for each.
    if (text === "" || /[,\s]/.test(text)) throw new RangeError();
    void new Networks(text);
  } catch {
    throw usageError(
      "--network: 应为CIDR网段，如 10.0.0.0/8，或单个地址 (must be a CIDR block, as 10.0.0.0/8, or an address)",
    );
  }
}

/** `accesstoken clients set <client>`: changes what is given of a client. */
export const SET_CLIENT_COMMAND: CommandSpec = managingCommand({
  words: ["clients", "set"],
  meaning: bilingual("Change a client; what is not given stays", "修改客户端，未给出的选项不变"),
  notes: [
    bilingual(
      "A policy that refuses anything makes the tokens virtual; back to real ones takes --policy all --delivery real.",
      "有限制的策略会使token变为虚拟；恢复真实token须 --policy all --delivery real。",
    ),
  ],
  positionals: [CLIENT],
  options: [
    ...REACH_OPTIONS,
    option(
      "--concurrency <n>",
      "Requests at once through the gateway; any for the default of 96",
      "经网关同时进行的请求数上限；any 表示默认的96",
    ),
    option("--rate <n>", "Requests a second; any for no limit", "每秒请求数上限；any 表示不限"),
    {
      ...option(
        "--network <cidr>",
        "From where it may ask, in the place of all before; any for anywhere",
        "允许的来源网段，可重复，取代原有网段；any 表示不限",
      ),
      isRepeatable: true,
    },
    option(
      "--expires <time>",
      "When it expires, as 2027-01-31 or 90d; never for no expiry",
      "失效时间，如 2027-01-31 或 90d；never 表示不失效",
    ),
    option(
      "--environment <name>",
      "prod, pre, st, dev or any other; changes neither tokens nor policy",
      "prod、pre、st、dev或其他名称；不影响token种类和策略",
    ),
  ],
  run: async (at) => {
    const { args, show, terminal } = at;
    const facts = factsIn(args, terminal.clock.now());
    const given = {
      preset: findPreset(args),
      allow: findPatterns(args, "allow"),
      deny: findPatterns(args, "deny"),
      test_openids: findTestOpenids(args),
    };
    const hasPolicy = Object.values(given).some((part) => part !== undefined);
    if (!hasPolicy && Object.keys(facts).length === 0)
      throw usageError("没有要修改的内容 (nothing to change is given)");
    const { client } = await changeClient(at, ({ policy }) => ({
      ...facts,
      ...(hasPolicy ? { policy: changedPolicy(policy, given) } : {}),
    }));
    await show(client, () => clientText(client));
  },
});

function changedPolicy(
  current: ClientData["policy"],
  given: { readonly [part in keyof PolicyFields]?: PolicyFields[part] | undefined },
) {
  const { test_openids = current.test_openids } = given;
  return {
    preset: given.preset ?? current.preset,
    allow: given.allow ?? current.allow,
    deny: given.deny ?? current.deny,
    ...(test_openids && { test_openids }),
  };
}

/** What is given besides the policy, as the body of a change has it: null takes a limit away. */
function factsIn(args: Arguments, now: number): object {
  const delivery = findDelivery(args);
  const environment = args.find("environment");
  return {
    ...(environment === undefined ? {} : { environment }),
    ...(delivery === undefined ? {} : { delivery }),
    ...limit(args, "rate", "rate_limit", NO_LIMIT.number, findRate),
    ...limit(args, "concurrency", "concurrency", NO_LIMIT.number, findConcurrency),
    ...limit(args, "expires", "expires_at", NO_LIMIT.time, (given) => findEnd(given, now)),
    ...(args.isSet("network")
      ? { networks: args.all("network").join() === NO_LIMIT.network ? [] : networksOf(args) }
      : {}),
    ...(args.isSet("origin") ? { origins: findOrigins(args) } : {}),
  };
}

function limit(
  args: Arguments,
  option: string,
  field: string,
  none: string,
  find: (args: Arguments) => number | undefined,
): object {
  if (!args.isSet(option)) return {};
  return { [field]: args.find(option) === none ? null : find(args) };
}
