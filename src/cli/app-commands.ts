import type { Static } from "@sinclair/typebox";
import type { appStatus } from "../api/v1-apps-schema.ts";
import {
  type Arguments,
  type CommandSpec,
  type OptionSpec,
  usageError,
  option,
  bilingual,
  type Text,
} from "./arguments.ts";
import type { Language } from "../config.ts";
import { checkEntry, checkSecret } from "../apps/app.ts";
import type { Platform } from "../errors.ts";
import { apiPath, ApiRefusal } from "./api.ts";
import { failureText } from "./exit.ts";
import { type Managing, managingCommand, notice, remove, YES } from "./managing.ts";
import { APP, appOf, findList } from "./argument-values.ts";
import { readAppSecret, SECRET_IN_ARGUMENTS, SECRET_OPTION } from "./file-arguments.ts";
import { halfOf, localTime, plainText, textFields, textTable } from "./terminal.ts";

const SECRET_OPTIONS: readonly OptionSpec[] = [
  SECRET_OPTION,
  option("--no-verify", "Don't ask WeChat first whether the secret is right", "不先向微信核实secret是否正确"),
  { ...option("--verify", "As without it", "与不带此选项相同"), isFormer: true },
];

const MODE = option(
  "--mode stable|classic",
  "How WeChat's token is fetched; at first: stable",
  "微信token的获取方式，初始为stable",
);

/** The name of an account or a corp that has authorized a third-party platform. */
const OF_PLATFORM = /_(?:wx|ww|tj|dk)[0-9A-Za-z]{8,62}$/;

/** `accesstoken apps …`: the apps that the service holds. */
export const APP_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["apps", "add"],
    meaning: bilingual("Hold an app of WeChat, or of WeCom", "添加公众号、小程序或企业微信应用"),
    notes: [
      bilingual(
        "A name with an underscore is WeCom's: what follows the last one is the agent, as 1000002 or contacts.",
        "名称含下划线的为企业微信应用：最后一个下划线之后为agent，如 1000002 或 contacts。",
      ),
    ],
    positionals: [APP],
    options: [
      option("--title <text>", "What people call it", "便于识别的名称"),
      MODE,
      option(
        "--login-only",
        "A website application: it logs users in and has no access token",
        "网站应用：只用于登录，没有access_token",
      ),
      ...SECRET_OPTIONS,
    ],
    surplusHint: SECRET_IN_ARGUMENTS,
    mayCreate: true,
    run: addApp,
  }),
  managingCommand({
    words: ["apps", "list"],
    meaning: bilingual("Every app, and what is wrong with it", "列出全部应用及其问题"),
    run: async ({ api, show, terminal }) => {
      const page = await api.list<"apps", AppData>({ path: "/v1/apps", name: "apps", cursor: "after" });
      await show(page, () => appsText(page.apps, terminal.language));
    },
  }),
  managingCommand({
    words: ["apps", "show"],
    meaning: bilingual("One app, its credentials and today's calls", "查看一个应用、其凭证和当日调用量"),
    positionals: [APP],
    run: async (at) => {
      const data = await at.api.get<AppData>(apiPath`/v1/apps/${appOf(at.args)}`);
      await showApp(at, data);
    },
  }),
  managingCommand({
    words: ["apps", "set-secret"],
    meaning: bilingual("Change an app's secret", "更换应用的secret"),
    positionals: [APP],
    options: SECRET_OPTIONS,
    surplusHint: SECRET_IN_ARGUMENTS,
    run: async (at) => {
      const app = appOf(at.args);
      const secret = await readAppSecret(at.args, at.terminal, app);
      // An account of a platform has no secret, as the service says.
      if (!OF_PLATFORM.test(app)) notice(at, checkSecret(nameOf(app).platform, secret));
      const { data } = await verified(at, (verification) =>
        at.api.send<AppData>({
          method: "PATCH",
          path: apiPath`/v1/apps/${app}`,
          body: { secret: secret.reveal(), ...verification },
        }),
      );
      await showApp(at, data);
    },
  }),
  managingCommand({
    words: ["apps", "set"],
    meaning: bilingual(
      "Change an app's title, mode, public URL or JS domains",
      "修改应用的名称、token获取方式、公网地址或JS域名",
    ),
    positionals: [APP],
    options: [
      option("--title <text>", "What people call it; empty for none", "便于识别的名称；空为清除"),
      MODE,
      option(
        "--public-url <origin>",
        "Origin in the URLs that WeChat is given for it, as https://wx.example.com; empty for PUBLIC_URL",
        "交给微信的URL所用的源，如 https://wx.example.com；空为PUBLIC_URL",
      ),
      option(
        "--js-domains <host,…>",
        "Hosts whose pages may use the JS-SDK, as in WeChat's console; empty for any",
        "JS接口安全域名，与微信后台一致；空为不检查",
      ),
    ],
    run: (at) => {
      const [title, mode] = [at.args.find("title"), modeOf(at.args)];
      const publicUrl = at.args.find("public-url");
      const jsDomains = at.args.find("js-domains") === "" ? [] : findList(at.args, "js-domains");
      if ([title, mode, publicUrl, jsDomains].every((each) => each === undefined))
        throw usageError(
          "缺少 --title、--mode、--public-url 或 --js-domains (--title, --mode, --public-url or --js-domains is missing)",
        );
      return changeApp(at, appOf(at.args), {
        ...(title === undefined ? {} : { title: title || null }),
        ...(mode === undefined ? {} : { mode }),
        ...(publicUrl === undefined ? {} : { public_url: publicUrl || null }),
        ...(jsDomains === undefined ? {} : { js_domains: jsDomains }),
      });
    },
  }),
  managingCommand({
    words: ["apps", "unblock"],
    meaning: bilingual(
      "Ask WeChat again at once, after the cause of its refusal was fixed",
      "处理完微信提示的问题后，立即重新请求微信",
    ),
    positionals: [APP],
    run: async (at) => {
      const path = apiPath`/v1/apps/${appOf(at.args)}/unblock`;
      await showApp(at, (await at.api.send<AppData>({ method: "POST", path })).data);
    },
  }),
  managingCommand({
    words: ["apps", "disable"],
    meaning: bilingual("Refuse every request for an app", "停用应用，拒绝对它的一切请求"),
    positionals: [APP],
    run: (at) => changeApp(at, appOf(at.args), { disabled: true }),
  }),
  managingCommand({
    words: ["apps", "enable"],
    meaning: bilingual("Answer for an app again", "重新启用应用"),
    positionals: [APP],
    run: (at) => changeApp(at, appOf(at.args), { disabled: false }),
  }),
  managingCommand({
    words: ["apps", "remove"],
    meaning: bilingual("Forget an app, its secret and its credentials", "删除应用及其secret和凭证"),
    positionals: [APP],
    options: [YES],
    run: (at) => {
      const app = appOf(at.args);
      const question = bilingual(
        `Forget ${app}, its secret and its credentials?`,
        `删除 ${app} 及其secret和凭证？`,
      );
      return remove(at, app, apiPath`/v1/apps/${app}`, question);
    },
  }),
];

