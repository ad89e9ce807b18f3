import { expect, test as declared } from "bun:test";
import type { HourOfCalls } from "../../../src/audit/call-counts.ts";
import type { OpenStore } from "./open-store.ts";

const DAY = "2026-11-22";
const OF_DAY = { platform: "weixin", appId: "wx1", endpoint: "/cgi-bin/token", day: DAY, calls: 1 } as const;
const CALL: HourOfCalls = { ...OF_DAY, hour: Date.UTC(2026, 10, 22, 3) };

/** What every store of the counts of upstream calls must do. `kind` names it in the tests' names. */
export function callCountsContract(kind: string, open: OpenStore, test = declared): void {
  async function setup() {
    const opened = await open();
    return { ...opened, [Symbol.dispose]: () => opened.dispose() };
  }

  test(`${kind}: P7: upstream calls of all processes add up, and are kept`, async () => {
    using it = await setup();
    const other = await it.beside();
    await it.store.callCounts.add([CALL, { ...CALL, calls: 2 }]);
    await other.callCounts.add([{ ...CALL, calls: 4 }]);
    await other.callCounts.add([]);
    expect(await it.store.callCounts.ofApps(["wx1"], DAY)).toEqual([{ ...OF_DAY, calls: 7 }]);
    expect(await (await it.reopen()).callCounts.ofApps(["wx1"], DAY)).toEqual([{ ...OF_DAY, calls: 7 }]);
  });

  test(`${kind}: upstream calls are told apart by platform, app, endpoint and day`, async () => {
    using it = await setup();
    const { callCounts } = it.store;
    const user = { ...CALL, endpoint: "/cgi-bin/user" };
    await callCounts.add([
      CALL,
      user,
      { ...CALL, platform: "wecom" },
      { ...CALL, appId: "wx2" },
      { ...CALL, day: "2026-11-23" },
    ]);
    const found = async (ids: string[]) =>
      (await callCounts.ofApps(ids, DAY))
        .map(({ platform, appId, endpoint }) => [platform, appId, endpoint].join(" "))
        .toSorted();
    const ofOne = [
      `wecom wx1 ${CALL.endpoint}`,
      `weixin wx1 ${CALL.endpoint}`,
      "weixin wx1 /cgi-bin/user",
    ].toSorted();
    expect(await found(["wx1"])).toEqual(ofOne);
    expect(await found(["wx2", "wx1"])).toEqual([...ofOne, `weixin wx2 ${CALL.endpoint}`]);
    expect(await callCounts.ofApps(["wx3"], DAY)).toEqual([]);
  });

  test(`${kind}: all calls of a day come in pieces, each once, and none of another day`, async () => {
    using it = await setup();
    const { callCounts } = it.store;
    const added = ["wx1", "wx2", "wx3"].map((appId) => ({ ...CALL, appId }));
    await callCounts.add([
      ...added,
      { ...CALL, platform: "wecom" },
      { ...CALL, endpoint: "/cgi-bin/user" },
      { ...CALL, day: "2026-11-23" },
    ]);
    const found: Omit<HourOfCalls, "hour">[] = [];
    let after: string | undefined;
    do {
      const { items, next } = await callCounts.pageOfDay(DAY, after, 2);
      expect(items.length).toBeLessThanOrEqual(2);
      found.push(...items);
      after = next;
    } while (after !== undefined);
    const names = found.map(({ platform, appId, endpoint }) => [platform, appId, endpoint].join(" "));
    expect(names).toEqual([
      `wecom wx1 ${CALL.endpoint}`,
      `weixin wx1 ${CALL.endpoint}`,
      "weixin wx1 /cgi-bin/user",
      `weixin wx2 ${CALL.endpoint}`,
      `weixin wx3 ${CALL.endpoint}`,
    ]);
  });
}
