import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const SOURCE = join(import.meta.dir, "../../src");
const transpiler = new Bun.Transpiler({ loader: "ts" });

/** Every module that is loaded with `entry`, packages by their names: what its own `import()`s load later is left out. */
function loadedWith(entry: string): Set<string> {
  const found = new Set<string>();
  const visit = (file: string) => {
    const name = relative(SOURCE, file);
    if (found.has(name)) return;
    found.add(name);
    for (const { path, kind } of transpiler.scanImports(readFileSync(file, "utf8"))) {
      if (kind !== "import-statement") continue;
      if (path.endsWith(".ts")) visit(join(dirname(file), path));
      else found.add(path);
    }
  };
  visit(join(SOURCE, entry));
  return found;
}

const HEAVY = /^(service\.ts|http\/|store\/sqlite\/|sandbox\/|elysia|drizzle-orm|bun:sqlite|@elysiajs\/)/;

test.each([
  "main.ts",
  "cli/app-commands.ts",
  "cli/client-commands.ts",
  "cli/key-commands.ts",
  "cli/environment-commands.ts",
  "cli/apply.ts",
  "cli/token.ts",
  "cli/health.ts",
  "cli/status.ts",
  "cli/audit-commands.ts",
  "cli/master-key.ts",
  "cli/store-commands.ts",
  "cli/proxy-ca.ts",
  "cli/remote.ts",
])("%s loads neither the service nor its framework and database", (entry) => {
  const loaded = loadedWith(entry);
  expect(loaded.size).toBeGreaterThan(3);
  expect([...loaded].filter((name) => HEAVY.test(name))).toEqual([]);
});

test("the service does not load the sandbox, nor what makes its documentation", () => {
  const loaded = loadedWith("cli/serve.ts");
  expect(loaded).toContain("elysia");
  expect([...loaded].filter((name) => /^(sandbox\/|@elysiajs\/)/.test(name))).toEqual([]);
});
