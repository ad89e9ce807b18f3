import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

interface Package {
  readonly scripts: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

const { scripts, devDependencies } = JSON.parse(
  readFileSync(join(import.meta.dir, "../package.json"), "utf8"),
) as Package;

/** These are steps of `check`, which has installed before it runs them. */
const STEPS = Object.keys(scripts).filter((name) => name.startsWith("check:"));

test.each(Object.keys(scripts).filter((name) => !STEPS.includes(name)))(
  "bun run %s works on a clean clone: it begins with the install of what it needs",
  (name) => {
    const script = scripts[name] ?? "";
    const [, production, rest = ""] =
      /^bun install --frozen-lockfile( --production)? --no-summary && (.+)$/.exec(script) ?? [];
    expect(rest).not.toBe("");
    if (production === undefined) return;
    for (const tool of ["bun test", "bun run check", "bun tests/", ...Object.keys(devDependencies)])
      expect(rest).not.toContain(tool);
  },
);

test("each step of the check runs in it, behind the install", () => {
  for (const step of STEPS) expect(scripts["check"]?.indexOf(`bun run ${step}`)).toBeGreaterThan(0);
});
