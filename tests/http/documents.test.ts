import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path/posix";
import { Glob } from "bun";
import { anchorsOf, read, ROOT } from "../docs/document.ts";
import { rawGet } from "../support/raw-http.ts";
import { Harness } from "../support/harness.ts";

/** Every document's path below `docs/`, without `.md`. */
const NAMES = [...new Glob("**/*.md").scanSync({ cwd: join(ROOT, "docs") })]
  .map((path) => path.replace(/\.md$/, ""))
  .toSorted();

async function setup() {
  const world = await Harness.create();
  const get = (path: string, headers: Record<string, string> = {}) =>
    fetch(world.service.url + path, { headers, redirect: "manual" });
  const page = async (name: string) => (await get(`/docs/${name}`)).text();
  return { world, get, page, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

const idsOf = (html: string) => [...html.matchAll(/ id="([^"]*)"/g)].map(([, id = ""]) => id);
const linksOf = (html: string) => [...html.matchAll(/ (?:href|src)="([^"]*)"/g)].map(([, to = ""]) => to);
const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', amp: "&" };
const unescape = (html: string) => html.replaceAll(/&(\w+);/g, (all, name: string) => ENTITIES[name] ?? all);
/** A page without what is shown as code. */
const proseOf = (html: string) => html.replaceAll(/<code[^>]*>.*?<\/code>/gs, "");

test("every document of both languages is a page with a title, and a text file as it is in the repository", async () => {
  await using it = await setup();
  expect(NAMES).toEqual(expect.arrayContaining(["README", "configuration", "zh/README", "zh/configuration"]));
  for (const name of NAMES) {
    const html = await it.page(name);
    const { headings } = read(`docs/${name}.md`);
    expect([name, html]).toEqual([
      name,
      expect.stringMatching(
        name.startsWith("zh/")
          ? /^<!doctype html>\n<html lang="zh-CN">/
          : /^<!doctype html>\n<html lang="en">/,
      ),
    ]);
    expect(html).toContain(
      `<title>${Bun.escapeHTML((headings[0]?.text ?? "").replaceAll("`", ""))} · accesstoken-service</title>`,
    );
    const text = await it.get(`/docs/${name}.md`);
    expect(text.headers.get("content-type")).toBe("text/plain; charset=utf-8");
    expect([name, await text.text()]).toEqual([name, await Bun.file(join(ROOT, `docs/${name}.md`)).text()]);
  }
});

test("every link of every page leads to what is served, and to a heading that is there", async () => {
  await using it = await setup();
  const pages = new Map<string, string>();
  const load = async (path: string) => {
    const known = pages.get(path);
    if (known !== undefined) return known;
    const answer = await it.get(path);
    const text = answer.status === 200 ? await answer.text() : `${answer.status}`;
    pages.set(path, text);
    return text;
  };
  const wrong: string[] = [];
  for (const name of NAMES) {
    const links = linksOf(await load(`/docs/${name}`)).filter((link) => !/^(https?|mailto):/.test(link));
    expect(links.length).toBeGreaterThan(NAMES.length / 2);
    for (const link of links) {
      const { pathname, search, hash } = new URL(link, `http://localhost/docs/${name}`);
      const target = await load(pathname === "/swagger" ? pathname + search : pathname);
      const isThere = hash === "" || idsOf(target).includes(decodeURIComponent(hash.slice(1)));
      if (/^\d+$/.test(target) || !isThere) wrong.push(`${name}: ${link}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("a link to a document or a picture stays one, and a link to anything else of the repository is its text", async () => {
  await using it = await setup();
  for (const name of NAMES) {
    const { links } = read(`docs/${name}.md`);
    const served = links.filter((link) => {
      const [path = ""] = link.split("#");
      const target = join("docs", dirname(name), path);
      return !/^\w+:/.test(link) && target.startsWith("docs/") && existsSync(join(ROOT, target));
    });
    const html = await it.page(name);
    const shown = linksOf(html).map(decodeURI);
    // The third line, which leads to the other language and the index, is shown as the page's own links.
    expect([
      name,
      served.slice(2).filter((link) => !shown.includes(link.replace(/\.md(?=#|$)/, ""))),
    ]).toEqual([name, []]);
    expect(html).not.toMatch(/href="[^"]*(README\.zh-CN|CONTRIBUTING|\.env)/);
  }
});

test("a heading has the id that it has on GitHub, Chinese ones too, and no id is there twice", async () => {
  await using it = await setup();
  for (const name of NAMES) {
    const ids = idsOf(await it.page(name));
    expect([name, ids.filter((id) => id !== "text").toSorted()]).toEqual([
      name,
      [...anchorsOf(read(`docs/${name}.md`))].toSorted(),
    ]);
    expect(new Set(ids).size).toBe(ids.length);
  }
});

test("every block of code is shown as it stands", async () => {
  await using it = await setup();
  for (const name of NAMES) {
    const shown = (await it.page(name)).matchAll(/<pre[^>]*><code[^>]*>(.*?)<\/code><\/pre>/gs);
    const blocks = read(`docs/${name}.md`).blocks.map(({ text }) => {
      // In a list it is indented as the list is. A tab is shown as four columns.
      const [indent = ""] = /^ */.exec(text) ?? [];
      return text.replaceAll(new RegExp(`^${indent}`, "gm"), "").replaceAll("\t", "    ");
    });
    const texts = [...shown].map(([, code = ""]) => unescape(code));
    expect([name, texts]).toEqual([name, blocks]);
  }
});

test("a page that the index does not name is listed behind the one that its name begins with", async () => {
  await using it = await setup();
  const html = await it.page("README");
  const [, list = ""] = /<details class="pages">(.*?)<\/details>/s.exec(html) ?? [];
  const links = linksOf(list);
  expect(links.slice(links.indexOf("cli"), links.indexOf("cli") + 5)).toEqual([
    "cli",
    "cli-access",
    "cli-apps",
    "cli-callbacks",
    "cli-environments",
  ]);
});

test("no document has raw HTML, which would be shown as text, and no comment is shown", async () => {
  await using it = await setup();
  for (const name of NAMES) {
    const text = (await Bun.file(join(ROOT, `docs/${name}.md`)).text()).replaceAll(/^<!--.*-->$/gm, "");
    const escaped = Bun.markdown.html(text, { noHtmlBlocks: true, noHtmlSpans: true });
    expect([name, Bun.markdown.html(text)]).toEqual([name, escaped]);
    const prose = proseOf(await it.page(name));
    expect([name, prose]).toEqual([name, expect.not.stringContaining("&lt;!--")]);
    expect([name, /<(script|style|iframe|form|object)\b| on\w+=| style=/i.exec(prose)?.[0]]).toEqual([
      name,
      undefined,
    ]);
  }
});

test("each page leads to every other of its language, to itself in the other one, and says where it is", async () => {
  await using it = await setup();
  for (const name of NAMES) {
    const html = await it.page(name);
    const [, list = ""] = /<details class="pages">(.*?)<\/details>/s.exec(html) ?? [];
    const folder = name.startsWith("zh/") ? "zh/" : "";
    const own = NAMES.filter((each) => each.startsWith("zh/") === (folder !== ""));
    const others = own.map((each) => each.slice(folder.length)).filter((each) => each !== "README");
    expect([name, linksOf(list).toSorted()]).toEqual([name, others.toSorted()]);
    const there = folder === "" ? `zh/${name}` : `../${name.slice(folder.length)}`;
    expect(html).toContain(`<a href="${there}" hreflang=`);
    expect(html.match(/aria-current="page"/g) ?? []).toHaveLength(name.endsWith("README") ? 0 : 1);
  }
});

test.each([
  [undefined, 200, "en"],
  ["en-US,en;q=0.9,zh;q=0.8", 200, "en"],
  ["de", 200, "en"],
  ["zh-CN,zh;q=0.9,en;q=0.8", 302, "zh-CN"],
  ["fr,zh;q=0.5", 302, "zh-CN"],
])("/docs/ for Accept-Language %p is answered with %i, in %s", async (languages, status, tag) => {
  await using it = await setup();
  const headers: Record<string, string> = languages === undefined ? {} : { "accept-language": languages };
  const first = await it.get("/docs/", headers);
  expect([first.status, first.headers.get("vary")]).toEqual([status, "accept-language"]);
  const last = status === 302 ? await it.get(`/docs/${first.headers.get("location")}`, headers) : first;
  expect(await last.text()).toContain(`<html lang="${tag}">`);
});

test("the folders lead to their index with or without the slash at the end", async () => {
  await using it = await setup();
  for (const [path, location] of [
    ["/docs", "docs/"],
    ["/docs/zh", "zh/"],
  ] as const) {
    const { status, headers } = await it.get(path);
    expect([path, status, headers.get("location")]).toEqual([path, 302, location]);
  }
  expect(await (await it.get("/docs/zh/")).text()).toBe(await it.page("zh/README"));
  expect(await (await it.get("/docs/")).text()).toBe(await it.page("README"));
});

test("a page may load styles and pictures from here and nothing else, runs no script and names no other host to load from", async () => {
  await using it = await setup();
  for (const name of NAMES) {
    const { headers } = await it.get(`/docs/${name}`);
    expect(headers.get("content-security-policy")).toBe(
      "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(await it.page(name)).not.toMatch(/<(link|img)[^>]*(href|src)="(https?:|\/\/)/);
  }
});

test("a browser asks each time whether its copy is current, and gets no second one", async () => {
  await using it = await setup();
  for (const name of ["README", "zh/README", "style.css", "icon.svg", "README.md"]) {
    const { headers } = await it.get(`/docs/${name}`);
    const etag = headers.get("etag") ?? "";
    expect([name, headers.get("cache-control"), etag]).toEqual([
      name,
      "private, no-cache",
      expect.stringMatching(/^"\w+"$/),
    ]);
    const again = await it.get(`/docs/${name}`, { "if-none-match": etag });
    expect([name, again.status, await again.text(), again.headers.get("etag")]).toEqual([
      name,
      304,
      "",
      etag,
    ]);
    expect((await it.get(`/docs/${name}`, { "if-none-match": '"other"' })).status).toBe(200);
  }
  const handled = it.world.events.filter((event) => event.type === "request.handled");
  expect(handled.filter(({ result, route }) => result !== "done" || route !== "/docs/*")).toEqual([]);
});

test("HEAD is answered as GET, without the text", async () => {
  await using it = await setup();
  for (const path of ["/docs/", "/docs/zh/README", "/docs/style.css", "/docs/README.md"]) {
    const [head, full] = [await fetch(it.world.service.url + path, { method: "HEAD" }), await it.get(path)];
    expect([path, head.status, await head.text()]).toEqual([path, 200, ""]);
    for (const name of ["content-type", "content-security-policy", "etag", "cache-control"])
      expect([path, name, head.headers.get(name)]).toEqual([path, name, full.headers.get(name)]);
  }
});

test.each([
  "nope",
  "README/",
  "readme",
  "zh/nope",
  "__proto__",
  "constructor",
  "..%2fpackage.json",
  "..%2f..%2fetc%2fpasswd",
  "%2e%2e/package.json",
  "../docs/../package.json",
  "zh/..%5cREADME",
  "/etc/passwd",
  "README%00.md",
])("/docs/%s is not there", async (path) => {
  await using it = await setup();
  const { status, body } = await rawGet(it.world.service.url, `/docs/${path}`, ["Host: localhost"]);
  // Dots are resolved before, to a path elsewhere, whose failures have HTTP 200.
  expect([200, 404]).toContain(status);
  expect(JSON.parse(body)).toMatchObject({ code: 404, data: {} });
});
