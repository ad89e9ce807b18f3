import { expect, test } from "bun:test";
import { Semaphore } from "../../src/access/semaphore.ts";

function setup(limit: number) {
  const semaphore = new Semaphore(limit);
  const granted: string[] = [];
  const acquire = (name: string, signal = new AbortController().signal) =>
    semaphore.acquire(signal).then(
      () => void granted.push(name),
      () => undefined,
    );
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return { semaphore, granted, acquire, settle };
}

test("at most as many permits as there are are held, and each that is released goes to the one who waits longest", async () => {
  const { semaphore, granted, acquire, settle } = setup(2);
  for (const name of ["a", "b", "c", "d"]) void acquire(name);
  await settle();
  expect([granted, semaphore.tryAcquire()]).toEqual([["a", "b"], false]);
  semaphore.release();
  await settle();
  expect(granted).toEqual(["a", "b", "c"]);
  for (let count = 0; count < 3; count += 1) semaphore.release();
  await settle();
  expect([granted, semaphore.isIdle]).toEqual([["a", "b", "c", "d"], true]);
});

test("one that gives up takes no permit, and lets those behind it pass", async () => {
  const { semaphore, granted, acquire, settle } = setup(1);
  await acquire("a");
  const controller = new AbortController();
  void acquire("gone", controller.signal);
  void acquire("b");
  controller.abort(new Error("gone"));
  await settle();
  semaphore.release();
  await settle();
  expect(granted).toEqual(["a", "b"]);
  semaphore.release();
  expect(semaphore.isIdle).toBe(true);
});

test("whoever gave up before it came gets none", async () => {
  const { semaphore, granted, acquire } = setup(1);
  await acquire("a", AbortSignal.abort(new Error("gone")));
  expect([granted, semaphore.isIdle]).toEqual([[], true]);
});
