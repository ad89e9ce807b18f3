import { afterAll, expect } from "bun:test";
import { browserTest } from "../support/browser.ts";
import { ConsoleWindow } from "../support/console-window.ts";
import { CORP, WX, WX_FOREIGN } from "../support/harness.ts";

let opened: Promise<ConsoleWindow> | undefined;
const open = () => (opened ??= ConsoleWindow.open());
afterAll(async () => (await opened)?.[Symbol.asyncDispose]());

const TOKEN = `/v1/apps/${WX.appId}/credentials/access_token`;
const NAMES =
  "[...document.querySelectorAll('tbody td:first-child a')].map(({ hash }) => hash.split('/').at(-1)).join()";

browserTest(
  "an app that WeChat refuses is on the overview with what to do, and is unblocked there",
  async () => {
    const window = await open();
    const { browser } = window;
    await window.ask("GET", `/v1/apps/${WX_FOREIGN.appId}/credentials/access_token`);
    await window.show("/");
    await browser.shows("40125: check the app's secret");
    await browser.clickOn("Unblock");
    await browser.shows("is unblocked");
    await browser.shows("All is well");
    const { data } = await window.ask("GET", `/v1/apps/${WX_FOREIGN.appId}`);
    expect(data["state"]).toBe("none");
  },
);

browserTest("a counter leads to its apps, and search, state and order stand in the address", async () => {
  const window = await open();
  const { browser } = window;
  await window.show("/");
  await browser.click(".counter.ok");
  await browser.until(`${NAMES} === "${CORP}_1000002,${WX.appId}"`);
  expect(await browser.evaluate<string>("location.hash")).toBe("#/apps?state=fresh");
  await browser.clickOn("Token life");
  await browser.until("location.hash.includes('sort=expires_at')");
  await browser.fill("input[type=search]", "WX00");
  await browser.until(`${NAMES} === "${WX.appId}"`);
  await browser.evaluate("(globalThis.isBefore = true, location.reload())").catch(() => undefined);
  await browser.until(`!globalThis.isBefore && ${NAMES} === "${WX.appId}" &&
    document.querySelector("input[type=search]").value === "WX00"`);
  await browser.fill("input[type=search]", "nothing");
  await browser.shows("No app fits");
  await browser.clickOn("Show all");
  await browser.until(`${NAMES}.split(",").length === 4`);
});

browserTest("an app that nothing was fetched for yet says so on its chip and its dots", async () => {
  const window = await open();
  const { browser } = window;
  const textOf = (selector: string) =>
    browser.evaluate<string>(`document.querySelector('${selector}').innerText`);
  await window.show("/apps");
  await browser.until("document.querySelectorAll('.chip').length === 6");
  expect(await textOf(".chip:nth-child(5)")).toStartWith("None");
  expect(await textOf(`tr:has([href$="${WX_FOREIGN.appId}"]) .dot .hidden`)).toBe("access_token: None");
});

browserTest("a token is shown on a click alone, and hidden again after 30 seconds", async () => {
  const window = await open();
  const { browser } = window;
  const { data } = await window.ask("GET", TOKEN);
  const value = JSON.stringify(data["value"]);
  await window.show(`/apps/${WX.appId}`);
  expect(await browser.evaluate(`document.documentElement.outerHTML.includes(${value})`)).toBe(false);
  // Thirty seconds pass at once.
  await browser.evaluate(`void (globalThis.hide = undefined, globalThis.later = setTimeout,
    globalThis.setTimeout = (f, ms, ...rest) => ms === 30000 ? void (globalThis.hide = f) : later(f, ms, ...rest))`);
  await browser.clickOn("Reveal");
  await browser.until(`globalThis.hide !== undefined && document.body.innerText.includes(${value})`);
  await browser.evaluate("void (hide(), globalThis.setTimeout = later)");
  await browser.until(`!document.body.innerText.includes(${value})`);
});

browserTest("a forced refresh is asked about, says how many are left, and is in the history", async () => {
  const window = await open();
  const { browser } = window;
  // Forced refreshes are half a minute apart.
  window.world.clock.advance(31_000);
  const before = (await window.ask("GET", TOKEN)).data["value"];
  const { data } = await window.ask("GET", `/v1/apps/${WX.appId}`);
  const left = 20 - Number(data["forced_refreshes_today"].calls);
  await window.show("/nowhere");
  await window.show(`/apps/${WX.appId}`);
  await browser.clickOn(`Force (${left} left)`);
  await browser.shows(`${left} are left today`);
  await browser.clickOn("Force");
  await browser.shows(`Force (${left - 1} left)`);
  expect((await window.ask("GET", TOKEN)).data["value"]).not.toBe(before);
  // What was attempted is noted within a second.
  await browser.until(`fetch("/v1/apps/${WX.appId}/history?to=" + (Date.now() + 3600000)).then((answer) => answer.json())
    .then(({ data }) => data.attempts.some(({ trigger }) => trigger === "forced"))`);
  await browser.clickOn("History");
  await browser.shows("by hand");
});

