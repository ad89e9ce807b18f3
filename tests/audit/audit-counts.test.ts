import { expect, test } from "bun:test";
import { AuditCounts, denialOf, usageOf } from "../../src/audit/audit-counts.ts";
import type { MinuteCount } from "../../src/audit/audit-store.ts";
import { ManualClock } from "../support/manual-clock.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const DENIAL = { address: "203.0.113.7", client: "", route: "/v1/apps", code: 401 };

/** Counts, and what was written of them; writing fails while `isBroken`. */
function setup() {
  const clock = new ManualClock();
  const state = { isBroken: false, counted: 0, writes: [] as (readonly MinuteCount[])[] };
  const counts = new AuditCounts(
    {
      addCounts: async (rows) => {
        if (state.isBroken) throw new Error("broken");
        state.writes.push(rows);
      },
    },
    clock,
    () => (state.counted += 1),
  );
  const use = (app: string, client = "one") =>
    counts.usage({ client, environment: "dev" }, "token:read", app).count();
  const deny = (number: number, code = 401) =>
    counts.denial({ ...DENIAL, address: `10.0.${number >> 8}.${number & 255}`, code }).count();
  const written = (kind: MinuteCount["kind"]) => {
    const rows = state.writes.flat().filter((row) => row.kind === kind);
    return rows.map((row) => ({ ...row, id: 0 }));
  };
  return { clock, counts, state, use, deny, written };
}

const total = (rows: readonly { readonly n: number }[]) => rows.reduce((sum, { n }) => sum + n, 0);

test("what is counted is written once, as often as it was counted, and nothing when nothing was", async () => {
  const { clock, counts, state, use, written } = setup();
  await counts.flush();
  expect([state.writes, counts.isPending]).toEqual([[], false]);
  for (let round = 0; round < 5; round++) use("wx1");
  use("wx2");
  expect([state.counted, counts.isPending]).toEqual([1, true]);
  await counts.flush();
  await counts.flush();
  expect([state.writes.length, counts.isPending]).toEqual([1, false]);
  use("wx1");
  expect(state.counted).toBe(2);
  await counts.flush();
  const minute = clock.now();
  const names = { id: 0, minute, client: "one", environment: "dev", action: "token:read" };
  expect(written("usage").map(usageOf)).toEqual([
    { ...names, app: "wx1", count: 5 },
    { ...names, app: "wx2", count: 1 },
    { ...names, app: "wx1", count: 1 },
  ]);
});

test("names that only look alike when they are joined are told apart", async () => {
  const { counts, written } = setup();
  const all = [
    ["a", "b", "c d", "e"],
    ["a", "b c", "d", "e"],
    ["a b", "", "c", "d"],
    ["", "a b", "c", "d"],
  ] as const;
  for (const [client, environment, action, app] of all)
    counts.usage({ client, environment }, action, app).count();
  counts.denial({ ...DENIAL, client: "-1", code: -1 }).count();
  await counts.flush();
  const found = written("usage").map(usageOf);
  expect(found.map(({ client, environment, action, app }) => [client, environment, action, app])).toEqual(
    all.map((names) => [...names]),
  );
  expect(written("denial").map(denialOf)).toMatchObject([{ ...DENIAL, client: "-1", code: -1, count: 1 }]);
});

test("P7: of ever so many names ten thousand are told apart in a minute, and none is left out of the sum", async () => {
  const { clock, counts, use, deny, written } = setup();
  for (let number = 0; number < 12_000; number++) {
    deny(number, number % 2 === 0 ? 401 : 429);
    if (number % 1000 === 0) await counts.flush();
  }
  // One that is told apart already goes on to be, and denials take nothing away from usage.
  deny(0);
  use("wx1");
  await counts.flush();
  const denials = written("denial").map(denialOf);
  expect(denials.reduce((sum, { count }) => sum + count, 0)).toBe(12_001);
  expect(new Set(denials.map(({ address }) => address)).size).toBe(10_001);
  const others = denials.filter(({ address }) => address === "(other)");
  expect(new Set(others.map(({ client, route, code }) => [client, route, code].join()))).toEqual(
    new Set([",(other),401", ",(other),429"]),
  );
  expect(denials.filter(({ address }) => address === "10.0.0.0").map(({ count }) => count)).toEqual([1, 1]);
  expect(written("usage").map(usageOf)).toMatchObject([{ app: "wx1" }]);
  // The next minute tells apart again.
  clock.advance(MINUTE_MS);
  deny(11_999);
  await counts.flush();
  expect(written("denial").map(denialOf).at(-1)).toMatchObject({ address: "10.0.46.223", count: 1 });
});

