import { afterAll, expect, test } from "bun:test";
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { Child } from "../support/child.ts";
import { type SdkClient, SdkHarness } from "./sdk-harness.ts";

const ROOT = join(import.meta.dir, "../..");
const BASE = "http://127.0.0.1:3000";
const APP = "wx0123456789abcdef";
const CORP = "ww0123456789abcdef";
const KEY = "ats_yourApiKey";

const ENGLISH = section("README.md", "SDKs");
const CHINESE = section("README.zh-CN.md", "SDK");

/** The part of a README below that heading. */
function section(file: string, heading: string): string {
  const [, text] = readFileSync(join(ROOT, file), "utf8").split(`\n## ${heading}\n`, 2);
  if (text === undefined) throw new Error(`${file} has no section ${heading}`);
  return text.split("\n## ", 1)[0] ?? "";
}

/** The blocks of code in a text, in their order; of one language only, if one is given. */
function blocks(text: string, language = "[a-z]+"): string[] {
  return [...text.matchAll(new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``, "g"))].map(
    ([, code = ""]) => code,
  );
}

const at = await SdkHarness.start();
afterAll(() => at[Symbol.asyncDispose]());

/** Runs a recipe as its reader would, in a folder of the client's, with the reader's own values. */
function run(recipe: string, client: SdkClient): Child {
  const code = recipe
    .replaceAll(BASE, at.url)
    .replaceAll(APP, client.id)
    .replaceAll(CORP, client.id)
    .replaceAll(KEY, client.apiKey)
    .replaceAll("codeOfWxLogin", "sandbox-code-1");
  symlinkSync(join(ROOT, "node_modules"), join(client.folder, "node_modules"));
  const file = join(client.folder, "recipe.mjs");
  writeFileSync(file, code);
  // Newer versions warn of what older SDKs use.
  const env = { NODE_NO_WARNINGS: "1" };
  return new Child([Bun.which("node") ?? process.execPath, file], { cwd: client.folder, env });
}

const NODE_RECIPES = blocks(ENGLISH, "js").map(
  (recipe) => [/from "([^"]+)"/.exec(recipe)?.[1] ?? "", recipe] as const,
);

test.each(NODE_RECIPES)("the README's recipe for %s works as it stands", async (_sdk, recipe) => {
  const client = recipe.includes(CORP) ? await at.wecom("virtual") : await at.weixin("virtual");
  for (const placeholder of [BASE, KEY]) expect(recipe).toContain(placeholder);
  await using program = run(recipe, client);
  // The answer of a call, a login's openid, or a page's signature.
  await program.find(/ip_list: \[ '|^o[\w-]{27}\n|signature: '[0-9a-f]{40}'/);
  expect(program.stderr).toBe("");
});

test("every SDK that the tests use has a recipe, and is marked with the very version", () => {
  const recipes = NODE_RECIPES.map(([sdk]) => sdk);
  expect(new Set(recipes)).toEqual(new Set(["node-easywechat", "co-wechat-api", "wechat-jssdk"]));
  for (const sdk of ["node-easywechat", "co-wechat-api", "wechat-jssdk"] as const) {
    const version = manifest.devDependencies[sdk];
    expect(ENGLISH).toMatch(new RegExp(`\\| \\[${sdk}\\].*\\| tested with ${version} unchanged`));
    expect(CHINESE).toMatch(new RegExp(`\\| \\[${sdk}\\].*\\| 以 ${version} 原样测试`));
  }
  expect(ENGLISH).toContain(`"overrides": { "node-socialite": "${manifest.overrides["node-socialite"]}" }`);
});

test("both READMEs have the same recipes, each with the same placeholders", () => {
  expect(blocks(CHINESE)).toEqual(blocks(ENGLISH));
  for (const language of ["php", "java", "go", "python", "csharp"]) {
    const recipes = blocks(ENGLISH, language);
    expect([language, recipes.length > 0]).toEqual([language, true]);
    expect(recipes.join("\n")).toContain(BASE);
    expect(recipes.join("\n")).toContain(KEY);
  }
});
