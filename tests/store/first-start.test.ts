import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Store } from "../../src/store/store.ts";
import { createDatabase } from "../../src/store/sqlite/open-database.ts";
import { failureOf } from "../support/refusals.ts";
import { StoreFolder } from "../support/store-folder.ts";

/** A folder in which a store was made and closed, and what was told when it was opened. */
async function setup() {
  const files = new StoreFolder();
  const created: string[] = [];
  const open = (newDatabase = false) =>
    files.open({ newDatabase, onDatabaseCreated: (path) => created.push(path) });
  await open();
  files.close();
  const removeDatabase = () => {
    for (const end of ["", "-wal", "-shm"]) rmSync(`${files.path}${end}`, { force: true });
  };
  return { files, created, open, removeDatabase, [Symbol.dispose]: () => files[Symbol.dispose]() };
}

async function isAnonymousOn(opening: Promise<Store>): Promise<boolean> {
  return (await (await opening).clients.load()).settings.isAnonymousOn;
}

test("P3: a database that was lost beside its key is not replaced by an empty one, and it says how to insist", async () => {
  using it = await setup();
  it.removeDatabase();
  const { code, message } = await failureOf(it.open());
  expect(code).toBe("store_unusable");
  expect(message).toContain(`file:${it.files.path}`);
  expect(message).toContain("--new-database");
  expect(existsSync(it.files.path)).toBeFalse();
});

test("P3: a database that was emptied to no bytes is as good as lost", async () => {
  using it = await setup();
  it.removeDatabase();
  writeFileSync(it.files.path, "");
  expect((await failureOf(it.open())).message).toContain("--new-database");
});

test("a database that takes the place of a lost one begins with anonymous access ended, also after a restart", async () => {
  using it = await setup();
  expect(await isAnonymousOn(it.open())).toBeTrue();
  it.files.close();
  it.removeDatabase();
  expect(await isAnonymousOn(it.open(true))).toBeFalse();
  it.files.close();
  expect(await isAnonymousOn(it.open())).toBeFalse();
  expect(it.created).toEqual([it.files.path, it.files.path]);
});

test.each([true, false])(
  "P6: where a start that was to begin anew was cut off before its tables, anonymous access is ended; told again: %p",
  async (isToldAgain) => {
    using it = await setup();
    it.removeDatabase();
    createDatabase(it.files.path, false);
    expect(await isAnonymousOn(it.open(isToldAgain))).toBeFalse();
  },
);

test("insisting on a new database changes nothing where there is one, or where there is no key either", async () => {
  using it = await setup();
  expect(await isAnonymousOn(it.open(true))).toBeTrue();
  it.files.close();
  it.removeDatabase();
  rmSync(it.files.keyPath);
  expect(await isAnonymousOn(it.open(true))).toBeTrue();
});

test("P3: a first start that was cut off between database, key and tables is completed by the next", async () => {
  for (const step of ["file", "database", "key"]) {
    using files = new StoreFolder();
    mkdirSync(dirname(files.path));
    if (step === "file") writeFileSync(files.path, "");
    else createDatabase(files.path, true);
    if (step === "key") writeFileSync(files.keyPath, `${"ab".repeat(32)}\n`);
    expect([step, await isAnonymousOn(files.open()), files.keysCreated.length]).toEqual([
      step,
      true,
      step === "key" ? 0 : 1,
    ]);
  }
});

test("P6: drafts of key files that killed processes left are removed by the next start, those of running ones stay", async () => {
  using it = await setup();
  const folder = dirname(it.files.keyPath);
  const dead = Bun.spawnSync(["true"]).pid;
  const drafts = [dead, process.pid].map((pid) => `.${pid}-0123456789ab.key`);
  for (const draft of drafts) writeFileSync(join(folder, draft), "ab".repeat(32));
  await it.open();
  expect(readdirSync(folder).filter((name) => name.startsWith("."))).toEqual([
    `.${process.pid}-0123456789ab.key`,
  ]);
});

test("a database that lost its end is called damaged, one that is a folder is not", async () => {
  using it = await setup();
  truncateSync(it.files.path, 8192);
  expect((await failureOf(it.open())).message).toContain("(damaged: ");
  it.removeDatabase();
  mkdirSync(it.files.path);
  const { message } = await failureOf(it.open());
  expect(message).toContain("it is a folder; name a file");
  expect(message).not.toContain("damaged: ");
});
