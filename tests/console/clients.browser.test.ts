import { afterAll, expect } from "bun:test";
import { createClient } from "../support/access-harness.ts";
import { browserTest } from "../support/browser.ts";
import { ConsoleWindow } from "../support/console-window.ts";
import { WX } from "../support/harness.ts";

let opened: Promise<ConsoleWindow> | undefined;
const open = () => (opened ??= ConsoleWindow.open());
afterAll(async () => (await opened)?.[Symbol.asyncDispose]());

const NAME = `((e) => (e?.getAttribute("aria-label") ?? e?.innerText ?? "").trim())(document.activeElement)`;

/** Presses Tab until the focus is on what has that name. */
async function tabTo({ browser }: ConsoleWindow, name: string): Promise<void> {
  const passed: string[] = [];
  for (let presses = 0; presses < 60; presses++) {
    await browser.press("Tab");
    const at = await browser.evaluate<string>(NAME);
    if (at === name) return;
    passed.push(at);
  }
  throw new Error(`no Tab leads to ${name}, only to ${passed.join(", ")}`);
}

/** The key that a dialog shows, once it does. */
function shownKey({ browser }: ConsoleWindow): Promise<string> {
  return browser.until<string>(`document.querySelector("dialog .secret input")?.value`);
}

const isOpen = ({ browser }: ConsoleWindow) =>
  browser.evaluate<boolean>(`document.querySelector("dialog[open]") !== null`);

/** The status with which a key is answered. */
async function statusOf({ ask }: ConsoleWindow, key: string): Promise<number> {
  return (await ask("GET", "/v1/apps", undefined, { key })).status;
}

browserTest("a key is created, shown once, rolled and revoked without a mouse", async () => {
  const window = await open();
  const { browser } = window;
  await window.show("/clients/shop-dev");
  await tabTo(window, "Create a key");
  await browser.press("Enter");
  await browser.shows("To tell keys apart");
  await browser.focusesDialog();
  await browser.press("a", "Control");
  await browser.type("ci");
  await browser.press("Enter");
  const first = await shownKey(window);
  expect(await browser.evaluate<string>("document.querySelector('dialog .code pre').innerText")).toContain(
    `-H 'Authorization: Bearer ${first}'`,
  );
  for (let presses = 0; presses < 3; presses++) await browser.press("Escape");
  expect(await isOpen(window)).toBe(true);
  await tabTo(window, "I have stored it");
  await browser.press("Enter");
  await browser.until(`document.querySelector("dialog") === null`);
  await browser.shows(first.slice(0, 12));
  expect(await browser.evaluate<string>("document.documentElement.outerHTML")).not.toContain(first);
  expect(await statusOf(window, first)).toBe(200);

  await tabTo(window, "Roll");
  await browser.press("Enter");
  await browser.shows("the old one stays valid");
  await tabTo(window, "Roll");
  await browser.press("Enter");
  const second = await shownKey(window);
  expect([second === first, await statusOf(window, first), await statusOf(window, second)]).toEqual([
    false,
    200,
    200,
  ]);
  await tabTo(window, "I have stored it");
  await browser.press("Enter");
  await browser.shows("Rolling");
  await browser.shows("ends in 23h");

  await tabTo(window, "Revoke");
  await browser.press("Enter");
  const prefix = second.slice(0, 12);
  await browser.shows(`Type “${prefix}” to confirm`);
  await browser.focusesDialog();
  await browser.type(prefix.slice(0, -1));
  await browser.press("Enter");
  expect(await isOpen(window)).toBe(true);
  expect(await statusOf(window, second)).toBe(200);
  await browser.type(prefix.slice(-1));
  await browser.until(`!document.querySelector("dialog [type=submit]").disabled`);
  await browser.press("Enter");
  await browser.shows("The key is revoked");
  expect([await statusOf(window, second), await statusOf(window, first)]).toEqual([401, 200]);
});

browserTest("a new key stays on screen although the session ends with the one that it replaces", async () => {
  const window = await open();
  const { browser } = window;
  const grants = [{ apps: ["*"], actions: ["admin" as const] }];
  await window.ask("DELETE", "/v1/clients/roller");
  await window.signIn(await createClient(window.world, { name: "roller", grants }));
  await window.show("/clients/roller");
  await browser.clickOn("Roll");
  await browser.until(`document.querySelector("dialog select") !== null`);
  await browser.evaluate(
    `((e) => { e.value = "0"; e.dispatchEvent(new Event("input", { bubbles: true })); })(document.querySelector("dialog select"))`,
  );
  await browser.clickOn("Roll");
  const key = await shownKey(window);
  await browser.until(`document.querySelector("main.gate") !== null`);
  expect(await shownKey(window)).toBe(key);
  await browser.clickOn("I have stored it");
  await browser.until(`document.querySelector("dialog") === null`);
  expect(await browser.evaluate<string>("document.documentElement.outerHTML")).not.toContain(key);
  expect(await statusOf(window, key)).toBe(200);
  await window.signIn();
});

