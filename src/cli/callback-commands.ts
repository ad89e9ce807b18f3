import type { Static } from "@sinclair/typebox";
import type { callbackData, savedCallbackData } from "../api/v1-callbacks-schema.ts";
import type { Language } from "../config.ts";
import { ServiceError } from "../errors.ts";
import { apiPath } from "./api.ts";
import { APP, appOf, findOneOf, parseDuration } from "./argument-values.ts";
import {
  type Arguments,
  bilingual,
  type CommandSpec,
  type OptionSpec,
  option,
  type Text,
} from "./arguments.ts";
import { callbackText, keysText, TARGET_COMMANDS } from "./callback-targets.ts";
import { DELIVERY_COMMANDS } from "./delivery-commands.ts";
import { readPushKeys } from "./file-arguments.ts";
import { confirm, type Managing, managingCommand, YES, remove } from "./managing.ts";
import { PLATFORM_CONSOLES, urlFields } from "./platform-urls.ts";
import { localTime, textFields, textTable } from "./terminal.ts";

type CallbackData = Static<typeof callbackData>;
type SavedData = Static<typeof savedCallbackData>;

const LOOK_MS = 2000;
const MAX_WAIT_SECONDS = 86_400;

const KEY_OPTIONS: readonly OptionSpec[] = [
  option(
    "--token-file <file>",
    "File with the Token that is in use; - for standard input. Default: one is made",
    "使用中的Token所在文件；- 表示标准输入；默认生成",
  ),
  option(
    "--aes-key-file <file>",
    "File with the EncodingAESKey that is in use; likewise",
    "使用中的EncodingAESKey所在文件；同上",
  ),
];
const WAIT = option(
  "--wait <duration>",
  "Wait as long as that, as 10m, until WeChat has checked the URL",
  "等待微信验证URL，最长如 10m",
);

