import { DrippingSockets } from "../support/dripping-sockets.ts";
import type { Effort } from "./effort.ts";
import type { Figure } from "./figures.ts";
import { startKeyedService } from "./keyed-service.ts";
import { load } from "./load.ts";

const SOCKETS = 500;
const HEAD = "GET /AccessToken/getXcx HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
const BODY =
  'POST /JsSDK/getJsApiSign HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"url":"';

/** A client's warm read beside sockets on which heads, then bodies, drip byte by byte. */
export async function slowLoris({ pairs, seconds }: Effort): Promise<Figure[]> {
  await using it = await startKeyedService();
  const measure = () => load(it.read, { seconds });
  await measure();
  const figures: Figure[] = [];
  for (const [what, beginning] of [
    ["heads", HEAD],
    ["bodies", BODY],
  ] as const) {
    const p99: number[] = [];
    await using slow = await DrippingSockets.open(it.url, { count: SOCKETS, everyMs: 250, beginning });
    for (let run = 0; run < pairs; run++) p99.push((await measure()).p99Ms);
    if (slow.open + slow.closed < SOCKETS || slow.rounds < pairs)
      throw new Error(`only ${slow.open} sockets dripped ${slow.rounds} times`);
    console.error(`slow loris, ${what}: p99 ${p99.map((ms) => ms.toFixed(2)).join(", ")} ms`);
    figures.push({
      name: `warm read beside 500 dripping ${what}: p99`,
      unit: "ms",
      values: p99,
      target: { atMost: 50 },
    });
  }
  return figures;
}
