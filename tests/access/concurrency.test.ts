import { expect, test } from "bun:test";
import { ALLOW_ALL } from "../../src/access/api-policy.ts";
import { Caller } from "../../src/access/principal.ts";
import { Concurrency } from "../../src/access/limits.ts";
import { ServiceError } from "../../src/errors.ts";

/** A caller who is a client with that limit; nobody without a name. */
function caller(name?: string, concurrency?: number, address = "127.0.0.1"): Caller {
  const made = new Caller("trace", () => ({
    address,
    untrustedReason: undefined,
    isSuspicious: false,
  }));
  if (name === undefined) return made;
  const limits = { networks: [], expiresAt: undefined, rateLimit: undefined, concurrency };
  const reach = { delivery: "virtual", policy: ALLOW_ALL } as const;
  const facts = { name, environment: "dev", grants: [], ...limits, ...reach };
  const client = { ...facts, createdAt: 0, updatedAt: 0, version: 1 };
  made.client = {
    client,
    identity: { client: name, environment: "dev" },
    isAdmin: false,
    networks: undefined,
  };
  return made;
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
  const enter = async (as: Caller, times = 1, permits = 1) => {
    for (let n = 0; n < times; n++)
      void concurrency.enter(as, { signal, permits }).then(
        (leave) => entered.push(leave),
        () => undefined,
      );
    await new Promise(setImmediate);
  };
  return { entered, enter };
}

test("so many requests of a client at once as it may have, and one more when one has ended, however often it ends", async () => {
  const concurrency = new Concurrency(1);
  const enter = (as = caller("two", 2)) => concurrency.enter(as, { signal });
  const [first] = [await enter(), await enter()];
  const third = caller("two", 2);
  expect(await refusal(enter(third))).toBe(1000);
  expect(third.isRefused).toBe(true);
  first();
  first();
  expect(await refusal(enter())).toBeUndefined();
  expect(await refusal(enter())).toBe(1000);
});

test("a client without a limit of its own has half of what is let through at once, and its further calls wait", async () => {
  const { entered, enter } = setup(new Concurrency(1));
  await enter(caller("free"), 200);
  expect(entered).toHaveLength(96);
  for (const leave of entered.slice(0, 50)) leave();
  await enter(caller("other"));
  expect(entered).toHaveLength(96 + 50 + 1);
});

test("whoever is no client is counted by its network", async () => {
  const { entered, enter } = setup(new Concurrency(1));
  await enter(caller(undefined, undefined, "2001:db8::1"), 60);
  await enter(caller(undefined, undefined, "2001:db8::2"), 60);
  expect(entered).toHaveLength(96);
  await enter(caller(undefined, undefined, "10.0.0.1"), 60);
  expect(entered).toHaveLength(96 + 60);
});

test("a call with a streamed body counts as several against the default, and as one against a client's own limit", async () => {
  const { entered, enter } = setup(new Concurrency(1));
  await enter(caller("free"), 20, 6);
  expect(entered).toHaveLength(16);
  await enter(caller("own", 20), 20, 6);
  expect(entered).toHaveLength(36);
});

test("a call that waits too long, or whose caller has gone meanwhile, is refused, and its place is free", async () => {
  const concurrency = new Concurrency(96, 20);
  const enter = (by = signal) => concurrency.enter(caller("free"), { signal: by });
  const leave = await enter();
  expect(await refusal(enter())).toBe(1000);
  expect(await refusal(enter(AbortSignal.abort()))).toBe(1000);
  leave();
  leave();
  expect(await refusal(enter())).toBeUndefined();
});

test("each client has its own count", async () => {
  const concurrency = new Concurrency(1);
  await concurrency.enter(caller("one", 1), { signal });
  expect(await refusal(concurrency.enter(caller("other", 1), { signal }))).toBeUndefined();
  expect(await refusal(concurrency.enter(caller("one", 1), { signal }))).toBe(1000);
});

test("a limit is divided among the workers, each of which lets through at least one", async () => {
  const concurrency = new Concurrency(4);
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
  const concurrency = new Concurrency(1);
  const enter = (limit: number) => concurrency.enter(caller("shrunk", limit), { signal });
  const leave = [await enter(3), await enter(3), await enter(3)];
  expect(await refusal(enter(1))).toBe(1000);
  for (const each of leave) each();
  expect(await refusal(enter(1))).toBeUndefined();
});
