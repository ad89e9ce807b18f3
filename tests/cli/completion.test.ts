import { expect, test } from "bun:test";
import { loadCommands } from "../../src/cli/commands.ts";
import { runAlone } from "./cli-harness.ts";

const script = (await runAlone(["completion", "bash"])).stdout;

/** What bash offers for the last of these words. */
async function offered(...words: readonly string[]): Promise<string[]> {
  const line = `COMP_WORDS=(accesstoken "$@"); COMP_CWORD=$#; _accesstoken; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const bash = Bun.spawn(["bash", "-c", `${script}\n${line}`, "bash", ...words], { stderr: "pipe" });
  const [text, complaint] = [await bash.stdout.text(), await bash.stderr.text()];
  expect(complaint).toBe("");
  return text.split("\n").filter(Boolean);
}

test("bash completes groups, commands and options, and offers nothing where a file or a name is meant", async () => {
  expect(await offered("ap")).toEqual(["apps"]);
  expect(await offered("")).toContain("help");
  expect(await offered("apps", "s")).toEqual(["show", "set-secret", "set"]);
  expect(await offered("apps", "add", "--t")).toEqual(["--title"]);
  expect(await offered("apps", "add", "wx1", "--mo")).toEqual(["--mode"]);
  expect(await offered("serve", "--w")).toEqual(["--workers"]);
  expect(await offered("serve", "--workers", "2", "--new")).toEqual(["--new-database"]);
  expect(await offered("keys", "create", "sh")).toEqual([]);
  expect(await offered("nonsense", "")).toEqual([]);
});

test("every command for people is completed, and no other word is in the script", async () => {
  for (const { words, isHidden, isFormer } of await loadCommands()) {
    const [first, second] = words;
    const found = second === undefined ? await offered(first) : await offered(first, second);
    expect([words, found.includes(second ?? first)]).toEqual([words, !isHidden && !isFormer]);
  }
  for (const [, words = ""] of script.matchAll(/words='(.*?)'/g)) expect(words).toMatch(/^[a-z0-9 -]*$/);
});

test("another shell is exit code 2", async () => {
  const { code, stdout, stderr } = await runAlone(["completion", "tcsh"]);
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain("must be bash");
});