/** `accesstoken callbacks …`: how pushes are verified, where they go, and what became of them. */
export const CALLBACK_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["callbacks", "set"],
    meaning: bilingual(
      "Receive an app's pushes, or change how; says what to enter in WeChat's console",
      "设置应用的消息推送，并给出应填入微信后台的内容",
    ),
    notes: [
      bilingual(
        "What is not given stays as it is. A Token or key that is given takes the place of the current one at once: to change them without losing a push, use callbacks rotate.",
        "未给出的保持不变。给出的Token或密钥会立即取代当前值；要平滑更换请用 callbacks rotate。",
      ),
    ],
    positionals: [APP],
    options: [
      ...KEY_OPTIONS,
      option(
        "--mode secure|compat|plain",
        "As the console is set. At first: secure; WeCom's is always secure",
        "与后台的加解密方式一致，初始为secure（安全模式）；企业微信只能为secure",
      ),
      option("--format xml|json", "As the console is set. At first: xml", "与后台的数据格式一致，初始为xml"),
      {
        ...option(
          "--receive-id <id>",
          "Whom encrypted pushes may be meant for, empty for nobody named. At first: the appid, or the corpid; of a suite its id and its provider's corpid",
          "加密推送中允许的接收方，可为空；初始为appid或corpid，第三方应用为suite_id和服务商corpid",
        ),
        isRepeatable: true,
      },
      WAIT,
    ],
    run: async (at) => {
      const path = pathOf(at.args);
      const ids = at.args.all("receive-id");
      const body = {
        ...(await keysOf(at)),
        ...choice(at.args, "mode", ["secure", "compat", "plain"]),
        ...choice(at.args, "format", ["xml", "json"]),
        ...(ids.length === 0 ? {} : { receive_ids: ids }),
      };
      const { data } = await at.api.send<SavedData>({ method: "PUT", path, body });
      await showEntry(at, data);
    },
  }),
  managingCommand({
    words: ["callbacks", "show"],
    meaning: bilingual(
      "How an app's pushes are verified, its targets and its routes",
      "查看应用的消息推送设置、目标和路由",
    ),
    positionals: [APP],
    run: async (at) => {
      const data = await at.api.get<CallbackData>(pathOf(at.args));
      await at.show(data, () => callbackText(data, at.terminal.language));
    },
  }),
  managingCommand({
    words: ["callbacks", "list"],
    meaning: bilingual("The apps whose pushes are received", "列出已设置消息推送的应用"),
    run: async ({ api, show }) => {
      const list = { path: "/v1/callbacks", name: "callbacks", cursor: "after" } as const;
      const page = await api.list<"callbacks", CallbackData>(list);
      await show(page, () =>
        textTable(page.callbacks, {
          APP: ({ app }) => app,
          MODE: ({ mode, damaged }) => (damaged ? "damaged" : mode),
          FORMAT: ({ format }) => format,
          CHECKED: ({ checked_at }) => localTime(checked_at),
          TARGETS: ({ targets }) => targets.map(({ target }) => target).join(","),
          ROTATING: ({ rotating }) => (rotating ? "yes" : undefined),
        }),
      );
    },
  }),
  managingCommand({
    words: ["callbacks", "rotate"],
    meaning: bilingual(
      "Change Token and EncodingAESKey; the former are accepted too until callbacks finish",
      "轮换Token和EncodingAESKey，旧的在 callbacks finish 之前仍被接受",
    ),
    positionals: [APP],
    options: [
      option("--only token|aes-key", "Change one of the two only", "只更换其中一个"),
      ...KEY_OPTIONS,
      WAIT,
    ],
    run: async (at) => {
      const only = choice(at.args, "only", ["token", "aes-key"]).only?.replace("-", "_");
      const body = { ...(await keysOf(at)), ...(only === undefined ? {} : { only }) };
      const path = `${pathOf(at.args)}/rotate`;
      const { data } = await at.api.send<SavedData>({ method: "POST", path, body });
      await showEntry(at, data);
      at.note(
        bilingual(
          `Once WeChat's console has them: accesstoken callbacks finish ${data.app}`,
          `在微信后台更新之后，请执行 accesstoken callbacks finish ${data.app}`,
        ),
      );
    },
  }),
  managingCommand({
    words: ["callbacks", "finish"],
    meaning: bilingual(
      "Accept the former Token and EncodingAESKey no more",
      "结束轮换，不再接受旧的Token和EncodingAESKey",
    ),
    positionals: [APP],
    options: [YES],
    run: async (at) => {
      const path = pathOf(at.args);
      const before = await at.api.get<CallbackData>(path);
      if (before.rotating && before.checked_at === undefined)
        await confirm(
          at,
          bilingual(
            "WeChat has not checked the URL with the new Token yet, so it may still use the former. Accept that no more?",
            "微信尚未用新的Token验证过URL，可能仍在使用旧的。确定不再接受旧的？",
          ),
        );
      const { data } = await at.api.send<CallbackData>({ method: "POST", path: `${path}/finish` });
      await at.show(data, () => callbackText(data, at.terminal.language));
    },
  }),
  managingCommand({
    words: ["callbacks", "remove"],
    meaning: bilingual(
      "Receive an app's pushes no more; forget its targets and routes",
      "不再接收应用的推送，并删除其目标和路由",
    ),
    positionals: [APP],
    options: [YES],
    run: (at) => {
      const app = appOf(at.args);
      const question = bilingual(
        `Refuse the pushes of ${app} from now on, and forget its targets and routes?`,
        `从现在起拒绝 ${app} 的推送，并删除其目标和路由？`,
      );
      return remove(at, app, pathOf(at.args), question);
    },
  }),
  ...TARGET_COMMANDS,
  managingCommand({
    words: ["callbacks", "tail"],
    meaning: bilingual(
      "Print pushes as they come, and forward them to a program on this machine",
      "实时显示推送，并可转发到本机的程序",
    ),
    notes: [
      bilingual(
        "Takes the pushes of targets without a URL. With --forward the program's answer is sent back as the reply; a push that it does not take comes again. Ends by Ctrl+C.",
        "接收没有URL的目标的推送。加 --forward 时将程序的应答作为回复发回，程序未接受的推送会再次到达。按 Ctrl+C 结束。",
      ),
    ],
    positionals: [APP],
    options: [
      option(
        "--target <target>",
        "Only this target's. Default: all that may be pulled",
        "仅该目标，默认全部可拉取的目标",
      ),
      option(
        "--forward <url>",
        "As http://localhost:8080/wx; $APPID$ and $CORPID$ stand for whose each push is",
        "如 http://localhost:8080/wx；$APPID$、$CORPID$ 代表推送所属应用的id",
      ),
    ],
    run: async (at) => (await import("./tail.ts")).tail(at),
  }),
  ...DELIVERY_COMMANDS,
];

function pathOf(args: Arguments): string {
  return apiPath`/v1/apps/${appOf(args)}/callbacks`;
}

/** One of an option's values, under its name; nothing without it. */
function choice<Name extends string>(
  args: Arguments,
  name: Name,
  values: readonly string[],
): Partial<Record<Name, string>> {
  const value = findOneOf(args, name, values);
  return value === undefined ? {} : ({ [name]: value } as Record<Name, string>);
}

/** The Token and key of the files that were given, as a body has them. */
async function keysOf({ args, terminal }: Managing): Promise<{ token?: string; aes_key?: string }> {
  const { token, aesKey } = await readPushKeys(args, terminal);
  return { ...(token === undefined ? {} : { token }), ...(aesKey === undefined ? {} : { aes_key: aesKey }) };
}

