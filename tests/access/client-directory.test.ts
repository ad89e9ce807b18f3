import { expect, test } from "bun:test";
import { apiKeyDigest, apiKeyPrefix, createApiKey } from "../../src/access/api-key.ts";
import { ALLOW_ALL } from "../../src/access/api-policy.ts";
import { ClientDirectory } from "../../src/access/client-directory.ts";
import type { ApiKeyRecord, Client } from "../../src/access/client.ts";
import { ManualChanges } from "../support/manual-changes.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { failureOf } from "../support/refusals.ts";

const MINUTE_MS = 60_000;

/** A store in memory that counts, can be held up, and can fail. */
class CountingStore {
  clients: Client[] = [];
  keys: ApiKeyRecord[] = [];
  loads = 0;
  isBroken = false;
  isAnonymousOn = true;
  /** What `load` waits for before it looks. */
  gate: Promise<void> = Promise.resolve();
  readonly touched: { prefix: string; usedAt: number }[] = [];

  async load() {
    this.loads += 1;
    const { clients, keys } = this;
    await this.gate;
    this.#check();
    return {
      clients: [...clients],
      keys: [...keys],
      settings: { isAnonymousOn: this.isAnonymousOn, corsOrigins: undefined },
    };
  }

  /** As another process has written it down. */
  uses: { prefix: string; usedAt: number }[] = [];

  /** Whose uses were asked for. */
  readonly asked: string[] = [];

  async lastUsesOf(client: string) {
    this.asked.push(client);
    this.#check();
    return this.uses;
  }

  async touchKeys(uses: readonly { prefix: string; usedAt: number }[]): Promise<void> {
    this.#check();
    this.touched.push(...uses);
  }

  #check(): void {
    if (this.isBroken) throw new Error("the disk is gone");
  }
}

function setup() {
  const clock = new ManualClock();
  const store = new CountingStore();
  const changes = new ManualChanges();
  const failures: unknown[] = [];
  const directory = new ClientDirectory(store, changes, clock, (error) => failures.push(error));
  /** Puts a client with a key into the store, and gives the key. */
  const add = (name: string, facts: Partial<Client> = {}) => {
    const key = createApiKey();
    const common = { createdAt: clock.now(), expiresAt: undefined };
    const reach = { concurrency: undefined, delivery: "real", policy: ALLOW_ALL } as const;
    const unlimited = { networks: [], rateLimit: undefined, ...reach, updatedAt: clock.now(), version: 1 };
    store.clients = [
      ...store.clients,
      { name, environment: "dev", grants: [], ...common, ...unlimited, ...facts },
    ];
    const record = { prefix: apiKeyPrefix(key), digest: apiKeyDigest(key.reveal()), client: name };
    const states = { label: "default", revokedAt: undefined, lastUsedAt: undefined };
    store.keys = [...store.keys, { ...record, ...states, ...common }];
    changes.raise("clients");
    return key.reveal();
  };
  const use = (text: string) => directory.noteUse(directory.keyOf(text)!.key, { address: "10.0.0.8" });
  return { clock, store, changes, failures, directory, add, use };
}

test("nobody is known until a client was made, which changes nothing for callers without a key", async () => {
  const { directory, add } = setup();
  await directory.refresh();
  const key = add("a");
  expect(directory.keyOf(key)).toBeUndefined();
  await directory.refresh();
  expect(directory.settings.isAnonymousOn).toBeTrue();
  expect(directory.keyOf(key)).toMatchObject({ key: { client: "a" }, identity: { client: "a" } });
});

test("a client that is gone is unknown", async () => {
  const { directory, store, changes, add } = setup();
  const key = add("a");
  await directory.refresh();
  store.clients = [];
  store.keys = [];
  changes.raise("clients");
  await directory.refresh();
  expect(directory.keyOf(key)).toBeUndefined();
  expect(directory.find("a")).toBeUndefined();
});

test("the store is read only when its epoch is another", async () => {
  const { directory, store, add } = setup();
  add("a");
  for (let n = 0; n < 10; n++) await directory.refresh();
  expect(store.loads).toBe(1);
  add("b");
  await Promise.all(Array.from({ length: 10 }, () => directory.refresh()));
  expect(store.loads).toBe(2);
});

test("its epoch moves when other clients are in place, and not before", async () => {
  const { directory, store, add } = setup();
  const key = add("a");
  await directory.refresh();
  const before = directory.epoch;
  const gate = Promise.withResolvers<void>();
  store.gate = gate.promise;
  const later = add("b");
  const reading = directory.refresh();
  await Promise.resolve();
  expect([directory.epoch, directory.keyOf(later)]).toEqual([before, undefined]);
  gate.resolve();
  await reading;
  expect(directory.epoch).toBeGreaterThan(before);
  expect([directory.keyOf(key), directory.keyOf(later)]).not.toContain(undefined);
});

