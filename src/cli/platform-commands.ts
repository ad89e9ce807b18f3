import type { AuthorizationData, LinkData, PlatformData } from "../api/v1-platforms-schema.ts";
import type { savedCallbackData } from "../api/v1-callbacks-schema.ts";
import type { Static } from "@sinclair/typebox";
import { checkSecret, type PlatformRole, ROLE_NAMES } from "../apps/app.ts";
import { ServiceError } from "../errors.ts";
import { faultOf } from "../platforms/platform-administration.ts";
import { apiPath } from "./api.ts";
import { findList, parseDuration } from "./argument-values.ts";
import {
  type Arguments,
  bilingual,
  type CommandSpec,
  option,
  type PositionalSpec,
  usageError,
} from "./arguments.ts";
import { keysText } from "./callback-targets.ts";
import { readAppSecret, readPushKeys, SECRET_IN_ARGUMENTS, SECRET_OPTION } from "./file-arguments.ts";
import { type Managing, managingCommand, notice, remove, YES } from "./managing.ts";
import { DOMAIN_NAMES, PLATFORM_CONSOLES, urlFields } from "./platform-urls.ts";
import { localTime, textFields, textTable } from "./terminal.ts";

const PLATFORM: PositionalSpec = {
  name: "platform",
  meaning: bilingual(
    "The component's AppID, the suite's id, or the provider's CorpID",
    "第三方平台的appid、suite_id或服务商的corpid",
  ),
};
const KINDS: Readonly<Record<string, PlatformRole>> = ROLE_NAMES;
const MAX_SCOPE = 100_000;
const MAX_LINK_SECONDS = 30 * 86_400;

