import { expect, test } from "bun:test";
import { Glob } from "bun";
import { join } from "node:path";
import { CHROMIUM } from "./browser.ts";

const TESTS = join(import.meta.dir, "..");

/** How many tests need a browser. */
async function countBrowserTests(): Promise<number> {
  const paths = [...new Glob("**/*.test.ts").scanSync({ cwd: TESTS, absolute: true })];
  const texts = await Promise.all(paths.map((path) => Bun.file(path).text()));
  return texts.flatMap((text) => [...text.matchAll(/\bbrowserTest\)?\(/g)]).length;
}

test("the tests that need a browser have one, or one line says how many did not run; under CI that is a failure", async () => {
  const count = await countBrowserTests();
  expect(count).toBeGreaterThan(0);
  if (CHROMIUM !== undefined) return;
  console.warn(`${count} browser tests did not run: there is no Chromium in /usr/bin`);
  expect(process.env["CI"] ?? "").toBe("");
});
