import { expect, test } from "bun:test";
import { GatewayHarness } from "../gateway/gateway-harness.ts";
import { WX } from "../support/harness.ts";

/** How many URLs `work` parses, of the service's and the test's own. */
async function urlsParsed(work: () => Promise<unknown>): Promise<number> {
  let count = 0;
  const original = globalThis.URL;
  globalThis.URL = class extends original {
    constructor(url: string | URL, base?: string | URL) {
      super(url, base);
      count += 1;
    }
    static override parse(url: string, base?: string): URL | null {
      count += 1;
      return original.parse(url, base);
    }
  };
  try {
    await work();
  } finally {
    globalThis.URL = original;
  }
  return count;
}

test("P8: a warm request with a key parses no URL, on any face", async () => {
  await using it = await GatewayHarness.create();
  const headers = { "x-api-key": it.key };
  const paths = [
    `/AccessToken/getXcx?appid=${WX.appId}`,
    `/v1/apps/${WX.appId}/credentials/access_token`,
    `/cgi-bin/token?grant_type=client_credential&appid=${WX.appId}&secret=${it.key}`,
  ];
  const statuses: number[] = [];
  const ask = async () => {
    for (const path of paths) statuses.push((await it.send(path, { headers })).status);
  };
  await ask();
  expect(await urlsParsed(ask)).toBe(0);
  expect(statuses).toEqual([200, 200, 200, 200, 200, 200]);
  // The count is of this process, in which the service runs too.
  expect(await urlsParsed(async () => new URL(it.url))).toBe(1);
});
