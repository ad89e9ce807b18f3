import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { allEntries, appendAtOnce, entryOf } from "../support/audit-entries.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { StoreFolder } from "../support/store-folder.ts";

const HOUR_MS = 3_600_000;

/** A store whose entries are an hour apart, and a connection for whoever can write to the file. */
async function setup(count: number) {
  const clock = new ManualClock();
  const start = clock.now();
  const files = new StoreFolder(clock);
  const { audit } = await files.open();
  const append = (more: number) =>
    appendAtOnce(files, more, (number) => {
      clock.advance(HOUR_MS);
      return entryOf({ detail: { number } });
    });
  await append(count);
  const intruder = new Database(files.path, { readwrite: true });
  const ids = async () => (await allEntries(audit)).map(({ id }) => id);
  const dispose = () => {
    intruder.close();
    files[Symbol.dispose]();
  };
  /** Before the time of the entry with that id. */
  const before = (id: number) => start + id * HOUR_MS;
  return { clock, audit, append, intruder, ids, before, [Symbol.dispose]: dispose };
}

test("P7: what is too old is dropped, and what is kept is intact and goes on", async () => {
  using it = await setup(10);
  expect(await it.audit.prune(it.before(5))).toEqual({ entries: 4, isDone: true, fault: undefined });
  expect(await it.ids()).toEqual([5, 6, 7, 8, 9, 10]);
  expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 6, last: { id: 10 } });
  expect(await it.audit.prune(it.before(5))).toMatchObject({ entries: 0, isDone: true });
  await it.append(1);
  expect(await it.ids()).toEqual([5, 6, 7, 8, 9, 10, 11]);
  expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 7 });
});

test("P7: when everything is too old, the chain still knows its last entry and goes on from it", async () => {
  using it = await setup(3);
  const { last } = await it.audit.verify();
  expect(await it.audit.prune(it.clock.now() + 1)).toMatchObject({ entries: 3 });
  expect(await it.audit.verify()).toEqual({ isIntact: true, entries: 0, fault: undefined, last });
  await it.append(1);
  expect(await it.ids()).toEqual([4]);
  expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 1 });
});

test("an audit without an entry has nothing to drop", async () => {
  using it = await setup(0);
  expect(await it.audit.prune(it.clock.now())).toEqual({ entries: 0, isDone: true, fault: undefined });
  expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 0 });
});

test("at most a thousand entries are dropped in one transaction", async () => {
  using it = await setup(1500);
  expect(await it.audit.prune(it.before(1401))).toMatchObject({ entries: 1000, isDone: false });
  expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 500 });
  expect(await it.audit.prune(it.before(1401))).toMatchObject({ entries: 400, isDone: true });
  expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 100 });
});

test("P7: an entry that only looks old, because the clock was set back, stays with those before it", async () => {
  using it = await setup(3);
  it.clock.jumpWall(-1000 * HOUR_MS);
  await it.append(1);
  it.clock.jumpWall(1000 * HOUR_MS);
  await it.append(1);
  expect(await it.audit.prune(it.before(2))).toEqual({ entries: 1, isDone: true, fault: undefined });
  expect(await it.ids()).toEqual([2, 3, 4, 5]);
});

test("P7: an entry can't be got rid of by making it look old, or those before it", async () => {
  using it = await setup(6);
  it.intruder.run("UPDATE audit_entries SET at = 1 WHERE id <= 4");
  const pruned = await it.audit.prune(it.before(1));
  expect(pruned).toMatchObject({ entries: 0, fault: { id: 1 } });
  expect(await it.ids()).toEqual([1, 2, 3, 4, 5, 6]);
});

test("P7: what was tampered with is kept, however old, with all that is behind it", async () => {
  using it = await setup(8);
  it.intruder.run("UPDATE audit_entries SET client = 'x' WHERE id = 4");
  const pruned = await it.audit.prune(it.before(8));
  expect(pruned).toMatchObject({ entries: 3, isDone: true, fault: { id: 4 } });
  expect(await it.ids()).toEqual([4, 5, 6, 7, 8]);
  expect(await it.audit.verify()).toMatchObject({ isIntact: false, fault: { id: 4 } });
});

test("P7: pruning makes no forged note of the chain's start true", async () => {
  using it = await setup(8);
  it.intruder.run("DELETE FROM audit_entries WHERE id <= 3");
  it.intruder.run("UPDATE audit_ends SET entry_id = 3 WHERE name = 'first'");
  const pruned = await it.audit.prune(it.before(6));
  expect(pruned).toMatchObject({ entries: 0, fault: { id: 4 } });
  expect(await it.audit.verify()).toMatchObject({ isIntact: false, fault: { id: 4 } });
});
