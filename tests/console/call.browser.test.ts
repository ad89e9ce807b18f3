import { afterAll, expect } from "bun:test";
import { browserTest } from "../support/browser.ts";
import { ConsoleWindow } from "../support/console-window.ts";
import { createClient } from "../support/access-harness.ts";
import { WX } from "../support/harness.ts";

const SEND = "/cgi-bin/message/custom/send";
const ANSWER = "document.querySelector('[aria-live=polite] section').innerText";

let opened: Promise<ConsoleWindow> | undefined;
const open = () => (opened ??= ConsoleWindow.open());
afterAll(async () => (await opened)?.[Symbol.asyncDispose]());

const screen = (query: Record<string, string>) =>
  `/tools/call?${new URLSearchParams({ app: WX.appId, ...query }).toString()}`;

browserTest(
  "a call that only reads is made at once, its answer is shown, and the token nowhere",
  async () => {
    const window = await open();
    const { browser } = window;
    await window.show(screen({ path: "/cgi-bin/user/ge" }));
    await browser.clickOn("Path");
    await browser.press("End");
    await browser.type("t");
    await browser.shows("Reads only");
    await browser.evaluate("document.querySelector('[placeholder=\"next_openid=\"]').focus()");
    await browser.type("to=oOfSomebody");
    await browser.clickOn("Call");
    await browser.until(`${ANSWER}.includes("total")`);
    expect(await browser.evaluate(ANSWER)).toContain("HTTP 200");
    await browser.clickOn("curl");
    await browser.until(`${ANSWER}.includes("$ATS_KEY")`);
    const token = (await window.ask("GET", `/v1/apps/${WX.appId}/credentials/access_token`)).data["value"];
    expect(await browser.evaluate("document.documentElement.outerHTML")).not.toContain(token);
    expect(await browser.evaluate("document.querySelector('.last-calls').innerText")).toContain(
      "/cgi-bin/user/get",
    );
    expect(await browser.evaluate("location.hash")).toContain("user%2Fget");
    // A query may say who somebody is.
    const kept = await browser.evaluate("location.href + JSON.stringify(sessionStorage)");
    expect(kept).toContain("ats.calls");
    expect(kept).not.toContain("oOfSomebody");
  },
);

browserTest("a message goes out once the app's name is typed, and the body is kept nowhere", async () => {
  const window = await open();
  const { browser, world } = window;
  await window.show(screen({ method: "POST", path: SEND }));
  await browser.fill("textarea", '{"touser": ');
  await browser.shows("Not JSON");
  expect(await browser.evaluate("document.querySelector('form [type=submit]').disabled")).toBe(true);
  await browser.fill("textarea", '{"touser":"canary-user"}');
  await browser.shows("Reaches users");
  await browser.clickOn("Format");
  await browser.clickOn("Call");
  await browser.until("document.querySelector('dialog [type=submit]')?.disabled");
  expect(world.sandbox.calls(SEND)).toBe(0);
  await browser.focusesDialog();
  await browser.type(WX.appId);
  await browser.clickOn("Call");
  await browser.until(`${ANSWER}.includes("errcode")`);
  expect(world.sandbox.calls(SEND)).toBe(1);
  expect(await browser.evaluate("JSON.stringify([sessionStorage, localStorage])")).not.toContain(
    "canary-user",
  );
});

browserTest(
  "an administrator sees what another client's policy refuses, before the call and as its answer",
  async () => {
    const window = await open();
    const { browser, world } = window;
    await createClient(world, {
      name: "reader",
      grants: [{ apps: ["*"], actions: ["api:call"] }],
      policy: { preset: "read-only" },
    });
    world.sandbox.resetCalls();
    await window.show(screen({ method: "POST", path: SEND, as: "reader" }));
    await browser.shows("Not allowed");
    await browser.shows("policy of reader: read-only");
    await browser.fill("textarea", "{}");
    await browser.clickOn("Call");
    await browser.until("document.querySelector('dialog[open]') !== null");
    await browser.focusesDialog();
    await browser.type(WX.appId);
    await browser.clickOn("Call");
    await browser.until(`${ANSWER}.includes("48001")`);
    expect(world.sandbox.calls(SEND)).toBe(0);
    const { data } = await window.ask("GET", "/v1/audit?limit=1");
    expect(data["entries"]).toMatchObject([{ action: "gateway.called_as", detail: { client: "reader" } }]);
  },
);
