import { Glob } from "bun";
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path/posix";
import { NAME, VERSION } from "../version.ts";

const FOLDER = join(import.meta.dir, "../../docs");
const ICON =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="#1d9a5f" d="M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1m0 4a3 3 0 1 0 0 6 3 3 0 0 0 0-6"/></svg>';

/** Where a language's documents are below `docs/`, the way back, and the words around them. */
const ENGLISH = {
  ...{ tag: "en", name: "English", folder: "", root: "" },
  ...{ pages: "Documents", contents: "On this page", skip: "Skip to the text" },
};
const CHINESE = {
  ...{ tag: "zh-CN", name: "中文", folder: "zh/", root: "../" },
  ...{ pages: "文档目录", contents: "本页目录", skip: "跳到正文" },
};

/** A document in HTML. */
interface Page {
  /** Its file's, without folder and `.md`. */
  readonly name: string;
  readonly title: string;
  readonly html: string;
  /** The headings of its second and third level. */
  readonly headings: readonly { readonly level: string; readonly id: string; readonly html: string }[];
}

/** A part of a language's index: its heading, and the pages that it links to. */
interface Part {
  readonly heading: string;
  readonly pages: Page[];
}

/**
 * Every file under `/docs/` by its path there: the documents as pages and as they are, their pictures, and the style.
 *
 * A macro: it reads the repository while the program is built; from source, when the documents are first asked for. The
 * program has them as JSON in zstd in Base64, a fifth of their size.
 */
export function buildDocuments(): string {
  const paths = [...new Glob("**/*.{md,svg}").scanSync({ cwd: FOLDER })].toSorted();
  const files = new Map(paths.map((path) => [path, readFileSync(join(FOLDER, path), "utf8")]));
  for (const language of [ENGLISH, CHINESE]) {
    const { folder } = language;
    const own = paths.filter((path) => path === `${folder}${basename(path, ".md")}.md`);
    const parts = partsOf(
      own.map((path) => pageOf(path, files)),
      files.get(`${folder}README.md`) ?? "",
    );
    for (const { pages } of parts)
      for (const page of pages) files.set(folder + page.name, wholeOf(page, parts, language, files));
  }
  files.set("icon.svg", ICON);
  files.set("style.css", readFileSync(join(import.meta.dir, "documents.css"), "utf8"));
  return Bun.zstdCompressSync(JSON.stringify(Object.fromEntries(files)), { level: 19 }).toString("base64");
}

/**
 * What the index names, in its order, after the index itself. What it does not name follows the page that its name begins
 * with, as `sdks-go` follows `sdks`, or comes last.
 */