browserTest("what was typed stays when somebody else changes the client meanwhile", async () => {
  const window = await open();
  const { browser, ask } = window;
  await window.show("/clients/shop-st?tab=settings");
  await browser.fill("input[type=number]", "7");
  await browser.shows("Unsaved changes: Requests a second");
  expect((await ask("PATCH", "/v1/clients/shop-st", { concurrency: 3 })).status).toBe(200);
  await browser.shows("Somebody else has changed this client");
  // Other screens are looked at meanwhile.
  await window.show("/environments");
  await window.show("/clients/shop-st?tab=settings");
  await browser.clickOn("Load the new version");
  expect(await browser.until<string>(`document.querySelectorAll("input[type=number]")[1].value`)).toBe("3");
  expect(await browser.evaluate<string>(`document.querySelector("input[type=number]").value`)).toBe("7");
  await browser.clickOn("Save");
  await browser.until(`document.querySelector(".save-bar") === null`);
  expect((await ask("GET", "/v1/clients/shop-st")).data).toMatchObject({ rate_limit: 7, concurrency: 3 });
});

browserTest(
  "a save that comes too late is refused, and is made once the new version was loaded",
  async () => {
    const window = await open();
    const { browser, ask } = window;
    const client = "/v1/clients/shop-prod";
    await window.show("/clients/shop-prod?tab=settings");
    // A page that is not looked at is told of no changes.
    const hide = (isHidden: boolean) =>
      browser.evaluate(
        `void Object.defineProperty(document, "hidden", { configurable: true, get: () => ${isHidden} })`,
      );
    await hide(true);
    await browser.fill("input[type=number]", "9");
    await browser.shows("Unsaved changes");
    expect((await ask("PATCH", client, { concurrency: 5 })).status).toBe(200);
    await browser.clickOn("Save");
    await browser.shows("Somebody else has changed this client");
    expect((await ask("GET", client)).data["rate_limit"]).toBeUndefined();
    await browser.clickOn("Load the new version");
    await browser.clickOn("Save");
    await browser.until(`document.querySelector(".save-bar") === null`);
    expect((await ask("GET", client)).data).toMatchObject({ rate_limit: 9, concurrency: 5 });
    await hide(false);
  },
);

browserTest("grants are given and taken in a matrix of apps and actions", async () => {
  const window = await open();
  const { browser, ask } = window;
  await window.show("/clients/shop-dev?tab=grants");
  await browser.click(`input[aria-label="Log users in on ${WX.appId}"]`);
  await browser.click(`input[aria-label="Sign pages on ${WX.appId}"]`);
  await browser.shows("Unsaved changes: Grants");
  await browser.clickOn("Save");
  await browser.until(`document.querySelector(".save-bar") === null`);
  const { data } = await ask("GET", "/v1/clients/shop-dev");
  expect(data["grants"]).toEqual([{ apps: [WX.appId], actions: ["login", "api:call", "token:read"] }]);
});

browserTest("a client of 500 apps has 200 of them on the page, and all of them are found", async () => {
  const window = await open();
  const { browser, ask } = window;
  const apps = Array.from({ length: 500 }, (_, n) => `wx${String(n).padStart(16, "0")}`);
  const grants = [{ apps, actions: ["view"] }];
  expect((await ask("POST", "/v1/clients", { client: "many", environment: "dev", grants })).status).toBe(201);
  await window.show("/clients/many?tab=grants");
  await browser.shows("200 of 501 apps");
  expect(await browser.evaluate<number>(`document.querySelectorAll("tbody tr").length`)).toBe(200);
  await browser.fill("input[type=search]", "0499");
  await browser.until(`document.querySelectorAll("tbody tr").length === 2`);
  await browser.shows("wx0000000000000499");
});