async function addApp(at: Managing): Promise<void> {
  const { args, terminal, api } = at;
  const app = appOf(args);
  const mode = modeOf(args);
  const name = nameOf(app);
  if (mode !== undefined && name.platform === "wecom") {
    throw usageError("--mode: 仅适用于微信 (WeCom has no modes)");
  }
  const { platform, app_id: id, agent } = name;
  notice(at, checkEntry({ platform, id, ...(agent === undefined ? {} : { agent }) }));
  const title = args.find("title");
  const isLoginOnly = args.isSet("login-only");
  const secret = await readAppSecret(args, terminal, app);
  notice(at, checkSecret(platform, secret));
  const answer = await verified(at, (verification) =>
    api.send<AppData>({
      method: "POST",
      path: "/v1/apps",
      body: {
        ...name,
        ...(title === undefined ? {} : { title }),
        ...(mode === undefined ? {} : { mode }),
        ...(isLoginOnly ? { login_only: true } : {}),
        secret: secret.reveal(),
        ...(isLoginOnly ? {} : verification),
      },
    }),
  );
  if (answer.status !== 201) at.note(bilingual("It exists already, unchanged", "该应用已存在，且完全相同"));
  await showApp(at, answer.data);
}

function modeOf(args: Arguments): string | undefined {
  const mode = args.find("mode");
  if (mode === undefined || mode === "stable" || mode === "classic") return mode;
  throw usageError("--mode: 应为 stable 或 classic (must be stable or classic)");
}

/** The agent of WeCom has no underscore, and no AppID has one. */
function nameOf(app: string): { platform: Platform; app_id: string; agent?: string } {
  const at = app.lastIndexOf("_");
  return at === -1
    ? { platform: "weixin", app_id: app }
    : { platform: "wecom", app_id: app.slice(0, at), agent: app.slice(at + 1) };
}

/**
 * Answers that say nothing of the secret: no connection, no answer, a busy WeChat, an address that is not allowed, too
 * many verifications, a quota that is used up.
 */
const UNDECIDED = new Set([502, 504, 429, -1, 40164, 45009, 45011, 45035, 60020, 61004]);

/** Has WeChat asked first, unless by `--no-verify`. What it can't tell now is a warning, and the secret is stored. */
async function verified<T>(at: Managing, send: (verification: { verify?: true }) => Promise<T>): Promise<T> {
  if (at.args.isSet("no-verify")) return send({});
  try {
    return await send({ verify: true });
  } catch (error) {
    if (!(error instanceof ApiRefusal) || !UNDECIDED.has(error.envelope.code)) throw error;
    const answer = await send({});
    at.terminal.tell(failureText(error, at.terminal.language));
    at.note(bilingual("It is stored all the same, and not verified", "已照常保存，但secret未经核实"));
    return answer;
  }
}

async function changeApp(at: Managing, app: string, body: object): Promise<void> {
  const path = apiPath`/v1/apps/${app}`;
  await showApp(at, (await at.api.send<AppData>({ method: "PATCH", path, body })).data);
}