function partsOf(pages: readonly Page[], index: string): readonly Part[] {
  const left = new Map(pages.map((page) => [page.name, page]));
  const links = [...index.matchAll(/^## (.+)$|\]\(([\w-]+)\.md[)#]/gm)];
  const named = new Set(links.map(([, , name]) => name));
  const take = (name: string) => {
    const taken = [...left].filter(
      ([key]) => key === name || (key.startsWith(`${name}-`) && !named.has(key)),
    );
    for (const [key] of taken) left.delete(key);
    return taken.map(([, page]) => page).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  };
  const parts: Part[] = [{ heading: "", pages: take("README") }];
  for (const [, heading, name = ""] of links) {
    if (heading !== undefined) parts.push({ heading, pages: [] });
    else parts.at(-1)?.pages.push(...take(name));
  }
  return [...parts, { heading: "", pages: [...left.values()] }];
}

/** Raw HTML in a document is shown as text. */
const MARKDOWN = { noHtmlBlocks: true, noHtmlSpans: true, autolinks: { url: true } } as const;
/** A comment in the Markdown. */
const COMMENT = /<p>&lt;!--.*?--&gt;<\/p>\n/gs;
/** A first paragraph of links alone: to the other language and to the index, as every page has them anyway. */
const LINKS_ALONE = /(?<=<\/h1>\n)<p>(<a [^>]*>[^<]*<\/a>[\s·|]*)+<\/p>\n/;
/** Code, or a line's end between Chinese characters, where no space belongs. */
const CODE_OR_BREAK =
  /(<pre>.*?<\/pre>)|(?<=[\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef])\n(?=[\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef])/gs;
/** In a span of code, behind a comma or a slash: where a long list or path may be broken. */
const BREAKABLE = /(?<=<code>[^<\n]*\w[,/])(?=[^<\s/])/g;
const LINK = /<\/?a\b[^>]*>/g;

function pageOf(path: string, files: ReadonlyMap<string, string>): Page {
  const headings: { level: string; id: string; html: string }[] = [];
  const slugs = new Map<string, number>();
  let title = path;
  const html = Bun.markdown
    .html(files.get(path) ?? "", MARKDOWN)
    .replaceAll(COMMENT, "")
    .replace(LINKS_ALONE, "")
    .replaceAll(CODE_OR_BREAK, "$1")
    .replaceAll(BREAKABLE, "<wbr>")
    .replaceAll(/(?<=<a )href="([^"]*)"/g, (_, href: string) => linkFrom(path, href, files))
    .replaceAll(/<h([1-6])>(.*?)<\/h\1>/gs, (_, level: string, inner: string) => {
      const plain = inner.replaceAll(LINK, "");
      const id = uniqueSlug(plain, slugs);
      if (level === "1") title = plain.replaceAll(/<[^>]*>/g, "");
      if (level === "2" || level === "3") headings.push({ level, id, html: plain });
      const anchor = `<a class="anchor" href="#${id}" aria-hidden="true" tabindex="-1">#</a>`;
      return `<h${level} id="${id}">${inner} ${anchor}</h${level}>`;
    })
    .replaceAll(/<table>.*?<\/table>/gs, (table) => `<div class="table" tabindex="0">${table}</div>`)
    .replaceAll("<pre>", '<pre tabindex="0">');
  return { name: basename(path, ".md"), title, html, headings };
}

/** The attributes of a link: to another document, its page; to a file that is not served here, none. */
function linkFrom(path: string, href: string, files: ReadonlyMap<string, string>): string {
  if (/^(https?|mailto):/.test(href)) return `href="${href}" rel="noreferrer"`;
  const [, to = "", anchor = ""] = /^([^#]*)(.*)$/s.exec(href) ?? [];
  const isHere = to === "" || files.has(join(dirname(path), to));
  return isHere ? `href="${to.replace(/\.md$/, "")}${anchor}"` : "";
}

/** The id that a heading has on GitHub too, where the documents' links are followed as well. */
function uniqueSlug(html: string, slugs: Map<string, number>): string {
  const text = html.replaceAll(/<[^>]*>|&\w+;/g, "").toLowerCase();
  const slug = text.replaceAll(/[^\p{L}\p{M}\p{N}\p{Pc} -]/gu, "").replaceAll(" ", "-");
  let unique = slug;
  while (slugs.has(unique)) {
    const count = (slugs.get(slug) ?? 0) + 1;
    slugs.set(slug, count);
    unique = `${slug}-${count}`;
  }
  slugs.set(unique, 0);
  return unique;
}

function wholeOf(
  page: Page,
  parts: readonly Part[],
  { tag, root, folder, pages, contents, skip }: typeof ENGLISH,
  files: ReadonlyMap<string, string>,
): string {
  const other = folder === "" ? CHINESE : ENGLISH;
  const otherName = files.has(`${other.folder}${page.name}.md`) ? page.name : "README";
  const linkTo = (to: Page, text: string, more = "") => `<a href="${to.name}"${more}>${text}</a>`;
  const current = (to: Page) => (to === page ? ' aria-current="page"' : "");
  const [, ...others] = parts;
  const list = others.flatMap(({ heading, pages: own }) => [
    ...(heading === "" || own.length === 0 ? [] : [`<li class="part">${Bun.escapeHTML(heading)}</li>`]),
    ...own.map((to) => `<li>${linkTo(to, to.title, current(to))}</li>`),
  ]);
  const headings = page.headings.map(
    ({ level, id, html }) => `<li class="h${level}"><a href="#${id}">${html}</a></li>`,
  );
  const all = parts.flatMap((part) => part.pages);
  const [before, after] = [all[all.indexOf(page) - 1], all[all.indexOf(page) + 1]];
  return `<!doctype html>
<html lang="${tag}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${page.title} · ${NAME}</title>
<link rel="icon" href="${root}icon.svg">
<link rel="stylesheet" href="${root}style.css">
</head>
<body>
<header>
<a class="skip" href="#text">${skip}</a>
<a class="brand" href="README">${NAME}</a> <small>${VERSION}</small>
<nav><a href="${root}../swagger?lang=${tag.slice(0, 2)}">API</a> <a href="${root}${other.folder}${otherName}" hreflang="${other.tag}" lang="${other.tag}">${other.name}</a></nav>
</header>
<details class="pages"><summary>${pages}</summary><nav aria-label="${pages}"><ul>${list.join("")}</ul></nav></details>
<details class="contents"${headings.length === 0 ? " hidden" : ""}><summary>${contents}</summary><nav aria-label="${contents}"><ul>${headings.join("")}</ul></nav></details>
<main id="text">
${page.html}</main>
<footer><span>${before ? linkTo(before, `← ${before.title}`, ' rel="prev"') : ""}</span>
<span>${after ? linkTo(after, `${after.title} →`, ' rel="next"') : ""}</span></footer>
</body>
</html>
`;
}