/** `accesstoken platforms …`: third-party platforms, and the accounts that have authorized them. */
export const PLATFORM_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["platforms", "add"],
    meaning: bilingual(
      "Hold a third-party platform of WeChat, a suite of WeCom, or a WeCom service provider",
      "添加微信第三方平台、企业微信第三方应用或代开发模板，或企业微信服务商",
    ),
    notes: [
      bilingual(
        "The secret can't be verified yet: that takes a ticket, which is pushed once the callback URLs are set.",
        "此时无法核实secret：核实需要推送的ticket，设置回调URL后才会收到。",
      ),
    ],
    positionals: [
      {
        name: "kind",
        meaning: bilingual(
          "component (or weixin): a third-party platform of WeChat; suite (or wecom): a third-party app of WeCom or a template of agency apps; provider: a service provider of WeCom",
          "component（或weixin）：微信第三方平台；suite（或wecom）：企业微信第三方应用或代开发模板；provider：企业微信服务商",
        ),
      },
      { name: "id", meaning: PLATFORM.meaning },
    ],
    options: [
      option("--provider <corpid>", "Of a suite: the CorpID of its provider", "仅suite：服务商的corpid"),
      option("--title <text>", "What people call it", "便于识别的名称"),
      SECRET_OPTION,
      option(
        "--callback",
        "Receive its pushes, too; says what to enter in WeChat's console",
        "同时设置消息推送，并给出应填入微信后台的内容",
      ),
      option(
        "--token-file <file>",
        "With --callback: file with the Token that is in use; - for standard input. Default: one is made",
        "与 --callback 一起：使用中的Token所在文件；- 表示标准输入；默认生成",
      ),
      option(
        "--aes-key-file <file>",
        "With --callback: file with the EncodingAESKey that is in use; likewise",
        "与 --callback 一起：使用中的EncodingAESKey所在文件；同上",
      ),
    ],
    surplusHint: SECRET_IN_ARGUMENTS,
    mayCreate: true,
    run: addPlatform,
  }),
  managingCommand({
    words: ["platforms", "list"],
    meaning: bilingual("Every platform, its ticket and its token", "列出全部第三方平台及其ticket和token"),
    run: async ({ api, show }) => {
      const data = await api.get<{ platforms: PlatformData[] }>("/v1/platforms");
      await show(data, () =>
        textTable(data.platforms, {
          PLATFORM: ({ platform }) => platform,
          KIND: ({ kind }) => kind,
          "TICKET SINCE": ({ ticket }) => localTime(ticket.received_at),
          TOKEN: ({ disabled, token }) => (disabled ? "disabled" : token.state),
          EXPIRES: ({ token }) => localTime(token.expires_at),
          CALLBACK: ({ callback }) => (callback.is_set ? "set" : undefined),
          VALID: ({ authorizations }) => String(authorizations.valid),
          LOST: ({ authorizations }) => (authorizations.lost === 0 ? undefined : String(authorizations.lost)),
          TITLE: ({ title }) => title,
        }),
      );
    },
  }),
  managingCommand({
    words: ["platforms", "show"],
    meaning: bilingual("One platform, and its callback URLs", "查看一个第三方平台及其回调URL"),
    positionals: [PLATFORM],
    run: async (at) => showPlatform(at, await at.api.get<PlatformData>(pathOf(at.args))),
  }),
  managingCommand({
    words: ["platforms", "set-secret"],
    meaning: bilingual("Change a platform's secret", "更换第三方平台的secret"),
    positionals: [PLATFORM],
    options: [SECRET_OPTION],
    surplusHint: SECRET_IN_ARGUMENTS,
    run: async (at) => {
      const id = platformOf(at.args);
      const secret = await readAppSecret(at.args, at.terminal, id);
      notice(at, checkSecret(id.startsWith("wx") ? "weixin" : "wecom", secret));
      const body = { secret: secret.reveal() };
      const { data } = await at.api.send<PlatformData>({ method: "PATCH", path: pathOf(at.args), body });
      await showPlatform(at, data);
    },
  }),
  managingCommand({
    words: ["platforms", "remove"],
    meaning: bilingual("Forget a platform, its secret and its tokens", "删除第三方平台及其secret和token"),
    notes: [
      bilingual(
        "Nothing changes at WeChat: accounts stay authorized there, and their refresh tokens come back by platforms reconcile once the platform is added again.",
        "不影响微信侧：账号的授权仍在，重新添加平台后可用 platforms reconcile 找回。",
      ),
    ],
    positionals: [PLATFORM],
    options: [
      option(
        "--with-authorizations",
        "The accounts that have authorized it, too, without which it has to be kept",
        "一并删除其授权账号；有授权账号时须指定",
      ),
      YES,
    ],
    run: (at) => {
      const platform = platformOf(at.args);
      const isWithAll = at.args.isSet("with-authorizations");
      const question = isWithAll
        ? bilingual(
            `Forget ${platform}, its secret and tokens, and every account that has authorized it?`,
            `删除 ${platform} 及其secret、token和全部授权账号？`,
          )
        : bilingual(`Forget ${platform}, its secret and its tokens?`, `删除 ${platform} 及其secret和token？`);
      const path = `${pathOf(at.args)}${isWithAll ? "?with_authorizations=true" : ""}`;
      return remove(at, platform, path, question);
    },
  }),
  managingCommand({
    words: ["platforms", "authorizations"],
    meaning: bilingual("The accounts that have authorized a platform", "列出授权给该平台的账号"),
    positionals: [PLATFORM],
    run: async ({ args, api, show }) => {
      const path = `${pathOf(args)}/authorizations`;
      const page = await api.list<"authorizations", AuthorizationData>({
        path,
        name: "authorizations",
        cursor: "after",
      });
      await show(page, () =>
        textTable(page.authorizations, {
          APP: ({ app }) => app,
          KIND: ({ kind }) => kind,
          STATE: (each) => (each.lost_at === undefined ? (each.disabled ? "disabled" : "valid") : "lost"),
          SINCE: ({ lost_at, authorized_at }) => localTime(lost_at ?? authorized_at),
          SCOPES: ({ scopes }) => scopes.join(","),
          TITLE: ({ title }) => title,
        }),
      );
    },
  }),
  managingCommand({
    words: ["platforms", "link"],
    meaning: bilingual(
      "Make a link by which an account or a corp authorizes a platform",
      "生成授权链接，供账号或企业授权给该平台",
    ),
    notes: [
      bilingual(
        "It may be opened as often as needed until it expires: each visit gets a code of its own from WeChat.",
        "到期前可多次打开，每次访问都会向微信获取新的预授权码。",
      ),
    ],
    positionals: [PLATFORM],
    options: [
      option(
        "--auth-type <n>",
        "WeChat's: 1 Official Accounts, 2 Mini Programs, 3 both, 4 promoters, 5 Channels, 6 all, 8 sales assistants. Default: 3",
        "仅微信：1公众号，2小程序，3两者，4推客，5视频号，6全部，8带货助手；默认3",
      ),
      option("--account <appid>", "WeChat's: only this account may authorize", "仅微信：只允许该账号授权"),
      option(
        "--scopes <id,…>",
        "WeChat's: ids of the permission sets. Default: all of the platform",
        "仅微信：权限集id，默认为平台的全部权限集",
      ),
      option(
        "--mobile",
        "WeChat's: it is opened inside WeChat. Default: in a computer's browser, which shows a QR code",
        "仅微信：在微信内打开；默认在电脑浏览器打开并显示二维码",
      ),
      option(
        "--test",
        "WeCom's: a test installation, while the suite is not published",
        "仅企业微信：应用未发布时的测试安装",
      ),
      option(
        "--return-url <url>",
        "Where the person goes afterwards, with ?app=. Default: a page that says how it went",
        "授权后跳转的地址，附带 ?app=；默认显示结果页",
      ),
      option("--expires <duration>", "Until when it works, as 7d. Default: 24h", "有效时长，如 7d；默认24h"),
    ],
    run: async (at) => {
      const path = `${pathOf(at.args)}/links`;
      const { data } = await at.api.send<LinkData>({ method: "POST", path, body: linkOf(at.args) });
      await at.show(data, () => textFields({ URL: data.url, expires: localTime(data.expires_at) }));
    },
  }),
  managingCommand({
    words: ["platforms", "start-pushing"],
    meaning: bilingual(
      "Have WeChat push the ticket again, where it has stopped",
      "让微信恢复推送ticket（已停止推送时）",
    ),
    positionals: [PLATFORM],
    run: async ({ args, api, show, terminal }) => {
      const path = `${pathOf(args)}/ticket`;
      const { data } = await api.send<object>({ method: "POST", path });
      await show(
        data,
        () =>
          bilingual(
            "WeChat pushes: the next ticket comes within 10 minutes\n",
            "微信会推送：10分钟内会收到下一个ticket\n",
          )[terminal.language],
      );
    },
  }),
  managingCommand({
    words: ["platforms", "reconcile"],
    meaning: bilingual(
      "Compare with WeChat's list of accounts now, and take what is missing",
      "立即与微信的授权账号列表核对，补上缺少的",
    ),
    notes: [bilingual("It happens once a day on its own.", "每天会自动执行一次。")],
    positionals: [PLATFORM],
    run: async ({ args, api, show }) => {
      const path = `${pathOf(args)}/reconcile`;
      const { data } = await api.send<{ added: number; lost: number }>({ method: "POST", path });
      await show(data, () => textFields({ added: String(data.added), lost: String(data.lost) }));
    },
  }),
];

