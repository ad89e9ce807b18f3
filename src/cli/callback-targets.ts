import type { Static } from "@sinclair/typebox";
import type { callbackData, RouteData, savedTargetData } from "../api/v1-callbacks-schema.ts";
import { TARGET_CONTENTS } from "../callbacks/callback-settings.ts";
import type { Language } from "../config.ts";
import { ServiceError } from "../errors.ts";
import { apiPath } from "./api.ts";
import { APP, appOf, findList, parseDuration } from "./argument-values.ts";
import {
  type Arguments,
  bilingual,
  type CommandSpec,
  type OptionSpec,
  option,
  type PositionalSpec,
  usageError,
} from "./arguments.ts";
import { readSecretFiles } from "./file-arguments.ts";
import { withEnvironment } from "./client.ts";
import { type Managing, managingCommand, YES, remove } from "./managing.ts";
import { urlFields } from "./platform-urls.ts";
import { localTime, plainText, textFields, textTable } from "./terminal.ts";

type CallbackData = Static<typeof callbackData>;
type SavedTarget = Static<typeof savedTargetData>;

const ATTEMPTS = 3;
const TARGET: PositionalSpec = {
  name: "target",
  meaning: bilingual("The target's name, as dev", "目标名称，如 dev"),
};

/** The options by which a rule is told, and their names in the API. */
const RULE_LISTS = { type: "types", event: "events", "event-key": "event_keys", openid: "openids" } as const;
const ROUTE_OPTIONS: readonly OptionSpec[] = [
  option("--copy", "Send it copies; by default its answer counts", "只发送副本；默认由它应答"),
  option(
    "--type <type,…>",
    "Only messages of these types, as text or event",
    "仅这些消息类型，如 text、event",
  ),
  option("--event <event,…>", "Only these events, as subscribe or CLICK", "仅这些事件，如 subscribe、CLICK"),
  option(
    "--event-key <key,…>",
    "Only these event keys; ending in * a prefix",
    "仅这些事件KEY；以 * 结尾为前缀匹配",
  ),
  option(
    "--openid <openid,…>",
    "Only these users: as a tester's for dev",
    "仅这些用户，如把测试人员的消息发到dev",
  ),
];

/** `accesstoken callbacks target …`: where pushes go. */
export const TARGET_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["callbacks", "target"],
    meaning: bilingual(
      "Send pushes somewhere, or change how; with --route at once by that rule",
      "添加或修改推送目标；加 --route 则同时按规则添加路由",
    ),
    notes: [
      bilingual(
        "Without --to it is pulled, as by callbacks tail. What is not given stays as it is.",
        "不给出 --to 时由程序拉取，如 callbacks tail。未给出的保持不变。",
      ),
    ],
    positionals: [APP, TARGET],
    options: [
      option("--environment <name>", "Whose it is. Default: the target's name", "所属环境，默认与目标同名"),
      option(
        "--to <url>",
        "Where pushes are sent: https; $APPID$ and $CORPID$ stand for the app's id",
        "推送地址，https；$APPID$、$CORPID$ 代表应用的id",
      ),
      option("--pull", "It is pulled from now on", "改为由程序拉取"),
      option(
        "--content reencrypted|decrypted|original",
        "What it is sent: under its own Token and key; in clear with an HMAC header; or the bytes as they came. At first: reencrypted",
        "发送内容：用自己的Token和密钥重新加密；明文并附HMAC头；或原始报文。初始为reencrypted",
      ),
      option("--token-file <file>", "File with its own Token. Default: made", "该目标的Token文件；默认生成"),
      option(
        "--aes-key-file <file>",
        "File with its own EncodingAESKey. Default: made",
        "该目标的EncodingAESKey文件；默认生成",
      ),
      option(
        "--hmac-key-file <file>",
        "File with the key of its HMAC header. Default: made",
        "HMAC密钥文件；默认生成",
      ),
      option("--new-keys", "Make its keys anew", "重新生成该目标的密钥"),
      option(
        "--timeout <duration>",
        "How long it may take, 20s at most. Default: 10s",
        "超时，最多20s，默认10s",
      ),
      option("--route", "Add a route to it, for all pushes or by the rule below", "同时添加路由，规则如下"),
      ...ROUTE_OPTIONS,
    ],
    run: async (at) => {
      const { args, api, show, note } = at;
      const app = appOf(args);
      const name = args.get("target");
      const routed = args.isSet("route");
      const route = routeOf(args, name);
      if (!routed && (route.role === "copy" || Object.keys(route).length > 2))
        throw usageError(
          "--copy、--type、--event、--event-key 和 --openid 须与 --route 一起使用 (--copy, --type, --event, --event-key and --openid make sense with --route only)",
        );
      const body = await targetBody(at);
      const path = apiPath`/v1/apps/${app}/callbacks/targets/${name}`;
      const data = await putTarget(at, path, body, name);
      if (routed) noteBehind(at, await changeRoutes(at, (routes) => withRoute(routes, route)), route);
      await show(data, () => targetText(data));
      if (data.token ?? data.aes_key ?? data.hmac_key)
        note(bilingual("Keys are not shown again", "密钥不会再次显示"));
      const { routes } = await api.get<CallbackData>(apiPath`/v1/apps/${app}/callbacks`);
      if (!routes.some((each) => each.target === name))
        note(
          bilingual(
            `No route leads to it yet: accesstoken callbacks route ${app} ${name}`,
            `尚无路由指向它，请执行 accesstoken callbacks route ${app} ${name}`,
          ),
        );
    },
  }),
  managingCommand({
    words: ["callbacks", "remove-target"],
    meaning: bilingual("Remove a target and the routes to it", "删除目标及指向它的路由"),
    positionals: [APP, TARGET],
    options: [YES],
    run: (at) => {
      const name = at.args.get("target");
      const question = bilingual(
        `Remove ${name}, its keys and the routes to it?`,
        `删除 ${name} 及其密钥和指向它的路由？`,
      );
      return remove(at, name, apiPath`/v1/apps/${appOf(at.args)}/callbacks/targets/${name}`, question);
    },
  }),
  managingCommand({
    words: ["callbacks", "route"],
    meaning: bilingual("Send pushes to a target, all of them or by a rule", "添加到目标的路由，可带规则"),
    notes: [
      bilingual(
        "Routes are looked at in order. One with a rule comes before those for all pushes, unless --at says where.",
        "路由按顺序匹配。带规则的排在不带规则的之前，也可用 --at 指定位置。",
      ),
    ],
    positionals: [APP, TARGET],
    options: [...ROUTE_OPTIONS, option("--at <n>", "Its place, from 1", "位置，从1开始")],
    run: async (at) => {
      const route = routeOf(at.args, at.args.get("target"));
      const place = at.args.findNumber("at", { min: 1, max: 200 });
      const data = await changeRoutes(at, (routes) => withRoute(routes, route, place));
      await showRoutes(at, data);
      noteBehind(at, data, route);
    },
  }),
  managingCommand({
    words: ["callbacks", "remove-route"],
    meaning: bilingual(
      "Remove a route by its number in callbacks show",
      "按 callbacks show 中的编号删除路由",
    ),
    positionals: [APP, { name: "n", meaning: bilingual("Its number, from 1", "编号，从1开始") }],
    run: async (at) => {
      const place = Number(/^\d{1,3}$/.exec(at.args.get("n"))?.[0]);
      await showRoutes(
        at,
        await changeRoutes(at, (routes) => {
          if (!(place >= 1 && place <= routes.length))
            throw usageError(
              "<n>: 没有该路由，编号见 callbacks show (there is no such route: callbacks show numbers them)",
            );
          return routes.toSpliced(place - 1, 1);
        }),
      );
    },
  }),
];

