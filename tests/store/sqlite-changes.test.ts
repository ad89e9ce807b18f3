import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { credentialKey } from "../../src/credentials/credential.ts";
import { entryOf } from "../support/audit-entries.ts";
import { newClient } from "../support/client-records.ts";
import { NEWEST_MIGRATION } from "../../src/store/sqlite/open-database.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { tokenOf } from "../support/slots.ts";
import { clearOne, StoreFolder } from "../support/store-folder.ts";

/** Two processes' views of one store, and a third connection that can take the table of epochs away. */
async function setup() {
  const clock = new ManualClock();
  const folder = new StoreFolder(clock);
  const [store, other] = [await folder.open(), await folder.open()];
  const database = new Database(folder.path, { readwrite: true });
  return {
    clock,
    store,
    other,
    database,
    [Symbol.dispose]: () => {
      database.close();
      folder[Symbol.dispose]();
    },
  };
}

test("P4: while epochs can't be read the last ones stay, and afterwards nothing of what changed meanwhile is missed", async () => {
  using it = await setup();
  const { changes } = it.store;
  const named: string[] = [];
  changes.subscribe("credentials", (changed) => named.push(...(changed?.keys() ?? ["any"])));
  const before = changes.epoch("credentials");
  await clearOne(it.other.credentials, tokenOf());
  it.database.run("ALTER TABLE revisions RENAME TO moved");
  it.clock.advance(25);
  expect([changes.epoch("credentials"), changes.isLive]).toEqual([before, false]);
  it.database.run("ALTER TABLE moved RENAME TO revisions");
  it.clock.advance(25);
  expect([changes.epoch("credentials"), changes.isLive]).toEqual([before + 1, true]);
  expect(named).toEqual([credentialKey(tokenOf())]);
});

test("P2: epochs that have gone back, as after a restored backup, make everything known as old", async () => {
  using it = await setup();
  const { changes } = it.store;
  const calls: unknown[] = [];
  for (let n = 0; n < 3; n++) await clearOne(it.store.credentials, tokenOf());
  changes.subscribe("credentials", (changed) => calls.push(changed));
  expect(changes.epoch("credentials")).toBe(3);
  calls.length = 0;
  it.database.run("UPDATE revisions SET number = 1 WHERE name = 'credentials'");
  it.clock.advance(25);
  expect(changes.epoch("credentials")).toBe(1);
  expect(calls).toEqual([undefined]);
});

test("all topics are looked at together, once in 25 ms, however often they are asked for", async () => {
  using it = await setup();
  const { changes } = it.store;
  changes.epoch("apps");
  await clearOne(it.other.credentials, tokenOf());
  const before = changes.epoch("credentials");
  it.clock.advance(25);
  changes.epoch("apps");
  it.database.run("DROP TABLE revisions");
  expect(changes.epoch("credentials")).toBe(before + 1);
  expect(changes.isLive).toBeTrue();
});

test("changed credentials are named up to a thousand; beyond that any may have changed", async () => {
  using it = await setup();
  const { changes } = it.store;
  const calls: unknown[] = [];
  changes.subscribe("credentials", (changed) => calls.push(changed?.size));
  const change = (count: number) => {
    it.database.transaction(() => {
      it.database.run(
        `INSERT INTO revisions (name, number) VALUES ('credentials', 1) ON CONFLICT DO UPDATE SET number = number + 1`,
      );
      it.database.run(
        `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
         INSERT INTO credentials (platform, app_id, slot, kind, generation, epoch)
         SELECT 'weixin', ? || '-' || i, 'stable', 'access_token', 1, (SELECT number FROM revisions WHERE name = 'credentials') FROM n`,
        [count, `wx${count}`],
      );
    })();
    it.clock.advance(25);
    changes.epoch("credentials");
  };
  change(1000);
  change(1001);
  expect(calls).toEqual([1000, undefined]);
});

test.each(["'x'", "x'00'", "9223372036854775807", "9e99", "-1"])(
  "a change is noticed where %s has taken the place of the epoch",
  async (value) => {
    using it = await setup();
    const { clients, changes } = it.store;
    await clients.create(newClient("a"), entryOf());
    it.database.run(`UPDATE revisions SET number = ${value} WHERE name = 'clients'`);
    await changes.catchUp();
    const before = changes.epoch("clients");
    await clients.create(newClient("b"), entryOf());
    expect(changes.epoch("clients")).not.toBe(before);
  },
);

test.each(["DELETE FROM settings", "UPDATE settings SET value = 'x'", "UPDATE settings SET name = 'x'"])(
  "nobody comes without a key where the setting that says so can't be read: %s",
  async (damage) => {
    using it = await setup();
    const { clients } = it.store;
    expect((await clients.load()).settings).toMatchObject({ isAnonymousOn: true });
    it.database.run(damage);
    expect((await clients.load()).settings).toMatchObject({ isAnonymousOn: false });
    await clients.saveSettings({ isAnonymousOn: true }, entryOf());
    expect((await clients.load()).settings).toMatchObject({ isAnonymousOn: true });
  },
);

test("P2: a migration that raises what processes must know outdates this one, once; one that leaves it does not", async () => {
  using files = new StoreFolder();
  let told = 0;
  const { changes } = await files.open({ onOutdated: () => told++ });
  using database = new Database(files.path);
  const raiseTo = async (number: number) => {
    database.run("INSERT OR REPLACE INTO revisions (name, number) VALUES ('compatible_from', ?)", [number]);
    await changes.catchUp();
    return told;
  };
  expect(await raiseTo(NEWEST_MIGRATION)).toBe(0);
  expect(await raiseTo(NEWEST_MIGRATION + 1)).toBe(1);
  expect(await raiseTo(NEWEST_MIGRATION + 2)).toBe(1);
});
