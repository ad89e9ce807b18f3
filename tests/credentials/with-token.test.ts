import { expect, test } from "bun:test";
import type { CachedCredential } from "../../src/credentials/credential-cache.ts";
import { withToken } from "../../src/credentials/source.ts";
import { Secret } from "../../src/secret.ts";
import { failureOf, refusal } from "../support/refusals.ts";
import { weixinSlot } from "../support/slots.ts";

const DEAD = refusal("token_invalid", 42001);

/** Keeps `first` and replaces it by `second`; each ask fails as `failures` say in turn, and then brings its token. */
function setup({ first = "first", second = "second", failures = [] as Error[] } = {}) {
  const events: string[] = [];
  const credential = (value: string) => ({ value: new Secret(value) }) as CachedCredential;
  const tokens = {
    get: async () => credential(first),
    replace: async (_ref: object, rejected: Secret) => {
      events.push(`replace ${rejected.reveal()}`);
      return credential(second);
    },
  };
  const ask = async (token: Secret) => {
    events.push(`ask ${token.reveal()}`);
    const failure = failures.shift();
    if (failure) throw failure;
    return token.reveal();
  };
  const { signal } = new AbortController();
  const run = (triesValidAgain = false) => withToken(tokens, weixinSlot(), ask, { signal, triesValidAgain });
  return { events, tokens, ask, run };
}

test("a token that is good is asked with once", async () => {
  const it = setup();
  expect(await it.run()).toBe("first");
  expect(it.events).toEqual(["ask first"]);
});

test("a dead token is replaced by the value that was used, and asked with once more", async () => {
  const it = setup({ failures: [DEAD] });
  expect(await it.run()).toBe("second");
  expect(it.events).toEqual(["ask first", "replace first", "ask second"]);
});

test("the same token again is not asked with again: the first refusal stands", async () => {
  const it = setup({ second: "first", failures: [DEAD] });
  expect(await failureOf(it.run())).toBe(DEAD);
  expect(it.events).toEqual(["ask first", "replace first"]);
});

test("the same token again is asked with once more where that is wanted", async () => {
  const it = setup({ second: "first", failures: [DEAD] });
  expect(await it.run(true)).toBe("first");
  expect(it.events).toEqual(["ask first", "replace first", "ask first"]);
});

test("a second dead token is not replaced", async () => {
  const second = refusal("token_invalid", 40014);
  const it = setup({ failures: [DEAD, second] });
  expect(await failureOf(it.run())).toBe(second);
  expect(it.events).toEqual(["ask first", "replace first", "ask second"]);
});

test("any other failure leaves the token alone", async () => {
  for (const failure of [refusal("input", 40029), refusal("config", 40001), refusal("transient", -1)]) {
    const it = setup({ failures: [failure] });
    expect(await failureOf(it.run())).toBe(failure);
    expect(it.events).toEqual(["ask first"]);
  }
});

test("a token that does not come in time ends the wait, before the first ask and before the second", async () => {
  const never = () => new Promise<never>(() => {});
  const signal = AbortSignal.abort();
  const { ask, tokens, events } = setup({ failures: [DEAD] });
  const waiting = withToken({ ...tokens, get: never }, weixinSlot(), ask, { signal });
  expect((await failureOf(waiting)).code).toBe("upstream_timeout");
  expect(events).toEqual([]);
  const over = new AbortController();
  const replace = () => {
    over.abort();
    return never();
  };
  const again = withToken({ ...tokens, replace }, weixinSlot(), ask, {
    signal: over.signal,
  });
  expect((await failureOf(again)).code).toBe("upstream_timeout");
  expect(events).toEqual(["ask first"]);
});
