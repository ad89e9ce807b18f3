import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { codeOf, read, ROOT } from "./document.ts";

const CONTRIBUTING = read("CONTRIBUTING.md");

test("every dependency has a line with its reason, and nothing else has", () => {
  const named = CONTRIBUTING.tables.at(-1)?.flatMap(([names = ""]) => codeOf(names)) ?? [];
  const installed = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies });
  expect(named.toSorted()).toEqual(installed.toSorted());
});

test("what contributors are told to open is there", () => {
  const paths = CONTRIBUTING.lines
    .flatMap(codeOf)
    .filter((code) => /^(src|tests|scripts|drizzle)\/[\w./-]*$/.test(code));
  expect(paths.length).toBeGreaterThan(30);
  expect(paths.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
});

test("the rings are those that the architecture's test holds", () => {
  const source = readFileSync(join(ROOT, "tests/architecture.test.ts"), "utf8");
  const [, list = ""] = /const RINGS = \[([^\]]*)\]/.exec(source) ?? [];
  const rings = [...list.matchAll(/"([^"]+)"/g)].map(([, names = ""]) => names);
  const shown = CONTRIBUTING.blocks
    .find(({ text }) => text.startsWith("1 "))
    ?.text.trim()
    .split("\n");
  expect(shown?.map((line) => line.replace(/^\d+ +/, ""))).toEqual(rings);
});
