import { expect, test } from "bun:test";
import { CredentialCache } from "../../src/credentials/credential-cache.ts";
import type { CredentialStore } from "../../src/credentials/credential-store.ts";
import { credentialKey, type CredentialName } from "../../src/credentials/credential.ts";
import { Secret } from "../../src/secret.ts";
import type { Store } from "../../src/store/store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { tokenOf, weixinSlot } from "../support/slots.ts";
import { clearOne, rejectOne, saveUnderLease, StoreFolder } from "../support/store-folder.ts";

const TOKEN = tokenOf();
const KEY = credentialKey(TOKEN);
const OTHER = tokenOf(weixinSlot("wx2"));

/** A process: a view of the store of its own with a cache, and the names that it has read. */
function startProcess(store: Store, clock: ManualClock) {
  const reads: string[] = [];
  const hooks: { beforeAnswer?: () => Promise<unknown> } = {};
  const find: CredentialStore["find"] = async (name) => {
    reads.push(credentialKey(name));
    const record = await store.credentials.find(name);
    await hooks.beforeAnswer?.();
    return record;
  };
  const cache = new CredentialCache(
    { find, touch: (uses) => store.credentials.touch(uses) },
    store.changes,
    clock,
  );
  const get = async (name: CredentialName = TOKEN) =>
    (cache.current(credentialKey(name)) ?? (await cache.read(name)).held)?.value.reveal();
  return { store, cache, reads, hooks, get };
}

async function setup() {
  const clock = new ManualClock();
  const folder = new StoreFolder(clock);
  const one = startProcess(await folder.open(), clock);
  const other = startProcess(await folder.open(), clock);
  const save = (text: string, { store }: { store: Store } = one, name = TOKEN) => {
    const issuedAt = clock.now();
    const credential = { value: new Secret(text), issuedAt, expiresAt: issuedAt + 7_200_000 };
    return saveUnderLease(store.credentials, name, credential);
  };
  return { clock, one, other, save, [Symbol.dispose]: () => folder[Symbol.dispose]() };
}

test("P8: two processes that hand out a credential for 10 s read it once each, whatever else they write meanwhile", async () => {
  using it = await setup();
  await it.save("one");
  const entry = {
    client: "a",
    environment: "dev",
    address: "::1",
    traceId: "",
    action: "key.created",
  } as const;
  const count = { minute: 0, kind: "usage", key: "a", n: 1 } as const;
  for (let ms = 0; ms < 10_000; ms += 5) {
    for (const process of [it.one, it.other]) {
      expect(await process.get()).toBe("one");
      process.cache.markUsed(KEY);
      if (ms % 1000 !== 0) continue;
      // What each process does every second, and a renewal of another app.
      const { audit, credentials } = process.store;
      await audit.addCounts([count]);
      await audit.append({ ...entry, app: "", outcome: "ok", tokenDigest: "", detail: {} });
      await process.cache.flushUses();
      const lease = { holder: crypto.randomUUID(), now: it.clock.now(), lifeMs: 10_000 };
      await credentials.lease(TOKEN, lease);
      await credentials.release(TOKEN, lease.holder);
      await it.save(`of another at ${ms}`, process, OTHER);
    }
    it.clock.advance(5);
  }
  expect([it.one.reads, it.other.reads]).toEqual([[KEY], [KEY]]);
});

test("P2: what another process has cleared, rejected, replaced or shortened is not handed out 50 ms later", async () => {
  using it = await setup();
  const { credentials } = it.other.store;
  const generation = async () => (await credentials.find(TOKEN)).generation;
  const changes: [string, () => Promise<unknown>, string | undefined][] = [
    ["clear", () => clearOne(credentials, TOKEN), undefined],
    ["reject", async () => rejectOne(credentials, TOKEN, await generation()), undefined],
    ["save", () => it.save("two", it.other), "two"],
    [
      "mark revoked",
      async () =>
        credentials.markRevoked(TOKEN, new Secret("one"), await generation(), { now: 1, earlyMs: 0 }),
      undefined,
    ],
  ];
  for (const [what, change, expected] of changes) {
    await it.save("one", it.other);
    it.clock.advance(25);
    if (what !== "mark revoked") expect(await it.one.get(), what).toBe("one");
    await change();
    it.clock.advance(25);
    expect(await it.one.get(), what).toBe(expected);
  }
  await it.save("three", it.other);
  it.clock.advance(25);
  expect((await it.one.get()) && it.one.cache.current(KEY)?.remainingMs()).toBeGreaterThan(1000);
  const { credential } = await credentials.find(TOKEN);
  await credentials.shorten(TOKEN, credential!, { expiresAt: it.clock.now() + 1000, renewBeforeMs: 1 });
  it.clock.advance(25);
  await it.one.get();
  expect(it.one.cache.current(KEY)?.remainingMs()).toBeLessThanOrEqual(1000);
});

test("what this process saves itself it need not read again", async () => {
  using it = await setup();
  using pending = it.one.cache.begin(TOKEN);
  expect(pending.put(await it.save("one"))?.value.reveal()).toBe("one");
  it.clock.advance(25);
  expect([await it.one.get(), it.one.reads]).toEqual(["one", []]);
});

test("an answer that a clear has overtaken is not handed out, however late it comes", async () => {
  using it = await setup();
  using late = it.one.cache.begin(TOKEN);
  const saved = await it.save("one");
  await clearOne(it.one.store.credentials, TOKEN);
  expect(late.put(saved)).toBeUndefined();
  expect(it.one.cache.lastKnown(KEY)).toBeUndefined();

  using later = it.one.cache.begin(TOKEN);
  const again = await it.save("two");
  await clearOne(it.other.store.credentials, TOKEN);
  it.clock.advance(25);
  expect(later.put(again)).toBeUndefined();
});

test("a reading that a change has overtaken is done again, by the same caller", async () => {
  using it = await setup();
  await it.save("one");
  it.one.hooks.beforeAnswer = async () => {
    delete it.one.hooks.beforeAnswer;
    await clearOne(it.other.store.credentials, TOKEN);
    it.clock.advance(25);
  };
  expect(await it.one.get()).toBeUndefined();
  expect(it.one.reads).toEqual([KEY, KEY]);
});

test("what this process has cleared is gone also where the store can't be read afterwards", async () => {
  using it = await setup();
  await it.save("one");
  await it.one.get();
  using pending = it.one.cache.begin(TOKEN);
  pending.put(await clearOne(it.one.store.credentials, TOKEN));
  expect(it.one.cache.lastKnown(KEY)).toBeUndefined();
});