test("P7: neither anonymous callers nor denied addresses take the room of clients, nor the other way round", async () => {
  const { clock, counts, state, use, deny, written } = setup();
  for (let number = 0; number < 11_000; number++) {
    const user = counts.anonymousUser("(anonymous)", `10.1.${(number % 900) >> 8}.${(number % 900) & 255}`);
    counts.usage(user, "token:read", `wx${number}`).count();
    deny(number);
    if (number % 1000 === 0) await counts.flush();
  }
  use("wx1", "bot");
  counts.denial({ ...DENIAL, client: "bot", code: 403 }).count();
  await counts.flush();
  expect(written("usage").map(usageOf).at(-1)).toMatchObject({ client: "bot", app: "wx1", count: 1 });
  expect(written("denial").map(denialOf).at(-1)).toMatchObject({ address: DENIAL.address, client: "bot" });
  state.writes = [];
  clock.advance(MINUTE_MS);
  for (let number = 0; number < 11_000; number++) use(`wx${number}`);
  const late = counts.anonymousUser("(anonymous)", "10.0.0.9");
  counts.usage(late, "login", "wx1").count();
  await counts.flush();
  const told = written("usage").map(usageOf);
  expect(told.map(({ client }) => client)).toContain("(anonymous 10.0.0.9)");
  expect(told.reduce((sum, { count }) => sum + count, 0)).toBe(11_001);
});

test("what can't be written is kept under its minute, summed with what comes, and written when it can be", async () => {
  const { clock, counts, state, use, written } = setup();
  const minute = clock.now();
  state.isBroken = true;
  for (let round = 0; round < 6; round++) {
    use("wx1");
    expect(await counts.flush().catch(String)).toContain("broken");
    clock.advance(MINUTE_MS / 3);
  }
  expect(counts.isPending).toBeTrue();
  state.isBroken = false;
  await counts.flush();
  expect(written("usage").map((row) => [row.minute - minute, row.n])).toEqual([
    [0, 3],
    [MINUTE_MS, 3],
  ]);
  expect(counts.isPending).toBeFalse();
});

test("many rows are written in pieces, and what was written before a failure is not written again", async () => {
  const { counts, state, use, written } = setup();
  for (let app = 0; app < 1300; app++) use(`wx${app}`);
  const flushed = counts.flush();
  // The second piece meets the failure: the first was handed over before anybody else had a turn.
  state.isBroken = true;
  await flushed.catch(() => undefined);
  expect(state.writes).toHaveLength(1);
  state.isBroken = false;
  await counts.flush();
  expect(state.writes.every((rows) => rows.length <= 500)).toBeTrue();
  expect(written("usage").map(({ n }) => n)).toEqual(Array.from({ length: 1300 }, () => 1));
});

test("P7: a long failure costs little memory, and loses detail but no count", async () => {
  const { clock, counts, state, use, deny, written } = setup();
  const day = clock.now() - (clock.now() % DAY_MS);
  state.isBroken = true;
  for (let minute = 0; minute < 60; minute++) {
    for (let number = 0; number < 600; number++) {
      use(`wx${number}`);
      deny(number);
    }
    await counts.flush().catch(() => undefined);
    clock.advance(MINUTE_MS);
  }
  state.isBroken = false;
  await counts.flush();
  expect(state.writes.flat().length).toBeWithin(40_000, 40_003);
  for (const kind of ["usage", "denial"] as const) expect(total(written(kind))).toBe(60 * 600);
  const others = { client: "(other)", environment: "", action: "token:read", app: "(other)", minute: day };
  expect(written("usage").map(usageOf).at(-1)).toMatchObject(others);
});

test("100,000 denials are told apart in a day, from however many addresses they come, and the rest is summed", async () => {
  const { clock, counts, deny, use, written } = setup();
  for (let minute = 0; minute < 12; minute++) {
    for (let n = 0; n < 9000; n++) deny(n);
    use("wx1");
    await counts.flush();
    clock.advance(MINUTE_MS);
  }
  const rows = written("denial").map(denialOf);
  const named = rows.filter(({ address }) => address !== "(other)");
  expect([named.length, total(rows.map(({ count }) => ({ n: count })))]).toEqual([100_000, 108_000]);
  expect(rows.length - named.length).toBe(1);
  expect(written("usage")).toHaveLength(12);
  clock.advance(DAY_MS);
  deny(1);
  await counts.flush();
  expect(denialOf(written("denial").at(-1)!)).toMatchObject({ address: "10.0.0.1", count: 1 });
});

test("callers without a key are counted by address, a thousand of them a day, and the rest together", async () => {
  const { clock, counts, written } = setup();
  const use = (address: string) =>
    counts.usage(counts.anonymousUser("(anonymous)", address), "token:read", "wx1").count();
  for (let round = 0; round < 2; round++) for (let n = 0; n < 1003; n++) use(`10.0.${n >> 8}.${n & 255}`);
  await counts.flush();
  const rows = written("usage").map(usageOf);
  expect([rows.length, total(written("usage"))]).toEqual([1001, 2006]);
  expect(rows.find(({ client }) => client === "(anonymous 10.0.3.231)")?.count).toBe(2);
  expect(rows.find(({ client }) => client === "(anonymous)")?.count).toBe(6);
  clock.advance(DAY_MS);
  use("10.1.0.0");
  await counts.flush();
  expect(usageOf(written("usage").at(-1)!).client).toBe("(anonymous 10.1.0.0)");
});
