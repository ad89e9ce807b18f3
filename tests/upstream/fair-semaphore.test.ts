import { expect, test } from "bun:test";
import { FairSemaphore } from "../../src/upstream/fair-semaphore.ts";

/** A semaphore of nine permits, and what was granted, in order. */
function setup() {
  const semaphore = new FairSemaphore(9);
  const granted: string[] = [];
  const { signal } = new AbortController();
  const acquire = async (group: string, holder = "one", until = signal) => {
    const share = { group, holder };
    await semaphore.acquire(share, until);
    granted.push(`${group} ${holder}`);
    return () => semaphore.release(share);
  };
  const many = (count: number, ...share: [string, string?]) =>
    Array.from({ length: count }, () => acquire(...share));
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return { granted, acquire, many, settle };
}

test("one that is alone holds two ninths, and each that comes finds a permit", async () => {
  const { granted, many, settle } = setup();
  for (const group of ["a", "b", "c", "d"]) void many(9, group);
  await settle();
  expect(granted).toEqual(["a one", "a one", "b one", "b one", "c one", "d one"]);
});

test("a holder leaves some to the others of its group, and the group to other groups", async () => {
  const { granted, many, settle } = setup();
  for (const holder of ["one", "two", "three", "four", "five"]) void many(9, "a", holder);
  void many(9, "b");
  await settle();
  expect(granted).toEqual(["a one", "a one", "a two", "a three", "a four", "b one"]);
});

test("those that wait have their turn one after the other, each in its order", async () => {
  const { granted, many, settle } = setup();
  const [first, second] = many(4, "a", "one");
  void many(3, "a", "two");
  await settle();
  granted.length = 0;
  (await first!)();
  (await second!)();
  await settle();
  expect(granted).toEqual(["a one", "a two"]);
});

test("one that gives up takes no permit, and lets those behind it pass", async () => {
  const { granted, acquire, many } = setup();
  const [first] = many(2, "a");
  const leaving = new AbortController();
  const gone = acquire("a", "one", leaving.signal).catch((error: Error) => error.message);
  const next = acquire("a");
  leaving.abort(new Error("gone"));
  expect(await gone).toBe("gone");
  (await first!)();
  await next;
  expect(granted).toHaveLength(3);
});