/** `<platform>` as given. A name that is none is a usage error: in a path it could mean something else. */
function platformOf(args: Arguments): string {
  const id = args.get("platform");
  if (/^[A-Za-z0-9]{1,64}$/.test(id)) return id;
  throw usageError(
    "<platform>: 应为第三方平台的appid、suite_id或服务商的corpid (must be a component's AppID, a suite's id or a provider's CorpID)",
  );
}

function pathOf(args: Arguments): string {
  return apiPath`/v1/platforms/${platformOf(args)}`;
}

async function addPlatform(at: Managing): Promise<void> {
  const { args, terminal, api, note } = at;
  const keys = await readPushKeys(args, terminal);
  const kind = Object.hasOwn(KINDS, args.get("kind")) ? KINDS[args.get("kind")] : undefined;
  if (!kind)
    throw usageError("<kind>: 应为 component、suite 或 provider (must be component, suite or provider)");
  const [id, provider, title] = [args.get("id"), args.find("provider"), args.find("title")];
  const fault = faultOf({ role: kind, id, provider });
  if (fault !== undefined) throw usageError(fault);
  const isCallback = args.isSet("callback");
  if (isCallback && kind === "provider")
    throw usageError("--callback: 服务商没有ticket推送 (a provider is pushed no tickets)");
  if (!isCallback && (keys.token ?? keys.aesKey) !== undefined)
    throw usageError(
      "--token-file 和 --aes-key-file 须与 --callback 一起使用 (--token-file and --aes-key-file make sense with --callback only)",
    );
  const secret = await readAppSecret(args, terminal, id);
  notice(at, checkSecret(kind === "component" ? "weixin" : "wecom", secret));
  const { data, status } = await api.send<PlatformData>({
    method: "POST",
    path: "/v1/platforms",
    body: { kind, id, provider, title, secret: secret.reveal() },
  });
  if (status !== 201) note(bilingual("The platform exists already, unchanged", "该平台已存在，且完全相同"));
  if (!isCallback) return showPlatform(at, data);
  if (data.callback.auth_url === undefined) throw noPublicUrl(id);
  const saved = await api.send<Static<typeof savedCallbackData>>({
    method: "PUT",
    path: apiPath`/v1/apps/${id}/callbacks`,
    body: { token: keys.token, aes_key: keys.aesKey },
  });
  await showEntry(at, data, saved.data);
  if ((keys.token ?? keys.aesKey) !== undefined)
    note(
      bilingual(
        "What the files have is in use from now on: pushes signed with anything else are refused",
        "即刻起使用文件中的内容，用其他Token签名的推送会被拒绝",
      ),
    );
  else if (saved.status !== 201)
    note(
      bilingual(
        `Token and EncodingAESKey are as before, and can't be shown again; for new ones: accesstoken callbacks rotate ${id}`,
        `Token和EncodingAESKey保持不变，无法再次显示；如需更换：accesstoken callbacks rotate ${id}`,
      ),
    );
}

