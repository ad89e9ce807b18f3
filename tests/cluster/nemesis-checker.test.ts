import { expect, test } from "bun:test";
import { violationsOf } from "./nemesis-checker.ts";
import type { Call, Change, Fault, HistoryEvent, Read } from "./nemesis-history.ts";

const PROMISES = { seenMs: 1200, cutOffMs: 6000, notReadyMs: 5000 };
const APP = "wx1";

const check = (...history: readonly HistoryEvent[]) => violationsOf(history, PROMISES);

/** A read of the app's token number `token` by `node`, which was answered 5 ms after `from`. */
function read(node: number, from: number, token?: number, more: Partial<Read> = {}): Read {
  const got = token === undefined ? { code: 503 } : { code: 0, token };
  return { type: "read", node, app: APP, from, to: from + 5, ...got, ...more };
}

function call(node: number, from: number, token: number, more: Partial<Call> = {}): Call {
  return { type: "call", node, app: APP, from, to: from + 100, secret: 0, token, ...more };
}

/** A change that node 0 has acknowledged 10 ms after `from`. */
function change(kind: Change["kind"], from: number, ends: number, more: Partial<Change> = {}): Change {
  return { type: "change", kind, node: 0, of: APP, from, to: from + 10, code: 0, ends, ...more };
}

function fault(kind: Fault["kind"], from: number, to: number, node?: number): Fault {
  return { type: "fault", kind, from, to, ...(node === undefined ? {} : { node }) };
}

test("a history in which all goes well has no violation, in whichever order it was written", () => {
  const history = [
    call(0, 0, 0),
    read(0, 0, 0, { to: 110 }),
    read(1, 200, 0),
    change("clear", 1000, 0),
    read(1, 1500, 0),
    call(1, 2300, 1),
    read(1, 2300, 1, { to: 2410 }),
    read(0, 2500, 1),
    fault("skew", 3000, 3000, 1),
  ];
  expect(check(...history)).toEqual([]);
  expect(check(...history.toReversed())).toEqual([]);
});

test("P2: what WeChat has never issued is refused", () => {
  expect(check(read(0, 0, -1))).toEqual([expect.stringContaining("never issued")]);
});

test("M1: two calls at once are refused, but for one after a pause in which a lease ran out", () => {
  const both = [call(0, 10_000, 0), call(1, 10_050, 1)];
  const because = change("clear", 10_010, 0);
  expect(check(...both, because)).toEqual([expect.stringContaining("at once")]);
  expect(check(...both, because, fault("stop", 9000, 10_000, 1))).toHaveLength(1);
  expect(check(...both, because, fault("stop", 1000, 10_000, 2))).toHaveLength(1);
  expect(check(...both, because, fault("stop", 1000, 10_000, 1))).toEqual([]);
  const again = call(1, 10_500, 2, { to: 10_700 });
  expect(check(...both, call(0, 10_450, 1), again, because, fault("stop", 1000, 10_000, 1))).not.toEqual([]);
});

test("M1: a call is refused where the last one's token was neither ended nor lost", () => {
  const both = [call(0, 0, 0), call(1, 9000, 1)];
  expect(check(...both)).toEqual([expect.stringContaining("without need")]);
  for (const kind of ["clear", "replace", "secret"] as const)
    expect(check(...both, change(kind, 8000, 0))).toEqual([]);
  for (const kind of ["disable", "enable"] as const)
    expect(check(...both, change(kind, 8000, -1))).not.toEqual([]);
  expect(check(...both, change("clear", 9500, 0))).not.toEqual([]);
  expect(check(...both, change("clear", 8000, 0, { of: "wx2" }))).not.toEqual([]);
  // The first node was killed before it could save; that of another does not matter.
  expect(check(...both, fault("kill", 150, 1000, 0))).toEqual([]);
  expect(check(...both, fault("kill", 150, 1000, 2))).not.toEqual([]);
  // What was handed out was saved.
  expect(check(...both, read(1, 120, 0), fault("kill", 150, 1000, 0))).not.toEqual([]);
  expect(check(...both, fault("crash", 150, 1000))).toEqual([]);
});

test("M1: a change whose answer was lost may be made later", () => {
  const { code: _, ...unanswered } = change("clear", 0, 0, { node: 2, to: 100 });
  const both = [call(0, 500, 0), call(1, 9000, 1)];
  expect(check(...both, unanswered)).toEqual([]);
  expect(check(call(0, 10_500, 0), call(1, 19_000, 1), unanswered)).not.toEqual([]);
});

test("M1: no node goes back to an older token", () => {
  expect(check(read(0, 0, 1), read(0, 10, 0))).toEqual([expect.stringContaining("went back")]);
  // Not after it: they overlap.
  expect(check(read(0, 0, 1, { to: 50 }), read(0, 10, 0))).toEqual([]);
  expect(check(read(0, 0, 1), read(1, 10, 0))).toEqual([]);
});

test("M1: a token that was overtaken stands nowhere", () => {
  expect(check(read(0, 0, 1), read(1, 1300, 0))).toEqual([expect.stringContaining("after 1")]);
  expect(check(read(0, 0, 1), read(1, 1100, 0))).toEqual([]);
  expect(check(read(0, 0, 1), read(1, 1300, 0, { app: "wx2" }))).toEqual([]);
});

