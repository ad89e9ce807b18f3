import type { DenialData, EntryData, UsageData, VerdictData } from "../api/v1-audit-schema.ts";
import { AUDIT_ACTIONS } from "../audit/audit-entry.ts";
import { ACTIONS } from "../access/client.ts";
import { type CommandSpec, type OptionSpec, option, bilingual } from "./arguments.ts";
import type { ExitCode } from "./exit.ts";
import { type Managing, managingCommand } from "./managing.ts";
import { NewFile } from "./file-arguments.ts";
import { findOneOf, parseInstant } from "./argument-values.ts";
import type { Language } from "../config.ts";
import { halfOf, localTime, plainText, textTable } from "./terminal.ts";

const LIMIT_DEFAULT = 50;
/** The whole chain may be long. */
const WHOLE_CHAIN_MS = 600_000;

const CLIENT_FILTER = option(
  "--client <client>",
  'Only this client\'s; also "(anonymous)", "(app secret)", "(access token 10.0.0.8)", "(rejected access token 10.0.0.8)", "(command line)" and "(service)"',
  '仅该客户端；也可为 "(anonymous)"、"(app secret)"、"(access token 10.0.0.8)"、"(rejected access token 10.0.0.8)"、"(command line)"、"(service)"',
);
const TIME_FILTERS: readonly OptionSpec[] = [
  option(
    "--since <time>",
    "From then on, as 2027-01-31 or 24h (ago)",
    "起始时间，如 2027-01-31，或 24h（之前）",
  ),
  option("--until <time>", "Before that", "截止时间（不含）"),
];
const LIMIT = option(
  "--limit <n>",
  `How many at most. Default: ${LIMIT_DEFAULT}`,
  `最多条数，默认${LIMIT_DEFAULT}`,
);

/** Filters of what was done, or used; `actions` are all that it can be. */
function filters(actions: readonly string[]): OptionSpec[] {
  return [
    option("--app <app>", "Only this app's", "仅该应用"),
    CLIENT_FILTER,
    option("--environment <name>", "Only this environment's", "仅该环境"),
    option(
      "--action <action>",
      `Only this action, of ${actions.join(", ")}`,
      `仅该操作：${actions.join("、")}`,
    ),
    ...TIME_FILTERS,
  ];
}

const TOKEN_DIGEST = option(
  "--token-digest <digest>",
  "Only about the token of that digest: the first 16 hex digits of its SHA-256",
  "仅与该token有关的记录：token的SHA-256的前16位十六进制",
);

/** `accesstoken audit …`: what was done, by whom. */
export const AUDIT_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["audit", "list"],
    meaning: bilingual("What was done, the newest first", "列出审计记录，最新的在前"),
    options: [...filters(AUDIT_ACTIONS), TOKEN_DIGEST, LIMIT],
    run: async (at) => {
      const list = { path: "/v1/audit", name: "entries", cursor: "before" } as const;
      const page = await at.api.list<"entries", EntryData>(list, filterOf(at, AUDIT_ACTIONS), limitOf(at));
      await at.show(page, () => entriesText(page.entries));
    },
  }),
  usageCommand("usage"),
  denialsCommand("denials"),
  // The former names of both, which work for one minor version more.
  { ...usageCommand("reads"), isFormer: true },
  { ...denialsCommand("refusals"), isFormer: true },
  managingCommand({
    words: ["audit", "export"],
    meaning: bilingual(
      "Every entry as a line of JSON, the oldest first",
      "以NDJSON导出全部审计记录，最早的在前",
    ),
    options: [
      ...filters(AUDIT_ACTIONS),
      TOKEN_DIGEST,
      option(
        "--out <file>",
        "Write into a new file that only you may read. Default: standard output",
        "写入新文件（仅本人可读）；默认标准输出",
      ),
    ],
    run: exportAudit,
  }),
  managingCommand({
    words: ["audit", "verify"],
    meaning: bilingual(
      "Whether any entry was changed or removed; exit code 1 when so",
      "检查审计记录是否被篡改或删除；有则退出码为1",
    ),
    run: verifyAudit,
  }),
];

function usageCommand(word: "usage" | "reads"): CommandSpec {
  return managingCommand({
    words: ["audit", word],
    meaning: bilingual(
      "How often tokens were read and calls made, by client, app and minute",
      "token的获取和接口调用次数，按客户端、应用和分钟统计",
    ),
    options: [...filters(ACTIONS), LIMIT],
    run: async (at) => {
      const list = { path: `/v1/audit/${word}`, name: word, cursor: "after" } as const;
      const page = await at.api.list<typeof word, UsageData>(list, filterOf(at, ACTIONS), limitOf(at));
      await at.show(page, () => usageText(page[word]));
    },
  });
}

function denialsCommand(word: "denials" | "refusals"): CommandSpec {
  return managingCommand({
    words: ["audit", word],
    meaning: bilingual(
      "How often callers were denied, by address, route and minute",
      "拒绝次数，按来源地址、接口和分钟统计",
    ),
    options: [CLIENT_FILTER, ...TIME_FILTERS, LIMIT],
    run: async (at) => {
      const list = { path: `/v1/audit/${word}`, name: word, cursor: "after" } as const;
      const page = await at.api.list<typeof word, DenialData>(list, filterOf(at), limitOf(at));
      await at.show(page, () => denialsText(page[word]));
    },
  });
}

