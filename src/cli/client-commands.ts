import { ACTIONS, type Grant, isAdmin, SERVICE_ACTIONS } from "../access/client.ts";
import { apiPath } from "./api.ts";
import {
  type Arguments,
  type CommandSpec,
  type OptionSpec,
  usageError,
  option,
  bilingual,
} from "./arguments.ts";
import {
  findConcurrency,
  findDelivery,
  findEnd,
  findNewPolicy,
  findOrigins,
  findRate,
  networksOf,
  REACH_OPTIONS,
  SET_CLIENT_COMMAND,
} from "./set-client.ts";
import {
  addGrant,
  changeClient,
  clientsText,
  clientText,
  createClient,
  firstSteps,
  takeGrants,
  virtualNote,
  withEnvironment,
} from "./client.ts";
import type { ClientData } from "../api/v1-clients-schema.ts";
import { type Managing, managingCommand, YES, remove } from "./managing.ts";
import { ALL_APPS, CLIENT, clientOf, EXPIRES, findActions, findApps } from "./argument-values.ts";
import { ServiceError } from "../errors.ts";

const GRANT_OPTIONS: readonly OptionSpec[] = [
  option("--apps <app,…>", "The apps, comma-separated, or all", "应用名，以逗号分隔；all 表示全部"),
  option(
    "--actions <action,…>",
    `What may be done: ${ACTIONS.join(", ")}; ${SERVICE_ACTIONS.join(" and ")} with all apps only`,
    `允许的操作：${ACTIONS.join("、")}；${SERVICE_ACTIONS.join("和")}只能用于全部应用`,
  ),
];

/** `accesstoken clients …`: access control of clients. */
export const CLIENT_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["clients", "add"],
    meaning: bilingual("Make a client: a program of one environment", "添加客户端：某个环境的一个程序"),
    notes: [
      bilingual(
        "It gets no key by that: see accesstoken keys create.",
        "此命令不会生成密钥，请另用 accesstoken keys create。",
      ),
      bilingual(
        "Without --delivery: virtual tokens, which work through this service only; for programs that call WeChat themselves: --delivery real.",
        "不带 --delivery 时为虚拟token，只能经本服务使用；自行调用微信的程序请用 --delivery real。",
      ),
      bilingual(
        "Without --policy: all paths in an environment that is production; elsewhere, and with --test-openids, safe.",
        "不带 --policy 时：生产环境为全部接口；其他环境，以及指定了 --test-openids 时，为 safe。",
      ),
    ],
    positionals: [CLIENT],
    options: [
      option(
        "--environment <name>",
        "prod, pre, st, dev or any other; needed",
        "必填；prod、pre、st、dev或其他名称",
      ),
      ...GRANT_OPTIONS,
      {
        ...option(
          "--network <cidr>",
          "Network that it may call from; repeatable. Default: any",
          "允许的来源网段，可重复；默认不限",
        ),
        isRepeatable: true,
      },
      EXPIRES,
      option("--rate <n>", "Requests a second. Default: any number", "每秒请求数上限；默认不限"),
      option(
        "--concurrency <n>",
        "Requests at once through the gateway. Default: 96",
        "经网关同时进行的请求数上限；默认96",
      ),
      ...REACH_OPTIONS,
    ],
    mayCreate: true,
    run: addClient,
  }),
  managingCommand({
    words: ["clients", "list"],
    meaning: bilingual("Every client and what it may do", "列出全部客户端及其授权"),
    options: [
      option("--app <app>", "Only those that may use this app", "仅可使用该应用的"),
      option("--environment <name>", "Only this environment's", "仅该环境的"),
    ],
    run: async ({ args, api, show }) => {
      const page = await api.list<"clients", ClientData>({
        path: "/v1/clients",
        name: "clients",
        cursor: "after",
      });
      const [app, environment] = [args.find("app"), args.find("environment")];
      const clients = page.clients.filter(
        (each) =>
          (environment === undefined || each.environment === environment) &&
          (app === undefined ||
            each.grants.some(({ apps }) => apps.includes(app) || apps.includes(ALL_APPS))),
      );
      await show({ ...page, clients }, () => clientsText(clients));
    },
  }),
  managingCommand({
    words: ["clients", "show"],
    meaning: bilingual("One client", "查看一个客户端"),
    positionals: [CLIENT],
    run: async ({ args, api, show }) => {
      const data = await api.get<ClientData>(apiPath`/v1/clients/${clientOf(args)}`);
      await show(data, () => clientText(data));
    },
  }),
  SET_CLIENT_COMMAND,
  managingCommand({
    words: ["clients", "grant"],
    meaning: bilingual("Let a client do more", "为客户端增加授权"),
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
    meaning: bilingual("Let a client do less", "撤销客户端的授权"),
    notes: [
      bilingual(
        "Without --apps on every app, without --actions every action; one of them is needed: --apps all takes everything.",
        "不带 --apps 表示所有应用，不带 --actions 表示所有操作，至少带其一；--apps all 撤销全部授权。",
      ),
    ],
    positionals: [CLIENT],
    options: GRANT_OPTIONS,
    run: revokeGrants,
  }),
  managingCommand({
    words: ["clients", "remove"],
    meaning: bilingual("Forget a client and its keys", "删除客户端及其全部密钥"),
    positionals: [CLIENT],
    options: [YES],
    run: (at) => {
      const client = clientOf(at.args);
      const question = bilingual(`Forget ${client} and all its keys?`, `删除 ${client} 及其全部密钥？`);
      return remove(at, client, apiPath`/v1/clients/${client}`, question);
    },
  }),
];

