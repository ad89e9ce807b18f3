import { Pacing } from "../../src/credentials/pacing.ts";
import { EventBus } from "../../src/events.ts";
import { expect, test } from "bun:test";
import { CredentialCache } from "../../src/credentials/credential-cache.ts";
import { Renewal, type RenewalDeps } from "../../src/credentials/renewal.ts";
import { Secret } from "../../src/secret.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { tokenOf } from "../support/slots.ts";
import { StoreFolder } from "../support/store-folder.ts";

const TOKEN = tokenOf();
const LIFE_MS = 7_200_000;

/** A credential that is due in a real store, and a manager that answers `renewed`. */
async function setup({ leftMs = 250_000, deps = {} }: { leftMs?: number; deps?: Partial<RenewalDeps> } = {}) {
  const clock = new ManualClock();
  const folder = new StoreFolder(clock);
  const { credentials: store, pacing: pacingStore, changes } = await folder.open();
  const asked: (number | undefined)[] = [];
  const answer: { retryAfterMs: number | undefined } = { retryAfterMs: undefined };
  const manager: RenewalDeps["manager"] = {
    renew: async (_ref, valid) => {
      asked.push(valid?.remainingMs());
      return answer.retryAfterMs;
    },
  };
  const memory = new CredentialCache(store, changes, clock);
  const slotOf = () => TOKEN.slot;
  const pacing = new Pacing({ store: pacingStore, clock, events: new EventBus() });
  const renewal = new Renewal({
    ...{ manager, memory, store, pacing, slotOf, clock, idleAfterMs: 86_400_000 },
    ...deps,
  });
  const { record } = await store.lease(TOKEN, { holder: "a", now: clock.now(), lifeMs: 10_000 });
  const expiresAt = clock.now() + leftMs;
  const credential = { value: new Secret("token"), issuedAt: expiresAt - LIFE_MS, expiresAt };
  await store.save(TOKEN, credential, record.generation, { renewAt: clock.now() });
  await store.touch([{ name: TOKEN, usedAt: clock.now() }]);
  /** Ticks, and says in how many ms the renewal is due then. */
  async function tick(): Promise<number | undefined> {
    await renewal.tick();
    await renewal.stop();
    const dueAt = await store.nextDueAt();
    return dueAt === undefined ? undefined : dueAt - clock.now();
  }
  return {
    clock,
    store,
    memory,
    renewal,
    asked,
    answer,
    tick,
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}

test("what is due is renewed with what is left of it, and with nothing once it has expired", async () => {
  using it = await setup();
  await it.tick();
  expect(it.asked).toEqual([250_000]);
  using expired = await setup({ leftMs: -5000 });
  await expired.tick();
  expect(expired.asked).toEqual([undefined]);
});

test.each([
  ["a failure of the moment", 250_000, 1000, 30_000],
  ["one shortly before the end", 12_000, 1000, 12_000],
  ["a backoff of two minutes", 250_000, 120_000, 120_000],
  ["a quota that is used up until midnight", 250_000, 40_000_000, 600_000],
])("the next attempt after %s stands in the store", async (_name, leftMs, retryAfterMs, expected) => {
  using it = await setup({ leftMs });
  it.answer.retryAfterMs = retryAfterMs;
  expect(await it.tick()).toBe(expected);
});

test("what another process has renewed meanwhile is planned again, and the upstream left alone", async () => {
  using it = await setup({ leftMs: 7_000_000 });
  expect(await it.tick()).toBeWithin(7_000_000 - 285_000, 7_000_000 - 199_999);
  expect(it.asked).toEqual([]);
});

test("an app that is no longer held is not renewed, and is not looked at again", async () => {
  using it = await setup({ deps: { slotOf: () => undefined } });
  expect(await it.tick()).toBeUndefined();
  expect(it.asked).toEqual([]);
});

test("a process that dies while it renews leaves the renewal to the others", async () => {
  using it = await setup({ deps: { manager: { renew: () => Promise.reject(new Error("gone")) } } });
  expect(await it.tick()).toBe(30_000);
});

test("while the store can't be read a tick does nothing and does not throw", async () => {
  const fail = () => Promise.reject(new Error("the disk is gone"));
  using it = await setup({
    deps: {
      store: { takeDue: fail, nextDueAt: fail, reschedule: fail },
      memory: { read: fail, flushUses: fail },
    },
  });
  it.clock.advance(60_000);
  await it.renewal.tick();
  expect(it.asked).toEqual([]);
});

test("uses are written before anything is taken for idle, at most once a minute for each credential", async () => {
  using it = await setup();
  const usedAt = async () => (await it.store.find(TOKEN)).usedAt;
  const start = it.clock.now();
  await it.memory.read(TOKEN);
  const written: (number | undefined)[] = [];
  for (let second = 0; second < 130; second++) {
    it.clock.advance(1000);
    it.memory.markUsed("weixin:wx1:stable:access_token");
    await it.renewal.tick();
    const at = await usedAt();
    if (at !== written.at(-1)) written.push(at);
  }
  expect(written.map((at) => ((at ?? 0) - start) / 1000)).toEqual([0, 65, 130]);
});

test("nothing is left to expire as idle while this process can't store who used it", async () => {
  let isStorable = false;
  const flushUses = () => (isStorable ? Promise.resolve() : Promise.reject(new Error("busy")));
  const read = async () => ({ held: undefined }) as never;
  using it = await setup({ deps: { memory: { read, flushUses } } });
  const idleMs = 2 * 86_400_000;
  it.clock.advance(idleMs);
  await it.renewal.tick();
  await Promise.resolve();
  expect(await it.store.nextDueAt()).toBe(it.clock.now() + 30_000);
  it.clock.advance(30_000);
  isStorable = true;
  await it.renewal.tick();
  expect(await it.store.nextDueAt()).toBeUndefined();
});