browserTest("the tester says what a policy would do before it is saved", async () => {
  const window = await open();
  const { browser, ask } = window;
  await ask("POST", "/v1/clients", {
    client: "tested",
    environment: "dev",
    grants: [{ apps: [WX.appId], actions: ["api:call"] }],
  });
  await window.show("/clients/tested?tab=policy");
  const field = (label: string) =>
    browser.until<string>(
      `"#" + CSS.escape([...document.querySelectorAll("label")].find((e) => e.innerText === "${label}")?.htmlFor ?? "")`,
    );
  // As somebody pastes it: the token stays out of the address and of every request.
  await browser.fill(
    await field("Path"),
    "https://api.weixin.qq.com/cgi-bin/message/mass/send?access_token=SECRET",
  );
  await browser.shows("the client's policy (safe) does not allow /cgi-bin/message/**");
  expect(await browser.evaluate<string>("location.hash")).not.toContain("SECRET");
  const preset = await field("Preset");
  await browser.evaluate(
    `((e) => { e.value = "all"; e.dispatchEvent(new Event("input", { bubbles: true })); })(document.querySelector(${JSON.stringify(preset)}))`,
  );
  await browser.shows("with your unsaved changes");
  await browser.shows("Forwarded by the gateway");
  await browser.shows("by the grant api:call");
  expect((await ask("GET", "/v1/clients/tested")).data["policy"]).toMatchObject({ preset: "safe" });
  await browser.clickOn("Discard");
  await browser.shows("Refused");
});

browserTest("clients are found by name and environment, and the address keeps the filter", async () => {
  const window = await open();
  const { browser } = window;
  await window.show("/clients?q=shop&environment=st");
  const names = () =>
    browser.evaluate<string[]>(
      `[...document.querySelectorAll("tbody td:first-child")].map((e) => e.innerText)`,
    );
  expect(await names()).toEqual(["shop-st"]);
  await browser.fill("input[type=search]", "nobody");
  await browser.shows("No client fits");
  expect(await browser.evaluate<string>("location.hash")).toBe("#/clients?q=nobody&environment=st");
  await browser.clickOn("Clear the filters");
  await browser.shows("shop-prod");
});

browserTest("a client is made with its first grants, and removed once its name was typed", async () => {
  const window = await open();
  const { browser, ask } = window;
  await window.show("/clients");
  await browser.clickOn("New client");
  await browser.until(`document.querySelectorAll("dialog[open] input").length > 3`);
  const fields = ["made-here", "dev", WX.appId];
  for (const [n, text] of fields.entries()) {
    await browser.until(
      `((e) => (e?.focus(), document.activeElement === e))(document.querySelectorAll("dialog[open] .field > input")[${n}])`,
    );
    await browser.type(text);
  }
  await browser.clickOn("Sign pages");
  await browser.clickOn("Create");
  await browser.until(`location.hash === "#/clients/made-here"`);
  await browser.shows("No keys yet");
  const actions = ["token:read", "api:call", "ticket:sign"];
  expect((await ask("GET", "/v1/clients/made-here")).data).toMatchObject({
    environment: "dev",
    grants: [{ apps: [WX.appId], actions }],
  });
  await browser.click("[aria-label='More actions']");
  await browser.until(`${NAME} === "Show what it used"`);
  await browser.press("ArrowDown");
  await browser.press("Enter");
  await browser.fill("dialog[open] input", "made-here");
  await browser.clickOn("Remove the client");
  await browser.until(`location.hash === "#/clients"`);
  expect((await ask("GET", "/v1/clients/made-here")).status).toBe(404);
});

browserTest("an environment is made, changed and removed; one that clients are of stays", async () => {
  const window = await open();
  const { browser, ask } = window;
  const found = async () => (await ask("GET", "/v1/environments/qa")).data;
  await window.show("/environments");
  await browser.clickOn("New environment");
  await browser.fill("dialog[open] input", "qa");
  await browser.clickOn("Save");
  await browser.shows("qa");
  expect(await found()).toMatchObject({ production: false, codes: "relay" });
  const row = `[...document.querySelectorAll("tbody tr")].find((e) => e.innerText.startsWith("qa"))`;
  await browser.until(`document.querySelector("dialog") === null && ${row} !== undefined`);
  await browser.evaluate(`${row}.querySelector("button").click()`);
  await browser.until(`document.querySelector("dialog[open] input[type=checkbox]") !== null`);
  await browser.click("dialog[open] input[type=checkbox]");
  await browser.clickOn("Save");
  await browser.until(`document.querySelector("dialog") === null && ${row}.innerText.includes("Yes")`);
  expect(await found()).toMatchObject({ production: true });
  const remove = async (name: string) => {
    await browser.click(`[aria-label="Remove the environment: ${name}"]`);
    await browser.fill("dialog[open] input", name);
    await browser.clickOn("Remove the environment");
  };
  await remove("qa");
  await browser.until(`document.querySelector("dialog") === null && ${row} === undefined`);
  await remove("st");
  await browser.until(`document.querySelector("dialog[open] .form-error")?.innerText`);
  expect((await ask("GET", "/v1/environments/st")).status).toBe(200);
  await browser.press("Escape");
});