function showApp({ show, terminal }: Managing, data: AppData): Promise<void> {
  return show(data, () => appText(data, terminal.language));
}

type AppData = Static<typeof appStatus>;
type CredentialData = NonNullable<AppData["credentials"]["access_token"]>;

/** Apps for a person, a line each, and below what is wrong with any. */
function appsText(apps: readonly AppData[], language: Language): string {
  const table = textTable(apps, {
    APP: ({ app }) => app,
    MODE: ({ platform, mode, role, authorized_to: of }) => mode ?? role ?? (of ? `via ${of}` : platform),
    SOURCE: ({ source }) => source,
    STATE: (app) => (app.disabled ? "disabled" : app.login_only ? "login only" : worstState(app)),
    EXPIRES: ({ credentials }) => localTime(credentials.access_token?.expires_at),
    TITLE: ({ title }) => title,
  });
  const troubles = apps.flatMap((app) => listedTroublesOf(app, language).map((text) => `${app.app} ${text}`));
  return troubles.length === 0 ? table : `${table}\n${troubles.join("")}`;
}

/** The state of the credential that is worst off, with its kind where something is wrong with another than the token. */
function worstState({ state, credentials }: AppData): string {
  if (state !== "blocked" && state !== "failing") return state;
  const worst = Object.entries(credentials).find(([, credential]) => credential.state === state);
  return worst === undefined || worst[0] === "access_token" ? state : `${state}: ${worst[0]}`;
}

/** What is wrong with an app in a list, a line each: what failed, and that another program fetches its tokens. */
function listedTroublesOf({ credentials, reason, foreign_refresh }: AppData, language: Language): string[] {
  const failures = failuresOf(credentials, language);
  const others = reason === undefined ? [] : [`${plainText(halfOf(reason, language))}\n`];
  return [
    ...(failures.length === 0 ? others : failures),
    ...(foreign_refresh ? [`${revokedEarlyText(foreign_refresh)[language]}\n`] : []),
  ];
}

function failuresOf(credentials: AppData["credentials"], language: Language): string[] {
  return Object.entries(credentials).flatMap(([kind, { last_failure }]) =>
    last_failure ? [lastFailureText(kind, last_failure, language)] : [],
  );
}

/** What is wrong with one app, a line each: what failed, and what was ever revoked early. */
function troublesOf({ credentials }: AppData, language: Language): string[] {
  const revoked = Object.entries(credentials).flatMap(([kind, { revoked_early }]) =>
    revoked_early ? [`${kind}: ${revokedEarlyText(revoked_early)[language]}\n`] : [],
  );
  return [...failuresOf(credentials, language), ...revoked];
}

/** One app for a person: what it is, how its credentials are, what failed, and what today's calls were. */
function appText(app: AppData, language: Language): string {
  const credentials = Object.entries(app.credentials);
  return [
    textFields({
      app: app.app,
      title: app.title,
      platform: app.platform,
      mode: app.mode,
      role: app.role,
      "authorized to": app.authorized_to,
      "lost since": localTime(app.lost_at),
      source: app.source,
      "public url": app.public_url,
      "js domains": app.js_domains?.join(", "),
      "login only": app.login_only ? "yes" : undefined,
      disabled: app.disabled ? "yes" : "no",
      version: String(app.version),
    }),
    ...(credentials.length === 0 ? [] : [credentialsText(credentials)]),
    ...troublesOf(app, language),
    ...(Object.keys(app.calls_today).length === 0 ? [] : [callsText(app.calls_today)]),
  ].join("\n");
}

function credentialsText(credentials: readonly (readonly [string, CredentialData])[]): string {
  return textTable(credentials, {
    CREDENTIAL: ([kind]) => kind,
    STATE: ([, { state }]) => state,
    EXPIRES: ([, { expires_at }]) => localTime(expires_at),
    "LAST USED": ([, { last_used_at }]) => localTime(last_used_at),
    "NEXT ATTEMPT": ([, { next_attempt_at }]) => localTime(next_attempt_at),
  });
}

function lastFailureText(
  kind: string,
  failure: NonNullable<CredentialData["last_failure"]>,
  language: Language,
): string {
  const { code, msg, hint, at, count } = failure;
  const say = (text: string) => plainText(halfOf(text, language));
  const first = `${kind}: ${say(msg)} (code ${code}, ${count}×, ${localTime(at)})\n`;
  return hint === undefined ? first : `${first}${say(hint)}\n`;
}

function revokedEarlyText({ at, early }: NonNullable<CredentialData["revoked_early"]>): Text {
  const minutes = Math.round(early / 60);
  return bilingual(
    `another program fetches tokens for this app: at ${localTime(at)} one was revoked ${minutes} min early`,
    `另有程序在获取该应用的token，使其在 ${localTime(at)} 提前${minutes}分钟失效`,
  );
}

function callsText(calls: AppData["calls_today"]): string {
  return textTable(Object.entries(calls), {
    ENDPOINT: ([endpoint]) => endpoint,
    "CALLS TODAY": ([, counted]) => String(counted.calls),
    LIMIT: ([, { limit }]) => limit?.toString(),
  });
}
