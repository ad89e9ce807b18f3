import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { inspectDatabase } from "../../src/store/sqlite/open-database.ts";
import { entryOf } from "../support/audit-entries.ts";
import { failureOf } from "../support/refusals.ts";
import { StoreFolder } from "../support/store-folder.ts";

/** An open store with two entries in its audit, and ways to take its files away. */
async function setup() {
  const files = new StoreFolder();
  const lost: string[] = [];
  const store = await files.open({ onDatabaseLost: (path) => lost.push(path) });
  const append = (number: number) => store.audit.append(entryOf({ detail: { number } }));
  await append(1);
  await append(2);
  const rows = () => {
    using database = new Database(files.path);
    return database.query<{ n: number }, []>("SELECT count(*) AS n FROM audit_entries").get()?.n;
  };
  return { files, lost, store, append, rows, [Symbol.dispose]: () => files[Symbol.dispose]() };
}

/** Puts another file in the place of `path`. */
function replace(path: string): void {
  copyFileSync(path, `${path}.copy`);
  renameSync(`${path}.copy`, path);
}

const ENDS = ["", "-wal", "-shm"] as const;

test("P3: no change is acknowledged once a file of the database was deleted or replaced, and readiness says which", async () => {
  for (const end of ENDS) {
    for (const take of [unlinkSync, replace]) {
      using it = await setup();
      const path = it.files.path + end;
      take(path);
      const { code, message } = await failureOf(it.append(3));
      expect([take.name, code, message]).toEqual([
        take.name,
        "store_unusable",
        expect.stringContaining(`${path}: `),
      ]);
      expect(await it.store.probe()).toEqual([{ part: "database", message }]);
      await failureOf(it.append(4));
      // Once, and not for each change.
      expect(it.lost).toEqual([path]);
      // What was read before can still be read.
      expect(await it.store.audit.list({}, { limit: 10 })).not.toBeEmpty();
    }
  }
});

test("P3: a log that was deleted is missed also where the database is named by a symlink, beside which there is none", async () => {
  using it = await setup();
  it.files.close();
  const link = `${it.files.folder}/link.db`;
  symlinkSync(it.files.path, link);
  const { audit } = await it.files.open({ path: link });
  await audit.append(entryOf());
  unlinkSync(`${it.files.path}-wal`);
  const { code, message } = await failureOf(audit.append(entryOf()));
  expect([code, message]).toEqual(["store_unusable", expect.stringContaining(`${it.files.path}-wal: `)]);
});

test("a first start that was cut off beside its rollback journal is completed also through a symlink", () => {
  using files = new StoreFolder();
  mkdirSync(dirname(files.path));
  for (const end of ["", "-journal"]) writeFileSync(`${files.path}${end}`, "");
  const link = `${files.folder}/link.db`;
  symlinkSync(files.path, link);
  expect(inspectDatabase(link)).toMatchObject({ exists: true });
});

test("P3: a data folder that was moved away is noticed, and is in order again once it is back", async () => {
  using it = await setup();
  const folder = dirname(it.files.path);
  renameSync(folder, `${folder}.away`);
  mkdirSync(folder);
  writeFileSync(it.files.path, "");
  expect((await failureOf(it.append(3))).code).toBe("store_unusable");
  unlinkSync(it.files.path);
  renameSync(`${folder}.away`, folder);
  await it.append(4);
  expect(await it.store.probe()).toEqual([]);
  expect(it.lost).toEqual([it.files.path]);
});

test("P3: a store that was deleted under a process makes no new file, and its close takes nothing away from a new one", async () => {
  using it = await setup();
  for (const end of ENDS) unlinkSync(it.files.path + end);
  await failureOf(it.append(3));
  expect(ENDS.map((end) => existsSync(it.files.path + end))).toEqual([false, false, false]);
  using another = new Database(it.files.path);
  another.run("PRAGMA journal_mode = WAL");
  another.run("CREATE TABLE kept (id INTEGER)");
  it.files.close();
  expect(ENDS.map((end) => existsSync(it.files.path + end))).toEqual([true, true, true]);
});

test("P3: what was in a log that somebody deleted is saved by an orderly stop", async () => {
  using it = await setup();
  unlinkSync(`${it.files.path}-wal`);
  await failureOf(it.append(3));
  it.files.close();
  expect(it.rows()).toBe(2);
});