/** What is said of a target, as a body has it. */
async function targetBody({ args, terminal }: Managing): Promise<Record<string, unknown>> {
  const {
    "token-file": token,
    "aes-key-file": aesKey,
    "hmac-key-file": hmacKey,
  } = await readSecretFiles(["token-file", "aes-key-file", "hmac-key-file"], args, terminal);
  const [to, content, timeout] = [args.find("to"), args.find("content"), args.find("timeout")];
  if (to !== undefined && args.isSet("pull"))
    throw usageError("--to 与 --pull 只能给出一个 (give --to or --pull, not both)");
  if (content !== undefined && !TARGET_CONTENTS.some((each) => each === content))
    throw usageError(
      "--content: 应为 reencrypted、decrypted 或 original (must be reencrypted, decrypted or original)",
    );
  const body = {
    environment: args.find("environment"),
    url: args.isSet("pull") ? null : to,
    ...{ content, token, aes_key: aesKey, hmac_key: hmacKey },
    new_keys: args.isSet("new-keys") ? true : undefined,
    timeout: timeout === undefined ? undefined : parseDuration("timeout", timeout, 20),
  };
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
}

/** A new one is of the environment of its own name, unless it was said. */
async function putTarget(
  at: Managing,
  path: string,
  body: Record<string, unknown>,
  name: string,
): Promise<SavedTarget> {
  const { api, args } = at;
  const put = async (whole: object) =>
    (await api.send<SavedTarget>({ method: "PUT", path, body: whole })).data;
  const environment = args.find("environment") ?? ((await api.find(path)) ? undefined : name);
  if (environment === undefined) return put(body);
  return withEnvironment(at, environment, () => put({ ...body, environment }));
}

/** Says that a route for all pushes gets none as long as one before it can be sent them. */
function noteBehind({ note }: Managing, { routes, targets }: CallbackData, route: RouteData): void {
  const isForAll = (each: RouteData) => each.role === "primary" && Object.keys(each).length === 2;
  const place = routes.findIndex((each) => Bun.deepEquals(each, route));
  const isSent = new Set(targets.flatMap(({ target, url }) => (url === undefined ? [] : [target])));
  const before = routes.findIndex((each) => isForAll(each) && isSent.has(each.target));
  if (!isForAll(route) || before === -1 || before >= place) return;
  const to = plainText(routes[before]?.target ?? "");
  note(
    bilingual(
      `Route ${place + 1} gets nothing while route ${before + 1}, to ${to}, can be reached`,
      `第 ${before + 1} 条路由（${to}）可达时，第 ${place + 1} 条收不到推送`,
    ),
  );
}

