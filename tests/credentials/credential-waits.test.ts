import { expect, test } from "bun:test";
import { ANONYMOUS } from "../../src/access/principal.ts";
import { CredentialWaits, type Look } from "../../src/credentials/credential-waits.ts";
import { Harness } from "../support/harness.ts";
import { ManualChanges } from "../support/manual-changes.ts";
import { ManualClock } from "../support/manual-clock.ts";

const KEY = "weixin:wx:stable:access_token";
const OTHER_KEY = "weixin:wx:stable:jsapi_ticket";

function setup() {
  const [changes, clock] = [new ManualChanges(), new ManualClock()];
  const waits = new CredentialWaits(changes, clock);
  const counts = { looks: 0, checks: 0 };
  const held = { value: 1, isRevoked: false };
  return {
    changes,
    clock,
    waits,
    counts,
    held,
    /** Waits at that address for another value than 1. */
    wait: (key = KEY, address = "127.0.0.1", abort = new AbortController()) => {
      const check = () => {
        counts.checks++;
        if (held.isRevoked) throw new Error("revoked");
      };
      const look = async (): Promise<Look<number>> => {
        counts.looks++;
        check();
        return held.value === 1 ? { againInMs: 3_600_000 } : { found: held.value };
      };
      const origin = { address } as never;
      const caller = { principal: ANONYMOUS, origin };
      return waits.until(key, look, { waitMs: 30_000, caller, check, signal: abort.signal });
    },
  };
}

/** What it rejects with. */
function failureOf(work: Promise<unknown>): Promise<unknown> {
  return work.catch((error: unknown) => error);
}

test("a change wakes those alone who wait for that credential", async () => {
  const it = setup();
  const [waiting, other] = [it.wait(), it.wait(OTHER_KEY)];
  await Harness.until(() => it.counts.looks === 2);
  it.held.value = 2;
  it.changes.raise("credentials", KEY);
  expect(await waiting).toBe(2);
  expect(it.counts.looks).toBe(3);
  it.changes.raise("credentials", OTHER_KEY);
  expect(await other).toBe(2);
});

test("a change that names no credential wakes all", async () => {
  const it = setup();
  const waiting = [it.wait(), it.wait(OTHER_KEY)];
  await Harness.until(() => it.counts.looks === 2);
  it.held.value = 2;
  it.changes.becomeAnother();
  expect(await Promise.all(waiting)).toEqual([2, 2]);
});

test("a change while somebody looks is not missed", async () => {
  const it = setup();
  const gate = Promise.withResolvers<void>();
  let value = 1;
  const look = async (): Promise<Look<number>> => {
    const seen = value;
    if (seen === 1) await gate.promise;
    return seen === 1 ? { againInMs: 3_600_000 } : { found: seen };
  };
  const caller = { principal: ANONYMOUS, origin: { address: "" } as never };
  const { signal } = new AbortController();
  const waiting = it.waits.until(KEY, look, { waitMs: 30_000, caller, check: () => undefined, signal });
  value = 2;
  it.changes.raise("credentials", KEY);
  gate.resolve();
  expect(await waiting).toBe(2);
});

test("after an aborted request nobody listens to the feed any more", async () => {
  const it = setup();
  const abort = new AbortController();
  const waiting = it.wait(KEY, "127.0.0.1", abort);
  await Harness.until(() => it.counts.looks === 1);
  expect(it.changes.listeners).toBe(1);
  abort.abort();
  expect(await waiting).toBeUndefined();
  expect([it.changes.listeners, it.counts.looks]).toEqual([0, 1]);
});

test("nobody listens to the feed while nobody waits, whatever ended the waits", async () => {
  const it = setup();
  const ended = it.wait();
  await Harness.until(() => it.counts.looks === 1);
  it.clock.advance(32_000);
  expect(await ended).toBeUndefined();
  const revoked = it.wait();
  await Harness.until(() => it.counts.looks === 3);
  it.held.isRevoked = true;
  expect(await failureOf(revoked)).toMatchObject({ message: "revoked" });
  expect(it.changes.listeners).toBe(0);
});

test("of one caller 512 wait, and 4096 in all; then a caller is told when to try again", async () => {
  const it = setup();
  const abort = new AbortController();
  const waiting = Array.from({ length: 512 }, () => it.wait(KEY, "10.0.0.0", abort));
  const tooMany = { code: "rate_limited", retryAfterMs: 5000 };
  expect(await failureOf(it.wait(KEY, "10.0.0.0"))).toMatchObject(tooMany);
  for (let n = 1; n < 8; n++)
    for (let more = 0; more < 512; more++) waiting.push(it.wait(KEY, `10.0.0.${n}`, abort));
  expect(await failureOf(it.wait(KEY, "10.0.0.8"))).toMatchObject(tooMany);
  abort.abort();
  await Promise.all(waiting);
  expect(it.changes.listeners).toBe(0);
  const again = it.wait(KEY, "10.0.0.0");
  it.waits.stop();
  expect(await again).toBeUndefined();
});
