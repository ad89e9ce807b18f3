import { afterAll, expect } from "bun:test";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "../support/access-harness.ts";
import { browserTest } from "../support/browser.ts";
import { ConsoleWindow } from "../support/console-window.ts";
import { Harness, WX } from "../support/harness.ts";

let opened: Promise<ConsoleWindow> | undefined;
const open = () => (opened ??= ConsoleWindow.open());
afterAll(async () => (await opened)?.[Symbol.asyncDispose]());

browserTest("what was done with a token is found by the token, which is not sent anywhere", async () => {
  const window = await open();
  const { browser, ask } = window;
  const path = `/v1/apps/${WX.appId}/credentials/access_token`;
  const token = String((await ask("GET", path)).data["value"]);
  expect((await ask("DELETE", path)).status).toBe(200);
  await window.show("/audit");
  await browser.clickOn("Find by token");
  await browser.fill("dialog[open] input", token);
  const before = browser.requests.length;
  await browser.clickOn("Find");
  await browser.shows("token digest");
  await browser.until(`document.querySelectorAll("tbody tr").length === 1`);
  await browser.shows("Credential cleared");
  expect(browser.requests.length).toBeGreaterThan(before);
  expect(browser.requests.join("\n") + (await browser.evaluate<string>("location.href"))).not.toContain(
    token,
  );
});

browserTest("the chain is verified, and compared with an anchor that was kept", async () => {
  const window = await open();
  const { browser } = window;
  await window.show("/audit");
  await browser.clickOn("Verify the chain");
  await browser.shows("each fits the one before");
  const anchor = await browser.evaluate<string>(
    `document.querySelector("dialog .code pre").innerText.trim()`,
  );
  const compare = async (text: string, answer: string) => {
    await browser.fill("dialog[open] input", text);
    await browser.clickOn("Compare");
    await browser.shows(answer);
  };
  await compare(anchor, "The entry is still there, unchanged");
  await compare(anchor.replace(/[0-9a-f]{4}$/, "0000"), "That entry has another hash");
  await compare(`99999 ${"a".repeat(64)}`, "The database does not reach that entry");
  await compare("12", "Expected a number, a space and 64 hex digits");
  await browser.press("Escape");
});

browserTest("filters stand in the address, and an entry shows all that is known of it", async () => {
  const window = await open();
  const { ask, browser } = window;
  const denied = await fetch(`${window.world.service.url}/v1/apps`, {
    headers: { "x-api-key": "ats_wrong" },
  });
  expect(denied.status).toBe(401);
  await window.show("/audit?action=client.created&client=(command+line)");
  // What was shown before stays until the answer has come.
  await browser.until(
    `((rows) => rows.length > 2 && rows.every((e) => e.innerText.startsWith("Client created")))([...document.querySelectorAll("tbody tr")])`,
  );
  await browser.fill("input[type=search]", "nobody");
  await browser.press("Enter");
  await browser.shows("No entries");
  expect(await browser.evaluate<string>("location.hash")).toContain("client=nobody");
  await browser.clickOn("Clear the filters");
  await window.show("/audit?action=key.created");
  await browser.until(
    `((rows) => rows.length > 2 && rows.every((e) => e.innerText.startsWith("Key created")))([...document.querySelectorAll("tbody tr")])`,
  );
  await browser.press("j");
  await browser.press("Enter");
  await browser.shows("Chain hash");
  expect(await browser.evaluate<string>("location.hash")).toMatch(/entry=\d+/);
  await browser.press("Escape");
  await browser.until(`!location.hash.includes("entry")`);
  // Denials are stored within a second, and the page does not ask again.
  await Harness.until(async () => (await ask("GET", "/v1/audit/denials")).text.includes(`"code":401`));
  await window.show("/audit?tab=denials");
  await browser.shows("unidentified");
});

browserTest("the export is downloaded as it is filtered", async () => {
  const window = await open();
  const { browser } = window;
  const folder = await mkdtemp(join(tmpdir(), "audit-export-"));
  try {
    await browser.cdp("Page.setDownloadBehavior", { behavior: "allow", downloadPath: folder });
    await window.show("/audit?action=client.created");
    await browser.clickOn("Export");
    const read = async (): Promise<string> => {
      for (;;) {
        const text = await readFile(join(folder, "audit.ndjson"), "utf8").catch(() => "");
        if (text !== "") return text;
        await Bun.sleep(20);
      }
    };
    const lines = (await read()).trim().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as { action: string }).action)).toEqual(
      lines.map(() => "client.created"),
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});

browserTest(
  "who may view an app sees its audit, and nothing of what administrators do with the whole",
  async () => {
    const window = await open();
    const { browser, ask, world } = window;
    const key = await createClient(world, {
      name: "auditor",
      grants: [{ apps: [WX.appId], actions: ["view"] }],
    });
    await ask("DELETE", `/v1/apps/${WX.appId}/credentials/access_token`);
    await window.show("/audit");
    await window.signIn(key);
    await browser.until(
      `((rows) => rows.some((e) => e.includes("Credential cleared")) && !rows.some((e) => /Client created|Signed in/.test(e)))([...document.querySelectorAll("tbody tr")].map((e) => e.innerText))`,
    );
    expect(await browser.evaluate<string>("document.body.innerText")).not.toMatch(/Verify|Export|Denials/);
    await window.show("/clients");
    await browser.shows("Not allowed");
    expect(await browser.evaluate<string>("document.body.innerText")).not.toContain("New client");
    await window.signIn();
  },
);
