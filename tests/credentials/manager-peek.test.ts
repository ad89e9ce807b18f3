import { expect, test } from "bun:test";
import { credentialKey } from "../../src/credentials/credential.ts";
import { ManualChanges } from "../support/manual-changes.ts";
import { ManualSource } from "../support/manual-source.ts";
import { tokenOf, wecomSlot } from "../support/slots.ts";
import { CredentialsHarness, type CredentialsWorldOptions } from "./credentials-harness.ts";
import { clearOne } from "../support/store-folder.ts";

const TOKEN = tokenOf();
const KEY = credentialKey(TOKEN);
const ACTOR = { client: "", environment: "", address: "127.0.0.1", traceId: "t" };

async function setup(options: CredentialsWorldOptions = {}) {
  const world = await CredentialsHarness.create(new ManualSource("one", "two", "three"), options);
  const { manager } = world;
  return {
    world,
    manager,
    peek: (minTtlMs?: number) => manager.peek(KEY, minTtlMs)?.value.reveal(),
    [Symbol.dispose]: () => world[Symbol.dispose](),
  };
}

test("P8: a peek returns what a get has brought, at once and without the store", async () => {
  const used: string[] = [];
  using it = await setup({
    wrap: (store) => ({ find: (...parts) => (used.push("find"), store.find(...parts)) }),
  });
  expect(it.peek()).toBeUndefined();
  await it.manager.get(TOKEN);
  used.length = 0;
  for (let n = 0; n < 100; n++) expect(it.peek()).toBe("one");
  expect(used).toEqual([]);
  expect(it.world.source.asked).toHaveLength(1);
});

test("P2: a peek returns nothing that has too little life for the caller, or that a renewal is due for", async () => {
  using it = await setup();
  await it.manager.get(TOKEN);
  expect([it.peek(7_200_000), it.peek(7_200_001)]).toEqual(["one", undefined]);
  it.world.clock.advance(7_200_000 - 200_001);
  expect(it.peek()).toBe("one");
  it.world.clock.advance(1);
  expect(it.peek()).toBeUndefined();
});

test("P2: WeCom's token, which is repeated to its end, is returned as long as its life can be stated", async () => {
  using it = await setup();
  const ref = tokenOf(wecomSlot());
  await it.manager.get(ref);
  it.world.clock.advance(7_200_000 - 1000);
  expect(it.manager.peek(credentialKey(ref))?.value.reveal()).toBe("one");
  it.world.clock.advance(1);
  expect(it.manager.peek(credentialKey(ref))).toBeUndefined();
});

test("P2: a peek goes by the clocks that it is given", async () => {
  using it = await setup();
  const { expiresAt } = await it.manager.get(TOKEN);
  const { clock } = it.world;
  expect(it.manager.peek(KEY, 0, expiresAt, clock.monotonic())).toBeUndefined();
  expect(it.manager.peek(KEY, 0, clock.now(), clock.monotonic() + 7_200_000)).toBeUndefined();
  expect(it.manager.peek(KEY, 0, clock.now(), clock.monotonic())?.value.reveal()).toBe("one");
});

test("P2: what this process clears no peek returns, and what another clears none 25 ms later", async () => {
  using it = await setup();
  await it.manager.get(TOKEN);
  await it.manager.clear(TOKEN, { actor: ACTOR });
  expect(it.peek()).toBeUndefined();
  await it.manager.get(TOKEN);
  expect(it.peek()).toBe("two");
  await clearOne(await it.world.elsewhere(), TOKEN);
  it.world.clock.advance(25);
  expect(it.peek()).toBeUndefined();
});

test("P2: nothing is peeked at while changes can't be seen", async () => {
  const changes = new ManualChanges();
  using it = await setup({ changes });
  await it.manager.get(TOKEN);
  expect(it.peek()).toBe("one");
  changes.isLive = false;
  expect(it.peek()).toBeUndefined();
  expect((await it.manager.get(TOKEN)).value.reveal()).toBe("one");
});

test("P4: while changes can't be seen and the store can't be read, a get returns what is in memory and valid", async () => {
  const changes = new ManualChanges();
  let isBroken = false;
  using it = await setup({
    changes,
    wrap: (store) => ({
      find: async (name) => {
        if (isBroken) throw new Error("SQLITE_IOERR_READ");
        return store.find(name);
      },
    }),
  });
  await it.manager.get(TOKEN);
  [changes.isLive, isBroken] = [false, true];
  it.world.clock.advance(1000);
  expect((await it.manager.get(TOKEN)).value.reveal()).toBe("one");
  expect(it.world.source.asked).toHaveLength(1);
});

test("a peek counts as a use, as a get does", async () => {
  using it = await setup();
  await it.manager.get(TOKEN);
  it.world.clock.advance(60_000);
  it.peek();
  await it.world.memory.flushUses();
  expect((await it.world.store.find(TOKEN)).usedAt).toBe(it.world.clock.now());
});
