import { ENVIRONMENT_NAME, LOGIN_CODES } from "../access/environments.ts";
import type { EnvironmentData } from "../api/v1-environments-schema.ts";
import { apiPath } from "./api.ts";
import {
  type Arguments,
  bilingual,
  type CommandSpec,
  option,
  type OptionSpec,
  type PositionalSpec,
  usageError,
} from "./arguments.ts";
import { addEnvironment } from "./add-environment.ts";
import { OUT_FOLDER } from "./apply.ts";
import { EXPIRES } from "./argument-values.ts";
import { type Managing, managingCommand, YES, remove } from "./managing.ts";
import { localTime, textFields, textTable } from "./terminal.ts";

const ENVIRONMENT: PositionalSpec = {
  name: "environment",
  meaning: bilingual("The environment's name", "环境名称"),
};
const CODES: OptionSpec = option(
  "--codes <kind>",
  "Codes of its web logins; raw: WeChat's own; relay: ours, which its clients alone can exchange",
  "网页登录得到的code；raw 为微信的code，relay 为只有本环境客户端可换取的code",
);

/** What `environments add` takes beside the environment's own settings. */
const PROGRAM_OPTIONS: readonly OptionSpec[] = [
  option(
    "--apps <app,…>",
    "The apps that its programs use, or all",
    "其程序使用的应用，以逗号分隔；all 表示全部",
  ),
  option(
    "--backend <name,…>",
    "Programs on servers; each gets a client <name>-<environment> and a key",
    "服务端程序，以逗号分隔；各得一个客户端 <name>-<environment> 和密钥",
  ),
  option(
    "--frontend <name,…>",
    "Programs in browsers, whose key every visitor can read: they may have pages signed, and nothing else",
    "浏览器中的程序，以逗号分隔；访问者都能看到其密钥，因此只能签名",
  ),
  {
    ...option(
      "--redirect-origin <origin,…>",
      "Where its web logins may return to, as https://dev.example.com; repeatable",
      "网页登录可返回的来源，如 https://dev.example.com；可重复",
    ),
    isRepeatable: true,
  },
  option(
    "--target <url>",
    "Where it receives pushes, with $APPID$ for the app; pull: it pulls them",
    "接收推送的URL，$APPID$ 表示应用；pull 表示由程序拉取",
  ),
  option(
    "--role <role>",
    "primary: its answer counts; copy: it is only told. Default: primary in production, else copy",
    "primary 由它应答；copy 只收副本。生产环境默认primary，其余copy",
  ),
  option(
    "--test-openids <openid,…>",
    "Testers: their pushes are answered by this environment, and only they get its messages",
    "测试用户：其推送由该环境应答，该环境也只能向他们发消息",
  ),
  option("--policy <preset>", "As of clients add, for its back ends", "同 clients add，用于服务端程序"),
  {
    ...option("--network <cidr>", "As of clients add, for its back ends", "同 clients add，用于服务端程序"),
    isRepeatable: true,
  },
  EXPIRES,
  option(
    "--rate <n>",
    "Requests a second of each program. Default: any number",
    "每个程序每秒的请求数上限；默认不限",
  ),
  OUT_FOLDER,
];