async function addClient(at: Managing): Promise<void> {
  const { args, terminal, show } = at;
  const grant = findGrant(args);
  const networks = networksOf(args);
  const origins = findOrigins(args);
  const expires = findEnd(args, terminal.clock.now());
  const rate = findRate(args);
  const concurrency = findConcurrency(args);
  const delivery = findDelivery(args);
  const policy = findNewPolicy(args);
  const environment = args.get("environment");
  const body = {
    client: clientOf(args),
    environment,
    grants: grant ? [grant] : [],
    ...(networks.length === 0 ? {} : { networks }),
    ...(origins === undefined ? {} : { origins }),
    ...(expires === undefined ? {} : { expires_at: expires }),
    ...(rate === undefined ? {} : { rate_limit: rate }),
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(delivery === undefined ? {} : { delivery }),
    ...(policy === undefined ? {} : { policy }),
  };
  const data = await withEnvironment(at, environment, () => createClient(at, body));
  await show(data, () => clientText(data));
  if (data.delivery === "virtual") at.note(virtualNote(at, data));
  at.note(firstSteps(at, data));
}

/** The grant of `--apps` and `--actions`; undefined without both. What is about the service is on every app by its nature. */
function findGrant(args: Arguments): Grant | undefined {
  const actions = findActions(args);
  const apps =
    findApps(args) ?? (actions?.every((each) => SERVICE_ACTIONS.includes(each)) ? [ALL_APPS] : undefined);
  if (apps && actions) return { apps, actions };
  if (!apps && !actions) return undefined;
  const missing = apps ? "actions" : "apps";
  throw usageError(`缺少 --${missing} (--${missing} is missing)`);
}

async function revokeGrants(at: Managing): Promise<void> {
  const taking = { apps: findApps(at.args), actions: findActions(at.args) };
  if (!taking.apps && !taking.actions)
    throw usageError(
      "请用 --apps 或 --actions 指明撤销什么，--apps all 为全部 (say what: --apps or --actions; --apps all takes everything)",
    );
  const data = await changeGrants(at, (grants) => {
    const left = takeGrants(grants, taking);
    // A failure: a misspelt app must not look as if its grant was revoked.
    if (left === grants) throw nothingToRevoke();
    return left;
  });
  if (isAdmin(data)) {
    at.note(
      bilingual(
        "It is still an administrator, who may do everything on every app",
        "它仍是管理员，可对所有应用执行所有操作",
      ),
    );
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
  if (!isChanged) at.note(bilingual("It may do that already", "该授权已存在"));
  await at.show(client, () => clientText(client));
  return client;
}

function nothingToRevoke(): ServiceError {
  return new ServiceError(
    "conflict",
    "没有这样的授权，未作任何更改 (it has no such grant; nothing was changed)",
  );
}
