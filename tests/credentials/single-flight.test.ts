import { expect, test } from "bun:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { SharedRead, SingleFlight } from "../../src/credentials/single-flight.ts";

function setup() {
  let started = 0;
  const flights = new SingleFlight<string>();
  const ends: PromiseWithResolvers<string>[] = [];
  const run = (key = "a") =>
    flights.run(key, () => {
      started++;
      const end = Promise.withResolvers<string>();
      ends.push(end);
      return end.promise;
    });
  return { flights, run, ends, started: () => started };
}

test("P1: all who ask while a flight runs share it and its value", async () => {
  const { run, ends, started, flights } = setup();
  const all = Array.from({ length: 1000 }, () => run());
  expect(flights.has("a")).toBeTrue();
  ends[0]?.resolve("value");
  expect(new Set(await Promise.all(all))).toEqual(new Set(["value"]));
  expect(started()).toBe(1);
});

test("P1: all who share a flight get its very error, and the next call starts a new flight", async () => {
  const { run, ends, started, flights } = setup();
  const all = Array.from({ length: 10 }, () => run());
  const failure = new Error("no");
  ends[0]?.reject(failure);
  for (const outcome of await Promise.allSettled(all))
    expect(outcome).toEqual({ status: "rejected", reason: failure });
  expect(flights.has("a")).toBeFalse();
  const next = run();
  ends[1]?.resolve("value");
  expect(await next).toBe("value");
  expect(started()).toBe(2);
});

test("nothing of a success outlives its flight: the next call asks again", async () => {
  const { run, ends, started } = setup();
  const first = run();
  ends[0]?.resolve("one");
  await first;
  const second = run();
  ends[1]?.resolve("two");
  expect(await second).toBe("two");
  expect(started()).toBe(2);
});

test("different keys fly apart", async () => {
  const { run, ends, started } = setup();
  const [a, b] = [run("a"), run("b")];
  ends[1]?.resolve("b");
  expect(await b).toBe("b");
  ends[0]?.resolve("a");
  expect(await a).toBe("a");
  expect(started()).toBe(2);
});

test("settling waits for every flight that runs, however it ends", async () => {
  const { flights, run, ends } = setup();
  const [good, bad] = [run("good"), run("bad")];
  const log: string[] = [];
  const settled = flights.settle().then(() => log.push("settled"));
  ends[0]?.resolve("value");
  await good;
  expect(log).toEqual([]);
  ends[1]?.reject(new Error("no"));
  expect(await bad.catch(() => "failed")).toBe("failed");
  await settled;
  expect(log).toEqual(["settled"]);
});

test("of many who ask for what may change, each gets what was read after it had asked, and two reads do for all", async () => {
  const reads = new SharedRead<number>();
  let began = 0;
  const ends: PromiseWithResolvers<void>[] = [];
  const read = (key = "a") =>
    reads.run(key, async () => {
      const n = ++began;
      const end = Promise.withResolvers<void>();
      ends.push(end);
      await end.promise;
      return n;
    });
  const first = read();
  const others = Promise.all(Array.from({ length: 1000 }, () => read()));
  expect(began).toBe(1);
  ends[0]?.resolve();
  expect(await first).toBe(1);
  await nextTurn();
  const late = read();
  ends[1]?.resolve();
  expect(new Set(await others)).toEqual(new Set([2]));
  await nextTurn();
  ends[2]?.resolve();
  expect(await late).toBe(3);
  expect(began).toBe(3);
});

test("who waits for a read to end gets its own, also when that one fails", async () => {
  const reads = new SharedRead<string>();
  const failing = reads.run("a", () => Promise.reject(new Error("no")));
  const next = reads.run("a", () => Promise.resolve("value"));
  expect(await failing.catch(String)).toBe("Error: no");
  expect(await next).toBe("value");
});
