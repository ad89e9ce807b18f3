import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { Harness } from "../support/harness.ts";

const CHROMIUM = "/usr/bin/chromium";
/** Those with the widest tables and the longest words. */
const NAMES = ["README", "configuration", "errors", "environments", "sdks", "zh/README", "zh/configuration"];

/** In the browser: what of the page is wider than the window, and whether its style and its pictures are there. */
const LOOK = `({
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  header: getComputedStyle(document.querySelector("header")).position,
  pictures: [...document.images].filter((image) => image.naturalWidth === 0).map((image) => image.src),
  listed: document.querySelector(".pages li").checkVisibility({ contentVisibilityAuto: true }),
})`;

test.skipIf(!existsSync(CHROMIUM))(
  "a real Chromium shows the documents without scrolling sideways, on a telephone and on a desk (skipped without /usr/bin/chromium)",
  async () => {
    await using world = await Harness.create();
    const backend = {
      type: "chrome",
      path: CHROMIUM,
      argv: ["--no-sandbox"],
    } satisfies Bun.WebView.ConstructorOptions["backend"];
    for (const [width, isWide] of [
      [390, false],
      [1280, true],
    ] as const) {
      await using view = new Bun.WebView({ width, height: 900, backend });
      for (const name of NAMES) {
        await view.navigate(`${world.service.url}/docs/${name}`);
        expect([name, width, await view.evaluate(LOOK)]).toEqual([
          name,
          width,
          { overflow: 0, header: "sticky", pictures: [], listed: isWide },
        ]);
      }
    }
  },
  90_000,
);
