import { afterAll, expect } from "bun:test";
import { type Browser, browserTest } from "../support/browser.ts";
import { ConsoleWindow } from "../support/console-window.ts";

/** What a page may hold, as the browser counts it. */
const MAX_HEAP = 60 * 1024 * 1024;
const CHANGES = 10_000;
const IS_LIVE = "document.querySelector('.live.ok') !== null";

let opened: Promise<ConsoleWindow> | undefined;
const open = () => (opened ??= ConsoleWindow.open());
afterAll(async () => (await opened)?.[Symbol.asyncDispose]());

browserTest("when live updates are lost the page says so, polls, and is live again by itself", async () => {
  const window = await open();
  const { browser } = window;
  await window.show("/");
  await browser.until("document.querySelector('.live.ok') !== null");
  await browser.cdp("Network.setBlockedURLs", { urls: ["*/v1/events"] });
  await browser.evaluate("location.reload()").catch(() => undefined);
  await browser.shows("refreshing every 5 seconds");
  await browser.cdp("Network.setBlockedURLs", { urls: [] });
  await browser.until("document.querySelector('.live.ok') !== null");
  expect(await browser.evaluate("document.body.innerText.includes('refreshing every')")).toBe(false);
});

browserTest("a change shows within seconds, without a click", async () => {
  const window = await open();
  await window.show("/apps");
  await window.browser.until(IS_LIVE);
  await window.ask("POST", "/v1/apps", {
    ...{ platform: "weixin", app_id: "wx00000000000000cc", title: "Appears by itself" },
    secret: "0123456789abcdef0123456789abcdef",
  });
  await window.browser.shows("wx00000000000000cc");
});

browserTest("ten thousand changes at once cost a page a few requests, and little memory", async () => {
  const window = await open();
  const { browser } = window;
  await window.show("/");
  await browser.until(IS_LIVE);
  const before = browser.requests.length;
  await browser.evaluate(`(async () => {
    const other = new BroadcastChannel("ats.live");
    for (let n = 0; n < ${CHANGES}; n++) {
      other.postMessage({ type: "credential", app: "wx" + n });
      if (n % 500 === 0) await new Promise((resolve) => setTimeout(resolve, 100));
    }
    other.close();
  })()`);
  await browser.until(`new Promise((resolve) => setTimeout(() => resolve(true), 2_500))`);
  const asked = browser.requests.slice(before).filter((line) => line.includes("/v1/"));
  expect(asked.length).toBeGreaterThan(0);
  expect(asked.length).toBeLessThan(20);
  await browser.cdp("HeapProfiler.collectGarbage");
  await browser.cdp("Performance.enable");
  const { metrics } = await browser.cdp<{ metrics: { name: string; value: number }[] }>(
    "Performance.getMetrics",
  );
  expect(metrics.find(({ name }) => name === "JSHeapUsedSize")?.value).toBeLessThan(MAX_HEAP);
});

browserTest(
  "all tabs of a browser share one stream, and another one takes it over when that tab is closed",
  async () => {
    const window = await open();
    const { browser, world } = window;
    await window.show("/");
    await browser.until(IS_LIVE);
    const streams = (requests: readonly string[]) =>
      requests.filter((line) => line.endsWith("/v1/events")).length;
    const second = await browser.another();
    await second.navigate(`${world.service.url}/console/`);
    await second.until(IS_LIVE);
    expect(streams(second.requests)).toBe(0);
    await browser.navigate("about:blank");
    await second.until("performance.getEntriesByType('resource').length > 0");
    const end = performance.now() + 30_000;
    while (streams(second.requests) === 0 && performance.now() < end) await second.evaluate("0");
    expect(streams(second.requests)).toBe(1);
    second[Symbol.dispose]();
  },
);

/** The only tab of the console: one whose streams are held here, as `streams` in it, the last one last. */
async function tabOfStreams({ browser, world }: ConsoleWindow, path: string): Promise<Browser> {
  await browser.navigate("about:blank");
  const tab = await browser.another();
  await tab.cdp("Page.enable");
  await tab.cdp("Page.addScriptToEvaluateOnNewDocument", {
    source: `globalThis.streams = [];
      globalThis.EventSource = class extends EventTarget {
        static CLOSED = 2;
        readyState = 0;
        constructor() { super(); streams.push(this); }
        close() { this.readyState = 2; }
      };`,
  });
  await tab.navigate(`${world.service.url}/console/#${path}`);
  await tab.until("streams.length === 1");
  return tab;
}

browserTest("what changed before a stream was there shows once there is one", async () => {
  const window = await open();
  using tab = await tabOfStreams(window, "/apps");
  await tab.until("document.querySelector('tbody tr') !== null");
  const app = "wx00000000000000dd";
  await window.ask("DELETE", `/v1/apps/${app}`);
  const secret = "0123456789abcdef0123456789abcdef";
  await window.ask("POST", "/v1/apps", { platform: "weixin", app_id: app, secret });
  expect(await tab.evaluate(`document.body.innerText.includes("${app}")`)).toBe(false);
  await tab.evaluate("void streams[0].onopen()");
  await tab.shows(app);
});

browserTest("what is typed stays while neither the stream nor the session can be asked for", async () => {
  const window = await open();
  using tab = await tabOfStreams(window, "/apps?add=1");
  await tab.evaluate("void streams[0].onopen()");
  await tab.until(IS_LIVE);
  await tab.fill("dialog[open] input:not([type=password])", "wx-typed");
  await tab.evaluate(`void (globalThis.asked = [], globalThis.real = fetch, globalThis.fetch = (path, init) =>
    path === "/console/session"
      ? (asked.push(init.headers.get("x-background")), Promise.reject(new TypeError("offline")))
      : real(path, init))`);
  await tab.evaluate("void Object.assign(streams[0], { readyState: 2 }).onerror()");
  await tab.until("asked.length > 0 && streams.length === 2");
  // By the page itself: that keeps no session.
  expect(await tab.evaluate<string[]>("asked")).toEqual(["1"]);
  expect(await tab.evaluate<string>("document.querySelector('dialog input')?.value")).toBe("wx-typed");
  await tab.evaluate("void (globalThis.fetch = real, streams[1].onopen())");
  await tab.until(IS_LIVE);
  expect(await tab.evaluate<string>("document.querySelector('dialog input')?.value")).toBe("wx-typed");
});
