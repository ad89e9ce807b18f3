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

const SDKS = ["node-easywechat", "co-wechat-api", "wechat-jssdk", "wechat-api"] as const;
/** The pages of recipes, and of which languages of code they have some. */
const PAGES = {
  node: ["js"],
  php: ["php"],
  go: ["go"],
  java: ["java", "properties"],
  python: ["python"],
  csharp: ["csharp"],
} as const;

function page(name: string, folder = "docs"): string {
  return readFileSync(join(ROOT, folder, `${name}.md`), "utf8");
}

/** The blocks of code in a text, in their order; of one language only. */
function blocks(text: string, language: string): string[] {
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
    .replaceAll("codeOfWxLogin", "sandbox-code-1")
    .replaceAll("codeOfTheRedirect", "sandbox-code-2");
  symlinkSync(join(ROOT, "node_modules"), join(client.folder, "node_modules"));
  const file = join(client.folder, "recipe.mjs");
  writeFileSync(file, code);
  // Newer versions warn of what older SDKs use.
  const env = { NODE_NO_WARNINGS: "1" };
  return new Child([Bun.which("node") ?? process.execPath, file], { cwd: client.folder, env });
}

const NODE_RECIPES = blocks(page("sdks-node"), "js").map(
  (recipe) => [/from "([^"]+)"/.exec(recipe)?.[1] ?? "", recipe] as const,
);

test.each(NODE_RECIPES)("the recipe for %s works as it stands", async (_sdk, recipe) => {
  const client = recipe.includes(CORP) ? await at.wecom("virtual") : await at.weixin("virtual");
  for (const placeholder of [BASE, KEY]) expect(recipe).toContain(placeholder);
  await using program = run(recipe, client);
  // The answer of a call, a login's openid or userid, or a page's signature.
  await program.find(/ip_list: \[ '|^o[\w-]{27}\n|^user-\w+\n|signature: '[0-9a-f]{40}'/);
  expect(program.stderr).toBe("");
});

test("every SDK that the tests use has a recipe, and is marked with the very version", () => {
  expect(new Set(NODE_RECIPES.map(([sdk]) => sdk))).toEqual(new Set(SDKS));
  for (const sdk of SDKS) {
    const version = manifest.devDependencies[sdk];
    expect(page("sdks")).toMatch(new RegExp(`\\| \\[${sdk}\\].*\\| tested with ${version} unchanged`));
    expect(page("sdks", "docs/zh")).toMatch(new RegExp(`\\| \\[${sdk}\\].*\\| 以 ${version} 原样测试`));
    expect(page("sdks-node")).toContain(`Tested with ${version} unchanged.`);
  }
  expect(page("sdks-node")).toContain(
    `"overrides": { "node-socialite": "${manifest.overrides["node-socialite"]}" }`,
  );
});

test.each(Object.entries(PAGES))(
  "the page for %s has recipes with the placeholders of all",
  (name, languages) => {
    for (const language of languages) {
      const recipes = blocks(page(`sdks-${name}`), language).join("\n");
      for (const placeholder of [BASE, KEY, APP])
        expect([language, recipes]).toEqual([language, expect.stringContaining(placeholder)]);
    }
  },
);
