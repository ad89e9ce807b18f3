import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createDatabase, openDatabase } from "../../src/store/sqlite/open-database.ts";
import { SqliteEngine } from "../../src/store/sqlite/sqlite-engine.ts";
import { Child } from "../support/child.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { StoreFolder } from "../support/store-folder.ts";
import { type OpenEngine, sqlEngineContract } from "./contract/sql-engine.ts";
import { CREATE_CLIENTS } from "./programs/create-clients.ts";

const openSqlite: OpenEngine = async () => {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-engine-"));
  const path = join(folder, "accesstoken.db");
  createDatabase(path);
  const opened: (() => void)[] = [];
  const openEngine = () => {
    const reader = openDatabase(path);
    const engine = new SqliteEngine(path, reader, new ManualClock(), () => undefined);
    opened.push(() => {
      engine.close();
      reader.close();
    });
    return engine;
  };
  const dispose = () => {
    for (const close of opened) close();
    rmSync(folder, { recursive: true });
  };
  return { engine: openEngine(), beside: openEngine, dispose };
};

sqlEngineContract("SQLite", openSqlite);

test("SQLite: one that is closed refuses transactions, and does not open the database again", async () => {
  const { engine, dispose } = await openSqlite();
  dispose();
  expect(await engine.transaction(async () => undefined).catch(String)).toContain("closed");
});

test("P3, P7: of changes under kill -9, each that was acknowledged is there, and each that is there has its entry", async () => {
  using files = new StoreFolder();
  await files.open();
  const acknowledged: string[] = [];
  for (let round = 0; round < 8; round++) {
    const args = [process.execPath, CREATE_CLIENTS, files.path, files.keyPath, `r${round}`];
    await using child = new Child(args, { cwd: files.folder });
    await child.find(new RegExp(`created r${round}-${3 + round * 2}\n`));
    child.signal("SIGKILL");
    await child.exited();
    acknowledged.push(...[...child.stdout.matchAll(/created (\S+)\n/g)].map(([, name = ""]) => name));
  }
  const store = await files.open();
  const names = (await store.clients.load()).clients.map(({ name }) => name).toSorted();
  const entries = await store.audit.list({}, { limit: 10_000 });
  expect(entries.map(({ detail }) => String(detail["client"])).toSorted()).toEqual(names);
  expect(acknowledged.filter((name) => !names.includes(name))).toEqual([]);
  expect(acknowledged.length).toBeGreaterThan(50);
  expect((await store.audit.verify()).isIntact).toBeTrue();
});

test("what another store writes while a transaction is open waits for it, and not for SQLite's lock", async () => {
  using files = new StoreFolder();
  const { clients, loginAnswers } = await files.open();
  const uses = Array.from({ length: 200 }, (_, n) => ({ prefix: `ats_${n}`, usedAt: n }));
  let sleeps = 0;
  const sleep = files.clock.sleep.bind(files.clock);
  files.clock.sleep = (ms) => {
    sleeps++;
    return sleep(ms);
  };
  const begin = async () => {
    // By then the transaction is open.
    await Promise.resolve();
    return loginAnswers.begin("key", 1, 2);
  };
  await Promise.all([clients.touchKeys(uses), begin()]);
  expect(sleeps).toBe(0);
});