/** `accesstoken environments …`: where programs run. */
export const ENVIRONMENT_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["environments", "add"],
    meaning: bilingual(
      "Make an environment, and a client and key for each of its programs",
      "新建环境，并为其中每个程序创建客户端和密钥",
    ),
    notes: [
      bilingual(
        "It may be repeated: what stands already stays as it is, and nobody gets a second key.",
        "可重复执行：已有的保持不变，也不会生成第二个密钥。",
      ),
      bilingual(
        "Without --production: whether it is called prod, production, prd or online, in any case.",
        "不带 --production 时按名称判断：prod、production、prd、online（不区分大小写）为生产环境。",
      ),
    ],
    positionals: [ENVIRONMENT],
    options: [
      option("--production", "Its programs talk to real users", "其程序面向真实用户"),
      CODES,
      ...PROGRAM_OPTIONS,
    ],
    mayCreate: true,
    run: async (at) => {
      const production = at.args.isSet("production") ? true : undefined;
      await addEnvironment(at, environmentOf(at.args), { production, codes: findCodes(at.args) });
    },
  }),
  managingCommand({
    words: ["environments", "list"],
    meaning: bilingual("Every environment", "列出全部环境"),
    run: async ({ api, show }) => {
      const data = await api.get<{ environments: readonly EnvironmentData[] }>("/v1/environments");
      await show(data, () => environmentsText(data.environments));
    },
  }),
  managingCommand({
    words: ["environments", "show"],
    meaning: bilingual("One environment", "查看一个环境"),
    positionals: [ENVIRONMENT],
    run: async ({ args, api, show }) => {
      const data = await api.get<EnvironmentData>(environmentPath(environmentOf(args)));
      await show(data, () => environmentText(data));
    },
  }),
  managingCommand({
    words: ["environments", "set"],
    meaning: bilingual("Change an environment; what is not given stays", "修改环境，未给出的选项不变"),
    notes: [
      bilingual(
        "Clients that are there keep their policies; only new ones go by it.",
        "已有客户端的接口策略不变，只影响新客户端的默认值。",
      ),
    ],
    positionals: [ENVIRONMENT],
    options: [
      option("--production <yes|no>", "Whether its programs talk to real users", "其程序是否面向真实用户"),
      CODES,
    ],
    run: async (at) => {
      const change = { production: findYesOrNo(at.args, "production"), codes: findCodes(at.args) };
      if (change.production === undefined && change.codes === undefined)
        throw usageError("缺少 --production 或 --codes (--production or --codes is missing)");
      const path = environmentPath(environmentOf(at.args));
      // A misspelt name must not make another.
      await at.api.get(path);
      await put(at, change);
    },
  }),
  managingCommand({
    words: ["environments", "remove"],
    meaning: bilingual("Remove an environment that nothing is of", "删除不再使用的环境"),
    positionals: [ENVIRONMENT],
    options: [YES],
    run: (at) => {
      const name = environmentOf(at.args);
      const question = bilingual(`Remove the environment ${name}?`, `删除环境 ${name}？`);
      return remove(at, name, environmentPath(name), question);
    },
  }),
];

interface Settings {
  readonly production: boolean | undefined;
  readonly codes: string | undefined;
}

async function put(at: Managing, body: Settings): Promise<void> {
  const path = environmentPath(environmentOf(at.args));
  const { data } = await at.api.send<EnvironmentData>({ method: "PUT", path, body });
  await at.show(data, () => environmentText(data));
}

function environmentPath(name: string): string {
  return apiPath`/v1/environments/${name}`;
}

function environmentOf(args: Arguments): string {
  const name = args.get("environment");
  if (ENVIRONMENT_NAME.test(name)) return name;
  throw usageError(
    "<environment>: 应为1到32个字母、数字、点、下划线或连字符 (must be 1 to 32 letters, digits, dots, underscores and hyphens)",
  );
}

function findCodes(args: Arguments): string | undefined {
  const codes = args.find("codes");
  if (codes === undefined || LOGIN_CODES.some((each) => each === codes)) return codes;
  throw usageError("--codes: 应为 raw 或 relay (must be raw or relay)");
}

function findYesOrNo(args: Arguments, name: string): boolean | undefined {
  const text = args.find(name);
  if (text === undefined) return undefined;
  if (text === "yes" || text === "no") return text === "yes";
  throw usageError(`--${name}: 应为 yes 或 no (must be yes or no)`);
}

function environmentsText(environments: readonly EnvironmentData[]): string {
  return textTable(environments, {
    ENVIRONMENT: ({ environment }) => environment,
    PRODUCTION: ({ production }) => (production ? "yes" : "no"),
    CODES: ({ codes }) => codes,
    CREATED: ({ created_at }) => localTime(created_at),
    ...(environments.some(({ damaged }) => damaged)
      ? { DAMAGED: ({ damaged }: EnvironmentData) => damaged?.join(",") }
      : {}),
  });
}

function environmentText({ environment, production, codes, ...rest }: EnvironmentData): string {
  return textFields({
    environment,
    damaged: rest.damaged?.join(","),
    production: production ? "yes" : "no",
    codes,
    created: localTime(rest.created_at),
    updated: localTime(rest.updated_at),
    version: String(rest.version),
  });
}
