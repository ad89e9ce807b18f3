import { expect, test } from "bun:test";
import { binary, ProcessHarness } from "../support/process-harness.ts";

/** What a first visit may cost, compressed. */
const MAX_BYTES = { js: 90_000, css: 12_000 };

test("the binary serves the console from any folder, in at most 90 KB of scripts and 12 KB of styles, compressed", async () => {
  await using harness = new ProcessHarness(binary());
  const { url } = await harness.serve();
  const page = await (await fetch(`${url}/console/`)).text();
  const files = [...page.matchAll(/(?:src|href)="(\/console\/[^"]+)"/g)].map(([, path = ""]) => path);
  const sizes = { js: 0, css: 0 };
  for (const path of files) {
    const init = { headers: { "accept-encoding": "gzip" }, decompress: false };
    const answer = await fetch(url + path, init);
    expect([path, answer.status, answer.headers.get("content-encoding")]).toEqual([path, 200, "gzip"]);
    sizes[path.endsWith(".js") ? "js" : "css"] += (await answer.bytes()).length;
  }
  expect(sizes.js).toBeGreaterThan(10_000);
  expect(sizes.css).toBeGreaterThan(1_000);
  expect(sizes.js).toBeLessThanOrEqual(MAX_BYTES.js);
  expect(sizes.css).toBeLessThanOrEqual(MAX_BYTES.css);
});