test("M3: what was cleared or replaced is refused once every node must know of it", () => {
  for (const kind of ["clear", "replace", "secret"] as const) {
    expect(check(change(kind, 0, 3), read(1, 1300, 3))).toEqual([expect.stringContaining(`after ${kind}`)]);
    expect(check(change(kind, 0, 3), read(1, 1200, 3))).toEqual([]);
    expect(check(change(kind, 0, 2), read(1, 1300, 3))).toEqual([]);
    expect(check(change(kind, 0, 3, { code: 503 }), read(1, 1300, 3))).toEqual([]);
  }
});

test("M3: a node that did not reach the database must know of a change a while after it does so again", () => {
  const cleared = change("clear", 1000, 0);
  const cut = fault("cut", 500, 5000, 1);
  expect(check(cleared, cut, read(1, 4000, 0))).toEqual([]);
  expect(check(cleared, cut, read(1, 8100, 0))).toEqual([]);
  expect(check(cleared, cut, read(1, 8300, 0))).toHaveLength(1);
  // Another node is not excused by it, nor is this one by another clock.
  expect(check(cleared, cut, read(2, 4000, 0))).toHaveLength(1);
  expect(check(cleared, fault("skew", 1000, 5000, 1), read(1, 4000, 0))).toHaveLength(1);
  // A cut that begins when it has known for long excuses nothing.
  expect(check(cleared, fault("cut", 2500, 5000, 1), read(1, 4000, 0))).toHaveLength(1);
});

test("M3: where this machine stood still, everything may be as much later", () => {
  const stale = [change("clear", 0, 0), read(1, 1500, 0)];
  expect(check(...stale, { type: "stall", from: 200, to: 700 })).toEqual([]);
  expect(check(...stale, { type: "stall", from: 200, to: 400 })).toHaveLength(1);
});

test("M3: an app that is disabled hands out nothing until it is enabled", () => {
  const disabled = change("disable", 0, -1);
  const enabled = change("enable", 3000, -1);
  expect(check(disabled, enabled, read(1, 1300, 0))).toEqual([expect.stringContaining("disabled")]);
  expect(check(disabled, enabled, read(1, 3100, 0))).toEqual([]);
  expect(check(disabled, read(1, 3100, 0))).toHaveLength(1);
  expect(check(disabled, enabled, read(1, 1300))).toEqual([]);
});

test("M3: a key that was revoked opens nothing", () => {
  const revoked = change("revoke", 0, -1, { of: "k1" });
  expect(check(revoked, read(1, 1300, 0, { key: "k1" }))).toEqual([expect.stringContaining("revoked")]);
  expect(check(revoked, read(1, 1300, 0, { key: "k2" }), read(1, 1300, 0))).toEqual([]);
  expect(check(revoked, read(1, 1300, undefined, { key: "k1" }))).toEqual([]);
});

test("M2: WeChat is not asked with a secret that was changed", () => {
  const changed = change("secret", 0, -1, { secret: 2 });
  expect(check(changed, call(1, 1300, 0, { secret: 1 }))).toEqual([expect.stringContaining("former secret")]);
  expect(check(changed, call(1, 1300, 0, { secret: 2 }))).toEqual([]);
  expect(check(changed, call(1, 1100, 0, { secret: 1 }))).toEqual([]);
});

test("M5: a node that is cut hands out nothing in the end, is not ready, and changes nothing", () => {
  const cut = fault("halt", 0, 20_000, 1);
  expect(check(cut, read(1, 6500, 0), read(1, 7500))).toEqual([]);
  expect(check(cut, read(1, 7500, 0))).toEqual([expect.stringContaining("while cut")]);
  expect(check(cut, read(0, 7500, 0))).toEqual([]);
  expect(check(fault("crash", 0, 20_000), read(0, 7500, 0))).toHaveLength(1);
  const probe = { type: "probe", node: 1, to: 6000 } as const;
  expect(check(cut, { ...probe, from: 5500, isReady: true })).toEqual([expect.stringContaining("was ready")]);
  expect(check(cut, { ...probe, from: 4500, isReady: true })).toEqual([]);
  expect(check(cut, { ...probe, from: 5500, isReady: false })).toEqual([]);
  expect(check(cut, change("clear", 100, -1, { node: 1 }))).toEqual([expect.stringContaining("changed")]);
  expect(check(cut, change("clear", 100, -1, { node: 1, code: 503 }))).toEqual([]);
});

test("M1: generations only rise, and no two nodes save under the same one", () => {
  const saved = (node: number, generation: number) =>
    ({ type: "saved", node, app: APP, generation }) as const;
  expect(check(saved(0, 1), saved(1, 2), saved(0, 3))).toEqual([]);
  expect(check(saved(0, 2), saved(0, 1))).toHaveLength(1);
  expect(check(saved(0, 2), saved(1, 2))).toHaveLength(1);
  expect(check(saved(0, 2), saved(0, 2))).toHaveLength(1);
});
