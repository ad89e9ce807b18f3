import { expect, test as declared } from "bun:test";
import type { CallCount } from "../../../src/audit/call-counts.ts";
import type { OpenStore } from "./open-store.ts";

const DAY = "2026-11-22";
const CALL: CallCount = { platform: "weixin", appId: "wx1", endpoint: "/cgi-bin/token", day: DAY, calls: 1 };

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
    expect(await it.store.callCounts.ofApp("weixin", "wx1", DAY)).toEqual([{ ...CALL, calls: 7 }]);
    expect(await (await it.reopen()).callCounts.ofApp("weixin", "wx1", DAY)).toEqual([{ ...CALL, calls: 7 }]);
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
    const found = await callCounts.ofApp("weixin", "wx1", DAY);
    expect(found.toSorted((a, b) => (a.endpoint < b.endpoint ? -1 : 1))).toEqual([CALL, user]);
    expect(await callCounts.ofApp("weixin", "wx3", DAY)).toEqual([]);
  });
}
