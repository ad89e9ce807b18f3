import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { Glob } from "bun";

/** The repository's folder. */
export const ROOT = join(import.meta.dir, "../..");

/** A fenced block. */
export interface CodeBlock {
  readonly language: string;
  readonly text: string;
  /** The line of its opening fence, from 1. */
  readonly line: number;
}

/** A table: the cells of each of its rows, the heading's first. */
export type Table = readonly (readonly string[])[];

/** A Markdown document of this repository, in the parts that tests compare. */
export interface Document {
  /** From the repository's root. */
  readonly path: string;
  readonly lines: readonly string[];
  readonly headings: readonly { readonly level: number; readonly text: string }[];
  readonly blocks: readonly CodeBlock[];
  readonly tables: readonly Table[];
  /** Its text without fenced blocks; of code within a line the backquotes are left. */
  readonly prose: string;
  /** The targets of its links and pictures, as they are written. */
  readonly links: readonly string[];
}

/** The files that exist in both languages, the English one first. */
export function pairs(): [string, string][] {
  const topics = [...new Glob("docs/*.md").scanSync({ cwd: ROOT })].toSorted();
  const roots = ["README.md", "CONTRIBUTING.md"].filter((path) => existsSync(join(ROOT, path)));
  return [
    ...roots.map((path): [string, string] => [path, path.replace(".md", ".zh-CN.md")]),
    ...topics.map((path): [string, string] => [path, `docs/zh/${basename(path)}`]),
  ];
}

/** Reads a document. */
export function read(path: string): Document {
  return parse(path, readFileSync(join(ROOT, path), "utf8"));
}

/** Takes a document's text apart. */
export function parse(path: string, text: string): Document {
  const lines = text.replace(/\n$/, "").split("\n");
  const { blocks, prose } = splitBlocks(lines);
  const headings = prose.flatMap((line) => {
    const [, marks, title] = /^(#{1,6}) (.+)$/.exec(line) ?? [];
    return marks !== undefined && title !== undefined ? [{ level: marks.length, text: title }] : [];
  });
  const withoutCode = prose.join("\n").replaceAll(/`[^`\n]*`/g, "``");
  const links = [...withoutCode.matchAll(/\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"/g)].map(
    ([, inline, attribute]) => inline ?? attribute ?? "",
  );
  return { path, lines, headings, blocks, tables: tablesOf(prose), prose: withoutCode, links };
}

function splitBlocks(lines: readonly string[]): { blocks: CodeBlock[]; prose: string[] } {
  const blocks: CodeBlock[] = [];
  const prose: string[] = [];
  let open: { fence: string; language: string; line: number; text: string[] } | undefined;
  for (const [index, line] of lines.entries()) {
    const [, fence, language = ""] = /^ *(`{3,})(.*)$/.exec(line) ?? [];
    if (open !== undefined && fence === open.fence && language === "") {
      blocks.push({ language: open.language, text: `${open.text.join("\n")}\n`, line: open.line });
      open = undefined;
    } else if (open !== undefined) {
      open.text.push(line);
    } else if (fence === undefined) {
      prose.push(line);
    } else {
      open = { fence, language, line: index + 1, text: [] };
    }
  }
  if (open !== undefined) throw new Error(`the block of line ${open.line} is never closed`);
  return { blocks, prose };
}

function tablesOf(prose: readonly string[]): Table[] {
  const tables: string[][][] = [];
  let previous = false;
  for (const line of prose) {
    const isRow = line.startsWith("|");
    if (isRow && !previous) tables.push([]);
    if (isRow && !/^\|[\s:|-]+\|$/.test(line)) {
      // A bar in a cell is written \|, also within code.
      tables.at(-1)?.push(
        line
          .slice(1, -1)
          .split(/(?<!\\)\|/)
          .map((cell) => cell.trim()),
      );
    }
    previous = isRow;
  }
  return tables;
}

/** The code spans of a text. */
export function codeOf(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);
}

/** A block without what its comments say: the one thing in it that is translated. */
export function withoutComments({ language, text }: CodeBlock): string {
  const mark = /^(js|ts|go|java|csharp|php)$/.test(language) ? "//" : "#";
  const comment = new RegExp(`(^|\\s)${mark}\\s.*$`, "gm");
  return language === "html"
    ? text.replaceAll(/<!--[^]*?-->/g, "<!-- -->")
    : text.replaceAll(comment, `$1${mark}`);
}

/** The anchors of a document's headings, as GitHub and Gitee make them. */
export function anchorsOf({ headings }: Document): Set<string> {
  const anchors = new Set<string>();
  const seen = new Map<string, number>();
  for (const { text } of headings) {
    const slug = text
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{M}\p{N}\p{Pc} -]/gu, "")
      .replaceAll(" ", "-");
    const times = seen.get(slug) ?? 0;
    anchors.add(times === 0 ? slug : `${slug}-${times}`);
    seen.set(slug, times + 1);
  }
  return anchors;
}

/** The file, from the root, and the anchor that a relative link leads to. */
export function targetOf(from: string, link: string): { path: string; anchor: string } {
  const [file = "", anchor = ""] = decodeURIComponent(link).split("#", 2);
  return { path: file === "" ? from : relative(ROOT, join(ROOT, dirname(from), file)), anchor };
}
