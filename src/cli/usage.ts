import type { Language } from "../config.ts";
import type { CommandSpec, OptionSpec, PositionalSpec, Text } from "./arguments.ts";

const WORDS = {
  usage: { en: "Usage: ", zh: "用法：" },
  anyCommand: { en: "<command> [options]", zh: "<命令> [选项]" },
  options: { en: "[options]", zh: "[选项]" },
  service: { en: "The service:", zh: "服务：" },
  managing: {
    en: "Managing, on this machine's own database or by --url on a running service:",
    zh: "管理，使用本机的数据库，或用 --url 访问运行中的服务：",
  },
  arguments: { en: "Arguments:", zh: "参数：" },
  optionList: { en: "Options:", zh: "选项：" },
  commands: { en: "Commands:", zh: "命令：" },
  help: { en: "Print this", zh: "显示本帮助" },
  more: {
    en: "accesstoken help <command> shows a command's options.",
    zh: "用 accesstoken help <命令> 查看命令的选项。",
  },
  configuration: {
    en: "Configuration is by environment variables and a .env file; .env.example lists them all.",
    zh: "由环境变量和 .env 文件配置；全部变量见 .env.example。",
  },
} satisfies Record<string, Text>;

const HELP_OPTION: OptionSpec = { name: "help", meaning: WORDS.help };

/** What the program can do, a line for each command. */
export function programUsage(commands: readonly CommandSpec[], language: Language): string {
  const shown = commands.filter(({ isHidden }) => !isHidden);
  const say = (text: Text) => text[language];
  return [
    `${say(WORDS.usage)}accesstoken ${say(WORDS.anyCommand)}\n`,
    say(WORDS.service),
    ...commandLines(
      shown.filter(({ words }) => words.length === 1),
      shown,
      language,
    ),
    "",
    say(WORDS.managing),
    ...commandLines(
      shown.filter(({ words }) => words.length === 2),
      shown,
      language,
    ),
    "",
    say(WORDS.more),
    say(WORDS.configuration),
    "",
  ].join("\n");
}

/** What a group of commands can do, as `keys`. */
export function groupUsage(commands: readonly CommandSpec[], language: Language): string {
  const [group = ""] = commands[0]?.words ?? [];
  return [
    `${WORDS.usage[language]}accesstoken ${group} ${WORDS.anyCommand[language]}\n`,
    WORDS.commands[language],
    ...commandLines(commands, commands, language),
    "",
    WORDS.more[language],
    "",
  ].join("\n");
}

/** One command, its arguments and options. */
export function commandUsage(spec: CommandSpec, language: Language): string {
  const { meaning, notes = [], positionals = [], options = [] } = spec;
  const say = (text: Text) => text[language];
  return [
    `${say(WORDS.usage)}accesstoken ${synopsis(spec)} ${say(WORDS.options)}\n`,
    say(meaning),
    ...notes.map(say),
    ...section(
      say(WORDS.arguments),
      positionals.map((each) => [positionalText(each), say(each.meaning)]),
    ),
    ...section(
      say(WORDS.optionList),
      [...options, HELP_OPTION].map((each) => [optionText(each), say(each.meaning)]),
    ),
    "",
  ].join("\n");
}

function commandLines(
  commands: readonly CommandSpec[],
  alignedWith: readonly CommandSpec[],
  language: Language,
): string[] {
  const width = Math.max(...alignedWith.map((spec) => synopsis(spec).length));
  return commands
    .filter(({ isFormer }) => !isFormer)
    .map((spec) => pairLine([synopsis(spec), spec.meaning[language]], width));
}

function section(heading: string, pairs: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.length === 0 ? [] : ["", heading, ...pairs.map((pair) => pairLine(pair, width))];
}

function pairLine([name, meaning]: readonly [string, string], width: number): string {
  return `  ${name.padEnd(width)}  ${meaning}`;
}

function synopsis({ words, positionals = [] }: CommandSpec): string {
  return [...words, ...positionals.map(positionalText)].join(" ");
}

function positionalText({ name, isOptional }: PositionalSpec): string {
  return isOptional ? `[<${name}>]` : `<${name}>`;
}

function optionText({ name, value }: OptionSpec): string {
  return value === undefined ? `--${name}` : `--${name} ${value}`;
}