function routeOf(args: Arguments, target: string): RouteData {
  const lists = Object.entries(RULE_LISTS).flatMap(([name, field]) => {
    const list = findList(args, name);
    return list ? [[field, list]] : [];
  });
  return { target, role: args.isSet("copy") ? "copy" : "primary", ...Object.fromEntries(lists) };
}

/** `routes` with one more: at that place, else before those for all pushes if it has a rule. The same again changes nothing. */
function withRoute(routes: readonly RouteData[], route: RouteData, place?: number): readonly RouteData[] {
  if (place === undefined && routes.some((each) => Bun.deepEquals(each, route))) return routes;
  const isForAll = (each: RouteData) => Object.keys(each).length === 2;
  const firstForAll = routes.findIndex((each) => isForAll(each));
  const end = isForAll(route) || firstForAll === -1 ? routes.length : firstForAll;
  return routes.toSpliced(place === undefined ? end : place - 1, 0, route);
}

/** Changes an app's routes, and tries again when another change came first. */
async function changeRoutes(
  { api, args }: Managing,
  change: (routes: readonly RouteData[]) => readonly RouteData[],
): Promise<CallbackData> {
  const path = apiPath`/v1/apps/${appOf(args)}/callbacks`;
  for (let attempt = 1; ; attempt++) {
    const { data, etag } = await api.send<CallbackData>({ method: "GET", path });
    const body = { routes: change(data.routes) };
    const ifMatch = etag === undefined ? {} : { ifMatch: etag };
    try {
      return (await api.send<CallbackData>({ method: "PUT", path: `${path}/routes`, body, ...ifMatch })).data;
    } catch (error) {
      const wasOvertaken = error instanceof ServiceError && error.code === "precondition_failed";
      if (!wasOvertaken || attempt === ATTEMPTS) throw error;
    }
  }
}

function showRoutes({ show }: Managing, data: CallbackData): Promise<void> {
  return show({ routes: data.routes }, () => routesText(data.routes));
}

/** Settings, targets and routes for a person. */
export function callbackText(data: CallbackData, language: Language): string {
  return [
    textFields({
      app: data.app,
      ...(data.kind === undefined
        ? { URL: data.callback_url }
        : urlFields(data.kind, [data.callback_url, data.message_url], language)),
      damaged: data.damaged ? "yes" : undefined,
      mode: data.mode,
      format: data.format,
      "receive ids": data.receive_ids?.map((id) => id || '""').join(","),
      rotating: data.rotating ? "yes" : undefined,
      platform: data.platform_app,
      checked: data.platform_app === undefined ? checkedText(data, language) : undefined,
      version: data.version?.toString(),
    }),
    ...(data.targets.length === 0 ? [] : [targetsText(data.targets)]),
    ...(data.routes.length === 0 ? [] : [routesText(data.routes)]),
  ].join("\n");
}

function checkedText({ checked_at: at }: CallbackData, language: Language): string {
  return localTime(at) ?? bilingual("never", "从未")[language];
}

function targetsText(targets: CallbackData["targets"]): string {
  return textTable(targets, {
    TARGET: ({ target }) => target,
    ENVIRONMENT: ({ environment }) => environment,
    CONTENT: ({ content }) => content,
    TIMEOUT: ({ timeout }) => (timeout === undefined ? undefined : `${timeout}s`),
    PULLED: ({ pulled_at }) => localTime(pulled_at),
    URL: ({ url }) => url ?? "(pull)",
  });
}

function targetText(data: SavedTarget): string {
  const { target, environment, url, content, timeout } = data;
  return textFields({
    ...{ target, environment, url: url ?? "(pull)", content },
    timeout: timeout === undefined ? undefined : `${timeout}s`,
    ...keysText(data),
  });
}

function routesText(routes: readonly RouteData[]): string {
  const numbered = routes.map((route, n) => ({ ...route, n: n + 1 }));
  return textTable(numbered, {
    ROUTE: ({ n }) => String(n),
    ROLE: ({ role }) => role,
    TARGET: ({ target }) => target,
    TYPE: ({ types }) => types?.join(","),
    EVENT: ({ events }) => events?.join(","),
    KEY: ({ event_keys }) => event_keys?.join(","),
    OPENID: ({ openids }) => openids?.join(","),
  });
}

/** Secrets that were made just now, under the names that consoles and SDKs have for them. */
export function keysText({
  token,
  aes_key,
  hmac_key,
}: Pick<SavedTarget, "token" | "aes_key" | "hmac_key">): Record<string, string | undefined> {
  return { Token: token, EncodingAESKey: aes_key, "HMAC key": hmac_key };
}
