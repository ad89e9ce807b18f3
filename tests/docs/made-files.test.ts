import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadCommands } from "../../src/cli/commands.ts";
import { madeFiles } from "../../scripts/docs.ts";
import { VARIABLES } from "../../src/config/variables.ts";
import { ROOT } from "./document.ts";

const FILES = await madeFiles();

test.each([...FILES.keys()])("%s says what the code says (else: bun run docs)", (path) => {
  expect(readFileSync(join(ROOT, path), "utf8")).toBe(FILES.get(path)!);
});

test("the page of the configuration has every variable, in both languages", () => {
  for (const folder of ["docs", "docs/zh"]) {
    const page = FILES.get(`${folder}/configuration.md`);
    for (const name of Object.keys(VARIABLES.properties)) expect(page).toContain(`| \`${name}\` `);
  }
});

test("every option of a command is on a page, the common ones too", async () => {
  const pages = [...FILES].filter(([path]) => path.startsWith("docs/cli")).map(([, text]) => text);
  const options = (await loadCommands())
    .filter(({ isHidden }) => !isHidden)
    .flatMap((spec) => spec.options ?? []);
  const names = options.filter(({ isFormer }) => !isFormer).map(({ name }) => `| \`--${name}`);
  expect(names.filter((name) => !pages.some((text) => text.includes(name)))).toEqual([]);
});

test("the pages of variables and commands are among them, in both languages", () => {
  for (const name of [
    "configuration",
    "cli",
    "cli-service",
    "cli-operations",
    "cli-apps",
    "cli-access",
    "cli-environments",
  ]) {
    for (const folder of ["docs", "docs/zh"]) expect([...FILES.keys()]).toContain(`${folder}/${name}.md`);
  }
});