test("what changes while it is read is read again, so no revoked key goes on being good", async () => {
  const { directory, store, changes, add } = setup();
  const key = add("a");
  const gate = Promise.withResolvers<void>();
  store.gate = gate.promise;
  const reading = directory.refresh();
  // The reading has the old keys in its hands.
  await Promise.resolve();
  store.keys = store.keys.map((record) => ({ ...record, revokedAt: 1 }));
  changes.raise("clients");
  const behind = directory.refresh();
  gate.resolve();
  await reading;
  await behind;
  expect(store.loads).toBe(2);
  expect(directory.keyOf(key)?.key.revokedAt).toBe(1);
});

test("while the store can't be read, who was known goes on, and what was changed is seen afterwards", async () => {
  const { directory, store, add } = setup();
  const key = add("a");
  await directory.refresh();
  const later = add("b");
  store.isBroken = true;
  expect(directory.refresh()).rejects.toThrow("the disk is gone");
  expect(directory.keyOf(key)).toBeDefined();
  expect(directory.find("a")).toBeDefined();
  store.isAnonymousOn = false;
  expect(directory.settings.isAnonymousOn).toBeTrue();
  store.isBroken = false;
  await directory.refresh();
  expect(directory.settings.isAnonymousOn).toBeFalse();
  expect(directory.keyOf(later)).toBeDefined();
});

test("a reading that fails midway changes nothing and is tried again", async () => {
  const { directory, store, add } = setup();
  const key = add("a");
  await directory.refresh();
  const later = add("b");
  const gate = Promise.withResolvers<void>();
  store.gate = gate.promise;
  const reading = directory.refresh();
  store.isBroken = true;
  gate.resolve();
  expect(reading).rejects.toThrow("the disk is gone");
  await reading.catch(() => undefined);
  expect([directory.keyOf(key) !== undefined, directory.keyOf(later) !== undefined]).toEqual([true, false]);
  store.isBroken = false;
  await directory.refresh();
  expect(directory.keyOf(later)).toBeDefined();
});

test("a key is found by the whole of it alone", async () => {
  const { directory, add } = setup();
  const keys = Array.from({ length: 50 }, (_, n) => add(`client-${n}`));
  await directory.refresh();
  for (const [n, key] of keys.entries()) expect(directory.keyOf(key)?.owner.client.name).toBe(`client-${n}`);
  const [key = ""] = keys;
  for (const text of [
    "",
    key.slice(0, -1),
    `${key} `,
    key.toLowerCase(),
    key.slice(0, 12),
    apiKeyDigest(key),
  ])
    expect(directory.keyOf(text)).toBeUndefined();
});

test("a key without its client, or with a digest that is none, belongs to nobody and harms no other", async () => {
  const { directory, store, add } = setup();
  const key = add("a");
  const orphan = add("b");
  const damaged = add("c");
  store.clients = store.clients.filter(({ name }) => name !== "b");
  store.keys = store.keys.map((record) => (record.client === "c" ? { ...record, digest: "beef" } : record));
  await directory.refresh();
  expect(directory.keyOf(key)).toBeDefined();
  expect(directory.keyOf(orphan)).toBeUndefined();
  expect(directory.keyOf(damaged)).toBeUndefined();
  expect(directory.keysOf("b")).toEqual([]);
});

test("the last use is kept to the minute, and written down once a minute however often a key is used", async () => {
  const { clock, store, directory, add, use } = setup();
  const key = add("a");
  await directory.refresh();
  const minute = clock.now();
  expect(minute % MINUTE_MS).toBe(0);
  for (let second = 0; second < 60; second++) {
    use(key);
    await directory.flushUses();
    clock.advance(1000);
  }
  const { prefix } = directory.keyOf(key)!.key;
  expect(store.touched).toEqual([{ prefix, usedAt: minute }]);
  use(key);
  await directory.flushUses();
  await directory.flushUses();
  expect(store.touched.slice(1)).toEqual([{ prefix, usedAt: minute + MINUTE_MS }]);
});

test("a last use is shown at once, also before it is written down, and none for a key that was never used", async () => {
  const { clock, directory, add, use } = setup();
  const [used, unused] = [add("a"), add("b")];
  await directory.refresh();
  expect(directory.keyOf(unused)).toBeDefined();
  clock.advance(30_500);
  use(used);
  expect(directory.keysOf("a").map(({ lastUsedAt }) => lastUsedAt)).toEqual([clock.now() - 30_500]);
  expect(directory.keysOf("b").map(({ lastUsedAt }) => lastUsedAt)).toEqual([undefined]);
});