async function exportAudit(at: Managing): Promise<void> {
  const query = new URLSearchParams(filterOf(at, AUDIT_ACTIONS)).toString();
  const out = at.args.find("out");
  const file = out === undefined ? undefined : new NewFile(out);
  try {
    const path = `/v1/audit/export${query && `?${query}`}`;
    for await (const chunk of await at.api.stream({ method: "GET", path, timeoutMs: WHOLE_CHAIN_MS })) {
      if (file) file.write(chunk);
      else await at.terminal.print(chunk);
    }
    file?.finish();
  } catch (error) {
    // Half an export must not be taken for a whole one.
    file?.discard();
    throw error;
  }
}

async function verifyAudit({ api, show, terminal }: Managing): Promise<ExitCode> {
  const request = { method: "GET", path: "/v1/audit/verify", timeoutMs: WHOLE_CHAIN_MS } as const;
  const { data } = await api.send<VerdictData>(request);
  await show(data, () => verdictText(data, terminal.language));
  return data.intact ? 0 : 1;
}

/** The filters that were given; `actions` are those that `--action` may name. */
function filterOf({ args, terminal }: Managing, actions: readonly string[] = []): Record<string, string> {
  findOneOf(args, "action", actions);
  const texts = ["app", "client", "environment", "action", "token-digest"].flatMap((name) => {
    const text = args.find(name);
    return text === undefined ? [] : [[name.replace("-", "_"), text] as const];
  });
  const instants = ["since", "until"].flatMap((name) => {
    const text = args.find(name);
    if (text === undefined) return [];
    return [[name, String(parseInstant(name, text, terminal.clock.now(), true))] as const];
  });
  return Object.fromEntries([...texts, ...instants]);
}

function limitOf({ args }: Managing): number {
  return args.findNumber("limit", { min: 1, max: 1_000_000 }) ?? LIMIT_DEFAULT;
}

/** Entries for a person, a line each. */
function entriesText(entries: readonly EntryData[]): string {
  return textTable(entries, {
    ID: ({ id }) => String(id),
    TIME: ({ at }) => localTime(at),
    CLIENT: ({ client }) => client,
    ACTION: ({ action }) => action,
    APP: ({ app }) => app,
    OUTCOME: ({ outcome }) => outcome,
    ENVIRONMENT: ({ environment }) => environment,
    ADDRESS: ({ address }) => address,
    DETAIL: ({ detail }) => detailText(detail),
  });
}

/** Counts of use for a person, a line each. */
function usageText(usage: readonly UsageData[]): string {
  return textTable(usage, {
    MINUTE: ({ minute }) => localTime(minute),
    CLIENT: ({ client }) => client,
    ENVIRONMENT: ({ environment }) => environment,
    ACTION: ({ action }) => action,
    APP: ({ app }) => app,
    COUNT: ({ count }) => String(count),
  });
}

/** Counts of denials for a person, a line each. */
function denialsText(denials: readonly DenialData[]): string {
  return textTable(denials, {
    MINUTE: ({ minute }) => localTime(minute),
    ADDRESS: ({ address }) => address,
    CLIENT: ({ client }) => client,
    ROUTE: ({ route }) => route,
    CODE: ({ code }) => String(code),
    COUNT: ({ count }) => String(count),
  });
}

/** A verdict for a person. */
function verdictText({ intact, entries, fault, last }: VerdictData, language: Language): string {
  const where = last ? `\n${last.id} ${plainText(last.hash)}` : "";
  if (intact) {
    return {
      en: `Intact: ${entries} entries. The last one:${where || " none"}\n`,
      zh: `完整：共${entries}条。最后一条：${where || "无"}\n`,
    }[language];
  }
  const what = plainText(halfOf(fault?.message ?? "", language));
  return {
    en: `NOT INTACT at entry ${fault?.id} of ${entries}: ${what}\n`,
    zh: `不完整：共${entries}条，第${fault?.id}条有问题：${what}\n`,
  }[language];
}

function detailText(detail: EntryData["detail"]): string {
  return Object.entries(detail ?? {})
    .map(([name, value]) => `${name}=${valueText(name, value)}`)
    .join(" ");
}

/** A value of an entry's detail for a person: instants as times, lists and objects without JSON's marks. */
function valueText(name: string, value: unknown): string {
  if (typeof value === "number" && INSTANT_NAME.test(name)) return localTime(value);
  if (Array.isArray(value)) return value.map((each) => valueText("", each)).join(",") || "-";
  if (value === null || value === undefined) return "-";
  if (typeof value !== "object") return typeof value === "string" ? value : JSON.stringify(value);
  const fields = Object.entries(value).map(([field, inner]) => `${field}=${valueText(field, inner)}`);
  return `(${fields.join(" ")})`;
}

/** How the names of instants end. */
const INSTANT_NAME = /(^|_)(at|before|since|until)$|At$/;