browserTest("an app is not saved over what somebody else has changed of it meanwhile", async () => {
  const window = await open();
  const { browser } = window;
  const path = `/v1/apps/${WX_FOREIGN.appId}`;
  const { data } = await window.ask("GET", path);
  const title = `After version ${data["version"]}`;
  await window.show(`/apps/${WX_FOREIGN.appId}`);
  await browser.until(
    `document.querySelector("h1").innerText === ${JSON.stringify(data["title"] ?? data["app"])}`,
  );
  await browser.click("[aria-label=Actions]");
  // The menu is put in its place only once it is open.
  await browser.until("document.activeElement.innerText === 'Edit…'");
  await browser.press("Enter");
  await browser.until("document.querySelector('dialog[open] input') !== null");
  expect((await window.ask("PATCH", path, { title })).status).toBe(200);
  // Also once the page itself has seen it.
  await browser.until(`document.querySelector("h1").innerText === "${title}"`);
  await browser.clickOn("Save");
  await browser.until("document.querySelector('dialog [role=alert]').innerText !== ''");
  expect((await window.ask("GET", path)).data["title"]).toBe(title);
  await browser.clickOn("Cancel");
});

browserTest(
  "the history is read again by itself, as no use of the session, while it is looked at",
  async () => {
    const window = await open();
    const { browser } = window;
    await window.show("/nowhere");
    await browser.evaluate(`void (globalThis.every = setInterval, globalThis.real = fetch, globalThis.asked = [],
    globalThis.setInterval = (f, ms) => ms === 15000 ? void (globalThis.again = f) : every(f, ms),
    globalThis.fetch = (path, init) => {
      if (path.includes("/history")) asked.push(init.headers.get("x-background"));
      return real(path, init);
    })`);
    await window.show(`/apps/${WX.appId}?tab=history`);
    expect(await browser.evaluate("asked[0]")).toBe(null);
    const hide = (isHidden: boolean) =>
      browser.evaluate(
        `void Object.defineProperty(document, "hidden", { configurable: true, get: () => ${isHidden} })`,
      );
    await hide(true);
    expect(await browser.evaluate<unknown[]>("(asked.length = 0, again(), asked)")).toEqual([]);
    await hide(false);
    // An answer that is on its way is waited for.
    await browser.until(`(asked.length = 0, again(), again(), asked.join() === "1")`);
    await browser.evaluate("void (globalThis.setInterval = every, globalThis.fetch = real)");
  },
);

browserTest("an app is added with what WeChat says of a wrong secret, and shown at once", async () => {
  const window = await open();
  const { browser, world } = window;
  world.sandbox.changeWeixinApp(WX_FOREIGN.appId, { secret: WX_FOREIGN.secret });
  await window.ask("DELETE", `/v1/apps/${WX_FOREIGN.appId}`);
  await window.show("/apps?add=1");
  await browser.shows("Verify the secret");
  await browser.fill("dialog input:not([type=password])", WX_FOREIGN.appId);
  await browser.fill("dialog input[type=password]", WX_FOREIGN.secret.replaceAll("f", "0"));
  await browser.click("dialog button[type=submit]");
  await browser.until("document.querySelector('dialog [role=alert]').innerText.includes('secret')");
  await browser.fill("dialog input[type=password]", WX_FOREIGN.secret);
  await browser.click("dialog button[type=submit]");
  await browser.until(`location.hash === "#/apps/${WX_FOREIGN.appId}"`);
  await browser.shows("is added");
  expect(await browser.evaluate<string>("document.body.innerText")).not.toContain(WX_FOREIGN.secret);
});

browserTest("a set-up names the app, this host and no key, for the SDK that is chosen", async () => {
  const window = await open();
  const { browser, world } = window;
  await window.show(`/apps/${WX.appId}?tab=set-up`);
  for (const text of [WX.appId, world.service.url, "ats_yourApiKey"]) await browser.shows(text);
  await browser.evaluate(`(() => { const select = document.querySelector("main select");
    select.value = "WxJava"; select.dispatchEvent(new Event("input", { bubbles: true })); })()`);
  await browser.shows("WxMpDefaultConfigImpl");
});
