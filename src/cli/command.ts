import { editsBetween } from "../env-file.ts";
import { ServiceError } from "../errors.ts";
import {
  type CommandSpec,
  type OptionSpec,
  parseArguments,
  type PositionalSpec,
  type Text,
  usageError,
  bilingual,
} from "./arguments.ts";
import { loadCommands } from "./commands.ts";
import { type ExitCode, failureText, isUsageError } from "./exit.ts";
import { OutputFailure, systemTerminal, type Terminal, textPairs } from "./terminal.ts";
import type { Language } from "../config.ts";

/** How far from a command what was typed may be. */
const MAX_EDITS = 2;
/** Options in the place of a command. */
const ALIASES: Readonly<Record<string, string>> = { "--help": "help", "-h": "help", "--version": "version" };

const HELP: CommandSpec = {
  words: ["help"],
  meaning: bilingual("Print this, or how a command is used", "显示本帮助，或某个命令的用法"),
  positionals: ["command", "subcommand"].map((name) => ({
    name,
    isOptional: true,
    meaning: bilingual("As in this list", "见命令列表"),
  })),
  run: async (args, terminal) => {
    const place = await find([...args.all("command"), ...args.all("subcommand")]);
    if (place.rest.length > 0) throw await unknownCommand(place);
    await terminal.print(await usageOf(place, terminal));
    return 0;
  },
};

/**
 * Runs what the command line says and resolves with its exit code.
 *
 * `args` is without the program's name. An error goes to standard error as one line, and after wrong usage it comes last,
 * after a line with the command's usage.
 */
export async function runCommand(
  args: readonly string[],
  terminal: Terminal = systemTerminal(),
): Promise<ExitCode> {
  const [first = "", ...others] = args;
  const place = await find([ALIASES[first] ?? first, ...others]);
  try {
    return await runAt(place, terminal);
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    if (error instanceof OutputFailure && error.isQuiet) return 1;
    const isUsage = isUsageError(error);
    if (isUsage) terminal.tell(await usageLine(place, args.length === 0, terminal));
    terminal.tell(failureText(error, place.spec?.isService ? undefined : terminal.language));
    return isUsage ? 2 : 1;
  }
}

/** Where in the table the words of a command line lead. */
interface Place {
  /** The command, when the words name one. */
  readonly spec: CommandSpec | undefined;
  /** What begins with the words so far; undefined for everything. */
  readonly group: readonly CommandSpec[] | undefined;
  /** What follows. */
  readonly rest: readonly string[];
}

async function find(words: readonly string[]): Promise<Place> {
  const [first = "", second] = words;
  const group = first === "help" ? [HELP] : available(await loadCommands(first));
  if (group.length === 0) return { spec: undefined, group: undefined, rest: words };
  const spec = group.find((each) => each.words.length === 1 || each.words[1] === second);
  return { spec, group, rest: words.slice(spec?.words.length ?? 1) };
}

async function runAt({ spec, group, rest }: Place, terminal: Terminal): Promise<ExitCode> {
  if (spec) {
    const args = parseArguments(spec, rest);
    if (args !== "help") return spec.run(args, terminal);
  } else {
    const [word = ""] = rest;
    if (word === "") throw usageError("缺少命令 (a command is missing)");
    if (!group || rest.length > 1 || (ALIASES[word] ?? word) !== "help")
      throw await unknownCommand({ spec, group, rest });
  }
  await terminal.print(await usageOf({ spec, group, rest }, terminal));
  return 0;
}

async function usageOf({ spec, group }: Place, { language }: Terminal): Promise<string> {
  if (spec)
    return commandUsage(spec, group?.filter((each) => each.words.length > spec.words.length) ?? [], language);
  return group
    ? groupUsage(group, language)
    : programUsage([...available(await loadCommands()), HELP], language);
}

/** How the command is written, and where there is more; for who gave no command at all, everything. */
async function usageLine(place: Place, isBare: boolean, terminal: Terminal): Promise<string> {
  const usage = await usageOf(place, terminal);
  if (isBare) return usage;
  const [group] = place.group ?? [];
  const words = place.spec?.words ?? group?.words.slice(0, 1) ?? [];
  return `${usage.split("\n")[0]} (${["accesstoken", "help", ...words].join(" ")})`;
}

/** The hidden ones are for processes that this program has started itself. */
function available(commands: readonly CommandSpec[]): readonly CommandSpec[] {
  return commands.filter(({ isHidden }) => !isHidden || process.send !== undefined);
}

