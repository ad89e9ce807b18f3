import { expect, test } from "bun:test";
import { planOf } from "./nemesis-plan.ts";

const SIZE = { ms: 60_000, nodes: 3, apps: 12 };

test("the plan of a seed is always the same, and another seed has another", () => {
  expect(planOf(7, SIZE)).toEqual(planOf(7, SIZE));
  expect(planOf(7, SIZE)).not.toEqual(planOf(8, SIZE));
});

test("seeds have every fault and every change, and leave each node time in between", () => {
  const plans = Array.from({ length: 50 }, (_, seed) => planOf(seed, SIZE));
  const kinds = plans.flatMap(({ faults, restarts, changes, revocations }) =>
    [...faults.flat(), ...restarts, ...changes.flat(), ...revocations].map(({ kind }) => kind),
  );
  const all: string[] = [
    "clear",
    "crash",
    "cut",
    "disable",
    "halt",
    "kill",
    "replace",
    "revoke",
    "secret",
    "shutdown",
  ];
  expect<string[]>([...new Set(kinds)].toSorted()).toEqual([...all, "skew", "stop"]);
  expect([...new Set(plans.map(({ mode }) => mode))].toSorted()).toEqual(["classic", "stable"]);
  for (const { faults } of plans)
    for (const row of faults)
      for (const [n, { atMs, forMs }] of row.slice(0, -1).entries())
        expect(row[n + 1]!.atMs - atMs - forMs).toBeGreaterThanOrEqual(1000);
});
