import { expect, test } from "bun:test";
import { type CallCount, CallCounter } from "../../src/audit/call-counts.ts";
import { ManualClock } from "../support/manual-clock.ts";

const APP = ["weixin", "wx1"] as const;
const TOKEN = "/cgi-bin/token";

/** A counter, and what was written of its counts; writing fails while `isBroken`. */
function setup() {
  const clock = new ManualClock();
  const state = { isBroken: false, most: Infinity, rows: [] as CallCount[], pieces: [] as number[] };
  const counter = new CallCounter(
    {
      add: async (rows) => {
        if (state.isBroken || state.rows.length + rows.length > state.most) throw new Error("broken");
        state.pieces.push(rows.length);
        state.rows.push(...rows);
      },
      ofApps: async (appIds, day) =>
        state.rows.filter((row) => appIds.includes(row.appId) && row.day === day),
    },
    clock,
    (_platform, appId) => !appId.startsWith("made-up"),
  );
  const today = async () => Object.fromEntries(await counter.today(...APP));
  return { clock, state, counter, today, [Symbol.asyncDispose]: () => counter.stop() };
}

test("calls of today are those that are written and those that wait, of the app alone", async () => {
  await using it = setup();
  it.counter.count(...APP, TOKEN);
  await it.counter.flush();
  it.counter.count(...APP, TOKEN);
  it.counter.count(...APP, "/cgi-bin/user");
  it.counter.count("wecom", "wx1", TOKEN);
  it.counter.count("weixin", "wx2", TOKEN);
  expect(await it.today()).toEqual({ [TOKEN]: 2, "/cgi-bin/user": 1 });
  await it.counter.flush();
  expect(await it.today()).toEqual({ [TOKEN]: 2, "/cgi-bin/user": 1 });
});

test("calls for apps that we don't hold are summed, however many of them callers make up", async () => {
  await using it = setup();
  for (let n = 0; n < 1000; n++) it.counter.count("weixin", `made-up-${n}`, TOKEN);
  it.counter.count(...APP, TOKEN);
  await it.counter.flush();
  expect(it.state.rows.map(({ appId, calls }) => [appId, calls])).toEqual([
    ["(other)", 1000],
    ["wx1", 1],
  ]);
});

test("a day ends at midnight in Beijing, whenever its counts are written", async () => {
  await using it = setup();
  it.counter.count(...APP, TOKEN);
  it.clock.advance(12 * 3_600_000);
  expect(await it.today()).toEqual({});
  it.counter.count(...APP, TOKEN);
  await it.counter.flush();
  expect(it.state.rows.map(({ day, calls }) => [day, calls])).toEqual([
    ["2026-11-22", 1],
    ["2026-11-23", 1],
  ]);
});

test("what can't be written is kept and counted, and written when it can be, by itself", async () => {
  await using it = setup();
  it.state.isBroken = true;
  it.counter.count(...APP, TOKEN);
  await it.counter.flush();
  it.counter.count(...APP, TOKEN);
  await it.counter.flush();
  expect(await it.today()).toEqual({ [TOKEN]: 2 });
  it.state.isBroken = false;
  for (const end = performance.now() + 60_000; it.state.rows.length === 0; await Bun.sleep(20)) {
    if (performance.now() > end) throw new Error("it was never written");
  }
  expect(it.state.rows).toMatchObject([{ appId: "wx1", endpoint: TOKEN, calls: 2 }]);
});

test("calls for very many apps are stored in pieces, and what is stored is not stored again when a later one fails", async () => {
  await using it = setup();
  for (let n = 0; n < 1200; n++) it.counter.count("weixin", `wx${n}`, TOKEN);
  it.state.most = 1000;
  await it.counter.flush();
  expect(it.state.rows.length).toBe(1000);
  it.state.most = Infinity;
  await it.counter.flush();
  expect(it.state.pieces).toEqual([500, 500, 200]);
  expect(new Set(it.state.rows.map(({ appId }) => appId)).size).toBe(1200);
});
