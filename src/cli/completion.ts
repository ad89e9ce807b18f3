import { type CommandSpec, usageError } from "./arguments.ts";
import type { ExitCode } from "./exit.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Prints what makes a shell complete commands and options. Other words are completed as files.
 *
 * @throws {ServiceError} `invalid_parameter` for a shell other than bash.
 */
export async function runCompletion(
  shell: string,
  commands: readonly CommandSpec[],
  terminal: Terminal,
): Promise<ExitCode> {
  if (shell !== "bash") throw usageError("<shell>: 应为 bash (must be bash)");
  const shown = commands.filter(({ isHidden, isFormer }) => !isHidden && !isFormer);
  await terminal.print(bashScript(shown));
  return 0;
}

/** The words come from our own tables, and have neither quotes nor blanks. */
function bashScript(commands: readonly CommandSpec[]): string {
  const firsts = [...new Set([...commands.map(({ words }) => words[0]), "help"])];
  const groups = firsts.flatMap((first) => {
    const words = commands.flatMap((each) => (each.words[0] === first ? (each.words[1] ?? []) : []));
    return words.length === 0 ? [] : [caseOf(`'${first}'`, words)];
  });
  const options = commands.map(({ words, options: all = [] }) => {
    const names = all.flatMap(({ name, isFormer }) => (isFormer ? [] : [`--${name}`]));
    return caseOf(words.length === 1 ? `'${words[0]}'*` : `'${words.join(" ")}'`, [...names, "--help"]);
  });
  return `_accesstoken() {
  local words='' at="\${COMP_WORDS[*]:1:2}"
  [ "$COMP_CWORD" -gt 2 ] || at="\${COMP_WORDS[*]:1:COMP_CWORD-1}"
  case "$at" in
${[caseOf("''", firsts), ...groups, ...options].join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _accesstoken accesstoken
`;
}

function caseOf(pattern: string, words: readonly string[]): string {
  return `    ${pattern}) words='${words.join(" ")}' ;;`;
}
