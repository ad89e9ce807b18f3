import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Language } from "../src/config.ts";
import { commandPages, commandTable, commonOptions } from "./docs/commands.ts";
import { envExample, variableTables } from "./docs/variables.ts";

const ROOT = join(import.meta.dir, "..");

/** What of a page written by hand is made from the code, by the name in its markers. */
const PARTS: Readonly<Record<string, (language: Language) => string | Promise<string>>> = {
  variables: variableTables,
  commands: commandTable,
  "common-options": commonOptions,
};

/** The pages with such parts. */
const PAGES = ["configuration", "cli"];

const MARKED = /(<!-- made by bun run docs: ([a-z-]+) -->\n\n)[^]*?(\n?<!-- end -->)/g;

/**
 * Everything in the documents that is made from the code: each file's path from the repository's root, and what it should
 * hold.
 */
export async function madeFiles(): Promise<Map<string, string>> {
  const files = new Map([[".env.example", envExample()]]);
  for (const language of ["en", "zh"] as const) {
    const folder = language === "en" ? "docs" : "docs/zh";
    for (const [name, text] of await commandPages(language)) files.set(`${folder}/${name}.md`, text);
    for (const name of PAGES) {
      const path = `${folder}/${name}.md`;
      files.set(path, await withParts(readFileSync(join(ROOT, path), "utf8"), language));
    }
  }
  return files;
}

async function withParts(text: string, language: Language): Promise<string> {
  let made = text;
  for (const [all, opening = "", name = "", closing = ""] of text.matchAll(MARKED)) {
    const part = await PARTS[name]?.(language);
    if (part === undefined) throw new Error(`there is no part ${name}`);
    made = made.replace(all, () => `${opening}${part}\n${closing.trimStart()}`);
  }
  return made;
}

if (import.meta.main) {
  for (const [path, text] of await madeFiles()) writeFileSync(join(ROOT, path), text);
}
