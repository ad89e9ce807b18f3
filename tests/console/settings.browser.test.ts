import { Database } from "bun:sqlite";
import { afterAll, expect } from "bun:test";
import { browserTest } from "../support/browser.ts";
import { ConsoleWindow } from "../support/console-window.ts";
import { ConsolePage } from "../support/console-page.ts";
import { createClient } from "../support/access-harness.ts";
import { WECOM, WX } from "../support/harness.ts";

let opened: Promise<ConsoleWindow> | undefined;
const open = () => (opened ??= ConsoleWindow.open());
afterAll(async () => (await opened)?.[Symbol.asyncDispose]());

browserTest(
  "the configuration in force is found by name, with who sets it and without a secret",
  async () => {
    const window = await open();
    const { browser } = window;
    await window.show("/settings?tab=configuration");
    const text = await browser.evaluate<string>("document.body.innerText");
    for (const secret of [WX.secret, WECOM.secret]) expect(text).not.toContain(secret.slice(0, 8));
    await browser.fill("input[type=search]", "database_url");
    await browser.until("document.querySelectorAll('tbody tr').length === 1");
    expect(await browser.evaluate("document.querySelector('tbody tr').innerText")).toContain("Environment");
    expect(await browser.evaluate("location.hash")).toContain("q=database_url");
  },
);

browserTest(
  "origins of pages are changed and in force at once, and what a variable decides can't be changed",
  async () => {
    const window = await open();
    const { browser } = window;
    const settings = async () => (await window.ask("GET", "/v1/settings")).data;
    await window.show("/settings");
    await browser.clickOn("Edit");
    await browser.fill("dialog[open] textarea", "https://www.example.com");
    await browser.clickOn("Save");
    await browser.until("document.querySelector('dialog') === null");
    await browser.shows("https://www.example.com");
    expect(await settings()).toMatchObject({ cors_origins: ["https://www.example.com"] });
    // What a variable decides can't be changed here.
    await browser.shows("The variable ANONYMOUS decides");
    expect(await browser.evaluate("document.querySelector('section button').disabled")).toBe(true);
  },
);

browserTest("anonymous access can be turned off once it is known how many callers that refuses", async () => {
  const window = await open();
  const { browser } = window;
  await window.show("/apps");
  await browser.evaluate(`void (() => {
    const ask = (globalThis.ask = globalThis.fetch);
    globalThis.fetch = async (path, ...how) => {
      const answer = await ask(path, ...how);
      if (path === "/v1/settings/anonymous-callers") await new Promise((tell) => (globalThis.tell = tell));
      if (path !== "/v1/settings") return answer;
      const envelope = await answer.json();
      return Response.json({ ...envelope, data: { ...envelope.data, anonymous: "on", anonymous_by: "database" } });
    };
  })()`);
  await window.show("/settings");
  await browser.until("globalThis.tell !== undefined");
  await browser.shows("Turn off");
  expect(await browser.evaluate("document.querySelector('section button').disabled")).toBe(true);
  await browser.evaluate("void globalThis.tell()");
  await browser.clickOn("Turn off");
  await browser.shows("In the last day 0 callers came without a key");
  await browser.clickOn("Cancel");
  await browser.evaluate("void (globalThis.fetch = globalThis.ask)");
});

browserTest("origins of pages are not saved over what somebody else has made of them meanwhile", async () => {
  const window = await open();
  const { browser } = window;
  await window.ask("PATCH", "/v1/settings", { cors_origins: ["https://www.example.com"] });
  await window.show("/settings");
  await browser.clickOn("Edit");
  await browser.fill("dialog[open] textarea", "https://mine.example.com");
  const theirs = ["https://theirs.example.com"];
  await window.ask("PATCH", "/v1/settings", { cors_origins: theirs });
  await browser.clickOn("Save");
  await browser.shows("Somebody else has changed this list");
  expect((await window.ask("GET", "/v1/settings")).data["cors_origins"]).toEqual(theirs);
  await browser.clickOn("Cancel");
  await browser.shows("https://theirs.example.com");
});

browserTest(
  "an administrator ends another's session, and who is none sees the own sessions alone",
  async () => {
    const window = await open();
    const { browser } = window;
    const key = await createClient(window.world, {
      name: "viewer",
      grants: [{ apps: [WX.appId], actions: ["view"] }],
    });
    const other = new ConsolePage(window.world);
    await other.signIn(key);
    await window.signIn(key);
    await window.show("/settings");
    await browser.shows("viewer");
    expect(await browser.evaluate("document.querySelector('main').innerText")).not.toContain("admin");
    await window.signIn();
    await window.show("/settings?tab=sessions");
    await browser.clickOn("End");
    await browser.until("document.querySelector('dialog[open]') !== null");
    await browser.clickOn("End");
    await browser.until("document.querySelector('dialog') === null");
    await browser.until("!document.querySelector('tbody').innerText.includes('viewer')");
    expect((await other.get("/console/session")).status).toBe(401);
  },
);

browserTest("the settings say when the database was backed up last, and where nobody does it", async () => {
  const window = await open();
  const { browser, world } = window;
  await window.show("/settings");
  await browser.shows("The service makes none by itself: set BACKUP_DIR");
  {
    using database = new Database(world.databasePath, { readwrite: true });
    const detail = JSON.stringify({ file: "accesstoken-20270101T000000Z-3f9c21ab.tar.gz", bytes: 48_128 });
    database.run("INSERT INTO milestones (name, at, detail) VALUES ('backup', ?, ?)", [Date.now(), detail]);
  }
  // What the database said before is told on for ten seconds.
  world.clock.advance(10_000);
  await window.show("/settings?tab=sessions");
  await window.show("/settings");
  await browser.shows("accesstoken-20270101T000000Z-3f9c21ab.tar.gz");
  await browser.shows("47 kB");
});
