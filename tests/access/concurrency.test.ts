import { expect, test } from "bun:test";
import { type Caller, UNIDENTIFIED } from "../../src/access/principal.ts";
import { caller as callerFrom, clientPrincipal } from "../support/callers.ts";
import { Concurrency, type CountedCall } from "../../src/access/limits.ts";
import { ServiceError } from "../../src/errors.ts";

/** A caller who is a client with that limit; one that is no client without a name. */
function caller(name?: string, concurrency?: number, address = "127.0.0.1"): Caller {
  if (name === undefined) return callerFrom(UNIDENTIFIED, { address });
  return callerFrom(clientPrincipal(name, { concurrency }));
}

const signal = new AbortController().signal;

/** With how many milliseconds to wait a caller was refused; undefined when it was let in. */
async function refusal(work: Promise<unknown>): Promise<number | undefined> {
  try {
    await work;
  } catch (error) {
    if (error instanceof ServiceError && error.code === "rate_limited") return error.retryAfterMs;
    throw error;
  }
  return undefined;
}

/** Enters as `times` calls of that caller, and counts in `entered` those that were let in. */
function setup(concurrency: Concurrency) {
  const entered: (() => void)[] = [];
  const enter = async (as: Caller, times = 1, call: Partial<CountedCall> = {}) => {
    for (let n = 0; n < times; n++)
      void concurrency.enter(as, { signal, ...call }).then(
        (leave) => entered.push(leave),
        () => undefined,
      );
    await new Promise(setImmediate);
  };
  return { entered, enter };
}

test("so many requests of a client at once as it may have, and one more when one has ended, however often it ends", async () => {
  const concurrency = new Concurrency(() => 1);
  const enter = (as = caller("two", 2)) => concurrency.enter(as, { signal });
  const [first] = [await enter(), await enter()];
  const third = caller("two", 2);
  expect(await refusal(enter(third))).toBe(1000);
  const { deniedTo } = (await enter(third).catch((error: unknown) => error)) as ServiceError;
  expect(deniedTo).toBe("two");
  first();
  first();
  expect(await refusal(enter())).toBeUndefined();
  expect(await refusal(enter())).toBe(1000);
});

test("a client without a limit of its own has half of what is let through at once, and its further calls wait", async () => {
  const { entered, enter } = setup(new Concurrency(() => 1));
  await enter(caller("free"), 200);
  expect(entered).toHaveLength(96);
  for (const leave of entered.slice(0, 50)) leave();
  await enter(caller("other"));
  expect(entered).toHaveLength(96 + 50 + 1);
});

test("whoever is no client is counted by its network", async () => {
  const { entered, enter } = setup(new Concurrency(() => 1));
  await enter(caller(undefined, undefined, "2001:db8::1"), 60);
  await enter(caller(undefined, undefined, "2001:db8::2"), 60);
  expect(entered).toHaveLength(96);
  await enter(caller(undefined, undefined, "10.0.0.1"), 60);
  expect(entered).toHaveLength(96 + 60);
});

test("uploads and other calls of a client without a limit of its own do not wait for each other", async () => {
  const { entered, enter } = setup(new Concurrency(() => 1));
  await enter(caller("free"), 20, { isUpload: true });
  expect(entered).toHaveLength(12);
  await enter(caller("free"), 100);
  expect(entered).toHaveLength(12 + 96);
  await enter(caller("other"), 1, { isUpload: true });
  expect(entered).toHaveLength(12 + 96 + 1);
  entered[0]?.();
  await new Promise(setImmediate);
  expect(entered).toHaveLength(12 + 96 + 2);
});

test("bodies are held up to so many bytes, of one caller and of all, and what exceeds that is refused at once", async () => {
  const concurrency = new Concurrency(() => 1);
  const heldBytes = 16 << 20;
  const enter = (as: Caller, bytes = heldBytes) => concurrency.enter(as, { signal, heldBytes: bytes });
  const one = caller("one", 9);
  const leaves = [await enter(one), await enter(one), await enter(one)];
  expect(await refusal(enter(one, 1))).toBe(1000);
  expect(await refusal(enter(one, 0))).toBeUndefined();
  await enter(caller("other"));
  expect(await refusal(enter(caller("third"), 1))).toBe(1000);
  leaves[0]?.();
  leaves[0]?.();
  await enter(caller("third"));
  expect(await refusal(enter(one))).toBe(1000);
});

test("what is refused or gives up holds nothing", async () => {
  const concurrency = new Concurrency(() => 1);
  const full = { signal, heldBytes: 28 << 20 };
  await concurrency.enter(caller("one", 1), full);
  expect(await refusal(concurrency.enter(caller("one", 1), full))).toBe(1000);
  const gone = { ...full, signal: AbortSignal.abort() };
  await concurrency.enter(caller("gone"), gone);
  await concurrency.enter(caller("other"), full);
  expect(await refusal(concurrency.enter(caller("third"), full))).toBe(1000);
});

test("a call that waits too long, or whose caller has gone meanwhile, is refused, and its place is free", async () => {
  const concurrency = new Concurrency(() => 96, { calls: 20, uploads: 20 });
  const enter = (by = signal) => concurrency.enter(caller("free"), { signal: by });
  const leave = await enter();
  expect(await refusal(enter())).toBe(1000);
  const gone = (await enter(AbortSignal.abort()).catch((error: unknown) => error)) as ServiceError;
  expect([gone.code, gone.deniedTo]).toEqual(["rate_limited", undefined]);
  leave();
  leave();
  expect(await refusal(enter())).toBeUndefined();
});

test("each client has its own count", async () => {
  const concurrency = new Concurrency(() => 1);
  await concurrency.enter(caller("one", 1), { signal });
  expect(await refusal(concurrency.enter(caller("other", 1), { signal }))).toBeUndefined();
  expect(await refusal(concurrency.enter(caller("one", 1), { signal }))).toBe(1000);
});

test("a limit is divided among the workers, each of which lets through at least one", async () => {
  const concurrency = new Concurrency(() => 4);
  for (const [name, limit, share] of [
    ["nine", 9, 2],
    ["three", 3, 1],
  ] as const) {
    for (let times = 0; times < share; times++) await concurrency.enter(caller(name, limit), { signal });
    expect(await refusal(concurrency.enter(caller(name, limit), { signal }))).toBe(1000);
  }
  const { entered, enter } = setup(concurrency);
  await enter(caller("free"), 50);
  expect(entered).toHaveLength(24);
});

test("a limit that is lowered while requests are under way holds for the next ones", async () => {
  const concurrency = new Concurrency(() => 1);
  const enter = (limit: number) => concurrency.enter(caller("shrunk", limit), { signal });
  const leave = [await enter(3), await enter(3), await enter(3)];
  expect(await refusal(enter(1))).toBe(1000);
  for (const each of leave) each();
  expect(await refusal(enter(1))).toBeUndefined();
});
