import { ACTIONS, type Grant, isAdmin } from "../access/client.ts";
import { apiPath } from "./api.ts";
import { type Arguments, type CommandSpec, type OptionSpec, usageError } from "./arguments.ts";
import {
  addGrant,
  findConcurrency,
  findDelivery,
  findEnd,
  findPatterns,
  findPreset,
  findRate,
  networksOf,
  REACH_OPTIONS,
  takeGrants,
} from "./client-options.ts";
import {
  changeClient,
  type ClientData,
  clientsText,
  clientText,
  createClient,
  type NewClient,
} from "./client.ts";
import { type Managing, managingCommand } from "./managing.ts";
import { ALL_APPS, CLIENT, clientOf, findActions, findApps } from "./argument-values.ts";
import { SET_CLIENT_COMMAND } from "./set-client.ts";
import { ServiceError } from "../errors.ts";

const GRANT_OPTIONS: readonly OptionSpec[] = [
  {
    name: "apps",
    value: "<app,…>",
    meaning: { en: "The apps, comma-separated, or all", zh: "应用名，以逗号分隔；all 表示全部" },
  },
  {
    name: "actions",
    value: "<action,…>",
    meaning: {
      en: `What may be done: ${ACTIONS.join(", ")}`,
      zh: `允许的操作：${ACTIONS.join("、")}`,
    },
  },
];

/** `accesstoken clients …`: access control of clients. */
export const CLIENT_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["clients", "add"],
    meaning: {
      en: "Make a client: a program of one environment",
      zh: "添加客户端：某个环境的一个程序",
    },
    notes: [
      {
        en: "It gets no key by that: see accesstoken keys create.",
        zh: "此命令不会生成密钥，请另用 accesstoken keys create。",
      },
      {
        en: "Without --delivery and --policy: in prod real tokens and all paths; elsewhere virtual tokens and no-messaging.",
        zh: "不带 --delivery 和 --policy 时：prod为真实token和全部接口，其他环境为虚拟token和 no-messaging。",
      },
    ],
    positionals: [CLIENT],
    options: [
      {
        name: "environment",
        value: "<name>",
        meaning: { en: "prod, pre, st, dev or any other; needed", zh: "必填；prod、pre、st、dev或其他名称" },
      },
      ...GRANT_OPTIONS,
      {
        name: "network",
        value: "<cidr>",
        isRepeatable: true,
        meaning: {
          en: "Network that it may call from; repeatable. Default: any",
          zh: "允许的来源网段，可重复；默认不限",
        },
      },
      {
        name: "expires",
        value: "<time>",
        meaning: {
          en: "When it expires, as 2027-01-31 or 90d. Default: never",
          zh: "失效时间，如 2027-01-31 或 90d；默认不失效",
        },
      },
      {
        name: "rate",
        value: "<n>",
        meaning: { en: "Requests a second. Default: any number", zh: "每秒请求数上限；默认不限" },
      },
      {
        name: "concurrency",
        value: "<n>",
        meaning: {
          en: "Requests at once through the gateway. Default: 96",
          zh: "经网关同时进行的请求数上限；默认96",
        },
      },
      ...REACH_OPTIONS,
    ],
    mayCreate: true,
    run: addClient,
  }),
  managingCommand({
    words: ["clients", "list"],
    meaning: { en: "Every client and what it may do", zh: "列出全部客户端及其授权" },
    run: async ({ api, show }) => {
      const page = await api.list<"clients", ClientData>({
        path: "/v1/clients",
        name: "clients",
        cursor: "after",
      });
      await show(page, () => clientsText(page.clients));
    },
  }),
  managingCommand({
    words: ["clients", "show"],
    meaning: { en: "One client", zh: "查看一个客户端" },
    positionals: [CLIENT],
    run: async ({ args, api, show }) => {
      const data = await api.get<ClientData>(apiPath`/v1/clients/${clientOf(args)}`);
      await show(data, () => clientText(data));
    },
  }),
  SET_CLIENT_COMMAND,
  managingCommand({
    words: ["clients", "grant"],
    meaning: { en: "Let a client do more", zh: "为客户端增加授权" },
    positionals: [CLIENT],
    options: GRANT_OPTIONS,
    run: async (at) => {
      const grant = findGrant(at.args);
      if (!grant) throw usageError("缺少 --apps 和 --actions (--apps and --actions are missing)");
      await changeGrants(at, (grants) => addGrant(grants, grant));
    },
  }),
  managingCommand({
    words: ["clients", "revoke"],
    meaning: { en: "Let a client do less", zh: "撤销客户端的授权" },
    notes: [
      {
        en: "Without --apps on every app, without --actions every action; without both it may do nothing any more.",
        zh: "不带 --apps 表示所有应用，不带 --actions 表示所有操作；两者都不带则撤销全部授权。",
      },
    ],
    positionals: [CLIENT],
    options: GRANT_OPTIONS,
    run: revokeGrants,
  }),
  managingCommand({
    words: ["clients", "remove"],
    meaning: { en: "Forget a client and its keys", zh: "删除客户端及其全部密钥" },
    positionals: [CLIENT],
    run: async ({ args, api, show, terminal }) => {
      const client = clientOf(args);
      const { data } = await api.send<object>({ method: "DELETE", path: apiPath`/v1/clients/${client}` });
      await show(data, () => ({ en: `${client} is removed\n`, zh: `已删除 ${client}\n` })[terminal.language]);
    },
  }),
];

