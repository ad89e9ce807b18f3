import { expect, test } from "bun:test";
import { type Counted, PendingCounts } from "../../src/audit/audit-counts.ts";

type Names = readonly [group: string, name: number];
type Row = readonly [group: string, name: number, count: number];

/** Counts, and what was written of them; writing fails while `isBroken`. */
function setup(limits: { waitingMost?: number; folds?: ((names: Names) => Names)[] } = {}) {
  const state = { isBroken: false, writes: [] as Row[][] };
  const counts = new PendingCounts<Names>({
    write: async (rows) => {
      if (state.isBroken) throw new Error("broken");
      state.writes.push(rows.map(toRow));
    },
    ...limits,
  });
  const written = () => {
    const sums = new Map<string, number>();
    for (const [group, name, count] of state.writes.flat()) {
      const key = `${group} ${name}`;
      sums.set(key, (sums.get(key) ?? 0) + count);
    }
    return Object.fromEntries(sums);
  };
  return { counts, state, written };
}

function toRow({ names: [group, name], count }: Counted<Names>): Row {
  return [group, name, count];
}

test("what is counted is written once, as often as it was counted, and nothing when nothing was", async () => {
  const { counts, state, written } = setup();
  await counts.flush();
  for (let round = 0; round < 5; round++) counts.add(["a", 1]);
  counts.add(["a", 2]);
  counts.add(["b", 1]);
  expect(counts.pending().map(toRow)).toEqual([
    ["a", 1, 5],
    ["a", 2, 1],
    ["b", 1, 1],
  ]);
  await counts.flush();
  await counts.flush();
  expect(state.writes).toHaveLength(1);
  counts.add(["a", 1]);
  counts.forget();
  counts.add(["a", 1]);
  await counts.flush();
  expect(written()).toEqual({ "a 1": 7, "a 2": 1, "b 1": 1 });
  expect(counts.pending()).toEqual([]);
});

test("it is known how many names were counted, and which, until they are forgotten", async () => {
  const { counts } = setup();
  counts.add(["a", 1]);
  counts.add(["a", 1]);
  counts.add(["a", 2]);
  await counts.flush();
  expect([counts.size, counts.has(["a", 1]), counts.has(["a", 3]), counts.has(["b", 1])]).toEqual([
    2,
    true,
    false,
    false,
  ]);
  counts.forget();
  expect([counts.size, counts.has(["a", 1])]).toEqual([0, false]);
});

test("what can't be written is kept, summed with what comes, and written when it can be", async () => {
  const { counts, state, written } = setup();
  state.isBroken = true;
  for (let round = 0; round < 3; round++) {
    counts.add(["a", 1]);
    expect(await counts.flush().catch(String)).toContain("broken");
  }
  expect(counts.pending().map(toRow)).toEqual([["a", 1, 3]]);
  state.isBroken = false;
  counts.add(["a", 2]);
  await counts.flush();
  expect(written()).toEqual({ "a 1": 3, "a 2": 1 });
});

test("many rows are written in pieces, and what was written before a failure is not written again", async () => {
  const { counts, state, written } = setup();
  for (let name = 0; name < 1300; name++) counts.add(["a", name]);
  const { length } = state.writes;
  const flushed = counts.flush();
  // The second piece meets the failure: the first was handed over before anybody else had a turn.
  state.isBroken = true;
  await flushed.catch(() => undefined);
  expect(state.writes.length - length).toBe(1);
  state.isBroken = false;
  await counts.flush();
  expect(state.writes.every((rows) => rows.length <= 500)).toBeTrue();
  expect(Object.values(written())).toEqual(Array.from({ length: 1300 }, () => 1));
});

test("when too many rows wait they are summed, as little as is needed, and no count is lost", async () => {
  const { counts, state, written } = setup({
    waitingMost: 100,
    folds: [([group, name]) => [group, name % 10], ([, name]) => ["*", name % 10]],
  });
  state.isBroken = true;
  for (let name = 0; name < 100; name++) counts.add(["a", name]);
  await counts.flush().catch(() => undefined);
  expect(counts.pending()).toHaveLength(100);
  counts.add(["a", 100]);
  await counts.flush().catch(() => undefined);
  expect(counts.pending()).toHaveLength(10);
  for (let group = 0; group < 50; group++) {
    for (let name = 0; name < 10; name++) counts.add([`g${group}`, name]);
  }
  await counts.flush().catch(() => undefined);
  expect(counts.pending()).toHaveLength(10);
  state.isBroken = false;
  await counts.flush();
  expect(written()).toEqual(
    Object.fromEntries(Array.from({ length: 10 }, (_, name) => [`* ${name}`, name === 0 ? 61 : 60])),
  );
});
