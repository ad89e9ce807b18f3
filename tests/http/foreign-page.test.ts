import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "../support/access-harness.ts";
import { browserTest, CHROMIUM } from "../support/browser.ts";
import { CORP, Harness, WX } from "../support/harness.ts";
import { rawGet } from "../support/raw-http.ts";

const TOKEN = `/AccessToken/getXcx?appid=${WX.appId}`;
const CLEAR = `/AccessToken/clearXcx?appid=${WX.appId}`;
const CLEARS = [CLEAR, `/AccessToken/clearQyapi?corpid=${CORP}`];
/** Here a browser's requests carry neither `Origin` nor `Sec-Fetch-Site`. */
const OFF_LOOPBACK = Object.values(networkInterfaces())
  .flat()
  .find((at) => at?.family === "IPv4" && !at.internal)?.address;

const CHROMIUM_AGENT =
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36";
const FOREIGN = "Referer: http://192.0.2.2:4802/";
const ENCODING = "Accept-Encoding: gzip, deflate";
const LANGUAGE = "Accept-Language: en-US,en;q=0.9";
const IMAGE = "Accept: image/jxl,image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
const DOCUMENT =
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/jxl,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7";
const UPGRADE = "Upgrade-Insecure-Requests: 1";
const ANY = "Accept: */*";

/** What Chromium 156 sent for a page of `http://192.0.2.2:4802` to plain HTTP at another port of that address. */
const BROWSERS: Readonly<Record<string, readonly string[]>> = {
  image: [CHROMIUM_AGENT, IMAGE, ENCODING, LANGUAGE, FOREIGN],
  "image without a referrer": [CHROMIUM_AGENT, IMAGE, ENCODING, LANGUAGE],
  stylesheet: [CHROMIUM_AGENT, "Accept: text/css,*/*;q=0.1", ENCODING, LANGUAGE, FOREIGN],
  script: [CHROMIUM_AGENT, ANY, ENCODING, LANGUAGE, FOREIGN],
  frame: [CHROMIUM_AGENT, DOCUMENT, ENCODING, LANGUAGE, FOREIGN, UPGRADE],
  "frame without a referrer": [CHROMIUM_AGENT, DOCUMENT, ENCODING, LANGUAGE, UPGRADE],
  link: [CHROMIUM_AGENT, DOCUMENT, ENCODING, LANGUAGE, FOREIGN, UPGRADE],
  prefetch: [CHROMIUM_AGENT, DOCUMENT, ENCODING, LANGUAGE, FOREIGN, "Sec-Purpose: prefetch"],
  fetch: [CHROMIUM_AGENT, ANY, ENCODING, LANGUAGE, FOREIGN],
  "fetch with a language of its own and without a referrer": [
    CHROMIUM_AGENT,
    ANY,
    ENCODING,
    "Accept-Language: *",
  ],
};

/** What programs sent in their libraries' own form. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  "curl 7.88": ["User-Agent: curl/7.88.1", ANY],
  "wget 1.21": ["User-Agent: Wget/1.21.3", ANY, "Accept-Encoding: identity"],
  "Node's fetch": ["User-Agent: node", ANY, ENCODING, "Accept-Language: *", "Sec-Fetch-Mode: cors"],
  "Node's http": [],
  "Bun's fetch": ["User-Agent: Bun/1.4.5", ANY, "Accept-Encoding: gzip, deflate, br, zstd"],
  "Python's requests": ["User-Agent: python-requests/2.34.2", ANY, ENCODING],
  "Python's urllib": ["User-Agent: Python-urllib/3.11", "Accept-Encoding: identity"],
  "Java's URLConnection": [
    "User-Agent: Java/17.0.21.1",
    "Accept: text/html, image/gif, image/jpeg, */*; q=0.2",
  ],
  "Java's HttpClient": [
    "User-Agent: Java-http-client/17.0.21.1",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA",
  ],
  "Go's net/http": ["User-Agent: Go-http-client/1.1", "Accept-Encoding: gzip"],
  "PHP's file_get_contents": [],
  "PHP's curl": [ANY],
};

/** The answer to an anonymous GET with exactly these headers and a Host. */
async function ask(world: Harness, path: string, headers: readonly string[]) {
  const { host } = new URL(world.service.url);
  const { body } = await rawGet(world.service.url, path, [`Host: ${host}`, ...headers]);
  return JSON.parse(body) as { code: number; msg: string };
}

test.each(Object.keys(BROWSERS))(
  "a foreign page can't clear a token through a visitor's browser on plain HTTP: %s",
  async (name) => {
    await using world = await Harness.create();
    expect(await ask(world, TOKEN, [])).toMatchObject({ code: 0 });
    for (const path of CLEARS) {
      const { code, msg } = await ask(world, path, BROWSERS[name] ?? []);
      expect([code, msg.includes("API key")]).toEqual([403, true]);
    }
    expect(world.events.map(({ type }) => type)).not.toContain("credential.cleared");
  },
);