async function addClient(at: Managing): Promise<void> {
  const { args, terminal, show } = at;
  const grant = findGrant(args);
  const networks = networksOf(args);
  const expires = findEnd(args, terminal.clock.now());
  const rate = findRate(args);
  const concurrency = findConcurrency(args);
  const delivery = findDelivery(args);
  const policy = findNewPolicy(args);
  const data = await createClient(at, {
    client: clientOf(args),
    environment: args.get("environment"),
    grants: grant ? [grant] : [],
    ...(networks.length === 0 ? {} : { networks }),
    ...(expires === undefined ? {} : { expires_at: expires }),
    ...(rate === undefined ? {} : { rate_limit: rate }),
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(delivery === undefined ? {} : { delivery }),
    ...(policy === undefined ? {} : { policy }),
  });
  await show(data, () => clientText(data));
}

/** The policy of a new client; undefined for the one that its environment brings. */
function findNewPolicy(args: Arguments): NewClient["policy"] {
  const preset = findPreset(args);
  const allow = findPatterns(args, "allow");
  const deny = findPatterns(args, "deny");
  if (preset) return { preset, ...(allow ? { allow } : {}), ...(deny ? { deny } : {}) };
  if (!allow && !deny) return undefined;
  throw usageError("--allow和--deny须与 --policy 一起使用 (--allow and --deny need --policy)");
}

/** The grant of `--apps` and `--actions`; undefined without both. `admin` is on every app by its nature. */
function findGrant(args: Arguments): Grant | undefined {
  const actions = findActions(args);
  const apps = findApps(args) ?? (actions?.join() === "admin" ? [ALL_APPS] : undefined);
  if (apps && actions) return { apps, actions };
  if (!apps && !actions) return undefined;
  const missing = apps ? "actions" : "apps";
  throw usageError(`缺少 --${missing} (--${missing} is missing)`);
}

async function revokeGrants(at: Managing): Promise<void> {
  const taking = { apps: findApps(at.args), actions: findActions(at.args) };
  const data = await changeGrants(at, (grants) => {
    const left = takeGrants(grants, taking);
    // A failure: a misspelt app must not look as if its grant was revoked.
    if (left === grants) throw nothingToRevoke();
    return left;
  });
  if (isAdmin(data)) {
    at.note({
      en: "It is still an administrator, who may do everything on every app",
      zh: "它仍是管理员，可对所有应用执行所有操作",
    });
  }
}

/** Changes a client's current grants, and shows the client. */
async function changeGrants(
  at: Managing,
  change: (grants: readonly Grant[]) => readonly Grant[],
): Promise<ClientData> {
  const { client, isChanged } = await changeClient(at, ({ grants: current }) => {
    const grants = change(current);
    return grants === current ? undefined : { grants };
  });
  if (!isChanged) at.note({ en: "It may do that already", zh: "该授权已存在" });
  await at.show(client, () => clientText(client));
  return client;
}

function nothingToRevoke(): ServiceError {
  return new ServiceError(
    "conflict",
    "没有这样的授权，未作任何更改 (it has no such grant; nothing was changed)",
  );
}
