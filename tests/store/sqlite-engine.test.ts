import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { App } from "../../src/apps/app.ts";
import { Secret } from "../../src/secret.ts";
import { type Sql, sqlFailureOf } from "../../src/store/sql.ts";
import { createDatabase, openDatabase } from "../../src/store/sqlite/open-database.ts";
import { SqliteEngine } from "../../src/store/sqlite/sqlite-engine.ts";
import { Child } from "../support/child.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { failureOf } from "../support/refusals.ts";
import { StoreFolder } from "../support/store-folder.ts";
import { type OpenEngine, sqlEngineContract } from "./contract/sql-engine.ts";
import { CREATE_CLIENTS } from "./programs/create-clients.ts";

const ENTRY = {
  client: "admin",
  environment: "",
  address: "127.0.0.1",
  traceId: "t",
  action: "app.created",
  app: "wx",
  outcome: "ok",
  tokenDigest: "",
  detail: {},
} as const;

function app(id: string): App {
  return { platform: "weixin", id, secret: new Secret("s"), tokenMode: "stable" };
}

const openSqlite: OpenEngine = async () => {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-engine-"));
  const path = join(folder, "accesstoken.db");
  createDatabase(path, true);
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

test("SQLite: one that is closed refuses transactions and reads, and does not open the database again", async () => {
  const { engine, dispose } = await openSqlite();
  dispose();
  expect(await engine.transaction(async () => undefined).catch(String)).toContain("closed");
  const read = engine.reads.query("SELECT 1", []).catch((error: unknown) => error);
  expect(sqlFailureOf(await read)).toMatchObject({ code: "closed" });
});

test("a lock that another process holds for long stops no event loop, however many wait to write", async () => {
  using files = new StoreFolder();
  const { apps } = await files.open();
  files.clock.sleep = async (ms) => {
    (files.clock as ManualClock).advance(ms);
    await nextTurn();
  };
  using other = openDatabase(files.path);
  other.run("BEGIN IMMEDIATE");
  const startedAt = performance.now();
  const writing = Array.from({ length: 400 }, async (_, n) => apps.create(app(`wx${n}`), ENTRY));
  const failures = await Promise.all(writing.map(failureOf));
  // SQLite's own wait for the lock would be 50 ms for each of them.
  expect(performance.now() - startedAt).toBeLessThan(10_000);
  expect(new Set(failures.map(({ code }) => code))).toEqual(new Set(["unavailable"]));
  other.run("ROLLBACK");
  await apps.create(app("wx"), ENTRY);
});

test("a transaction that is open when the store closes fails as one that was asked for later, and nothing of it remains", async () => {
  const { engine, beside, dispose } = await openSqlite();
  await engine.transaction((sql) => sql.query("CREATE TABLE things (name TEXT)", []));
  const insert = (sql: Sql) => sql.query("INSERT INTO things VALUES ('a')", []);
  for (const next of [insert, async () => undefined]) {
    const closing = beside();
    const work = async (sql: Sql) => {
      await insert(sql);
      (closing as SqliteEngine).close();
      await next(sql);
    };
    expect(sqlFailureOf(await closing.transaction(work).catch((error: unknown) => error))).toMatchObject({
      code: "closed",
      isBusy: false,
    });
  }
  expect(await engine.reads.query("SELECT * FROM things", [])).toEqual([]);
  dispose();
});

test("each of a hundred statements is prepared once", async () => {
  using files = new StoreFolder();
  await files.open();
  using database = openDatabase(files.path);
  const texts = Array.from({ length: 100 }, (_, n) => `SELECT ${n}`);
  const prepared = texts.map((text) => database.query(text));
  expect(texts.filter((text, n) => database.query(text) !== prepared[n])).toEqual([]);
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
