import { expect, test } from "bun:test";
import { ALLOW_ALL } from "../../src/access/api-policy.ts";
import { Caller } from "../../src/access/principal.ts";
import { Concurrency } from "../../src/access/limits.ts";
import { ServiceError } from "../../src/errors.ts";

/** A caller who is a client with that limit; nobody without a name. */
function caller(name?: string, concurrency?: number): Caller {
  const made = new Caller("trace", () => ({
    address: "127.0.0.1",
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

/** With how many milliseconds to wait a caller was refused; undefined when it was let in. */
function refusal(work: () => unknown): number | undefined {
  try {
    work();
  } catch (error) {
    if (error instanceof ServiceError && error.code === "rate_limited") return error.retryAfterMs;
    throw error;
  }
  return undefined;
}

test("so many requests of a client at once as it may have, and one more when one has ended, however often it ends", () => {
  const concurrency = new Concurrency(1);
  const [first] = [concurrency.enter(caller("two", 2)), concurrency.enter(caller("two", 2))];
  const third = caller("two", 2);
  expect(refusal(() => concurrency.enter(third))).toBe(1000);
  expect(third.isRefused).toBe(true);
  first?.();
  first?.();
  expect(refusal(() => concurrency.enter(caller("two", 2)))).toBeUndefined();
  expect(refusal(() => concurrency.enter(caller("two", 2)))).toBe(1000);
});

test("each client has its own count, and who has no limit or is no client is never refused", () => {
  const concurrency = new Concurrency(1);
  concurrency.enter(caller("one", 1));
  for (let times = 0; times < 100; times++) {
    concurrency.enter(caller("free"));
    concurrency.enter(caller());
  }
  expect(refusal(() => concurrency.enter(caller("other", 1)))).toBeUndefined();
  expect(refusal(() => concurrency.enter(caller("one", 1)))).toBe(1000);
});

test("a limit is divided among the workers, each of which lets through at least one", () => {
  const concurrency = new Concurrency(4);
  for (const [name, limit, share] of [
    ["nine", 9, 2],
    ["three", 3, 1],
  ] as const) {
    for (let times = 0; times < share; times++) concurrency.enter(caller(name, limit));
    expect(refusal(() => concurrency.enter(caller(name, limit)))).toBe(1000);
  }
});

test("a limit that is lowered while requests are under way holds for the next ones", () => {
  const concurrency = new Concurrency(1);
  const leave = [1, 2, 3].map(() => concurrency.enter(caller("shrunk", 3)));
  expect(refusal(() => concurrency.enter(caller("shrunk", 1)))).toBe(1000);
  for (const each of leave) each?.();
  expect(refusal(() => concurrency.enter(caller("shrunk", 1)))).toBeUndefined();
});
