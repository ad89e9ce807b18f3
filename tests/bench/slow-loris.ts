import { Child } from "../support/child.ts";
import { DrippingSockets } from "../support/dripping-sockets.ts";
import { binary } from "../support/process-harness.ts";
import type { Figure } from "./figures.ts";
import { keyOfNewClient } from "./keyed-client.ts";
import { load } from "./load.ts";
import { SeededFolder } from "./seeded-folder.ts";

const SOCKETS = 500;
const RUNS = 5;
const HEAD = "GET /AccessToken/getXcx HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
const BODY =
  'POST /JsSDK/getJsApiSign HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"url":"';

/** A client's warm read beside sockets on which heads, then bodies, drip byte by byte. */
export async function slowLoris(): Promise<Figure[]> {
  const folder = await SeededFolder.make(1, { PORT: "0" });
  const [appId = ""] = folder.appIds;
  const headers = { authorization: `Bearer ${await keyOfNewClient(folder.path, appId)}` };
  const figures: Figure[] = [];
  {
    await using service = new Child([...binary(), "serve"], { cwd: folder.path });
    const base = await service.serviceUrl();
    const measure = () =>
      load(`${base}/AccessToken/getXcx?appid=${appId}`, { connections: 32, seconds: 3, headers });
    await measure();
    for (const [what, beginning] of [
      ["heads", HEAD],
      ["bodies", BODY],
    ] as const) {
      const p99: number[] = [];
      await using slow = await DrippingSockets.open(base, { count: SOCKETS, everyMs: 250, beginning });
      for (let run = 0; run < RUNS; run++) p99.push((await measure()).p99Ms);
      if (slow.open + slow.closed < SOCKETS || slow.rounds < RUNS)
        throw new Error(`only ${slow.open} sockets dripped ${slow.rounds} times`);
      console.error(`slow loris, ${what}: p99 ${p99.map((ms) => ms.toFixed(2)).join(", ")} ms`);
      figures.push({
        name: `warm read beside 500 dripping ${what}, p99`,
        unit: "ms",
        values: p99,
        target: { atMost: 50 },
      });
    }
  }
  folder.remove();
  return figures;
}
