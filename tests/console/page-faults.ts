import type { Browser } from "../support/browser.ts";

const AXE = Bun.resolveSync("axe-core/axe.min.js", import.meta.dir);

/**
 * What axe finds on the page as it is that WCAG 2 A or AA forbids, a line each; or its findings on contrast alone. It runs beside the page, whose policy
 * knows nothing of it.
 */
export async function accessibilityFaults(
  browser: Browser,
  rules: "all" | "contrast" = "all",
): Promise<string[]> {
  const has = await browser.evaluate<boolean>("typeof axe !== 'undefined'");
  if (!has) await browser.cdp("Runtime.evaluate", { expression: await Bun.file(AXE).text() });
  const runOnly = rules === "all" ? ["wcag2a", "wcag2aa"] : { type: "rule", values: ["color-contrast"] };
  return browser.evaluate<string[]>(
    `axe.run(document, { runOnly: ${JSON.stringify(runOnly)}, resultTypes: ["violations"] }).then(({ violations }) =>
      violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => id + ": " + html.slice(0, 200) + " " + failureSummary)))`,
  );
}

/** By how many pixels the page is wider than the window. */
export function excessWidth(browser: Browser): Promise<number> {
  return browser.evaluate<number>(
    "document.documentElement.scrollWidth - document.documentElement.clientWidth",
  );
}
