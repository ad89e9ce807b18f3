import { afterAll, expect } from "bun:test";
import { createClient } from "../support/access-harness.ts";
import { browserTest } from "../support/browser.ts";
import { ConsoleWindow } from "../support/console-window.ts";
import { addTicket, COMPONENT, GAME, nameWith, SHOP, SUITE } from "../support/platforms.ts";

const PAGE = `/platforms/${COMPONENT.id}`;
const MINUTE_MS = 60_000;

let opened: Promise<ConsoleWindow> | undefined;
const open = () => (opened ??= prepare());
afterAll(async () => (await opened)?.[Symbol.asyncDispose]());

async function prepare(): Promise<ConsoleWindow> {
  const window = await ConsoleWindow.open();
  await window.addPlatforms();
  return window;
}

/** The text of the row that begins with it. */
const row = (start: string) =>
  `[...document.querySelectorAll("tbody tr")].find((each) => each.innerText.includes(${JSON.stringify(start)})).innerText`;

browserTest(
  "platforms are listed with their last ticket, and one is found by its tab and its row",
  async () => {
    const window = await open();
    const { browser } = window;
    await window.show("/");
    await browser.click(".main-menu a[href='#/apps']");
    await browser.click(".tabs a[href='#/platforms']");
    await browser.until(`/last push \\d min\\. ago[^]*1 lost/.test(${row(COMPONENT.id)})`);
    await browser.until(`/suite[^]*None has come/.test(${row(SUITE.id)})`);
    await browser.click(`tbody a[href='#${PAGE}']`);
    await browser.until(`location.hash === "#${PAGE}"`);
    await browser.shows(`https://wx.example.com/callback/${COMPONENT.id}/auth`);
    await browser.shows(`https://wx.example.com/callback/${COMPONENT.id}/$APPID$`);
    await browser.until(`/Official Account[^]*Valid[^]*1, 2, 3[^]*90 days ago/.test(${row(SHOP)})`);
    await browser.until(`/Mini Program[^]*Lost\\s5\\d min\\. ago/.test(${row(GAME)})`);
  },
);

browserTest("a ticket that is pushed shows at once, and one that is late is told as such", async () => {
  const window = await open();
  const { browser, world } = window;
  const badge = "document.querySelector('.facts .badge')";
  await window.show(`/platforms/${SUITE.id}`);
  await browser.until(`${badge}.className === "badge bad" && ${badge}.innerText.includes("None")`);
  const now = world.clock.now();
  await addTicket(world, SUITE.id, now - 20 * MINUTE_MS);
  await browser.until(`${badge}.className === "badge bad" && /2\\d min/.test(${badge}.innerText)`);
  await addTicket(world, SUITE.id, now - MINUTE_MS);
  await browser.until(`${badge}.className === "badge ok"`);
  await browser.clickOn("Set up");
  await browser.until(`location.hash === "#/pushes/${SUITE.id}"`);
});

browserTest("a link is made for one account alone, which is shown to be copied and audited", async () => {
  const window = await open();
  const { browser } = window;
  await window.show(PAGE);
  await browser.evaluate(`void document.querySelectorAll("tbody button")[1].click()`);
  await browser.until(`document.querySelector("dialog input").value === ${JSON.stringify(GAME)}`);
  await browser.click("dialog .primary");
  const url = await browser.until<string>("document.querySelector('dialog pre')?.innerText");
  expect(url).toMatch(/^https:\/\/wx\.example\.com\/connect\/authorize\/[A-Za-z0-9]{16,32}$/);
  await browser.shows("It ends: in");
  await browser.clickOn("Close");
  await browser.until("document.querySelector('dialog') === null");
  const { data } = await window.ask("GET", "/v1/audit?limit=1");
  expect(data["entries"]).toMatchObject([{ action: "authorization_link.created", app: COMPONENT.id }]);
});

browserTest("what WeChat refuses of a start of its pushes is said", async () => {
  const window = await open();
  const { browser } = window;
  await window.show(PAGE);
  await browser.clickOn("Start pushing");
  await browser.until("document.querySelector('.toast.bad')?.innerText.includes('invalid appid')");
});

browserTest("a platform is added, and its page says what is missing", async () => {
  const window = await open();
  const { browser } = window;
  const id = "wxc000000000000009";
  await window.show("/platforms");
  await browser.clickOn("Add platform");
  await browser.clickOn("AppID, suite_id or CorpID");
  await browser.type(id);
  await browser.clickOn("Secret");
  await browser.type("0123456789abcdef0123456789abcdef");
  await browser.click("dialog .primary");
  await browser.until(`location.hash === "#/platforms/${id}"`);
  await browser.shows("no ticket can come");
  await browser.shows("No account has authorized it yet");
  expect((await window.ask("GET", `/v1/platforms/${id}`)).data).toMatchObject({ kind: "component" });
});

browserTest(
  "the pages of a platform and of its accounts as apps ask for no secret that nobody enters",
  async () => {
    const window = await open();
    const { browser } = window;
    await window.show(`/apps/${COMPONENT.id}`);
    await browser.shows("component_access_token");
    await browser.shows("component_verify_ticket");
    await browser.shows("WeChat · third-party platform");
    await browser.clickOn("Its platform page");
    await browser.until(`location.hash === "#${PAGE}"`);
    await window.show(`/apps/${nameWith(GAME, COMPONENT.id)}`);
    await browser.shows("the authorization is lost");
    await browser.click("[aria-label=Actions]");
    // The menu is put in its place only once it is open.
    await browser.until("document.activeElement.innerText === 'Edit…'");
    await browser.press("Enter");
    await browser.until("document.querySelector('dialog input') !== null");
    expect(await browser.evaluate("document.querySelectorAll('dialog :is(input, select)').length")).toBe(1);
    await browser.press("Escape");
  },
);

browserTest("the menu has six entries, and who is no administrator no tab of platforms", async () => {
  const window = await open();
  const { browser } = window;
  const grants = [{ apps: ["*"], actions: ["view"] as const }];
  await window.signIn(await createClient(window.world, { name: "viewer", grants }));
  await window.show("/apps");
  expect(await browser.evaluate<number>("document.querySelectorAll('.main-menu a').length")).toBe(6);
  expect(await browser.evaluate<string>("document.querySelector('#root').innerText")).not.toContain(
    "Platforms",
  );
  await window.signIn();
});
