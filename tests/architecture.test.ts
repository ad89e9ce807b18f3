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
  "signing oauth login callbacks platforms gateway",
  "ops api",
  "upstream store sandbox",
  "http console",
  "env-file config service",
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
  { what: "bun:sqlite", where: /^src\/store\//, sign: /["']bun:sqlite["']/ },
  {
    what: "Bun.SQL",
    where: /^src\/store\//,
    sign: /\bBun\.(SQL|sql)\b|\{[^}]*\b(SQL|sql)\b[^}]*\} from "bun"/,
  },
  { what: "fetch", where: /^src\/(upstream\/|console\/|cli\/remote\.ts$)/, sign: /(?<![.\w])fetch\(/ },
  { what: "process.env", where: /^src\/config\.ts$/, sign: /\b(process|Bun|import\.meta)\.env\b/ },
  { what: "console", where: /^src\/cli\//, sign: /(?<!["'/-])\bconsole\.\w/ },
  { what: "Date.now", where: /^src\/(clock\.ts$|console\/web\/)/, sign: /\bDate\.now\b|\bnew Date\(\)/ },
  { what: "process.exit", where: /^src\/main\.ts$/, sign: /\bprocess\.exit\b(?!Code)/ },
];

/** What runs in the browser. */
const WEB = "src/console/web/";
/** The texts of the console, in both languages. */
const WORDS = /(^|\/)words\.ts$/;

const UNWANTED_NAME = /(^|\/)(utils?|helpers?|common|types|constants|index)(\/|\.ts$)/;
/** What is left of a doc comment that was joined or cut by a machine. */
const RAGGED_COMMENT = /\s\*\.\s*(\n|\*\/)/;
const WANTED_NAME = /^src(\/[a-z][a-z0-9]*(-[a-z0-9]+)*)+(\.d)?\.tsx?$/;

function placeOf(path: string): { name: string; ring: number; column: number } {
  const name =
    path
      .slice("src/".length)
      .replace(/\.tsx?$/, "")
      .split("/")[0] ?? "";
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

/** The program's text alone: what a comment says is no import. */
function codeOf({ text }: SourceFile): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/(^|\s)\/\/.*$/gm, "");
}

/** The files of ours that a file names, for types too. */
function specifiersOf(file: SourceFile): string[] {
  const found = codeOf(file).matchAll(/(?:\bfrom|\bimport)\s*\(?\s*["'](\.[^"']*)["']/g);
  return [...found].map(([, specifier = ""]) => specifier);
}

/** What the browser's part takes of the server's that is more than a type, and the reverse. */
function faultsOfBrowser(file: SourceFile): string[] {
  const isWeb = file.path.startsWith(WEB);
  const found = codeOf(file).matchAll(
    /(?:import|export)\s+(type\s)?(?:[^"';]*?\sfrom\s+)?["'](\.[^"']*)["']/g,
  );
  return [...found].flatMap(([, type, specifier = ""]) => {
    const to = join(dirname(file.path), specifier);
    const isFree = to.startsWith(WEB) === isWeb || (isWeb && type !== undefined) || to === `${WEB}index.html`;
    return isFree ? [] : [`${file.path} runs ${to}`];
  });
}

/** Everything in `files` that breaks the layout, a line each. */
function layoutFaults(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    const { path } = file;
    const code = codeOf(file);
    return [
      ...(placeOf(path).ring < 0 ? [`${path} is on no ring`] : []),
      ...(UNWANTED_NAME.test(path) || !WANTED_NAME.test(path) ? [`${path} has an unwanted name`] : []),
      ...(RAGGED_COMMENT.test(file.text) ? [`${path} has a comment that ends in *.`] : []),
      ...(path.startsWith(WEB) && !WORDS.test(path) && /\p{Script=Han}/u.test(file.text)
        ? [`${path} has Chinese outside words.ts`]
        : []),
      ...faultsOfBrowser(file),
      ...specifiersOf(file).flatMap((specifier) => faultsOfImport(path, specifier)),
      ...OWNERS.filter(({ where, sign }) => !where.test(path) && sign.test(code)).map(
        ({ what }) => `${path} uses ${what}`,
      ),
    ];
  });
}

