import { expect } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Browser, browserTest } from "../support/browser.ts";
import { Child, FROM_SOURCE } from "../support/child.ts";

/** Tries out the operation with the example that is filled in; the status and body that the page shows. */
async function tryOut(browser: Browser, id: string) {
  for (const part of [".opblock-summary-control", ".try-out__btn", ".execute"])
    await browser.click(`#${id} ${part}`);
  const answer = `#${id} .live-responses-table tbody`;
  const shown = [".response-col_status", ".microlight"].map(
    (part) => `document.querySelector("${answer} ${part}").innerText`,
  );
  const [status, body] = await browser.until<[string, string]>(`[${shown.join()}]`);
  return { status, body: JSON.parse(body) as unknown };
}

browserTest(
  "in a real browser the documentation of the demo is shown, and its examples work, asking no other host",
  async () => {
    const cwd = mkdtempSync(join(tmpdir(), "accesstoken-swagger-"));
    await using demo = new Child([...FROM_SOURCE, "demo", "--port", "0"], { cwd });
    const [, url = ""] = await demo.find(/API: (http:\S+)\/swagger/);
    using browser = await Browser.open({ width: 1280, height: 1400 });
    await browser.navigate(`${url}/swagger?lang=zh`);
    expect(await tryOut(browser, "operations-AccessToken-getAccessTokenGetXcx")).toEqual({
      status: "200",
      body: expect.objectContaining({
        code: 0,
        data: expect.objectContaining({ expires_in: expect.any(Number) }),
      }),
    });
    expect(await tryOut(browser, "operations-JsSDK-postJsSDKGetJsApiSign")).toEqual({
      status: "200",
      body: expect.objectContaining({
        code: 0,
        data: expect.objectContaining({ signature: expect.stringMatching(/^[0-9a-f]{40}$/) }),
      }),
    });
    expect([...browser.complaints, ...browser.failures]).toEqual([]);
    const elsewhere = browser.requests.filter((line) => !/^(GET|POST) (data:|about:blank$)/.test(line));
    expect(elsewhere.length).toBeGreaterThan(6);
    expect(elsewhere.filter((line) => !line.split(" ")[1]?.startsWith(`${url}/`))).toEqual([]);
    rmSync(cwd, { recursive: true, force: true });
  },
);
