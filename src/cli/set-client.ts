import { type Arguments, type CommandSpec, usageError } from "./arguments.ts";
import {
  findConcurrency,
  findDelivery,
  findEnd,
  findPatterns,
  findPreset,
  findRate,
  networksOf,
  NO_LIMIT,
  REACH_OPTIONS,
} from "./client-options.ts";
import { changeClient, clientText } from "./client.ts";
import { managingCommand } from "./managing.ts";
import { CLIENT } from "./argument-values.ts";

/** `accesstoken clients set <client>`: changes what is given of a client. */
export const SET_CLIENT_COMMAND: CommandSpec = managingCommand({
  words: ["clients", "set"],
  meaning: { en: "Change a client; what is not given stays", zh: "修改客户端，未给出的选项不变" },
  notes: [
    {
      en: "A policy that refuses anything makes the tokens virtual; back to real ones takes --policy all --delivery real.",
      zh: "有限制的策略会使token变为虚拟；恢复真实token须 --policy all --delivery real。",
    },
  ],
  positionals: [CLIENT],
  options: [
    ...REACH_OPTIONS,
    {
      name: "concurrency",
      value: "<n>",
      meaning: {
        en: "Requests at once through the gateway; any for the default of 96",
        zh: "经网关同时进行的请求数上限；any 表示默认的96",
      },
    },
    {
      name: "rate",
      value: "<n>",
      meaning: { en: "Requests a second; any for no limit", zh: "每秒请求数上限；any 表示不限" },
    },
    {
      name: "network",
      value: "<cidr>",
      isRepeatable: true,
      meaning: {
        en: "From where it may ask, in the place of all before; any for anywhere",
        zh: "允许的来源网段，可重复，取代原有网段；any 表示不限",
      },
    },
    {
      name: "expires",
      value: "<time>",
      meaning: {
        en: "When it ends, as 2027-01-31 or 90d; never for no end",
        zh: "失效时间，如 2027-01-31 或 90d；never 表示不失效",
      },
    },
    {
      name: "environment",
      value: "<name>",
      meaning: {
        en: "prod, pre, st, dev or any other; changes neither tokens nor policy",
        zh: "prod、pre、st、dev或其他名称；不影响token种类和策略",
      },
    },
  ],
  run: async (at) => {
    const { args, show, terminal } = at;
    const facts = factsIn(args, terminal.clock.now());
    const lists = { allow: findPatterns(args, "allow"), deny: findPatterns(args, "deny") };
    const preset = findPreset(args);
    const hasPolicy = (preset ?? lists.allow ?? lists.deny) !== undefined;
    if (!hasPolicy && Object.keys(facts).length === 0)
      throw usageError("没有要修改的内容 (nothing to change is given)");
    const { client } = await changeClient(at, ({ policy }) => ({
      ...facts,
      ...(hasPolicy ? { policy: changedPolicy(policy, { ...lists, preset }) } : {}),
    }));
    await show(client, () => clientText(client));
  },
});

/** As `/v1` shows it. */
interface Policy {
  readonly preset: string;
  readonly allow: readonly string[];
  readonly deny: readonly string[];
}

function changedPolicy(
  current: Policy,
  { preset, allow, deny }: { readonly [part in keyof Policy]: Policy[part] | undefined },
): Policy {
  return {
    preset: preset ?? current.preset,
    allow: allow ?? current.allow,
    deny: deny ?? current.deny,
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
