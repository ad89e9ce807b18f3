import { APP_VARIABLES } from "../../src/apps/environment-apps.ts";
import type { Language } from "../../src/config.ts";
import { type Meaning, VARIABLES } from "../../src/config/variables.ts";
import { heading, table } from "./markdown.ts";

/** A variable as people are shown it. */
interface Shown {
  /** What varies in it is in angle brackets. */
  readonly name: string;
  readonly value: string;
  readonly meaning: Meaning;
}

/** The variables whose names vary, and the one that is read before the others. */
const FORMS: readonly Shown[] = [
  {
    name: "WEIXIN_SECRET_<appid>",
    value: "",
    meaning: {
      en: "The AppSecret of an Official Account or Mini Program, one line per appid.",
      zh: "公众号或小程序的 AppSecret，每个 appid 一行。",
    },
  },
  {
    name: "THIRD_APPID_<appid>",
    value: "",
    meaning: {
      en: "The same under another name; set one of the two, or both alike.",
      zh: "同上，另一种写法；二者设其一即可，都设时必须相同。",
    },
  },
  {
    name: "WEIXIN_TOKEN_MODE_<appid>",
    value: "stable",
    meaning: {
      en: "How this one app's token is fetched, if not as `WEIXIN_TOKEN_MODE` says: `stable` or `classic`.",
      zh: "仅对该应用生效的获取方式（`stable` 或 `classic`），优先于 `WEIXIN_TOKEN_MODE`。",
    },
  },
  {
    name: "WECOM_SECRET_<corpid>_<agent>",
    value: "",
    meaning: {
      en: "The secret of a WeCom application. `<agent>` is its agentid or any other label of letters and digits, e.g. `contacts`.",
      zh: "企业微信应用的 secret。`<agent>` 为 agentid，也可以是任意字母数字组成的名称，例如 `contacts`。",
    },
  },
  {
    name: "WECOM_BASE_URL_<corpid>",
    value: "",
    meaning: {
      en: "Where the WeCom of this one corp is (a private deployment), if not at `WECOM_BASE_URL`.",
      zh: "仅对该企业生效的企业微信接口地址（如私有化部署），优先于 `WECOM_BASE_URL`。",
    },
  },
  {
    name: "ENV_FILE",
    value: ".env",
    meaning: {
      en: "Which file is read in place of `.env`; empty for none. In the real environment only: it has no effect in the file.",
      zh: "读取哪个文件代替 `.env`，空值表示不读取。只在真实的环境变量中有意义，写在文件里无效。",
    },
  },
];

interface Group {
  readonly title: Meaning;
  readonly names: readonly string[];
  /** What `.env.example` says at the end of the group, for those who look there alone. */
  readonly note?: Meaning;
}

const GROUPS: readonly Group[] = [
  {
    title: { en: "Apps", zh: "应用" },
    names: [
      "WEIXIN_SECRET_<appid>",
      "THIRD_APPID_<appid>",
      "WEIXIN_TOKEN_MODE_<appid>",
      "WECOM_SECRET_<corpid>_<agent>",
      "WEIXIN_TOKEN_MODE",
      "REFRESH_IDLE_AFTER",
    ],
  },
  {
    title: { en: "Who is answered", zh: "谁可以调用" },
    names: [
      "TRUSTED_NETWORKS",
      "TRUSTED_PROXIES",
      "ANONYMOUS",
      "ANONYMOUS_RATE_LIMIT",
      "ALLOWED_HOSTS",
      "CORS_ORIGINS",
      "METRICS",
      "SWAGGER",
      "CONSOLE",
    ],
  },
  {
    title: { en: "WeChat and users' browsers", zh: "微信与用户的浏览器" },
    names: ["PUBLIC_URL", "PUBLIC_URL_SERVES", "CALLBACK_NETWORKS"],
  },
  {
    title: { en: "Listening", zh: "监听与日志" },
    names: [
      "HOST",
      "PORT",
      "LOG_LEVEL",
      "LOG_FORMAT",
      "KEEP_ALIVE_TIMEOUT",
      "CONNECT_PORT",
      "CONNECT_HOST",
      "CONNECT_CERTIFICATES",
    ],
  },
  {
    title: { en: "Storage", zh: "存储" },
    names: [
      "DATABASE_URL",
      "DATABASE_LISTEN_URL",
      "DATABASE_PASSWORD_FILE",
      "PGPASSFILE",
      "CUT_OFF_AFTER",
      "MASTER_KEY_FILE",
      "MASTER_KEY_NEXT_FILE",
      "MASTER_KEY",
      "AUDIT_RETENTION_DAYS",
      "BACKUP_DIR",
      "BACKUP_EVERY",
      "BACKUP_KEEP",
    ],
  },
  {
    title: { en: "WeChat and WeCom", zh: "微信与企业微信" },
    names: [
      "WEIXIN_BASE_URL",
      "WEIXIN_FALLBACK_BASE_URLS",
      "WECOM_BASE_URL",
      "WECOM_BASE_URL_<corpid>",
      "WEIXIN_OPEN_BASE_URL",
      "WECOM_LOGIN_BASE_URL",
      "UPSTREAM_ALLOW_HTTP",
      "UPSTREAM_IP_FAMILY",
      "UPSTREAM_PROXY",
      "UPSTREAM_ECHO",
    ],
    note: {
      en: "A CA of your own is named by NODE_EXTRA_CA_CERTS=<PEM file>, in the real environment only: in this file it has no effect.",
      zh: "使用自建 CA 时，在真实的环境变量中设置 NODE_EXTRA_CA_CERTS=<PEM 文件>，写在本文件里无效。",
    },
  },
  { title: { en: "The file itself", zh: "配置文件" }, names: ["ENV_FILE"] },
];

