import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Child, FROM_SOURCE } from "../support/child.ts";

const CHROMIUM = "/usr/bin/chromium";
/** A browser takes seconds to start on a busy machine. */
const SLOW = { timeout: 60_000 };

/** What is looked at in the browser's events. */
interface CdpData {
  readonly request?: { readonly method: string; readonly url: string };
  readonly issue?: { readonly code: string };
}

/** A browser that shows nothing yet, and notes what its page asks for and complains about. */
async function openBrowser() {
  const backend = { type: "chrome" as const, path: CHROMIUM, argv: ["--no-sandbox"] };
  const view = new Bun.WebView({ width: 1280, height: 1400, backend });
  const requested: string[] = [];
  const complaints: unknown[] = [];
  const note = (event: string, take: (data: CdpData) => void) =>
    view.addEventListener(event, (message) => take((message as MessageEvent<CdpData>).data));
  note("Network.requestWillBeSent", ({ request }) => requested.push(`${request?.method} ${request?.url}`));
  note("Runtime.exceptionThrown", (thrown) => complaints.push(thrown));
  note("Log.entryAdded", (entry) => complaints.push(entry));
  note("Audits.issueAdded", ({ issue }) => {
    if (issue?.code === "ContentSecurityPolicyIssue") complaints.push(issue);
  });
  await view.navigate("about:blank");
  for (const domain of ["Network", "Runtime", "Log", "Audits"]) await view.cdp(`${domain}.enable`);
  /** Tries out the operation with the example that is filled in; the status and body that the page shows. */
  const tryOut = async (id: string) => {
    for (const part of [".opblock-summary-control", ".try-out__btn", ".execute"]) {
      await view.scrollTo(`#${id} ${part}`, SLOW);
      await view.click(`#${id} ${part}`, SLOW);
    }
    const answer = `#${id} .live-responses-table tbody`;
    await view.scrollTo(`${answer} .microlight`, SLOW);
    const shown = [".response-col_status", ".microlight"].map(
      (part) => `document.querySelector("${answer} ${part}").innerText`,
    );
    const [status, body] = await view.evaluate<[string, string]>(`[${shown.join()}]`);
    return { status, body: JSON.parse(body) as unknown };
  };
  return { view, requested, complaints, tryOut, [Symbol.dispose]: () => view.close() };
}

test.skipIf(!existsSync(CHROMIUM))(
  "in a real browser the documentation of the demo is shown, and its examples work, asking no other host (skipped without /usr/bin/chromium)",
  async () => {
    const cwd = mkdtempSync(join(tmpdir(), "accesstoken-swagger-"));
    await using demo = new Child([...FROM_SOURCE, "demo", "--port", "0"], { cwd });
    const [, url = ""] = await demo.find(/API: (http:\S+)\/swagger/);
    using browser = await openBrowser();
    await browser.view.navigate(`${url}/swagger?lang=zh`);
    expect(await browser.tryOut("operations-AccessToken-getAccessTokenGetXcx")).toEqual({
      status: "200",
      body: expect.objectContaining({
        code: 0,
        data: expect.objectContaining({ expires_in: expect.any(Number) }),
      }),
    });
    expect(await browser.tryOut("operations-JsSDK-postJsSDKGetJsApiSign")).toEqual({
      status: "200",
      body: expect.objectContaining({
        code: 0,
        data: expect.objectContaining({ signature: expect.stringMatching(/^[0-9a-f]{40}$/) }),
      }),
    });
    expect(browser.complaints).toEqual([]);
    const elsewhere = browser.requested.filter((line) => !/^(GET|POST) (data:|about:blank$)/.test(line));
    expect(elsewhere.length).toBeGreaterThan(6);
    expect(elsewhere.filter((line) => !line.split(" ")[1]?.startsWith(`${url}/`))).toEqual([]);
    rmSync(cwd, { recursive: true, force: true });
  },
  180_000,
);
