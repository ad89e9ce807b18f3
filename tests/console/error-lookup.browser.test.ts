import { expect } from "bun:test";
import { browserTest } from "../support/browser.ts";
import { ConsoleWindow } from "../support/console-window.ts";
import { WX } from "../support/harness.ts";

browserTest(
  "an error that is pasted is explained at once, WeChat is asked for its request on demand, and a quota is shown",
  async () => {
    await using window = await ConsoleWindow.open();
    const { browser, world } = window;
    const { data } = await window.ask("GET", `/v1/apps/${WX.appId}/credentials/access_token`);
    const token = String(data["value"]);
    const refused = await fetch(`${world.sandbox.weixinUrl}/cgi-bin/menu/get?access_token=${token}`);
    await window.show("/tools/rid");
    await browser.fill("textarea", await refused.text());
    await browser.shows("There is no menu");
    expect(world.sandbox.calls("/cgi-bin/openapi/rid/get")).toBe(0);
    await browser.clickOn("Ask WeChat about the rid");
    await browser.shows("cgi-bin/menu/get?access_token=***");
    expect(await browser.evaluate<string>("document.documentElement.outerHTML")).not.toContain(token);
    await browser.clickOn("Show the quota");
    await browser.shows("used today");
    await browser.fill("textarea", "rid: 6aac005a-01bfdbee-79769285");
    await browser.clickOn("Ask WeChat about the rid");
    await browser.shows("rid not found");
  },
);
