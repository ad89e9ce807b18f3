import { afterAll, expect } from "bun:test";
import { defaultBots } from "../../src/sandbox/bots.ts";
import { browserTest } from "../support/browser.ts";
import { ConsoleWindow } from "../support/console-window.ts";

let opened: Promise<ConsoleWindow> | undefined;
const open = () => (opened ??= ConsoleWindow.open());
afterAll(async () => (await opened)?.[Symbol.asyncDispose]());

const PATH = "/settings?tab=notifications";
const CHANNELS = "/v1/notifications/channels";

/** The selector of a field of the open dialog, by the beginning of its label. */
async function field({ browser }: ConsoleWindow, label: string): Promise<string> {
  await browser.until(`(() => {
    const labels = [...document.querySelectorAll("dialog[open] label")];
    const found = labels.find((each) => each.textContent.startsWith(${JSON.stringify(label)}));
    if (found) document.getElementById(found.htmlFor).dataset.label = ${JSON.stringify(label)};
    return found !== undefined;
  })()`);
  return `[data-label="${label}"]`;
}

browserTest("a channel is added, tried with the bot's own answer, changed and removed", async () => {
  const window = await open();
  const { browser, world } = window;
  const { bots, wecomUrl } = world.sandbox;
  await window.show(PATH);
  await browser.clickOn("Add a channel");
  await browser.fill(await field(window, "Name"), "night");
  await browser.evaluate(`(() => {
    const kind = document.querySelector("dialog[open] select");
    kind.value = "dingtalk";
    kind.dispatchEvent(new Event("input", { bubbles: true }));
  })()`);
  await browser.fill(await field(window, "Webhook URL"), bots.urlOf("dingtalk", wecomUrl));
  await browser.fill(await field(window, "Secret"), defaultBots.dingtalk.secret ?? "");
  await browser.clickOn("Save");
  await browser.until("document.querySelector('dialog') === null");
  await browser.shows("DingTalk robot");

  const row = `[...document.querySelectorAll("tbody tr")].find((each) => each.innerText.startsWith("night"))`;
  const clickIn = (n: number) => browser.evaluate(`void ${row}.querySelectorAll("button")[${n}].click()`);
  await clickIn(0);
  await browser.shows("It arrived");
  expect(bots.messages("dingtalk")).toHaveLength(1);
  await browser.press("Escape");

  bots.change("dingtalk", { keywords: ["other"] });
  await clickIn(0);
  await browser.shows("It did not arrive");
  const shown = await browser.evaluate<string>("document.querySelector('dialog').innerText");
  expect(shown).toContain("errcode 310000: keywords not in content");
  expect(shown).toContain("add 告警 to its list");
  await browser.press("Escape");

  await clickIn(1);
  const url = await field(window, "Webhook URL");
  expect(await browser.evaluate(`document.querySelector('${url}').value`)).toBe("");
  await browser.fill(await field(window, "Mention"), "13800000000, @all");
  await browser.click(await field(window, "Send alarms here"));
  await browser.clickOn("Save");
  await browser.until("document.querySelector('dialog') === null");
  const { data } = await window.ask("GET", `${CHANNELS}/night`);
  expect(data).toMatchObject({ enabled: false, mention: ["13800000000", "@all"], kind: "dingtalk" });

  // Nothing that the page has got has the keys of the bots.
  const page = await browser.evaluate<string>("document.documentElement.outerHTML");
  expect(page).not.toMatch(/access_token=|\?key=/);
  for (const { key, secret } of Object.values(defaultBots))
    expect([page.includes(key), page.includes(secret ?? key)]).toEqual([false, false]);

  await clickIn(2);
  await browser.fill("dialog[open] input", "night");
  await browser.clickOn("Remove");
  await browser.until("document.querySelector('dialog') === null");
  await browser.until(`${row} === undefined`);
  expect((await window.ask("GET", `${CHANNELS}/night`)).status).toBe(404);
});

browserTest("what a bot has answered is not shown above a screen that was opened meanwhile", async () => {
  const window = await open();
  const { browser } = window;
  await window.show(PATH);
  await browser.until("document.querySelector('tbody button') !== null");
  await browser.evaluate(`void (() => {
    const ask = globalThis.fetch;
    globalThis.fetch = async (path, ...how) => {
      const answer = await ask(path, ...how);
      if (path === "${CHANNELS}/ops/test") await new Promise((goOn) => (globalThis.goOn = goOn));
      return answer;
    };
    document.querySelector("tbody button").click();
  })()`);
  await browser.until("globalThis.goOn !== undefined");
  await browser.evaluate("void (location.hash = '#/apps')");
  await browser.until("document.querySelector('h1').innerText === 'Apps'");
  // What follows the answer happens before the next frames are drawn.
  await browser.evaluate(`new Promise((done) => {
    globalThis.goOn();
    requestAnimationFrame(() => requestAnimationFrame(() => done()));
  })`);
  expect(await browser.evaluate("document.querySelector('dialog') === null")).toBe(true);
});

browserTest("what the service refuses of a channel is said, and what was typed stays", async () => {
  const window = await open();
  const { browser } = window;
  await window.show(PATH);
  await browser.clickOn("Add a channel");
  await browser.fill(await field(window, "Name"), "other");
  await browser.fill(await field(window, "Webhook URL"), "https://evil.example.com/?key=12345678");
  await browser.clickOn("Save");
  await browser.shows("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…");
  expect(await browser.evaluate("document.querySelector('dialog[open] input').value")).toBe("other");
});

browserTest("a condition is turned off and its threshold changed", async () => {
  const window = await open();
  const { browser } = window;
  await window.show(PATH);
  const row = `[...document.querySelectorAll("tbody tr")].find((each) => each.innerText.includes("Many wrong keys"))`;
  await browser.evaluate(`void ${row}.querySelector("button").click()`);
  await browser.fill(await field(window, "Threshold"), "500");
  await browser.click("dialog[open] .check input");
  await browser.clickOn("Save");
  await browser.until("document.querySelector('dialog') === null");
  await browser.until(`${row}.innerText.includes("500") && ${row}.innerText.includes("Off")`);
  const { data } = await window.ask("GET", "/v1/notifications/conditions");
  expect(data["conditions"]).toContainEqual(
    expect.objectContaining({ condition: "wrong_keys", enabled: false, threshold: 500 }),
  );
});
