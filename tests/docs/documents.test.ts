import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { Glob } from "bun";
import {
  anchorsOf,
  codeOf,
  type Document,
  pairs,
  parse,
  read,
  ROOT,
  type Table,
  targetOf,
  withoutComments,
} from "./document.ts";

const MOST_LINES: Readonly<Record<string, number>> = { "README.md": 200, "docs/quick-start.md": 120 };

const isChinese = (path: string) => /zh\/|zh-CN/.test(path);

const PAIRS = pairs();
const FILES = PAIRS.flat().filter((path) => existsSync(join(ROOT, path)));

test("both languages have the same documents", () => {
  const chinese = [...new Glob("docs/zh/*.md").scanSync({ cwd: ROOT })];
  const roots = [...new Glob("*.zh-CN.md").scanSync({ cwd: ROOT })];
  expect([...roots, ...chinese].toSorted()).toEqual(PAIRS.map(([, path]) => path).toSorted());
});

test.each(PAIRS)("%s is short enough to be read, and so is %s", (english, chinese) => {
  for (const path of [english, chinese]) {
    const maximum = MOST_LINES[english] ?? 350;
    expect([path, Math.max(read(path).lines.length, maximum)]).toEqual([path, maximum]);
  }
});

test.each(PAIRS)("%s and %s lead to each other in their third line", (english, chinese) => {
  for (const [here, there] of [
    [english, chinese],
    [chinese, english],
  ] as const) {
    const [title = "", blank, line = ""] = read(here).lines;
    expect([here, title]).toEqual([here, expect.stringMatching(/^# \S/)]);
    expect([here, blank]).toEqual([here, ""]);
    const first = parse(here, line).links[0] ?? "";
    expect([here, targetOf(here, first).path]).toEqual([here, there]);
  }
});

test.each(PAIRS)("%s and %s have headings of the same levels", (english, chinese) => {
  const levels = (path: string) => read(path).headings.map(({ level }) => level);
  expect(levels(chinese)).toEqual(levels(english));
  const steps = levels(english);
  expect(steps.filter((level) => level === 1)).toEqual([1]);
  for (const [index, level] of steps.entries())
    expect(level - (steps[index - 1] ?? 0)).toBeLessThanOrEqual(1);
});

test.each(PAIRS)("%s and %s have the same code but for its comments", (english, chinese) => {
  const blocks = (path: string) =>
    read(path).blocks.map((block) => [
      block.language,
      block.language === "text" ? "" : withoutComments(block),
    ]);
  expect(blocks(chinese)).toEqual(blocks(english));
  for (const { language, line } of read(english).blocks) {
    expect([english, line, language]).toEqual([english, line, expect.stringMatching(/^[a-z]+$/)]);
  }
});

test.each(PAIRS)("%s and %s have tables of the same shape and keys", (english, chinese) => {
  const shape = (table: Table) => table.map((row) => [row.length, codeOf(row[0] ?? "")]);
  expect(read(chinese).tables.map(shape)).toEqual(read(english).tables.map(shape));
});

test.each([...FILES, "CHANGELOG.md"])("every link of %s leads somewhere, in its own language", (path) => {
  const document = read(path);
  expect(document.links.flatMap((link, index) => faultOfLink(document, link, index))).toEqual([]);
});

function faultOfLink({ path: from }: Document, link: string, index: number): string[] {
  if (/^(https?|mailto):/.test(link)) return [];
  const { path, anchor } = targetOf(from, link);
  if (!existsSync(join(ROOT, path))) return [`${link}: no such file`];
  if (path.endsWith(".md") && isChinese(path) !== isChinese(from) && index > 0 && path !== "CHANGELOG.md")
    return [`${link}: another language`];
  if (anchor === "" || !path.endsWith(".md")) return [];
  return anchorsOf(read(path)).has(anchor) ? [] : [`${link}: no such heading`];
}

test.each(["docs/README.md", "docs/zh/README.md"])("%s lists every document", (path) => {
  const listed = new Set(read(path).links.map((link) => targetOf(path, link).path));
  const reached = new Set(
    [...listed].flatMap((page) => read(page).links.map((link) => targetOf(page, link).path)),
  );
  const pages = FILES.filter((page) => dirname(page) === dirname(path) && page !== path);
  // The pages of one SDK or of one group of commands are listed by theirs.
  const isPart = (page: string) => /\/(sdks|cli)-/.test(page) && reached.has(page);
  expect(pages.filter((page) => !listed.has(page) && !isPart(page))).toEqual([]);
});

test.each(FILES)("%s is English or Chinese throughout, as its folder says", (path) => {
  const { headings } = read(path);
  const chinese = headings.filter(({ text }) => /\p{Script=Han}/u.test(text));
  expect([path, chinese.length > 0]).toEqual([path, isChinese(path)]);
});

test.each(FILES.filter(isChinese))("%s has blanks between Chinese and Latin words", (path) => {
  // What is quoted is written as it is there.
  const text = read(path).prose.replaceAll(/“[^”]*”|\]\([^)]*\)/g, "");
  const joined = /.{0,9}(?:\p{Script=Han}[A-Za-z0-9`]|[A-Za-z0-9`]\p{Script=Han}).{0,9}/gu;
  expect([...text.matchAll(joined)].map(([found]) => found)).toEqual([]);
});

test("a document's anchors are made as GitHub makes them", () => {
  const document = parse(
    "x.md",
    "# A `code`, and more\n\n## /v1: new\n\n## A, b\n\n## 应答与错误码\n\n## A b\n\n## POST …/replace, DELETE\n",
  );
  expect([...anchorsOf(document)]).toEqual([
    "a-code-and-more",
    "v1-new",
    "a-b",
    "应答与错误码",
    "a-b-1",
    "post-replace-delete",
  ]);
});