test.each(Object.keys(PROGRAMS))("a program without a key still clears: %s", async (name) => {
  await using world = await Harness.create();
  for (const path of CLEARS) expect(await ask(world, path, PROGRAMS[name] ?? [])).toMatchObject({ code: 0 });
});

test.each([
  ["User-Agent: Mozilla/4.0 (compatible; MSIE 6.0)", 403],
  ["User-Agent: mozilla/5.0", 403],
  ["User-Agent: WeChat Mozilla/5.0", 0],
  ["Accept-Language: zh-CN,zh;q=0.9", 403],
  ["Accept-Language: *;q=0.5, de", 403],
  ["Accept-Language: *", 0],
  ["Accept-Language: *;q=0.9", 0],
  ["Referer: https://evil.example/page", 403],
  ["Referer: about:blank", 403],
  ["Referer: http://localhost/swagger", 0],
  ["Referer: http://LOCALHOST/swagger", 0],
] as const)("an anonymous clear with %s is code %i", async (header, code) => {
  await using world = await Harness.create();
  const { body } = await rawGet(world.service.url, CLEAR, ["Host: localhost", header]);
  expect(JSON.parse(body)).toMatchObject({ code });
});

test("a browser clears with a key, with the app's secret, and from a page of ours where it says so", async () => {
  await using world = await Harness.create({ environment: { ANONYMOUS: "on" } });
  const grants = [{ apps: ["*"], actions: ["token:clear"] as const }];
  const key = await createClient(world, { name: "tools", grants });
  const browser = BROWSERS["link"] ?? [];
  expect(await ask(world, CLEAR, browser)).toMatchObject({ code: 403 });
  expect(await ask(world, CLEAR, [...browser, `X-API-Key: ${key}`])).toMatchObject({ code: 0 });
  expect(await ask(world, `${CLEAR}&secret=${key}`, browser)).toMatchObject({ code: 0 });
  expect(await ask(world, `${CLEAR}&secret=${WX.secret}`, browser)).toMatchObject({ code: 0 });
  const ownPage = [CHROMIUM_AGENT, LANGUAGE, "Sec-Fetch-Site: same-origin"];
  expect(await ask(world, CLEAR, ownPage)).toMatchObject({ code: 0 });
});

(OFF_LOOPBACK === undefined ? test.skip : browserTest)(
  "a real Chromium that visits a foreign page clears nothing (skipped without an address off loopback)",
  async () => {
    const address = String(OFF_LOOPBACK);
    await using world = await Harness.create({
      environment: { HOST: "0.0.0.0", TRUSTED_NETWORKS: `127.0.0.0/8,${address}` },
    });
    const target = `http://${address}:${new URL(world.service.url).port}`;
    expect(await (await fetch(target + TOKEN)).json()).toMatchObject({ code: 0 });
    const clear = target + CLEAR;
    using page = Bun.serve({
      hostname: "0.0.0.0",
      port: 0,
      fetch: () =>
        new Response(
          `<!doctype html><img src="${clear}&n=1"><img referrerpolicy="no-referrer" src="${clear}&n=2">
          <script src="${clear}&n=3"></script><iframe src="${clear}&n=4"></iframe>
          <script>
            const options = { mode: "no-cors", headers: { "accept-language": "*" }, referrerPolicy: "no-referrer" };
            fetch("${clear}&n=5", options).finally(() => (location.href = "${clear}&n=6"));
          </script>`,
          { headers: { "content-type": "text/html" } },
        ),
    });
    const codes = () =>
      world.events.flatMap((event) =>
        event.type === "request.handled" && event.route.endsWith("/clearXcx") ? [event.code] : [],
      );
    await visit(`http://${address}:${page.port}/`, () => codes().length >= 6);
    expect(codes()).toEqual([403, 403, 403, 403, 403, 403]);
    expect(world.events.map(({ type }) => type)).not.toContain("credential.cleared");
    expect(await (await fetch(clear)).json()).toMatchObject({ code: 0 });
  },
);

/** Has a Chromium with an empty profile show a page until `isDone`. */
async function visit(url: string, isDone: () => boolean): Promise<void> {
  const profile = mkdtempSync(join(tmpdir(), "accesstoken-browser-"));
  const flags =
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";
  const command = [CHROMIUM ?? "", ...flags.split(" "), `--user-data-dir=${profile}`, url];
  const browser = Bun.spawn(command, { stdout: "ignore", stderr: "ignore" });
  try {
    await Harness.until(isDone);
  } finally {
    browser.kill();
    await browser.exited;
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