test("P8: the last uses that other processes have written down are read for one client, and nobody is loaded for it", async () => {
  const { store, directory, add, clock } = setup();
  const key = add("a");
  add("b");
  await directory.refresh();
  const { prefix } = directory.keyOf(key)!.key;
  store.uses = [{ prefix, usedAt: clock.now() }];
  await directory.readUses("a");
  expect(directory.keysOf("a").map(({ lastUsedAt }) => lastUsedAt)).toEqual([clock.now()]);
  expect([store.asked, store.loads]).toEqual([["a"], 1]);
  // What this process knows better stays.
  store.uses = [{ prefix, usedAt: 1 }];
  await directory.readUses("a");
  expect(directory.keysOf("a").map(({ lastUsedAt }) => lastUsedAt)).toEqual([clock.now()]);
});

test("a use that can't be written down now is written later, once, with the latest minute", async () => {
  const { clock, store, directory, add, use } = setup();
  const key = add("a");
  await directory.refresh();
  use(key);
  store.isBroken = true;
  expect(directory.flushUses()).rejects.toThrow("the disk is gone");
  clock.advance(MINUTE_MS);
  use(key);
  store.isBroken = false;
  await directory.flushUses();
  await directory.flushUses();
  expect(store.touched.map(({ usedAt }) => usedAt)).toEqual([clock.now()]);
});

test("what was used is written down at the end", async () => {
  const { store, directory, add, use } = setup();
  const key = add("a");
  await directory.refresh();
  use(key);
  await directory.stop();
  expect(store.touched).toHaveLength(1);
});

test("a failing disk at the end keeps nobody from ending", async () => {
  const { store, directory, add, use } = setup();
  const key = add("a");
  await directory.refresh();
  use(key);
  store.isBroken = true;
  await directory.stop();
  expect(store.touched).toEqual([]);
});

test("a client's networks and rights are worked out when it is read", async () => {
  const { directory, add } = setup();
  const near = add("near", { networks: ["10.0.0.0/8", "::1/128"] });
  const admin = add("admin", { grants: [{ apps: ["*"], actions: ["admin"] }] });
  await directory.refresh();
  expect(directory.keyOf(near)?.owner.networks?.includes("10.1.2.3")).toBeTrue();
  expect(directory.keyOf(near)?.owner.networks?.includes("11.1.2.3")).toBeFalse();
  expect(directory.keyOf(near)?.owner.isAdmin).toBeFalse();
  expect(directory.keyOf(admin)?.owner).toMatchObject({ isAdmin: true, networks: undefined });
});

test("clients are listed by name, in pages that miss none", async () => {
  const { directory, add } = setup();
  for (const name of ["c", "a", "b10", "b", "b2"]) add(name);
  await directory.refresh();
  const names: string[] = [];
  for (let after = ""; ; after = names.at(-1) ?? "") {
    const page = directory.list({ after, limit: 2 });
    if (page.length === 0) break;
    names.push(...page.map(({ name }) => name));
  }
  expect(names).toEqual(["a", "b", "b10", "b2", "c"]);
});

test("before anything could be read nobody is known, a key is refused for a while only, and nobody comes without one", async () => {
  const { store, directory, add } = setup();
  const key = add("a");
  store.isBroken = true;
  expect(directory.refresh()).rejects.toThrow("the disk is gone");
  await directory.refresh().catch(() => undefined);
  const refusal = await failureOf((async () => directory.keyOf(key))());
  expect([refusal.code, refusal.retryAfterMs]).toEqual(["unavailable", 1000]);
  expect([directory.settings.isAnonymousOn, await directory.unreadableMs()]).toEqual([false, Infinity]);
  store.isBroken = false;
  expect(await directory.unreadableMs()).toBe(0);
  expect(directory.keyOf(key)).toBeDefined();
});

test("it tells for how long it could not be read, and reports it once", async () => {
  const { clock, store, changes, failures, directory, add } = setup();
  add("a");
  expect(await directory.unreadableMs()).toBe(0);
  store.isBroken = true;
  add("b");
  expect(await directory.unreadableMs()).toBe(0);
  clock.advance(1500);
  expect(await directory.unreadableMs()).toBe(1500);
  expect(failures).toHaveLength(1);
  store.isBroken = false;
  expect(await directory.unreadableMs()).toBe(0);
  // Changes that can't be seen are as bad.
  changes.isLive = false;
  await directory.unreadableMs();
  clock.advance(2000);
  expect(await directory.unreadableMs()).toBe(2000);
  expect(failures).toHaveLength(2);
});

test("a key under another name than its own, which could not be revoked by it, is unknown", async () => {
  const { store, changes, directory, add } = setup();
  const key = add("a");
  store.keys = store.keys.map((record) => ({ ...record, prefix: "ats_00000000" }));
  changes.raise("clients");
  await directory.refresh();
  expect(directory.keyOf(key)).toBeUndefined();
});
