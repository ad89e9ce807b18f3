import { expect } from "bun:test";
import { Browser, browserTest } from "../support/browser.ts";
import { Harness } from "../support/harness.ts";

/** Those with the widest tables and the longest words. */
const NAMES = ["README", "configuration", "errors", "environments", "sdks", "zh/README", "zh/configuration"];

/** In the browser: what of the page is wider than the window, and whether its style and its pictures are there. */
const LOOK = `({
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  header: getComputedStyle(document.querySelector("header")).position,
  pictures: [...document.images].filter((image) => image.naturalWidth === 0).map((image) => image.src),
  listed: document.querySelector(".pages li").checkVisibility({ contentVisibilityAuto: true }),
})`;

browserTest(
  "a real Chromium shows the documents without scrolling sideways, on a telephone and on a desk",
  async () => {
    await using world = await Harness.create();
    using browser = await Browser.open();
    for (const [width, isWide] of [
      [390, false],
      [1280, true],
    ] as const) {
      await browser.resize({ width, height: 900 });
      for (const name of NAMES) {
        await browser.navigate(`${world.service.url}/docs/${name}`);
        expect([name, width, await browser.evaluate(LOOK)]).toEqual([
          name,
          width,
          { overflow: 0, header: "sticky", pictures: [], listed: isWide },
        ]);
      }
    }
  },
);
