import { expect, test } from "bun:test";
import { AppHistory } from "../../src/credentials/app-history.ts";
import { ManualClock } from "../support/manual-clock.ts";

const HOUR_MS = 3_600_000;
const slot = (appId: string) => ({ platform: "weixin", appId, name: "stable" }) as const;

/** A history whose counts take a second to add up, and which of them were asked for, when all were asked. */
function setup() {
  const clock = new ManualClock();
  const asked: string[] = [];
  const state = { running: 0, most: 0 };
  const history = new AppHistory({
    log: { list: async () => [], listHours: async () => [] },
    auditStore: {
      sumUsage: async ({ app = "" }) => {
        asked.push(app);
        state.most = Math.max(state.most, ++state.running);
        await clock.sleep(1);
        clock.advance(1000);
        state.running -= 1;
        return [{ client: "bot", environment: "dev", app, count: asked.length }];
      },
    },
    clock,
  });
  const to = clock.now();
  const usesOf = async (appId: string, from = to - HOUR_MS) =>
    (await history.of(slot(appId), { from, to })).callers.map(({ uses }) => uses);
  return { clock, asked, state, usesOf, to };
}

test("who used an app is added up once for all who ask, one app at a time", async () => {
  const it = setup();
  const all = await Promise.all(["wx1", "wx2", "wx1", "wx2", "wx1"].map((app) => it.usesOf(app)));
  expect(all).toEqual([[1], [2], [1], [2], [1]]);
  expect([it.asked, it.state.most]).toEqual([["wx1", "wx2"], 1]);
});

test("what took a second to add up is added up again after twenty seconds, or for another period", async () => {
  const it = setup();
  expect(await it.usesOf("wx1")).toEqual([1]);
  it.clock.advance(19_999);
  expect(await it.usesOf("wx1")).toEqual([1]);
  expect(await it.usesOf("wx1", it.to - 2 * HOUR_MS)).toEqual([2]);
  expect(await it.usesOf("wx1")).toEqual([3]);
});
