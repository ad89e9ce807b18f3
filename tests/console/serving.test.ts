import { expect, test } from "bun:test";
import { Harness } from "../support/harness.ts";

/** What the page links to. */
function filesOf(page: string): string[] {
  return [...page.matchAll(/(?:src|href)="(\/console\/[^"]+)"/g)].map(([, path = ""]) => path);
}

test("the console is served with its files from this program, under a policy that allows nothing else", async () => {
  await using world = await Harness.create({ environment: { ANONYMOUS: "off" } });
  const page = await fetch(`${world.service.url}/console/`);
  expect(page.status).toBe(200);
  expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
  expect(page.headers.get("cache-control")).toBe("no-store");
  expect(page.headers.get("cross-origin-opener-policy")).toBe("same-origin");
  expect(page.headers.get("content-security-policy")?.split("; ")).toEqual([
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ]);
  const files = filesOf(await page.text());
  expect(new Set(files.map((path) => path.split(".").at(-1)))).toEqual(new Set(["css", "js"]));
  for (const path of files) {
    const file = await fetch(world.service.url + path);
    expect([path, file.status]).toEqual([path, 200]);
    expect(file.headers.get("cache-control")).toBe("public, max-age=31536000, immutable");
    const again = await fetch(world.service.url + path, {
      headers: { "if-none-match": file.headers.get("etag") ?? "" },
    });
    expect([path, again.status]).toEqual([path, 304]);
  }
});

test("the console's files come compressed to who can unpack them, and plain to who can't", async () => {
  await using world = await Harness.create();
  const url = `${world.service.url}/console/`;
  const [path = ""] = filesOf(await (await fetch(url)).text());
  const read = async (encoding: string) => {
    const init = { headers: { "accept-encoding": encoding }, decompress: false };
    const response = await fetch(world.service.url + path, init);
    return { encoding: response.headers.get("content-encoding"), bytes: await response.bytes() };
  };
  const [plain, packed] = [await read("identity"), await read("gzip, deflate, br")];
  expect([plain.encoding, packed.encoding]).toEqual([null, "gzip"]);
  expect(Bun.gunzipSync(new Uint8Array(packed.bytes))).toEqual(new Uint8Array(plain.bytes));
});

test("/console leads to the page, other names under it are 404, and nothing is sent to it", async () => {
  await using world = await Harness.create();
  const at = (path: string, method = "GET") =>
    fetch(world.service.url + path, { method, redirect: "manual" });
  const redirect = await at("/console");
  expect([redirect.status, redirect.headers.get("location")]).toEqual([302, "console/"]);
  expect((await at("/console/nothing.js")).status).toBe(404);
  expect((await at("/console/..%2fassets.ts")).status).toBe(404);
  expect((await at("/console/", "POST")).status).toBe(405);
});

test("with CONSOLE=off there is no console and nobody signs in", async () => {
  await using world = await Harness.create({ environment: { CONSOLE: "off" } });
  for (const path of ["/console", "/console/", "/console/session"])
    expect([path, (await world.get(path)).code]).toEqual([path, 404]);
  expect(world.service.routes.filter(({ path }) => path.startsWith("/console"))).toEqual([]);
});
