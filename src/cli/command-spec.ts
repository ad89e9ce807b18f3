import type { Language } from "../config.ts";
import type { Arguments } from "./arguments.ts";
import type { ExitCode } from "./exit-code.ts";
import type { Terminal } from "./terminal.ts";

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
  /** What stands for its value in the help; undefined for a switch. */
  readonly value?: string;
  /** Whether it may come several times. */
  readonly isRepeatable?: boolean;
  readonly meaning: Text;
}

/** One command: how it is written, what it means and what it does. Parser and help are made from it. */
export interface CommandSpec {
  /** One word, or a group and a word. */
  readonly words: readonly [string] | readonly [string, string];
  readonly meaning: Text;
  /** More for the command's own help, a line each. */
  readonly notes?: readonly Text[];
  readonly positionals?: readonly PositionalSpec[];
  readonly options?: readonly OptionSpec[];
  /** What to tell who gives too many arguments. */
  readonly surplusHint?: string;
  /** Whether it is left out of the help, and is no command for people. */
  readonly isHidden?: boolean;
  /** Throws `invalid_parameter` when it was used wrongly. */
  readonly run: (args: Arguments, terminal: Terminal) => Promise<ExitCode>;
}
