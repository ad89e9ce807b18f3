import { expect, test } from "bun:test";
import { Mirror } from "../src/changes.ts";
import { ManualChanges } from "./support/manual-changes.ts";

/** A mirror of `clients` that counts its readings, the latest of which a test may hold up or let fail. */
function setup() {
  const changes = new ManualChanges();
  const it = {
    reads: [] as number[],
    isBroken: false,
    gate: Promise.resolve(),
    onRead: () => undefined as void,
  };
  const mirror = new Mirror(changes, "clients", async (epoch) => {
    it.reads.push(epoch);
    it.onRead();
    const { isBroken } = it;
    await it.gate;
    if (isBroken) throw new Error("the disk is gone");
  });
  return { changes, mirror, it, [Symbol.dispose]: () => mirror.stop() };
}

test("what has not changed is read once, however often it is asked for", async () => {
  using at = setup();
  await Promise.all([at.mirror.refresh(), at.mirror.refresh()]);
  await at.mirror.refresh();
  expect(at.it.reads).toEqual([0]);
});

test("a change during a reading is read by the next caller, and two never read at a time", async () => {
  using at = setup();
  const gate = Promise.withResolvers<void>();
  at.it.gate = gate.promise;
  const first = at.mirror.refresh();
  await Promise.resolve();
  at.changes.raise("clients");
  const second = at.mirror.refresh();
  await Promise.resolve();
  expect(at.it.reads).toEqual([0]);
  gate.resolve();
  await Promise.all([first, second]);
  expect(at.it.reads).toEqual([0, 1]);
});

test("once started it follows each change by itself, and no longer once stopped", async () => {
  using at = setup();
  at.mirror.start();
  await at.mirror.refresh();
  at.changes.raise("clients");
  await at.mirror.refresh();
  at.changes.raise("apps");
  expect(at.it.reads).toEqual([0, 1]);
  at.mirror.stop();
  at.changes.raise("clients");
  await Promise.resolve();
  expect(at.it.reads).toEqual([0, 1]);
});

test("a change that could not be read is read a moment later, without another change", async () => {
  using at = setup();
  at.mirror.start();
  await at.mirror.refresh();
  at.it.isBroken = true;
  at.changes.raise("clients");
  const failure: unknown = await at.mirror.refresh().catch((error: unknown) => error);
  expect(String(failure)).toContain("the disk is gone");
  at.it.isBroken = false;
  const again = Promise.withResolvers<void>();
  at.it.onRead = again.resolve;
  await again.promise;
  await at.mirror.refresh();
  expect(at.it.reads.at(-1)).toBe(1);
});