const HEAD = `# Every variable of accesstoken-service, with its default. Copy this file to .env and uncomment what you change.
# A real environment variable wins over this file; an empty value is as good as none, except in the apps' secrets.
# accesstoken-service 的全部变量及默认值。复制为 .env，把要改的行去掉注释。
# 真实的环境变量优先于本文件；空值等同于未设置（应用的 secret 除外）。
`;

/** `.env.example`: every variable with its default, commented out. */
export function envExample(): string {
  const groups = groupsOfVariables().map(({ title, variables, note }) => {
    const lines = variables.map(({ name, value, meaning }) =>
      [...comment(meaning.en), ...comment(meaning.zh), `# ${name}=${value}`, ""].join("\n"),
    );
    const notes = note ? [[...comment(note.en), ...comment(note.zh), ""].join("\n")] : [];
    return [`# --- ${title.en} ${title.zh} ---`, "", ...lines, ...notes].join("\n");
  });
  return [HEAD, ...groups].join("\n").replace(/\n+$/, "\n");
}

/** A heading and a table for each group of variables, in one language. */
export function variableTables(language: Language): string {
  const head = { en: ["variable", "default", "meaning"], zh: ["变量", "默认值", "含义"] }[language];
  return groupsOfVariables()
    .map(({ title, variables }) => {
      const rows = variables.map(({ name, value, meaning }) => [
        `\`${name}\``,
        value === "" ? "" : `\`${value}\``,
        meaning[language],
      ]);
      return `${heading(3, title[language])}\n${table(head, rows)}`;
    })
    .join("\n");
}

/** The groups with their variables; every variable is in exactly one of them. */
function groupsOfVariables() {
  const fixed = Object.entries(VARIABLES.properties).map(([name, { default: value, meaning }]): Shown => ({
    name,
    value: String(value),
    meaning: meaning as Meaning,
  }));
  const all = new Map([...FORMS, ...fixed].map((shown) => [shown.name, shown]));
  const groups = GROUPS.map(({ names, ...group }) => {
    const variables = names.map((name) => {
      const shown = all.get(name);
      if (shown === undefined) throw new Error(`${name} is no variable, or is in two groups`);
      all.delete(name);
      return shown;
    });
    return { ...group, variables };
  });
  const [forgotten] = [
    ...all.keys(),
    ...APP_VARIABLES.filter((name) => !FORMS.some((form) => form.name === name)),
  ];
  if (forgotten !== undefined)
    throw new Error(`${forgotten} is in no group: add it in scripts/docs/variables.ts`);
  return groups;
}

/** A text as comments, a line for each sentence. */
function comment(text: string): string[] {
  const sentences = text.replaceAll("`", "").split(/(?<=\.) (?=[A-Z])|(?<=。)/);
  return sentences.map((sentence) => `# ${sentence}`);
}
