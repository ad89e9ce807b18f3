import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Glob } from "bun";
import { forApp, SHARED_HOSTS, SNIPPETS } from "../../src/console/web/apps/snippets.ts";

const DOCS = join(import.meta.dir, "../../docs");
const PAGES = [...new Glob("sdks*.md").scanSync({ cwd: DOCS })].map((page) =>
  readFileSync(join(DOCS, page), "utf8"),
);

test.each([
  ...SNIPPETS.map(({ sdk, platform, text }) => [`${sdk} ${platform}`, text]),
  ["hosts", SHARED_HOSTS],
])("the console sets %s up as the documentation does", (_name, text) => {
  expect(PAGES.filter((page) => page.includes(text))).toHaveLength(1);
});

test("every snippet names the app and the host that it is shown for, and none of the documentation's", () => {
  for (const { platform, text } of SNIPPETS) {
    const shown = forApp(text, { platform, app_id: "own-id", agent: "77" }, "https://token.test");
    expect(shown).toContain("own-id");
    expect(shown).toContain("https://token.test");
    expect(shown).not.toMatch(/0123456789abcdef|127\.0\.0\.1|1000002/);
  }
});