/** Names the nearest command, and never what was typed, which may be a secret. */
async function unknownCommand({ group = [], rest }: Place): Promise<ServiceError> {
  const [first = "", second] = [...group.slice(0, 1).map(({ words }) => words[0]), ...rest];
  const [nearest] = available(await loadCommands())
    .filter(({ isFormer }) => !isFormer)
    .map(({ words: [word, other] }) => ({
      name: second === undefined || other === undefined ? word : `${word} ${other}`,
      edits: editsBetween(first, word) + (second && other ? editsBetween(second, other) : 0),
    }))
    .toSorted((a, b) => a.edits - b.edits);
  if (!nearest || nearest.edits > MAX_EDITS) return usageError("没有这个命令 (there is no such command)");
  const command = `accesstoken ${nearest.name}`;
  return usageError(
    `没有这个命令，是否应为 ${command}？ (there is no such command; did you mean ${command}?)`,
  );
}

const WORDS = {
  usage: bilingual("Usage: ", "用法："),
  anyCommand: bilingual("<command> [options]", "<命令> [选项]"),
  options: bilingual("[options]", "[选项]"),
  service: bilingual("The service and its files, on its own machine:", "服务及其文件，在服务所在的机器上："),
  managing: bilingual(
    "Managing, on this machine's own database or by --url on a running service:",
    "管理，使用本机的数据库，或用 --url 访问运行中的服务：",
  ),
  arguments: bilingual("Arguments:", "参数："),
  optionList: bilingual("Options:", "选项："),
  commands: bilingual("Commands:", "命令："),
  help: bilingual("Print this", "显示本帮助"),
  more: bilingual(
    "accesstoken help <command> shows a command's options.",
    "用 accesstoken help <命令> 查看命令的选项。",
  ),
  configuration: bilingual(
    "Configuration is by environment variables and a .env file; .env.example lists them all.",
    "由环境变量和 .env 文件配置；全部变量见 .env.example。",
  ),
  documents: bilingual(
    "Documents: docs/README.md, which a running service shows at /docs/, as http://127.0.0.1:3000/docs/.",
    "文档：docs/zh/README.md；运行中的服务在 /docs/ 提供，如 http://127.0.0.1:3000/docs/。",
  ),
} satisfies Record<string, Text>;

const HELP_OPTION: OptionSpec = { name: "help", meaning: WORDS.help };

/** What the program can do, a line for each command. */
function programUsage(commands: readonly CommandSpec[], language: Language): string {
  const groups = Map.groupBy(commands, ({ words: [first] }) => first).values();
  const shown = [...groups]
    .flatMap((group) => group.toSorted((a, b) => a.words.length - b.words.length))
    .filter(({ isHidden }) => !isHidden);
  const say = (text: Text) => text[language];
  return [
    `${say(WORDS.usage)}accesstoken ${say(WORDS.anyCommand)}\n`,
    say(WORDS.service),
    commandLines(
      shown.filter((each) => !isManaging(each)),
      shown,
      language,
    ),
    "",
    say(WORDS.managing),
    commandLines(shown.filter(isManaging), shown, language),
    "",
    say(WORDS.more),
    say(WORDS.configuration),
    say(WORDS.documents),
    "",
  ].join("\n");
}

/** Whether it asks `/v1`, of its own database or by `--url`. */
function isManaging({ options = [] }: CommandSpec): boolean {
  return options.some(({ name }) => name === "insecure-http");
}

/** What a group of commands can do, as `keys`. */
function groupUsage(commands: readonly CommandSpec[], language: Language): string {
  const [group = ""] = commands[0]?.words ?? [];
  return [
    `${WORDS.usage[language]}accesstoken ${group} ${WORDS.anyCommand[language]}\n`,
    WORDS.commands[language],
    commandLines(commands, commands, language),
    "",
    WORDS.more[language],
    "",
  ].join("\n");
}

/** One command, its arguments and options, and those that begin with its word. */
function commandUsage(spec: CommandSpec, others: readonly CommandSpec[], language: Language): string {
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
      [...options.filter(({ isFormer }) => !isFormer), HELP_OPTION].map((each) => [
        optionText(each),
        say(each.meaning),
      ]),
    ),
    ...(others.length === 0 ? [] : ["", say(WORDS.commands), commandLines(others, others, language)]),
    "",
  ].join("\n");
}

function commandLines(
  commands: readonly CommandSpec[],
  alignedWith: readonly CommandSpec[],
  language: Language,
): string {
  const pairs = commands
    .filter(({ isFormer }) => !isFormer)
    .map((spec) => [synopsis(spec), spec.meaning[language]] as const);
  return textPairs(pairs, "  ", alignedWith.map(synopsis)).trimEnd();
}

function section(heading: string, pairs: readonly (readonly [string, string])[]): string[] {
  return pairs.length === 0 ? [] : ["", heading, textPairs(pairs, "  ").trimEnd()];
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