/** What to paste where, once. */
async function showEntry(
  { show, note, terminal }: Managing,
  { kind, callback }: PlatformData,
  saved: Static<typeof savedCallbackData>,
): Promise<void> {
  const { auth_url: url = "", message_url: messageUrl } = callback;
  const { token, aes_key } = saved;
  const domain = new URL(url).host;
  await show({ ...callback, token, aes_key, domain }, () =>
    textFields({
      ...urlFields(kind, [url, messageUrl], terminal.language),
      ...keysText({ token, aes_key }),
      [DOMAIN_NAMES[kind === "component" ? kind : "suite"][terminal.language]]: domain,
    }),
  );
  note(PLATFORM_CONSOLES[kind]);
  if (token !== undefined || aes_key !== undefined)
    note(bilingual("Token and EncodingAESKey are not shown again", "Token和EncodingAESKey不会再次显示"));
}

function noPublicUrl(id: string): ServiceError {
  return new ServiceError(
    "conflict",
    `平台已添加，但服务未设置PUBLIC_URL，无法给出回调URL：请设置PUBLIC_URL并重启，或执行 accesstoken apps set ${id} --public-url，然后重新执行本命令 (the platform is added, but PUBLIC_URL is not set, so it has no callback URLs: set PUBLIC_URL and restart, or run accesstoken apps set ${id} --public-url, then run this command again)`,
  );
}

function showPlatform({ show, terminal }: Managing, data: PlatformData): Promise<void> {
  const { ticket, token, callback, authorizations } = data;
  const none = bilingual("none was pushed", "尚未收到")[terminal.language];
  return show(data, () =>
    textFields({
      platform: data.platform,
      title: data.title,
      kind: data.kind,
      provider: data.provider,
      disabled: data.disabled ? "yes" : "no",
      ticket: data.kind === "provider" ? undefined : (localTime(ticket.received_at) ?? none),
      token: token.state,
      expires: localTime(token.expires_at),
      callbacks: callbacksText(data),
      ...urlFields(data.kind, [callback.auth_url, callback.message_url], terminal.language),
      authorizations: String(authorizations.valid),
      lost: authorizations.lost === 0 ? undefined : String(authorizations.lost),
      version: String(data.version),
    }),
  );
}

/** Whether its pushes can come, and how they could; a provider does well without. */
function callbacksText({ platform, kind, callback }: PlatformData): string {
  if (callback.is_set) return "set";
  return kind === "provider" ? "not set" : `not set: accesstoken callbacks set ${platform}`;
}

function linkOf(args: Arguments): object {
  const scopes = findList(args, "scopes")?.map(Number);
  if (scopes?.some((id) => !Number.isSafeInteger(id) || id < 1 || id > MAX_SCOPE))
    throw usageError("--scopes: 应为以逗号分隔的权限集id (must be ids of permission sets, comma-separated)");
  const [expires, account, returnUrl] = [args.find("expires"), args.find("account"), args.find("return-url")];
  if (account !== undefined && !/^wx[0-9a-f]{16}$/.test(account))
    throw usageError(
      "--account: 应为账号的appid，wx加16位小写十六进制字符 (must be the account's AppID: wx and 16 lower-case hex digits)",
    );
  if (returnUrl !== undefined && !/^https?:\/\/[\x21-\x7e]{1,2000}$/.test(returnUrl))
    throw usageError("--return-url: 应为http或https地址 (must be an http or https URL)");
  return {
    auth_type: args.findNumber("auth-type", { min: 1, max: 8 }),
    biz_app_id: account,
    category_ids: scopes,
    mobile: args.isSet("mobile") || undefined,
    test: args.isSet("test") || undefined,
    return_url: returnUrl,
    expires_in: expires === undefined ? undefined : parseDuration("expires", expires, MAX_LINK_SECONDS),
  };
}
