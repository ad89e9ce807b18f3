import type { CommandSpec, OptionSpec, Text } from "../../src/cli/arguments.ts";
import { loadCommands } from "../../src/cli/commands.ts";
import { VERSION } from "../../src/version.ts";

const FILES: readonly (readonly [string, string])[] = [
  ["/etc/accesstoken/env", "Variables of the service"],
  ["/var/lib/accesstoken", "The database"],
  ["/var/lib/accesstoken-key", "The master key; keep a copy elsewhere"],
  ["/var/lib/accesstoken-backup", "Daily backups"],
];

const EXIT_CODES: readonly (readonly [string, string])[] = [
  ["0", "Done"],
  ["1", "Failed, or refused"],
  ["2", "Wrong usage"],
  ["3", "The service or its database is not ready"],
  ["4", "Warnings alone, of doctor"],
];

/**
 * `accesstoken(1)` in roff, made from the command table; `date` is of the form 2026-12-01. In English alone: groff may never
 * end where it breaks lines of Chinese.
 */
export async function manPage(date: string): Promise<string> {
  const shown = (await loadCommands()).filter(({ isHidden, isFormer }) => !isHidden && !isFormer);
  const definitions = (rows: readonly (readonly [string, string])[]) =>
    rows.flatMap(([term, meaning]) => [".TP", `.B ${plain(term)}`, plain(meaning)]);
  return [
    `.TH ACCESSTOKEN 1 ${date} "accesstoken ${VERSION}"`,
    ".SH NAME",
    "accesstoken \\- the one service that fetches access tokens from WeChat and WeCom",
    ".SH SYNOPSIS",
    ".B accesstoken",
    "\\fIcommand\\fR [\\fIoptions\\fR]",
    ".SH COMMANDS",
    ...shown.flatMap(commandPart),
    ".SH EXIT STATUS",
    ...definitions(EXIT_CODES),
    ".SH FILES",
    ...definitions(FILES),
    ".SH SEE ALSO",
    "A running service shows all documents at /docs/.",
    "",
  ].join("\n");
}

function commandPart({ words, meaning, notes = [], positionals = [], options = [] }: CommandSpec): string[] {
  const places = positionals.map(({ name, isOptional }) => (isOptional ? `[<${name}>]` : `<${name}>`));
  return [
    `.SS ${plain(["accesstoken", ...words, ...places].join(" "))}`,
    say(meaning),
    ...notes.flatMap((note) => [".PP", say(note)]),
    ...positionals.flatMap(({ name, meaning: text }) => [".TP", `.I <${plain(name)}>`, say(text)]),
    ...options.filter(({ isFormer }) => !isFormer).flatMap(optionPart),
  ];
}

function optionPart({ name, value, meaning }: OptionSpec): string[] {
  return [".TP", `.B ${plain(`--${name}${value === undefined ? "" : ` ${value}`}`)}`, say(meaning)];
}

function say(text: Text): string {
  return plain(text.en);
}

/** A text in which nothing is taken for a request of roff. */
function plain(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("\n", " ")
    .replace(/^(?=[.'])/, "\\&");
}
