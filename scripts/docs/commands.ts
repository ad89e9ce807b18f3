import type { Language } from "../../src/config.ts";
import type { CommandSpec, OptionSpec, PositionalSpec, Text } from "../../src/cli/arguments.ts";
import { loadCommands } from "../../src/cli/commands.ts";
import { heading, prose, table } from "./markdown.ts";

/** A page of commands; `groups` are the first words of what it holds, in the order of the help. */
interface CommandPage {
  readonly name: string;
  readonly title: Text;
  readonly groups: readonly string[];
}

const PAGES: readonly CommandPage[] = [
  {
    name: "cli-service",
    title: { en: "Commands: the service, the sandbox and the audit", zh: "命令：服务、沙箱与审计" },
    groups: ["serve", "health", "sandbox", "demo", "proxy-ca", "completion", "version", "audit"],
  },
  {
    name: "cli-operations",
    title: {
      en: "Commands: diagnosis, alarms, backups, master key and database",
      zh: "命令：诊断、告警、备份、主密钥与数据库",
    },
    groups: ["doctor", "status", "notify", "nodes", "master-key", "backup", "restore", "store"],
  },
  {
    name: "cli-apps",
    title: { en: "Commands: apps, third-party platforms and tokens", zh: "命令：应用、第三方平台与 token" },
    groups: ["apps", "platforms", "token"],
  },
  {
    name: "cli-callbacks",
    title: { en: "Commands: pushes", zh: "命令：消息推送" },
    groups: ["callbacks"],
  },
  {
    name: "cli-access",
    title: { en: "Commands: clients, keys and callers", zh: "命令：客户端、密钥与调用方" },
    groups: ["clients", "keys", "console", "anonymous", "cors"],
  },
  {
    name: "cli-environments",
    title: { en: "Commands: environments and web logins", zh: "命令：环境与网页登录" },
    groups: ["environments", "apply", "origins", "domains"],
  },
];

const WORDS = {
  switch: {
    en: "[中文](zh/PAGE.md) · [Documents](README.md)",
    zh: "[English](../PAGE.md) · [文档目录](README.md)",
  },
  intro: {
    en: "Made from the command table by `bun run docs`. What all commands have in common, their common options and exit codes: [Command line](cli.md).",
    zh: "本页由命令表生成（`bun run docs`）。各命令共有的规则、通用选项和退出码见[命令行](cli.md)。",
  },
  command: { en: "command", zh: "命令" },
  option: { en: "option", zh: "选项" },
  argument: { en: "argument", zh: "参数" },
  meaning: { en: "meaning", zh: "含义" },
  local: { en: "On the machine itself only.", zh: "只能在服务器本机执行。" },
} satisfies Record<string, Text>;

/** The options that nearly every command has, and that are explained once. */
const COMMON = new Set(["url", "key-file", "insecure-http", "json"]);

/** The pages of commands in one language, by their names. */
export async function commandPages(language: Language): Promise<Map<string, string>> {
  const commands = await shownCommands();
  const left = new Set(commands);
  const pages = PAGES.map((page): [string, string] => {
    const parts = page.groups.flatMap((group) => {
      const specs = commands.filter(({ words }) => words[0] === group);
      for (const spec of specs) left.delete(spec);
      const isGroup = specs.some(({ words }) => words.length === 2);
      return [
        ...(isGroup ? [heading(2, `\`${group}\``)] : []),
        ...specs.flatMap((spec) => commandPart(spec, language)),
      ];
    });
    const top = [
      heading(1, page.title[language]),
      `${WORDS.switch[language].replace("PAGE", page.name)}\n`,
      `${WORDS.intro[language]}\n`,
    ];
    return [page.name, [...top, ...parts].join("\n")];
  });
  for (const { words } of left)
    throw new Error(`${words.join(" ")} is on no page: add it in scripts/docs/commands.ts`);
  return new Map(pages);
}

/** Every command, in the order of the help, with a link to where it is explained. */
export async function commandTable(language: Language): Promise<string> {
  const rows = (await shownCommands()).map((spec) => {
    const page = PAGES.find(({ groups }) => groups.includes(spec.words[0]));
    return [`[\`${synopsis(spec)}\`](${page?.name}.md#${anchorOf(spec)})`, prose(spec.meaning[language])];
  });
  return table([WORDS.command[language], WORDS.meaning[language]], rows);
}

/** The options that nearly every command has. */
export async function commonOptions(language: Language): Promise<string> {
  const options = (await shownCommands()).flatMap((spec) => (isManaging(spec) ? (spec.options ?? []) : []));
  const common = [...COMMON].flatMap((name) => options.find((option) => option.name === name) ?? []);
  return optionTable(common, language);
}

/** Whether it asks `/v1`; others have options of their own by some of the same names. */
function isManaging({ options = [] }: CommandSpec): boolean {
  return [...COMMON].every((name) => options.some((option) => option.name === name));
}

async function shownCommands(): Promise<readonly CommandSpec[]> {
  return (await loadCommands()).filter(({ isHidden, isFormer }) => !isHidden && !isFormer);
}

function commandPart(spec: CommandSpec, language: Language): string[] {
  const { meaning, notes = [], positionals = [], options = [] } = spec;
  const isLocal = spec.words.length === 2 && !options.some(({ name }) => name === "url");
  const shown = options.filter(({ name, isFormer }) => !isFormer && !(isManaging(spec) && COMMON.has(name)));
  const sentences = [`${prose(meaning[language])}${language === "en" ? "." : "。"}`];
  if (isLocal) sentences.push(WORDS.local[language]);
  return [
    heading(spec.words.length + 1, `\`${synopsis(spec)}\``),
    `${sentences.join(language === "en" ? " " : "")}\n`,
    ...notes.map((note) => `${prose(note[language])}\n`),
    ...(positionals.length === 0 ? [] : [argumentTable(positionals, language)]),
    ...(shown.length === 0 ? [] : [optionTable(shown, language)]),
  ];
}

function argumentTable(positionals: readonly PositionalSpec[], language: Language): string {
  const rows = positionals.map((each) => [`\`${argumentText(each)}\``, prose(each.meaning[language])]);
  return table([WORDS.argument[language], WORDS.meaning[language]], rows);
}

function optionTable(options: readonly OptionSpec[], language: Language): string {
  const rows = options.map(({ name, value, meaning }) => [
    `\`--${name}${value === undefined ? "" : ` ${value}`}\``,
    prose(meaning[language]),
  ]);
  return table([WORDS.option[language], WORDS.meaning[language]], rows);
}

function synopsis({ words, positionals = [] }: CommandSpec): string {
  return [...words, ...positionals.map(argumentText)].join(" ");
}

function argumentText({ name, isOptional }: PositionalSpec): string {
  return isOptional ? `[<${name}>]` : `<${name}>`;
}

/** The anchor of a command's heading, as GitHub makes it. */
function anchorOf(spec: CommandSpec): string {
  return synopsis(spec)
    .replaceAll(/[^a-z0-9 -]/g, "")
    .replaceAll(" ", "-");
}
