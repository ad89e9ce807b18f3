import { afterAll, expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import { Browser, browserTest } from "../support/browser.ts";
import { ConsoleWindow } from "../support/console-window.ts";
import { createClient } from "../support/access-harness.ts";
import { Harness, WX } from "../support/harness.ts";
import { accessibilityFaults, excessWidth } from "./page-faults.ts";

const OFF_LOOPBACK = Object.values(networkInterfaces())
  .flat()
  .find((at) => at?.family === "IPv4" && !at.internal)?.address;

let opened: Promise<ConsoleWindow> | undefined;
const open = () => (opened ??= ConsoleWindow.open());
afterAll(async () => (await opened)?.[Symbol.asyncDispose]());

const FOCUSED = "document.activeElement?.labels?.[0]?.innerText ?? ''";

browserTest(
  "whoever has a key signs in by keyboard alone, is told of a wrong one, and signs out",
  async () => {
    const window = await open();
    const { browser } = window;
    await window.show("/");
    await browser.click("[aria-haspopup=menu]");
    await browser.clickOn("Sign out");
    await browser.until(`${FOCUSED} === "API key"`);
    await browser.type("ats_wrong");
    await browser.press("Enter");
    await browser.until("document.querySelector('[role=alert]').innerText !== ''");
    expect(await browser.evaluate("document.querySelector('[role=alert]').innerText")).not.toMatch(
      /\p{Script=Han}/u,
    );
    await browser.fill("input", window.adminKey);
    await browser.press("Enter");
    await browser.shows("Overview");
    await browser.until("document.querySelector('.live.ok') !== null");
    expect(await browser.evaluate("document.cookie")).toBe("");
    expect(await browser.evaluate("JSON.stringify(localStorage)")).not.toContain("ats_");
  },
);

browserTest(
  "a session that is ended elsewhere leads to the sign-in within seconds, without a click",
  async () => {
    const window = await open();
    const { browser, world } = window;
    const grants = [{ apps: [WX.appId], actions: ["view"] as const }];
    const key = await createClient(world, { name: "viewer", grants });
    await window.signIn(key);
    await window.show("/");
    await browser.until("document.querySelector('.live.ok') !== null");
    await window.ask("DELETE", "/v1/clients/viewer");
    await browser.shows("API key");
    await window.signIn();
  },
);

browserTest(
  "the keyboard goes everywhere: commands, pages, the search field, rows and the list of keys",
  async () => {
    const window = await open();
    const { browser } = window;
    await window.show("/");
    await browser.press("k", "Control");
    await browser.until("document.activeElement?.role === 'combobox'");
    await browser.type("over");
    await browser.press("Enter");
    await browser.until("document.querySelector('dialog') === null");
    await browser.evaluate("dispatchEvent(new KeyboardEvent('keydown', { key: '?' }))");
    await browser.shows("Keyboard");
    await browser.press("Escape");
    await browser.until("document.querySelector('dialog') === null");
    await window.show("/nowhere");
    for (const key of ["g", "o"])
      await browser.evaluate(`dispatchEvent(new KeyboardEvent("keydown", { key: "${key}" }))`);
    await browser.until("location.hash === '#/'");
  },
);

browserTest(
  "what is shown before the sign-in has nothing that WCAG 2 A or AA forbids, and fits a telephone",
  async () => {
    await using world = await Harness.create({ environment: { ANONYMOUS: "off" } });
    using browser = await Browser.open({ width: 360, height: 780 });
    await browser.navigate(`${world.service.url}/console/`);
    for (const [language, theme] of [
      ["zh", "light"],
      ["en", "dark"],
    ] as const) {
      const items = { "ats.language": language, "ats.theme": theme };
      await browser.evaluate(`void Object.assign(localStorage, ${JSON.stringify(items)})`);
      for (const path of ["/", "/setup/none", "/sign-in/none"]) {
        await browser.navigate("about:blank");
        await browser.navigate(`${world.service.url}/console/#${path}`);
        await browser.until(
          "document.querySelector('h1') !== null && document.querySelector('[aria-busy=true]') === null",
        );
        expect([path, await accessibilityFaults(browser), await excessWidth(browser)]).toEqual([path, [], 0]);
      }
    }
  },
);

/** A link of the command line to that service. */
async function linkTo(world: Harness, client?: string): Promise<string> {
  const headers = { "content-type": "application/json" };
  const init = { method: "POST", headers, body: JSON.stringify({ client }) };
  const { data } = await world.administer("/v1/console/links", init);
  return world.service.url + String(data["path"]);
}

browserTest(
  "a set-up link makes the administrator and shows its key once; then it is dead, and a link signs in",
  async () => {
    await using world = await Harness.create({ environment: { ANONYMOUS: "off" } });
    using browser = await Browser.open();
    await browser.navigate(`${world.service.url}/console/`);
    await browser.evaluate(`localStorage.setItem("ats.language", "en")`);
    const link = await linkTo(world);
    await browser.navigate("about:blank");
    await browser.navigate(link);
    await browser.clickOn("Create and sign in");
    const key = await browser.until<string>("document.querySelector('dialog input')?.value");
    expect(key).toMatch(/^ats_/);
    // Only saying that it was stored closes it.
    await browser.press("Escape");
    await browser.press("Escape");
    expect(await browser.evaluate("document.querySelector('dialog input')?.value")).toBe(key);
    await browser.clickOn("I have stored it");
    await browser.until("document.querySelector('.main-menu') !== null");
    expect(await browser.evaluate("document.documentElement.outerHTML")).not.toContain(key);
    expect(await browser.evaluate("location.hash")).toStartWith("#/apps");

    await browser.navigate("about:blank");
    await browser.navigate(link);
    await browser.clickOn("Create and sign in");
    await browser.shows("The link is invalid, used or expired");

    await browser.cdp("Network.clearBrowserCookies");
    await browser.navigate("about:blank");
    await browser.navigate(await linkTo(world, "admin"));
    await browser.until("document.querySelector('.main-menu') !== null");
    expect(await browser.evaluate("location.hash")).not.toContain("sign-in");
    expect(browser.complaints).toEqual([]);
  },
);

(OFF_LOOPBACK === undefined ? test.skip : browserTest)(
  "over plain http the page offers no sign-in, and says how to get there safely (skipped without an address off loopback)",
  async () => {
    const address = String(OFF_LOOPBACK);
    await using world = await Harness.create({ environment: { HOST: "0.0.0.0" } });
    using browser = await Browser.open();
    await browser.navigate(`http://${address}:${new URL(world.service.url).port}/console/`);
    await browser.evaluate(`localStorage.setItem("ats.language", "en")`);
    await browser.evaluate("location.reload()").catch(() => undefined);
    await browser.shows("No sign-in here");
    await browser.shows("TRUSTED_PROXIES");
    await browser.shows(`ssh -L`);
    expect(await browser.evaluate("document.querySelectorAll('input').length")).toBe(0);
  },
);
