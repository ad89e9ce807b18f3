import { afterAll, expect } from "bun:test";
import { signJsApi } from "../../src/signing/page-signer.ts";
import { browserTest } from "../support/browser.ts";
import { ConsoleWindow } from "../support/console-window.ts";
import { WX, WX_FOREIGN } from "../support/harness.ts";

let opened: Promise<ConsoleWindow> | undefined;
const open = () => (opened ??= ConsoleWindow.open());
afterAll(async () => (await opened)?.[Symbol.asyncDispose]());

const NONCE = "Wm3WZYTPz0wzccnW";
const PAGE = "https://shop.example.com/cart?id=1&tab=2";
const MARKED = "[...document.querySelectorAll('mark')].map((e) => e.innerText)";

/** What a developer copies out of a page that signs `url`, and the signature that it should have. */
async function page({ ask, world }: ConsoleWindow, url: string) {
  const { data } = await ask("GET", `/v1/apps/${WX.appId}/credentials/jsapi_ticket`);
  const ticket = String(data["value"]);
  const timestamp = Math.floor(world.clock.now() / 1000);
  const sign = (url: string) => signJsApi({ ticket, nonce: NONCE, timestamp, url });
  const text = `wx.config({ appId: "${WX.appId}", timestamp: ${timestamp}, nonceStr: "${NONCE}", signature: "${sign(url)}" })\nlocation.href: ${PAGE}`;
  return { text, right: sign(PAGE), ticket };
}

/** Pastes as from the clipboard: nothing is clicked then. */
async function paste({ browser }: ConsoleWindow, text: string): Promise<void> {
  await browser.fill("textarea", text);
  await browser.evaluate(`void document.querySelector("textarea").dispatchEvent(
    new ClipboardEvent("paste", { bubbles: true }))`);
}

browserTest(
  "what is pasted is diagnosed without a click: the app is known by its AppID, what differs is marked, and what is right can be copied",
  async () => {
    const window = await open();
    const { browser } = window;
    const { text, right, ticket } = await page(window, PAGE.replace("https", "http").replace("&", "&amp;"));
    await window.show("/tools/signature");
    await browser.shows("It answers as you paste");
    await paste(window, text);
    await browser.shows("Found it");
    expect(await browser.evaluate<string[]>(MARKED)).toEqual(["http", "amp;", "https"]);
    await browser.shows("it was escaped for HTML");
    await browser.shows("http and https differ");
    await browser.shows(`signature: "${right}"`);
    expect(await browser.evaluate<string>("document.querySelector('input').value")).toBe(WX.appId);
    expect(await browser.evaluate<string>("document.body.innerText")).not.toContain(ticket.slice(0, 7));
    await browser.fill("textarea", text.replace(WX.appId, WX_FOREIGN.appId));
    await browser.clickOn("Clear");
    await browser.shows("It answers as you paste");
  },
);

browserTest("beyond ten diagnoses in a minute the page says when it asks again, and does", async () => {
  const window = await open();
  const { browser, world } = window;
  const { text } = await page(window, PAGE);
  await window.show("/nowhere");
  await window.show(`/tools/signature?app=${WX.appId}`, { language: "zh" });
  const path = `/v1/apps/${WX.appId}/signatures/diagnose`;
  for (let n = 0; n < 10; n++) await window.ask("POST", path, { url: PAGE });
  await paste(window, text);
  await browser.shows("每分钟最多诊断10次");
  world.clock.advance(60_000);
  await browser.shows("签名正确");
  await window.show("/");
});
