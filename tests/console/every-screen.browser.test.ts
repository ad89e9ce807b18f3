import { afterAll, expect } from "bun:test";
import { join } from "node:path";
import { browserTest } from "../support/browser.ts";
import { ConsoleWindow } from "../support/console-window.ts";
import { MARK, MARKUP } from "./markup-strings.ts";
import { accessibilityFaults, excessWidth } from "./page-faults.ts";
import { SCREENS } from "./screens.ts";

/** As many as any table may show. */
const MAX_ROWS = 200;
const NARROW = { width: 360, height: 780 };
const DESK = { width: 1280, height: 900 };
/** Where pictures of every screen are put; none without it. */
const PICTURES = process.env["CONSOLE_PICTURES"];
const LONG_MS = 600_000;

let opened: Promise<ConsoleWindow> | undefined;
const open = () => (opened ??= prepare());
async function prepare(): Promise<ConsoleWindow> {
  const window = await ConsoleWindow.open(DESK);
  await window.addPlatforms();
  return window;
}
afterAll(async () => (await opened)?.[Symbol.asyncDispose]());

browserTest(
  "every screen, in both languages and themes, has nothing that WCAG 2 A or AA forbids, and at most 200 rows in a table",
  async () => {
    const window = await open();
    const { browser } = window;
    const found: string[] = [];
    for (const { name, path, clicks } of SCREENS) {
      await window.show(path, { language: "en", clicks });
      for (const language of ["en", "zh"] as const) {
        for (const theme of ["light", "dark"] as const) {
          await window.look({ language, theme });
          // A theme is colours alone.
          const rules = theme === "light" ? "all" : "contrast";
          const faults = await accessibilityFaults(browser, rules);
          found.push(...faults.map((fault) => `${name} ${language} ${theme}: ${fault}`));
        }
      }
      const rows = await browser.evaluate<number>(
        "Math.max(0, ...[...document.querySelectorAll('tbody')].map(({ rows }) => rows.length))",
      );
      if (rows > MAX_ROWS) found.push(`${name}: ${rows} rows`);
    }
    expect(found).toEqual([]);
  },
  LONG_MS,
);

browserTest(
  "no screen is wider than a telephone of 360 px, asks another host, breaks the Content Security Policy or throws",
  async () => {
    const window = await open();
    const { browser } = window;
    await browser.resize(NARROW);
    const wide: string[] = [];
    for (const { name, path, clicks } of SCREENS) {
      await window.show(path, { language: "en", clicks });
      for (const language of ["en", "zh"] as const) {
        await window.look({ language, theme: "light" });
        const over = await excessWidth(browser);
        if (over > 0) wide.push(`${name} ${language}: ${over} px too wide`);
      }
    }
    await browser.resize(DESK);
    expect(wide).toEqual([]);
    const asked = browser.requests.filter((line) => !/^\w+ (data:|about:blank$)/.test(line));
    expect(asked.length).toBeGreaterThan(SCREENS.length);
    const ours = `${window.world.service.url}/`;
    expect(asked.filter((line) => !line.split(" ")[1]?.startsWith(ours))).toEqual([]);
    expect(browser.complaints).toEqual([]);
  },
  LONG_MS,
);

/**
 * In the page: puts each string into every field that takes text, and now and then sends the form; gives how many fields
 * there were. What the service takes of it is then shown somewhere, which is the point.
 */
const FILL = `(async (strings) => {
  const drawn = () => new Promise((resolve) => setTimeout(resolve));
  const fields = () => [...(document.querySelector("dialog[open]") ?? document).querySelectorAll("input, textarea")].filter(
    (field) => !field.readOnly && !field.disabled && !["checkbox", "radio", "file", "number", "datetime-local"].includes(field.type));
  const count = fields().length;
  if (count === 0) return 0;
  for (const [n, string] of strings.entries()) {
    for (const field of fields()) {
      Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set.call(field, string);
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }
    await drawn();
    if (n % 10 === 0) for (const form of new Set(fields().map(({ form }) => form))) form?.requestSubmit();
    await drawn();
  }
  return count;
})`;

/** In the page: puts each string into the address, as a path and as what a screen reads of it. */
const GO = `(async (strings) => {
  for (const string of strings) {
    const query = new URLSearchParams({ q: string, tab: string, state: string, after: string });
    for (const hash of [string, "?" + query]) {
      location.hash = "#/" + hash;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
})`;

browserTest(
  "a hundred texts of markup and scripts, in every text field of every screen and in the address, run nowhere",
  async () => {
    const window = await open();
    const { browser } = window;
    let fields = 0;
    for (const { path, clicks } of SCREENS) {
      // A secret that was made meanwhile is shown over every screen until it is stored.
      await browser.evaluate("document.querySelectorAll('dialog[open]').forEach((each) => each.close())");
      await window.show(path, { language: "en", clicks });
      fields += await browser.evaluate<number>(`${FILL}(${JSON.stringify(MARKUP)})`);
    }
    await browser.evaluate(`${GO}(${JSON.stringify(MARKUP)})`);
    for (const { path } of SCREENS) await window.show(path);
    expect(fields).toBeGreaterThan(0);
    expect(await browser.evaluate(`window.${MARK} ?? 0`)).toBe(0);
    const foreign = "#root :is(script, iframe, img, video, math, style, [onerror], [onload])";
    expect(await browser.evaluate(`document.querySelectorAll("${foreign}").length`)).toBe(0);
    expect(browser.complaints).toEqual([]);
  },
  LONG_MS,
);

if (PICTURES !== undefined) {
  browserTest(
    "pictures of every screen are kept",
    async () => {
      const window = await open();
      for (const { name, path, clicks } of SCREENS) {
        for (const size of [DESK, NARROW]) {
          await window.browser.resize(size);
          await window.show(path, { language: "en", clicks });
          for (const language of ["en", "zh"] as const) {
            for (const theme of ["light", "dark"] as const) {
              await window.look({ language, theme });
              const picture = await window.browser.screenshot({ isWhole: true });
              await Bun.write(join(PICTURES, `${name}-${size.width}-${language}-${theme}.png`), picture);
            }
          }
        }
      }
    },
    LONG_MS * 2,
  );
}
