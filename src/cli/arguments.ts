import { parseArgs } from "node:util";
import { ServiceError } from "../errors.ts";
import type { Language } from "../config.ts";
import type { ExitCode } from "./exit.ts";
import type { Terminal } from "./terminal.ts";

/** The error of a command that was used wrongly. Neither text repeats input, which may be a secret. */
export function usageError(message: string, hint?: string): ServiceError {
  return new ServiceError("invalid_parameter", message, hint === undefined ? {} : { hint });
}

/** What was given to a command, by the names of its spec. */
export class Arguments {
  readonly #values: ReadonlyMap<string, readonly string[]>;

  constructor(values: ReadonlyMap<string, readonly string[]>) {
    this.#values = values;
  }

  /** Whether the option or positional was given. */
  isSet(name: string): boolean {
    return this.#values.has(name);
  }

  /** The option's or positional's text; undefined when it was not given. */
  find(name: string): string | undefined {
    return this.all(name)[0];
  }

  /** The same; a usage error when it was not given. */
  get(name: string): string {
    const value = this.find(name);
    if (value === undefined) throw usageError(`缺少 --${name} (--${name} is missing)`);
    return value;
  }

  /** Every text of an option that may come several times. */
  all(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  /** A whole number within bounds; undefined when it was not given. */
  findNumber(name: string, { min, max }: { min: number; max: number }): number | undefined {
    const text = this.find(name);
    if (text === undefined) return undefined;
    const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (number >= min && number <= max) return number;
    throw usageError(`--${name}: 应为${min}到${max}的整数 (must be an integer from ${min} to ${max})`);
  }
}

/**
 * Reads `args`, which follow the command's words, as its spec says; "help" when they ask for the command's help.
 *
 * @throws {ServiceError} `invalid_parameter` with one line for the person.
 */
export function parseArguments(spec: CommandSpec, args: readonly string[]): Arguments | "help" {
  const { positionals, options } = parse(spec, args);
  if (options.has("help")) return "help";
  const all = spec.positionals ?? [];
  // An optional one is left out where the words are needed for those that are not.
  let spare = positionals.length - all.filter(({ isOptional }) => !isOptional).length;
  const slots = all.filter(({ isOptional }) => !isOptional || spare-- > 0);
  if (positionals.length > slots.length) {
    throw usageError("多余的参数 (too many arguments)", spec.surplusHint);
  }
  const missing = slots[positionals.length];
  if (missing) {
    throw usageError(`缺少参数 <${missing.name}> (argument <${missing.name}> is missing)`);
  }
  const named = slots.flatMap(({ name }, n) => {
    const value = positionals[n];
    return value === undefined ? [] : [[name, [value]] as const];
  });
  return new Arguments(new Map([...options, ...named]));
}

function parse(spec: CommandSpec, args: readonly string[]) {
  const options = new Map<string, readonly string[]>();
  const { values, positionals } = parseStrictly(spec, args);
  for (const [name, given = []] of Object.entries(values)) {
    const texts = given.flatMap((each) => (typeof each === "string" ? [each] : []));
    const isRepeatable = spec.options?.find((option) => option.name === name)?.isRepeatable ?? false;
    if (given.length > 1 && !isRepeatable) throw usageError(`--${name} 重复 (--${name} is given twice)`);
    options.set(name, texts);
  }
  return { positionals, options };
}

/** Every option is parsed as repeatable, so that a duplicate is reported and does not silently win. */
function parseStrictly(spec: CommandSpec, args: readonly string[]) {
  const options = Object.fromEntries(
    (spec.options ?? []).map(({ name, value, short }) => [
      name,
      {
        type: value === undefined ? ("boolean" as const) : ("string" as const),
        multiple: true as const,
        ...(short === undefined ? {} : { short }),
      },
    ]),
  );
  const help = { type: "boolean" as const, short: "h", multiple: true as const };
  try {
    return parseArgs({
      args: [...args],
      options: { ...options, help },
      allowPositionals: true,
      strict: true,
    });
  } catch (error) {
    throw usageError(complaint(error));
  }
}

/** In our words: Node's own message quotes the input, which may be a secret. */
function complaint(error: unknown): string {
  const { code = "", message = "" } = error as { code?: string; message?: string };
  const [name = ""] = /--?[\w-]+|(?<=')\w(?=')/.exec(message.replace("-h, ", "")) ?? [];
  if (code === "ERR_PARSE_ARGS_UNKNOWN_OPTION") {
    const option = name.startsWith("-") ? name : `-${name}`;
    return `未知的选项 ${option} (unknown option ${option})`;
  }
  if (message.includes("does not take an argument")) return `${name} 不带参数值 (${name} takes no value)`;
  return `${name} 缺少参数值 (${name} needs a value)`;
}

/** The same in each language. */
export type Text = Readonly<Record<Language, string>>;

/** A word of the command that is not fixed. */
export interface PositionalSpec {
  /** Without the angle brackets. */
  readonly name: string;
  readonly isOptional?: boolean;
  readonly meaning: Text;
}

/** An option of a command. */
export interface OptionSpec {
  /** Without the dashes. */
  readonly name: string;
  /** The placeholder of its value in the help; undefined for a switch. */
  readonly value?: string;
  /** Its one letter after a single dash. */
  readonly short?: string;
  /** Whether it may come several times. */
  readonly isRepeatable?: boolean;
  /** Whether it has no effect any more and is left out of the help. */
  readonly isFormer?: boolean;
  readonly meaning: Text;
}

/** A text in both languages. */
export function bilingual(en: string, zh: string): Text {
  return { en, zh };
}

/** An option as the help shows it: `--name` for a switch, `--name <value>` for one with a value. */
export function option(shown: string, en: string, zh: string): OptionSpec {
  const [name = "", value] = shown.slice("--".length).split(" ");
  return { name, meaning: { en, zh }, ...(value === undefined ? {} : { value }) };
}

/** The option of what may make a database. */
export const NEW_DATABASE = option(
  "--new-database",
  "Begin a new database although its master key is there already: the one before was lost, or never was",
  "主密钥已存在时仍新建数据库：原数据库已丢失，或从未有过",
);

/** One command: how it is written, what it means and what it does. Parser and help are made from it. */
export interface CommandSpec {
  /** One word, or a group and a word. */
  readonly words: readonly [string] | readonly [string, string];
  readonly meaning: Text;
  /** More for the command's own help, a line each. */
  readonly notes?: readonly Text[];
  readonly positionals?: readonly PositionalSpec[];
  readonly options?: readonly OptionSpec[];
  /** The hint after too many arguments. */
  readonly surplusHint?: string;
  /** Whether it is left out of the help, and is no command for people. */
  readonly isHidden?: boolean;
  /** Whether it is another name of a command, which works and is left out of the help. */
  readonly isFormer?: boolean;
  /** Whether it runs on and writes to a log, where anybody reads it: then its failure is told in both languages. */
  readonly isService?: boolean;
  /** Throws `invalid_parameter` when it was used wrongly. */
  readonly run: (args: Arguments, terminal: Terminal) => Promise<ExitCode>;
}
