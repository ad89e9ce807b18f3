import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { Secret } from "../../src/secret.ts";
import { openDatabase } from "../../src/store/sqlite/open-database.ts";
import { Child } from "../support/child.ts";
import { saveUnderLease, StoreFolder } from "../support/store-folder.ts";
import { OPEN_AND_SAVE } from "./programs/open-and-save.ts";
import { foreignSlot, tokenOf, weixinSlot } from "../support/slots.ts";

const SECRET = "canary-secret-0123456789abcdef";
const TOKEN = "canary-token-0123456789abcdef";
const DEAD = "canary-dead-token-0123456789abc";
const FOREIGN = "foreign-secret-canary";

/** A store with an app and three credentials in it, still open. */
async function setup() {
  const files = new StoreFolder();
  const store = await files.open();
  await store.apps.replaceAll([
    { platform: "weixin", id: "wx1", secret: new Secret(SECRET), tokenMode: "stable" },
  ]);
  const credential = { value: new Secret(TOKEN), issuedAt: 1, expiresAt: 7_200_001 };
  const { credentials } = store;
  await saveUnderLease(credentials, tokenOf(), credential);
  await saveUnderLease(credentials, { slot: weixinSlot(), kind: "jsapi_ticket" }, credential);
  const slot = foreignSlot("canary");
  const digest = store.digest("weixin", "wx1", slot.secret);
  const foreign = tokenOf({ ...slot, name: `~${digest}` });
  const { generation } = await saveUnderLease(credentials, foreign, credential);
  await credentials.markRevoked(foreign, new Secret(DEAD), generation, { now: 2, earlyMs: 1 });
  await saveUnderLease(credentials, foreign, credential);
  return { files, store, digest, [Symbol.dispose]: () => files[Symbol.dispose]() };
}

test("P6: no secret, token or ticket is in the database's files, neither as text nor in hex or base64", async () => {
  using it = await setup();
  const folder = dirname(it.files.path);
  const look = () => {
    const names = readdirSync(folder).filter((name) => name.startsWith("accesstoken.db"));
    return { names, bytes: Buffer.concat(names.map((name) => readFileSync(join(folder, name)))) };
  };
  const open = look();
  expect(open.names.toSorted()).toContain("accesstoken.db-wal");
  it.files.close();
  for (const { bytes } of [open, look()]) {
    expect(bytes.includes(it.digest)).toBeTrue();
    for (const text of [SECRET, TOKEN, DEAD, FOREIGN, readFileSync(it.files.keyPath, "utf8").trim()]) {
      const raw = Buffer.from(text);
      for (const form of [
        text,
        raw.toString("hex"),
        raw.toString("base64").slice(0, -4),
        raw.toString("base64url").slice(0, -4),
      ])
        expect(bytes.includes(form), form).toBeFalse();
    }
  }
});

test("folder, database, its companions and the key are for their owner alone", async () => {
  using it = await setup();
  const folder = dirname(it.files.path);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  const names = readdirSync(folder).toSorted();
  expect(names).toEqual(["accesstoken.db", "accesstoken.db-shm", "accesstoken.db-wal", "master.key"]);
  for (const name of names) expect(statSync(join(folder, name)).mode & 0o777, name).toBe(0o600);
});

test("P3: an acknowledged commit outlives a power cut: write-ahead log and full synchronisation", async () => {
  using it = await setup();
  const database = openDatabase(it.files.path);
  expect(database.query("PRAGMA journal_mode").get()).toEqual({ journal_mode: "wal" });
  expect(database.query("PRAGMA synchronous").get()).toEqual({ synchronous: 2 });
  expect(database.query("PRAGMA busy_timeout").get()).toEqual({ timeout: 50 });
  database.close();
});

test("P3: what a process saved before it was killed is there afterwards", async () => {
  using files = new StoreFolder();
  await using child = new Child(
    [process.execPath, OPEN_AND_SAVE, files.path, files.keyPath, "wx1", "--stay"],
    {
      cwd: files.folder,
    },
  );
  await child.find(/saved/);
  child.signal("SIGKILL");
  await child.exited();
  const record = await (await files.open()).credentials.find(tokenOf());
  expect(record.credential?.value.reveal()).toBe("token-of-wx1");
});

test("P3: four processes that start together on an empty folder make one key and one database, and all save", async () => {
  using files = new StoreFolder();
  const apps = ["wx1", "wx2", "wx3", "wx4"];
  const children = apps.map(
    (app) =>
      new Child([process.execPath, OPEN_AND_SAVE, files.path, files.keyPath, app], { cwd: files.folder }),
  );
  for (const child of children) expect([await child.exited(), child.stderr]).toEqual([0, ""]);
  const names = readdirSync(dirname(files.path)).filter((name) => !/-(wal|shm)$/.test(name));
  expect(names.toSorted()).toEqual(["accesstoken.db", "master.key"]);
  const { credentials } = await files.open();
  for (const app of apps) {
    const record = await credentials.find(tokenOf(weixinSlot(app)));
    expect(record.credential?.value.reveal()).toBe(`token-of-${app}`);
  }
  expect(files.keysCreated).toEqual([]);
});

test("a master key is made once, 64 hex digits in a line, and told of once", async () => {
  using it = await setup();
  it.files.close();
  const text = readFileSync(it.files.keyPath, "utf8");
  await it.files.open();
  expect(text).toMatch(/^[0-9a-f]{64}\n$/);
  expect(readFileSync(it.files.keyPath, "utf8")).toBe(text);
  expect(it.files.keysCreated).toEqual([it.files.keyPath]);
});

test("a master key from the environment opens the same database in hex and in base64, and no file is made", async () => {
  using files = new StoreFolder();
  const bytes = Buffer.alloc(32, 7);
  const keys = [
    bytes.toString("hex"),
    bytes.toString("base64"),
    bytes.toString("base64url"),
    ` ${bytes.toString("hex").toUpperCase()}\n`,
  ];
  for (const key of keys) {
    await files.open({ masterKey: new Secret(key) });
    files.close();
  }
  expect(readdirSync(dirname(files.path)).filter((name) => name.includes("key"))).toEqual([]);
});

test("two seals of the same text differ, so that equal secrets can't be seen", async () => {
  using it = await setup();
  it.files.close();
  const database = new Database(it.files.path, { readonly: true });
  const rows = database.query<{ value: string }, []>("SELECT value FROM credentials").all();
  database.close();
  expect(rows).toHaveLength(3);
  expect(new Set(rows.map(({ value }) => value)).size).toBe(3);
  const prefixes = new Set(rows.map(({ value }) => value.split(".")[0]));
  expect(prefixes.size).toBe(1);
  expect([...prefixes][0]).toMatch(/^[0-9a-f]{8}$/);
});
