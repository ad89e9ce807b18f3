import { expect, test } from "bun:test";
import { loadCommands } from "../../src/cli/commands.ts";
import { runAlone } from "./cli-harness.ts";

/** How each shell is asked what it offers for the last of its arguments. */
const SHELLS = {
  bash: `COMP_WORDS=(accesstoken "$@"); COMP_CWORD=$#; _accesstoken; printf '%s\\n' "\${COMPREPLY[@]}"`,
  // Without the line editor nothing narrows down what is offered.
  zsh: `compadd() { shift; [ $# -gt 0 ] && print -l -- "\${(@M)@:#\${words[CURRENT]}*}" }; _files() { }
    words=(accesstoken "$@"); CURRENT=$#words; _accesstoken`,
  fish: `cd (mktemp -d); complete -C "accesstoken $argv"`,
};

async function setup(shell: keyof typeof SHELLS) {
  const script = (await runAlone(["completion", shell])).stdout;
  const prelude = shell === "zsh" ? "compdef() { }; " : "";
  const start = { bash: ["bash", "--norc"], zsh: ["zsh", "-f"], fish: ["fish", "--no-config"] }[shell];
  /** What the shell offers for the last of these words. */
  const offered = async (...words: readonly string[]) => {
    const command = [...start, "-c", `${prelude}${script}\n${SHELLS[shell]}`];
    const child = Bun.spawn([...command, ...(shell === "fish" ? [] : [shell]), ...words], { stderr: "pipe" });
    const [text, complaint] = [await child.stdout.text(), await child.stderr.text()];
    expect(complaint).toBe("");
    return text.split("\n").filter(Boolean).toSorted();
  };
  return { script, offered };
}

for (const shell of ["bash", "zsh", "fish"] as const) {
  const isMissing = Bun.which(shell) === null;
  test.skipIf(isMissing)(
    `${shell} completes groups, commands and options, and offers nothing where a file or a name is meant`,
    async () => {
      const { offered } = await setup(shell);
      expect(await offered("app")).toEqual(["apply", "apps"]);
      expect(await offered("")).toContain("help");
      expect(await offered("apps", "s")).toEqual(["set", "set-secret", "show"]);
      expect(await offered("apps", "add", "--t")).toEqual(["--title"]);
      expect(await offered("apps", "add", "wx1", "--mo")).toEqual(["--mode"]);
      expect(await offered("serve", "--w")).toEqual(["--workers"]);
      expect(await offered("serve", "--workers", "2", "--new")).toEqual(["--new-database"]);
      expect(await offered("keys", "create", "zzz")).toEqual([]);
      expect(await offered("nonsense", "")).toEqual([]);
    },
  );

  test.skipIf(isMissing)(`${shell} completes every command for people`, async () => {
    const { offered } = await setup(shell);
    for (const { words, isHidden, isFormer } of await loadCommands()) {
      const [first, second] = words;
      const found = second === undefined ? await offered(first) : await offered(first, second);
      expect([words, found.includes(second ?? first)]).toEqual([words, !isHidden && !isFormer]);
    }
  });
}

test("no word in the scripts needs quotes", async () => {
  for (const shell of ["bash", "zsh"] as const) {
    const { script } = await setup(shell);
    for (const [, words = ""] of script.matchAll(/offered='(.*?)'/g)) expect(words).toMatch(/^[a-z0-9 -]*$/);
  }
});

test("another shell is exit code 2", async () => {
  const { code, stdout, stderr } = await runAlone(["completion", "tcsh"]);
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain("must be bash, zsh or fish");
});
