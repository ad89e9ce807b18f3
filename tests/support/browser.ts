import { test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** Where a Chromium stands, by Debian's and others' names. */
export const CHROMIUM = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]
  .map((name) => join("/usr/bin", name))
  .find((path) => existsSync(path));

/** A browser takes seconds to start, and to draw, on a busy machine. */
const PATIENCE_MS = 60_000;

/**
 * A test in a real browser. Where there is none it is skipped, and `tests/support/browser.test.ts` says how many are;
 * under CI that test fails.
 */
export function browserTest(name: string, run: () => Promise<void>, ms = 180_000): void {
  test.skipIf(CHROMIUM === undefined)(name, run, ms);
}

/** What is looked at in the browser's events. */
interface CdpData {
  readonly request?: { readonly method: string; readonly url: string };
  readonly issue?: { readonly code: string };
  readonly entry?: { readonly source: string };
}

/** How large a page is drawn, in CSS pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/**
 * One page of a real Chromium: the only place that knows `Bun.WebView`. It notes what the page asks for and what the
 * browser complains about. All pages of a process share one browser, and so its cookies.
 *
 * Use it with `using`; do one thing at a time.
 */
export class Browser {
  /** Each request of the page, as `GET http://…`. */
  readonly requests: string[] = [];
  /** Uncaught exceptions, entries of the log, and violations of the Content Security Policy. */
  readonly complaints: unknown[] = [];
  /** Requests that failed or were refused: a page may have been ready for that. */
  readonly failures: unknown[] = [];
  readonly #view: Bun.WebView;

  private constructor(view: Bun.WebView) {
    this.#view = view;
  }

  /** An empty page without cookies. */
  static async open(size?: Size): Promise<Browser> {
    const browser = await Browser.#tab(size);
    await browser.#view.cdp("Network.clearBrowserCookies");
    return browser;
  }

  /** Another tab beside this page, with the same cookies. */
  another(size?: Size): Promise<Browser> {
    return Browser.#tab(size);
  }

  static async #tab(size: Size = { width: 1280, height: 900 }): Promise<Browser> {
    const backend = { type: "chrome" as const, path: CHROMIUM ?? "", argv: ["--no-sandbox"] };
    const view = new Bun.WebView({ ...size, backend });
    const browser = new Browser(view);
    browser.#note("Network.requestWillBeSent", ({ request }) =>
      browser.requests.push(`${request?.method} ${request?.url}`),
    );
    browser.#note("Runtime.exceptionThrown", (thrown) => browser.complaints.push(thrown));
    browser.#note("Log.entryAdded", (added) => {
      const { source } = added.entry ?? {};
      if (source === "network") browser.failures.push(added);
      else if (source !== "recommendation") browser.complaints.push(added);
    });
    browser.#note("Audits.issueAdded", ({ issue }) => {
      if (issue?.code === "ContentSecurityPolicyIssue") browser.complaints.push(issue);
    });
    await view.navigate("about:blank");
    for (const domain of ["Network", "Runtime", "Log", "Audits"]) await view.cdp(`${domain}.enable`);
    return browser;
  }

  #note(event: string, take: (data: CdpData) => void): void {
    this.#view.addEventListener(event, (message) => take((message as MessageEvent<CdpData>).data));
  }

  /** Loads a page; resolves once it has. */
  async navigate(url: string): Promise<void> {
    await this.#view.navigate(url);
  }

  /** What an expression, or a promise of it, gives in the page. */
  evaluate<T>(expression: string): Promise<T> {
    return this.#view.evaluate<T>(expression);
  }

  /** What an expression gives on this page or the one that comes, once that is something: true, or not empty. */
  async until<T>(expression: string, ms = PATIENCE_MS): Promise<T> {
    const end = performance.now() + ms;
    for (;;) {
      // A page that is just being left has nothing to say.
      const value = await this.#view.evaluate<T | undefined>(expression).catch(() => undefined);
      if (value) return value;
      if (performance.now() > end) throw new Error(`in ${ms} ms there was no ${expression}`);
      await Bun.sleep(20);
    }
  }

  /** Waits until the page shows the text. */
  async shows(text: string): Promise<void> {
    await this.until(`document.body.innerText.includes(${JSON.stringify(text)})`);
  }

  /** Clicks as a mouse does, once there is something at the middle of the element to click on. */
  async click(selector: string): Promise<void> {
    await this.#view.scrollTo(selector, { timeout: PATIENCE_MS });
    await this.#view.click(selector, { timeout: PATIENCE_MS });
  }

  /** Clicks the button, link or tab of that name, or the field of that label, once it is there and enabled. */
  async clickOn(name: string): Promise<void> {
    const mark = "data-test-target";
    const find = `((name) => {
      document.querySelector("[${mark}]")?.removeAttribute("${mark}");
      const root = document.querySelector("dialog[open]") ?? document;
      const named = (e) => [e.innerText, e.ariaLabel].some((text) => text?.trim() === name);
      const all = [...root.querySelectorAll("button, a, label, [role=menuitem], [role=menuitemradio]")];
      const found = all.filter((e) => e.checkVisibility() && !e.disabled).find(named);
      found?.setAttribute("${mark}", "");
      return found !== undefined;
    })(${JSON.stringify(name)})`;
    await this.until(find);
    await this.click(`[${mark}]`);
  }

  /** Puts text where the focus is. */
  async type(text: string): Promise<void> {
    await this.#view.type(text);
  }

  /** Replaces what a field has. */
  async fill(selector: string, text: string): Promise<void> {
    await this.until(`document.querySelector(${JSON.stringify(selector)}) !== null`);
    await this.evaluate(
      `((e) => (e.focus(), e.select?.()))(document.querySelector(${JSON.stringify(selector)}))`,
    );
    await this.#view.type(text);
  }

  /** Resolves when a field of an open dialog has the focus, as what is typed then goes there. */
  async focusesDialog(): Promise<void> {
    await this.until("document.activeElement?.matches('dialog[open] input')");
  }

  /** Presses a key as `Tab`, `Enter`, `Escape`, `ArrowDown`, or a letter with or without modifiers. */
  async press(key: string, ...modifiers: ("Control" | "Shift" | "Alt" | "Meta")[]): Promise<void> {
    await this.#view.press(key, { modifiers });
  }

  /** Draws the page in another size. */
  async resize({ width, height }: Size): Promise<void> {
    await this.#view.resize(width, height);
  }

  /** A command of the Chrome DevTools Protocol. */
  cdp<T>(method: string, params: Record<string, unknown> = {}): Promise<T> {
    return this.#view.cdp<T>(method, params);
  }

  /** The page as a PNG; with `isWhole` all of it, below the fold too. */
  async screenshot({ isWhole = false } = {}): Promise<Uint8Array> {
    const { data } = await this.cdp<{ data: string }>("Page.captureScreenshot", {
      format: "png",
      captureBeyondViewport: isWhole,
    });
    return Buffer.from(data, "base64");
  }

  [Symbol.dispose](): void {
    this.#view.close();
  }
}