/** Shows what to enter in WeChat's console, and with `--wait` waits until WeChat has checked it. */
async function showEntry(at: Managing, data: SavedData): Promise<void> {
  const { args, terminal, show, note } = at;
  const wait = args.find("wait");
  const waitMs = wait === undefined ? 0 : parseDuration("wait", wait, MAX_WAIT_SECONDS) * 1000;
  await show(data, () =>
    textFields({
      ...urlsOf(data, terminal.language),
      ...keysText(data),
      [bilingual("mode", "加解密方式")[terminal.language]]: data.mode && MODES[data.mode][terminal.language],
      [bilingual("format", "数据格式")[terminal.language]]: data.format?.toUpperCase(),
    }),
  );
  note(consoleOf(data));
  if (data.token !== undefined || data.aes_key !== undefined)
    note(bilingual("Token and EncodingAESKey are not shown again", "Token和EncodingAESKey不会再次显示"));
  if (data.targets.length === 0)
    note(
      bilingual(
        `Nobody gets its pushes yet: accesstoken callbacks target ${data.app} <name> …`,
        `尚无接收推送的目标，请执行 accesstoken callbacks target ${data.app} <name> …`,
      ),
    );
  if (waitMs > 0) await waitForCheck(at, data, waitMs);
}

/** What the console is given, by its own names: a third-party platform has two URLs. */
function urlsOf({ kind, callback_url: url, message_url: message }: CallbackData, language: Language) {
  const none = NO_URL[language];
  return kind === undefined
    ? { URL: url ?? none }
    : urlFields(kind, [url ?? none, message ?? none], language);
}

function consoleOf({ app, kind, platform_app: platform }: CallbackData): Text {
  if (kind !== undefined) return PLATFORM_CONSOLES[kind];
  if (platform !== undefined) return BY_PLATFORM;
  return app.includes("_") ? WECOM_CONSOLE : WEIXIN_CONSOLE;
}

async function waitForCheck({ api, args, note, terminal }: Managing, before: SavedData, waitMs: number) {
  note(bilingual("Waiting for WeChat to check the URL …", "正在等待微信验证URL……"));
  const { clock } = terminal;
  for (const endsAt = clock.monotonic() + waitMs; clock.monotonic() < endsAt; await clock.sleep(LOOK_MS)) {
    const { checked_at: checkedAt } = await api.get<CallbackData>(pathOf(args));
    if (checkedAt === undefined || checkedAt === before.checked_at) continue;
    const at = localTime(checkedAt);
    return note(bilingual(`WeChat has checked the URL at ${at}`, `微信已于 ${at} 验证URL`));
  }
  throw new ServiceError(
    "upstream_timeout",
    "微信未在时限内验证URL (WeChat has not checked the URL in time)",
    {
      hint: "请确认后台填写的URL、Token、EncodingAESKey无误，且该URL可从公网访问；被拒绝的请求见 accesstoken audit denials (check URL, Token and EncodingAESKey in the console, and that the URL can be reached from the internet; accesstoken audit denials shows what was refused)",
    },
  );
}

const NO_URL = bilingual(
  "set PUBLIC_URL, or the app's by accesstoken apps set --public-url",
  "请设置PUBLIC_URL，或用 accesstoken apps set --public-url 为该应用设置",
);

/** As the consoles call them. */
const MODES: Readonly<Record<"secure" | "compat" | "plain", Text>> = {
  secure: bilingual("secure (安全模式)", "安全模式"),
  compat: bilingual("compat (兼容模式)", "兼容模式"),
  plain: bilingual("plain (明文模式)", "明文模式"),
};

const WEIXIN_CONSOLE = bilingual(
  "Enter it at mp.weixin.qq.com. Official Account: Basic configuration → Server configuration (设置与开发 → 基本配置 → 服务器配置). Mini Program: Development settings → Message push (开发管理 → 开发设置 → 消息推送). Saving it there makes WeChat check the URL.",
  "请在 mp.weixin.qq.com 填入。公众号：设置与开发 → 基本配置 → 服务器配置；小程序：开发管理 → 开发设置 → 消息推送。提交时微信会验证URL。",
);
const BY_PLATFORM = bilingual(
  "There is nothing to enter: its pushes come to its platform's URL, with the platform's Token. Only its targets and routes count here.",
  "无需在后台填写：它的推送到达所属第三方平台的URL，使用平台的Token；此处只有目标和路由起作用。",
);
const WECOM_CONSOLE = bilingual(
  "Enter it at work.weixin.qq.com: App management → the application → Receive messages → Set API (应用管理 → 该应用 → 接收消息 → 设置API接收). Saving it there makes WeCom check the URL.",
  "请在 work.weixin.qq.com 填入：应用管理 → 该应用 → 接收消息 → 设置API接收。保存时企业微信会验证URL。",
);
