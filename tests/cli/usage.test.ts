import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { loadCommands } from "../../src/cli/commands.ts";
import { type Language, preferredLanguage } from "../../src/config.ts";
import { runAlone, withoutBlanks } from "./cli-harness.ts";

const CHINESE = /[\u4e00-\u9fff]/;
const commands = await loadCommands();
const shown = commands.filter(({ isHidden, isFormer }) => !isHidden && !isFormer);

/** What a command line prints, which must be all there is. */
async function printed(args: readonly string[], language: Language): Promise<string> {
  const { code, stdout, stderr } = await runAlone(args, { language });
  expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: "" });
  return stdout;
}

test.each(["en", "zh"] as const)("help in %s lists every command with what it means", async (language) => {
  const text = await printed(["help"], language);
  for (const { words, meaning } of shown) {
    const [, after = ""] = text.split(`\n  ${words.join(" ")} `);
    expect(withoutBlanks(after)).toMatch(
      RegExp(`^(\\[?<\\w+>\\]?)*${RegExp.escape(withoutBlanks(meaning[language]))}`),
    );
  }
  expect(CHINESE.test(text)).toBe(language === "zh");
  expect(text).not.toContain("worker ");
  for (const word of ["--help", "-h"]) expect(await printed([word], language)).toBe(text);
});

test("help names the documents, as a file that is there and as a path of a running service", async () => {
  for (const [language, file] of [
    ["en", "docs/README.md"],
    ["zh", "docs/zh/README.md"],
  ] as const) {
    const text = await printed(["help"], language);
    expect(text).toContain(file);
    expect(text).toContain("http://127.0.0.1:3000/docs/");
    expect(existsSync(join(import.meta.dir, "../..", file))).toBe(true);
  }
});

test("a command's help tells each argument and option in one language", async () => {
  for (const { words, positionals = [], options: all = [] } of shown) {
    const options = all.filter(({ isFormer }) => !isFormer);
    const english = await printed(["help", ...words], "en");
    expect([words, english]).toEqual([words, expect.not.stringMatching(CHINESE)]);
    expect(english).toStartWith(`Usage: accesstoken ${words.join(" ")}`);
    for (const { name, meaning } of positionals) {
      expect(english).toContain(`<${name}>`);
      expect(withoutBlanks(english)).toContain(withoutBlanks(meaning.en));
    }
    for (const { name, meaning } of options) {
      expect(english).toContain(`  --${name}`);
      expect(withoutBlanks(english)).toContain(withoutBlanks(meaning.en));
    }
    const chinese = await printed([...words, "--help"], "zh");
    expect(chinese).toStartWith(`用法：accesstoken ${words.join(" ")}`);
    for (const { meaning } of options) {
      expect(withoutBlanks(chinese)).toContain(withoutBlanks(meaning.zh));
      expect(meaning.zh).toMatch(CHINESE);
    }
  }
});

test.each(["en", "zh"] as const)(
  "no line of options or commands in %s is wider than 100 columns",
  async (language) => {
    for (const words of [[], ...shown.map((each) => each.words)]) {
      const lines = (await printed(["help", ...words], language)).split("\n");
      for (const line of lines.filter((each) => each.startsWith("  ")))
        expect(Bun.stringWidth(line)).toBeLessThanOrEqual(100);
    }
  },
);

test.each([
  ["sandbox", "sandbox push <url>"],
  ["backup", "backup verify <file>"],
])("the help of %s names %s, which stands among what has no --url", async (word, other) => {
  expect(await printed([word, "--help"], "en")).toContain(`\n\nCommands:\n  ${other} `);
  const [own = ""] = (await printed(["help"], "en")).split("\nManaging, ");
  for (const each of [word, other, "store copy", "master-key rotate"]) expect(own).toContain(`\n  ${each} `);
  for (const each of ["status", "apply"]) expect(own).not.toContain(`\n  ${each} `);
});

test("an origin that is no option's value is asked for by that option", async () => {
  const { code, stderr } = await runAlone(["origins", "add", "wx1", "dev", "https://dev.example.com"]);
  expect([code, stderr]).toEqual([2, expect.stringContaining("\ngive origins by --redirect-origin\n")]);
});

test("a group's help lists its commands", async () => {
  const text = await printed(["help", "keys"], "en");
  for (const word of ["create", "list", "roll", "revoke"]) expect(text).toContain(`  keys ${word} `);
  expect(text).not.toContain("clients add");
  expect(await printed(["keys", "--help"], "en")).toBe(text);
  expect(await printed(["keys", "help"], "en")).toBe(text);
});

test("names and meanings are unique, and no option is one that every command has", () => {
  const names = commands.map(({ words }) => words.join(" "));
  expect(new Set(names).size).toBe(names.length);
  for (const { options = [] } of commands) {
    const own = options.map(({ name }) => name);
    expect(new Set(own).size).toBe(own.length);
    expect(own).not.toContain("help");
  }
});

test.each([
  [["keys"], "a command is missing", "Usage: accesstoken keys <command> [options]"],
  [["keys", "steal"], "there is no such command", "Usage: accesstoken keys <command> [options]"],
  [["serv"], "there is no such command; did you mean accesstoken serve?", "Usage: accesstoken"],
  [["app"], "there is no such command; did you mean accesstoken apps?", "Usage: accesstoken"],
  [["app", "lst"], "there is no such command; did you mean accesstoken apps list?", "Usage: accesstoken"],
  [
    ["keys", "creat"],
    "there is no such command; did you mean accesstoken keys create?",
    "Usage: accesstoken keys",
  ],
  [
    ["help", "keys", "rol"],
    "there is no such command; did you mean accesstoken keys roll?",
    "Usage: accesstoken help",
  ],
  [["help", "steal"], "there is no such command", "Usage: accesstoken help"],
  [["help", "keys", "steal"], "there is no such command", "Usage: accesstoken help"],
  [["keys", "list"], "argument <client> is missing", "Usage: accesstoken keys list <client>"],
])("%j: a line of usage, then one that says what is wrong, exit code 2", async (args, line, usage) => {
  const { code, stdout, stderr } = await runAlone(args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  const [first, ...others] = stderr.split("\n");
  expect(first).toStartWith(usage);
  expect(first).toEndWith(")");
  expect(first).toContain("(accesstoken help");
  expect(others).toEqual([`accesstoken: ${line}`, ""]);
});

test.each([
  [{}, "en"],
  [{ LANG: "zh_CN.UTF-8" }, "zh"],
  [{ LANG: "ZH" }, "zh"],
  [{ LANG: "en_US.UTF-8" }, "en"],
  [{ LANG: "zh_CN.UTF-8", LC_ALL: "C" }, "en"],
  [{ LANG: "C", LC_MESSAGES: "zh_TW.UTF-8" }, "zh"],
  [{ LANG: "zh_CN", LC_MESSAGES: "en_GB", LC_ALL: "" }, "en"],
  [{ LANG: "", LC_ALL: "zh_HK" }, "zh"],
] as const)("with %j the command line speaks %s", (environment, language) => {
  expect(preferredLanguage(environment)).toBe(language);
});
