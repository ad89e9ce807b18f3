import { expect, test } from "bun:test";
import { Glob } from "bun";
import { dirname, join } from "node:path";

interface SourceFile {
  /** From the repository's root. */
  readonly path: string;
  readonly text: string;
}

/** A file imports from lower rings, or in its own ring from further left. */
const RINGS = [
  "clock secret errors events log envelope changes version",
  "audit apps",
  "access",
  "credentials",
  "signing oauth login callbacks platforms",
  "ops api gateway",
  "upstream store sandbox",
  "http console",
  "config service",
  "cli",
  "main",
].map((names) => names.split(" "));

/** One technology, one owner: where each of them may appear. */
const OWNERS: readonly { what: string; where: RegExp; sign: RegExp }[] = [
  {
    what: "elysia",
    where: /^src\/(api|http)\//,
    sign: /["'](elysia|@elysiajs\/[^"']*)(\/[^"']*)?["']/,
  },
  { what: "drizzle-orm", where: /^src\/store\//, sign: /["']drizzle-orm(\/[^"']*)?["']/ },
  { what: "bun:sqlite", where: /^src\/store\/sqlite\//, sign: /["']bun:sqlite["']/ },
  { what: "fetch", where: /^src\/(upstream\/|console\/|cli\/remote\.ts$)/, sign: /(?<![.\w])fetch\(/ },
  { what: "process.env", where: /^src\/config\.ts$/, sign: /\b(process|Bun|import\.meta)\.env\b/ },
  { what: "console", where: /^src\/cli\//, sign: /\bconsole\.\w/ },
  { what: "Date.now", where: /^src\/clock\.ts$/, sign: /\bDate\.now\b|\bnew Date\(\)/ },
  { what: "process.exit", where: /^src\/main\.ts$/, sign: /\bprocess\.exit\b(?!Code)/ },
];

const UNWANTED_NAME = /(^|\/)(utils?|helpers?|common|types|constants|index)(\/|\.ts$)/;
const WANTED_NAME = /^src(\/[a-z][a-z0-9]*(-[a-z0-9]+)*)+(\.d)?\.ts$/;

function placeOf(path: string): { name: string; ring: number; column: number } {
  const name = path.slice("src/".length).replace(/\.ts$/, "").split("/")[0] ?? "";
  const ring = RINGS.findIndex((names) => names.includes(name));
  return { name, ring, column: RINGS[ring]?.indexOf(name) ?? -1 };
}

function faultsOfImport(from: string, specifier: string): string[] {
  const to = join(dirname(from), specifier);
  if (to === "package.json" || to.startsWith("drizzle/") || to.startsWith("node_modules/")) return [];
  const [here, there] = [placeOf(from), placeOf(to)];
  const isSame = here.name === there.name && to.startsWith("src/");
  const isLeft = there.ring === here.ring && there.column < here.column;
  const isBelow = there.ring >= 0 && (there.ring < here.ring || isLeft);
  const isSecondReading = here.name === "sandbox" && there.name === "upstream";
  return isSame || (isBelow && !isSecondReading) ? [] : [`${from} imports ${to}`];
}

/** Everything in `files` that breaks the layout, a line each. */
function layoutFaults(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, text }) => {
    const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/(^|\s)\/\/.*$/gm, "");
    const specifiers = [...code.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*["'](\.[^"']*)["']/g)];
    return [
      ...(placeOf(path).ring < 0 ? [`${path} is on no ring`] : []),
      ...(UNWANTED_NAME.test(path) || !WANTED_NAME.test(path) ? [`${path} has an unwanted name`] : []),
      ...specifiers.flatMap(([, specifier = ""]) => faultsOfImport(path, specifier)),
      ...OWNERS.filter(({ where, sign }) => !where.test(path) && sign.test(code)).map(
        ({ what }) => `${path} uses ${what}`,
      ),
    ];
  });
}

test("every file of src keeps to the import rings, to the owners of each technology and to the naming", async () => {
  const paths = [...new Glob("src/**/*.ts").scanSync({ cwd: join(import.meta.dir, "..") })];
  const files = paths.map(async (path) => ({
    path,
    text: await Bun.file(join(import.meta.dir, "..", path)).text(),
  }));
  expect(paths.length).toBeGreaterThan(80);
  expect(layoutFaults(await Promise.all(files))).toEqual([]);
});

const BAD: readonly [path: string, text: string, fault: string][] = [
  ["src/clock.ts", `import type { A } from "./secret.ts";`, "src/clock.ts imports src/secret.ts"],
  ["src/apps/a.ts", `import { M } from "../credentials/m.ts";`, "src/apps/a.ts imports src/credentials/m.ts"],
  ["src/signing/a.ts", `export { L } from "../login/l.ts";`, "src/signing/a.ts imports src/login/l.ts"],
  ["src/login/a.ts", `await import("../http/server.ts");`, "src/login/a.ts imports src/http/server.ts"],
  [
    "src/apps/a.ts",
    `import "./app.ts"; import "../apps/app-store.ts"; import "../store/s.ts"`,
    "src/apps/a.ts imports src/store/s.ts",
  ],
  ["src/sandbox/a.ts", `import { H } from "../upstream/h.ts";`, "src/sandbox/a.ts imports src/upstream/h.ts"],
  ["src/cli/a.ts", `import x from "../../tests/x.ts";`, "src/cli/a.ts imports tests/x.ts"],
  ["src/extra/a.ts", "", "src/extra/a.ts is on no ring"],
  ["src/extra.ts", "", "src/extra.ts is on no ring"],
  ["src/apps/utils.ts", "", "src/apps/utils.ts has an unwanted name"],
  ["src/http/helpers/a.ts", "", "src/http/helpers/a.ts has an unwanted name"],
  ["src/apps/AppStore.ts", "", "src/apps/AppStore.ts has an unwanted name"],
  ["src/apps/a.ts", `import { Elysia } from "elysia";`, "src/apps/a.ts uses elysia"],
  ["src/access/principal.ts", `import type { X } from "elysia";`, "src/access/principal.ts uses elysia"],
  ["src/apps/a.ts", `import { eq } from "drizzle-orm";`, "src/apps/a.ts uses drizzle-orm"],
  ["src/store/keyring.ts", `import { Database } from "bun:sqlite";`, "src/store/keyring.ts uses bun:sqlite"],
  ["src/login/a.ts", "await fetch(url);", "src/login/a.ts uses fetch"],
  ["src/service.ts", "process.env.PORT", "src/service.ts uses process.env"],
  ["src/store/a.ts", "console.log(1)", "src/store/a.ts uses console"],
  ["src/log.ts", "const now = Date.now();", "src/log.ts uses Date.now"],
  ["src/cli/a.ts", "process.exit(1)", "src/cli/a.ts uses process.exit"],
];

test.each(BAD)("the layout check finds the fault in an invented %s: %s", (path, text, fault) => {
  expect(layoutFaults([{ path, text }])).toContain(fault);
});

test("the layout check leaves good files and comments alone", () => {
  const text = `/** Not Date.now(). */\nimport type { C } from "../clock.ts"; // console.log\nawait app.fetch(request);`;
  expect(layoutFaults([{ path: "src/apps/app-store.ts", text }])).toEqual([]);
});
