import { ServiceError } from "../errors.ts";
import { type CommandSpec, parseArguments, usageError } from "./arguments.ts";
import { loadCommands } from "./commands.ts";
import { type ExitCode, failureText, isUsageError } from "./exit.ts";
import { OutputFailure, systemTerminal, type Terminal } from "./terminal.ts";
import { commandUsage, groupUsage, programUsage } from "./usage.ts";

/** Options in the place of a command. */
const ALIASES: Readonly<Record<string, string>> = { "--help": "help", "-h": "help", "--version": "version" };

const HELP: CommandSpec = {
  words: ["help"],
  meaning: { en: "Print this, or how a command is used", zh: "显示本帮助，或某个命令的用法" },
  positionals: ["command", "subcommand"].map((name) => ({
    name,
    isOptional: true,
    meaning: { en: "As in this list", zh: "见命令列表" },
  })),
  run: async (args, terminal) => {
    const place = await find([...args.all("command"), ...args.all("subcommand")]);
    if (place.rest.length > 0) throw unknownCommand();
    await terminal.print(await usageOf(place, terminal));
    return 0;
  },
};

/**
 * Runs what the command line says and resolves with its exit code.
 *
 * `args` is without the program's name. An error goes to standard error as one line; after wrong usage the
 * command's help follows.
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
    terminal.tell(failureText(error));
    if (!isUsageError(error)) return 1;
    terminal.tell(`\n${(await usageOf(place, terminal)).trimEnd()}`);
    return 2;
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
    if (!group || rest.length > 1 || (ALIASES[word] ?? word) !== "help") throw unknownCommand();
  }
  await terminal.print(await usageOf({ spec, group, rest }, terminal));
  return 0;
}

async function usageOf({ spec, group }: Place, { language }: Terminal): Promise<string> {
  if (spec) return commandUsage(spec, language);
  return group
    ? groupUsage(group, language)
    : programUsage([...available(await loadCommands()), HELP], language);
}

/** The hidden ones are for processes that this program has started itself. */
function available(commands: readonly CommandSpec[]): readonly CommandSpec[] {
  return commands.filter(({ isHidden }) => !isHidden || process.send !== undefined);
}

function unknownCommand(): ServiceError {
  return usageError("没有这个命令 (there is no such command)");
}
