import { afterAll, expect } from "bun:test";
import { browserTest } from "../support/browser.ts";
import { ConsoleWindow } from "../support/console-window.ts";
import { CORP, WECOM, WX } from "../support/harness.ts";

const APP = `${CORP}_${WECOM.agent}`;
const CALLBACKS = `/v1/apps/${APP}/callbacks`;
const VALUES = "[...document.querySelectorAll('dialog .facts code')].map((code) => code.innerText)";

let opened: Promise<ConsoleWindow> | undefined;
const open = () => (opened ??= ConsoleWindow.open());
afterAll(async () => (await opened)?.[Symbol.asyncDispose]());

/** Fills the field of that label in. */
async function fill({ browser }: ConsoleWindow, label: string, text: string): Promise<void> {
  await browser.clickOn(label);
  await browser.type(text);
}

browserTest(
  "an app is made to receive pushes, with secrets that are shown once, a target and a route",
  async () => {
    const window = await open();
    const { browser } = window;
    await window.show(`/pushes/${APP}`);
    await browser.clickOn("Receive pushes");
    const [token = "", aesKey = ""] = await browser.until<string[]>(
      `document.querySelector("dialog") && ${VALUES}.filter((value) => !value.includes(":"))`,
    );
    expect([/^[A-Za-z0-9]{32}$/.test(token), /^[A-Za-z0-9]{43}$/.test(aesKey)]).toEqual([true, true]);
    await browser.press("Escape");
    expect(await browser.evaluate<string[]>(VALUES)).toContain(token);
    await browser.clickOn("I have stored them");
    await browser.shows("Stored encrypted");
    for (const secret of [token, aesKey])
      expect(await browser.evaluate("document.documentElement.outerHTML")).not.toContain(secret);

    await window.show(`/pushes/${APP}?tab=routes`);
    await browser.clickOn("Add a target");
    await fill(window, "Target", "laptop");
    await fill(window, "Environment", "dev");
    await browser.click("dialog input[type=checkbox]");
    await browser.clickOn("Save");
    await browser.clickOn("I have stored them");
    await browser.clickOn("Add a route");
    await fill(window, "Events · optional", "subscribe, SCAN");
    await browser.clickOn("Save");
    await browser.until("document.querySelector('dialog') === null");
    const { data } = await window.ask("GET", CALLBACKS);
    expect(data).toMatchObject({
      targets: [{ target: "laptop", environment: "dev", content: "reencrypted" }],
      routes: [{ target: "laptop", role: "primary", events: ["subscribe", "SCAN"] }],
    });
    await browser.shows("subscribe, SCAN");
  },
);

browserTest("what somebody else has changed meanwhile is not overwritten, and the page says so", async () => {
  const window = await open();
  const { browser } = window;
  const path = `/v1/apps/${WX.appId}/callbacks`;
  await window.show(`/pushes/${WX.appId}`);
  await browser.clickOn("Edit");
  await window.ask("PUT", path, { mode: "compat" });
  await browser.clickOn("Save");
  await browser.until("document.querySelector('dialog [role=alert]').innerText !== ''");
  expect((await window.ask("GET", path)).data["mode"]).toBe("compat");
  await browser.clickOn("Cancel");
  await browser.shows("Compatible");
});

browserTest("a route is not saved over those that somebody else has made meanwhile", async () => {
  const window = await open();
  const { browser } = window;
  const path = `/v1/apps/${WX.appId}/callbacks`;
  const routes = async () => (await window.ask("GET", path)).data["routes"] as object[];
  const before = await routes();
  const theirs = [...before, { target: "laptop", role: "copy", types: ["text"] }];
  await window.show(`/pushes/${WX.appId}?tab=routes`);
  await browser.clickOn("Add a route");
  expect((await window.ask("PUT", `${path}/routes`, { routes: theirs })).status).toBe(200);
  // Also once the page itself has seen them.
  await browser.until(
    `document.querySelectorAll("section:last-of-type tbody tr").length === ${theirs.length}`,
  );
  await browser.clickOn("Save");
  await browser.until("document.querySelector('dialog [role=alert]').innerText !== ''");
  expect(await routes()).toEqual(theirs);
  await browser.clickOn("Cancel");
  await window.ask("PUT", `${path}/routes`, { routes: before });
});

browserTest("routes are put in order, and web logins are allowed to return to another origin", async () => {
  const window = await open();
  const { browser } = window;
  await window.show(`/pushes/${WX.appId}?tab=routes`);
  await browser.click("[aria-label='Move route 2 up']");
  const order = async () =>
    ((await window.ask("GET", `/v1/apps/${WX.appId}/callbacks`)).data["routes"] as { target: string }[]).map(
      ({ target }) => target,
    );
  await browser.until(
    "document.querySelector('section:last-of-type tbody tr strong').innerText === 'laptop'",
  );
  expect(await order()).toEqual(["laptop", "dev-web"]);
  await window.show(`/pushes/${WX.appId}?tab=logins`);
  await browser.click("td.end button");
  await browser.fill("dialog[open] textarea", "https://dev.example.com http://localhost:5173");
  await browser.clickOn("Save");
  await browser.shows("http://localhost:5173");
  expect((await window.ask("GET", `/v1/apps/${WX.appId}/redirect-origins`)).text).toContain("localhost:5173");
});
