import { type CommandSpec, usageError } from "./arguments.ts";
import type { ExitCode } from "./exit.ts";
import type { Terminal } from "./terminal.ts";

/** What may follow the words `at`; where they are a whole command, also after anything more. */
interface Case {
  readonly at: string;
  readonly isOpen?: boolean;
  readonly offered: readonly string[];
}

/** A script for each shell. The words come from our own tables, and have neither quotes nor blanks. */
const SCRIPTS: Readonly<Record<string, (cases: readonly Case[]) => string>> = {
  bash: (cases) => `_accesstoken() {
  local offered='' at="\${COMP_WORDS[*]:1:2}"
  [ "$COMP_CWORD" -gt 2 ] || at="\${COMP_WORDS[*]:1:COMP_CWORD-1}"
  ${posixCase(cases)}
  COMPREPLY=($(compgen -W "$offered" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _accesstoken accesstoken
`,
  zsh: (cases) => `#compdef accesstoken
_accesstoken() {
  local line=("\${(@)words[2,CURRENT-1]}") offered=''
  local at="\${line[1,2]}"
  ${posixCase(cases)}
  compadd -- \${=offered} || _files
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _accesstoken accesstoken
`,
  fish: (cases) => `function __accesstoken
  set -l line (commandline -opc)
  switch "$line[2..3]"
${cases.map(({ at, isOpen, offered }) => `    case '${at}${isOpen ? "*" : ""}'; printf '%s\\n' ${offered.join(" ")}`).join("\n")}
  end
end
complete -c accesstoken -a '(__accesstoken)'
complete -c accesstoken -f -n 'test (count (commandline -opc)) -lt 3'
`,
};

/**
 * Prints what makes a shell complete commands and options. Other words are completed as files.
 *
 * @throws {ServiceError} `invalid_parameter` for a shell that is none of those.
 */
export async function runCompletion(
  shell: string,
  commands: readonly CommandSpec[],
  terminal: Terminal,
): Promise<ExitCode> {
  const script = Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined;
  if (!script) throw usageError("<shell>: 应为 bash、zsh 或 fish (must be bash, zsh or fish)");
  await terminal.print(script(casesOf(commands.filter(({ isHidden, isFormer }) => !isHidden && !isFormer))));
  return 0;
}

function casesOf(commands: readonly CommandSpec[]): Case[] {
  const firsts = [...new Set([...commands.map(({ words }) => words[0]), "help"])];
  const groups = firsts.flatMap((first) => {
    const seconds = commands.flatMap((each) => (each.words[0] === first ? (each.words[1] ?? []) : []));
    return seconds.length === 0 ? [] : [{ at: first, offered: seconds }];
  });
  const options = commands.map(({ words, options: all = [] }) => {
    const names = all.flatMap(({ name, isFormer }) => (isFormer ? [] : [`--${name}`]));
    return { at: words.join(" "), isOpen: words.length === 1, offered: [...names, "--help"] };
  });
  return [{ at: "", offered: firsts }, ...groups, ...options];
}

function posixCase(cases: readonly Case[]): string {
  const lines = cases.map(
    ({ at, isOpen, offered }) => `    '${at}'${isOpen ? "*" : ""}) offered='${offered.join(" ")}' ;;`,
  );
  return ['case "$at" in', ...lines, "  esac"].join("\n");
}