/** The circles among the imports of `files`, each as the way round it; at least one of those that hang together. */
function circlesOf(files: readonly SourceFile[]): string[] {
  const imports = new Map(
    files.map((file) => [file.path, specifiersOf(file).map((name) => join(dirname(file.path), name))]),
  );
  const circles: string[] = [];
  const way: string[] = [];
  const isDone = new Set<string>();
  const visit = (path: string): void => {
    if (way.includes(path)) circles.push([...way.slice(way.indexOf(path)), path].join(" → "));
    if (way.includes(path) || isDone.has(path)) return;
    way.push(path);
    for (const next of imports.get(path) ?? []) visit(next);
    way.pop();
    isDone.add(path);
  };
  for (const path of imports.keys()) visit(path);
  return circles;
}

async function sourceFiles(): Promise<SourceFile[]> {
  const root = join(import.meta.dir, "..");
  const paths = [...new Glob("src/**/*.{ts,tsx}").scanSync({ cwd: root })].toSorted();
  expect(paths.length).toBeGreaterThan(80);
  return Promise.all(paths.map(async (path) => ({ path, text: await Bun.file(join(root, path)).text() })));
}

test("every file of src keeps to the import rings, to the owners of each technology and to the naming", async () => {
  expect(layoutFaults(await sourceFiles())).toEqual([]);
});

test("no file of src imports itself by way of others, for types neither", async () => {
  expect(circlesOf(await sourceFiles())).toEqual([]);
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
  ["src/access/keys.ts", `import { Database } from "bun:sqlite";`, "src/access/keys.ts uses bun:sqlite"],
  ["src/apps/a.ts", `import { Glob, SQL } from "bun";`, "src/apps/a.ts uses Bun.SQL"],
  ["src/apps/a.ts", "new Bun.SQL(url)", "src/apps/a.ts uses Bun.SQL"],
  ["src/gateway/a.ts", `import { B } from "../api/b.ts";`, "src/gateway/a.ts imports src/api/b.ts"],
  ["src/login/a.ts", "await fetch(url);", "src/login/a.ts uses fetch"],
  ["src/service.ts", "process.env.PORT", "src/service.ts uses process.env"],
  ["src/store/a.ts", "console.log(1)", "src/store/a.ts uses console"],
  ["src/log.ts", "const now = Date.now();", "src/log.ts uses Date.now"],
  ["src/cli/a.ts", "process.exit(1)", "src/cli/a.ts uses process.exit"],
  [
    "src/console/web/a.tsx",
    `import { A } from "../../access/a.ts";`,
    "src/console/web/a.tsx runs src/access/a.ts",
  ],
  ["src/console/web/a.tsx", `import "../../clock.ts";`, "src/console/web/a.tsx runs src/clock.ts"],
  ["src/http/a.ts", `import { A } from "../console/web/a.ts";`, "src/http/a.ts runs src/console/web/a.ts"],
  ["src/console/web/a.tsx", "<p>概览</p>", "src/console/web/a.tsx has Chinese outside words.ts"],
  ["src/cli/a.ts", "/** Runs it *. */", "src/cli/a.ts has a comment that ends in *."],
  ["src/cli/a.ts", "/**\n * Runs it.\n *.\n */", "src/cli/a.ts has a comment that ends in *."],
];

test.each(BAD)("the layout check finds the fault in an invented %s: %s", (path, text, fault) => {
  expect(layoutFaults([{ path, text }])).toContain(fault);
});

test("the layout check leaves good files and comments alone", () => {
  const text = `/** Not Date.now(). */\nimport type { C } from "../clock.ts"; // console.log\nawait app.fetch(request);`;
  expect(layoutFaults([{ path: "src/apps/app-store.ts", text }])).toEqual([]);
  const web = `import type { A } from "../../../api/a.ts";\nimport { w } from "./words.ts";\nimport { b } from "../b.tsx";`;
  expect(layoutFaults([{ path: "src/console/web/a/a.tsx", text: web }])).toEqual([]);
  const page = `import page from "./web/index.html";`;
  expect(layoutFaults([{ path: "src/console/assets.ts", text: page }])).toEqual([]);
});

test("the circle check finds a way round, for types and over several files, and no other", () => {
  const file = (path: string, ...imports: string[]) => ({
    path: `src/apps/${path}.ts`,
    text: imports.map((name) => `import type { X } from "./${name}.ts";`).join("\n"),
  });
  const straight = [file("a", "b", "c"), file("b", "c"), file("c"), file("d", "a", "c")];
  expect(circlesOf(straight)).toEqual([]);
  const round = [file("a", "b"), file("b", "c"), file("c", "d", "b"), file("d")];
  expect(circlesOf(round)).toEqual(["src/apps/b.ts → src/apps/c.ts → src/apps/b.ts"]);
});
