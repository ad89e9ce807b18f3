import { expect } from "bun:test";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { Secret } from "../../src/secret.ts";
import { Harness } from "../support/harness.ts";
import { PostgresEngine } from "../../src/store/postgres/postgres-engine.ts";
import type { Store } from "../../src/store/store.ts";
import { PostgresFolder } from "../support/postgres-folder.ts";
import { PostgresServer, postgresTest as test } from "../support/postgres-server.ts";
import { failureOf } from "../support/refusals.ts";
import { tokenOf, weixinSlot } from "../support/slots.ts";
import { saveUnderLease } from "../support/store-folder.ts";

const MANY = 20;
const numbers = Array.from({ length: MANY }, (_, n) => n + 1);
const USES = numbers.map((n) => ({ name: tokenOf(weixinSlot(`wx${n}`)), usedAt: 1 }));
const KEY_USES = numbers.map((n) => ({ prefix: `ats_${n}`, usedAt: 1 }));
const COUNTS = numbers.map((n) => ({ minute: 0, kind: "usage" as const, key: `key ${n}`, n: 1 }));
const CALLS = numbers.map((n) => ({
  ...{ platform: "weixin" as const, appId: `wx${n}`, endpoint: "/cgi-bin/token" },
  ...{ day: "2027-01-01", hour: 0, calls: 1 },
}));
type Order = <T>(all: readonly T[]) => readonly T[];

const newKey = () => new Secret(randomBytes(32).toString("hex"));

test("the first start makes the master key where there is none, and another machine needs the same one", async () => {
  using folder = await PostgresFolder.create();
  const made: string[] = [];
  await folder.open({ onKeyCreated: (path) => made.push(path) });
  expect(made).toEqual([folder.keyPath]);
  await folder.open({ onKeyCreated: (path) => made.push(path) });
  expect(made).toEqual([folder.keyPath]);
  const elsewhere = join(folder.folder, "elsewhere.key");
  expect((await failureOf(folder.open({ masterKeyFile: elsewhere }))).message).toContain(
    "put the original key file back",
  );
  writeFileSync(elsewhere, newKey().reveal());
  expect((await failureOf(folder.open({ masterKeyFile: elsewhere }))).message).toContain(
    "does not open this database",
  );
});

test("processes that meet an empty database at once, each with a key of its own, agree on one", async () => {
  using folder = await PostgresFolder.create();
  const attempts = [newKey(), newKey(), newKey()].map((masterKey) => folder.open({ masterKey }));
  const opened = await Promise.allSettled(attempts);
  expect(opened.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
});

test("an empty database that is met with a key begins with anonymous access ended, a first start without one does not", async () => {
  const server = await PostgresServer.shared();
  for (const masterKey of [newKey(), undefined]) {
    using folder = await PostgresFolder.create();
    const address = { url: await server.createDatabase(), password: undefined };
    const { clients } = await folder.open({ address, masterKey });
    expect((await clients.load()).settings.isAnonymousOn).toBe(masterKey === undefined);
  }
});

test("P6: what is sealed is nowhere readable in the database", async () => {
  using folder = await PostgresFolder.create(systemClock);
  const store = await folder.open();
  const issuedAt = systemClock.now();
  const value = new Secret("canary-token");
  await saveUnderLease(store.credentials, tokenOf(), { value, issuedAt, expiresAt: issuedAt + 7_200_000 });
  await store.apps.replaceAll([
    { platform: "weixin", id: "wx1", secret: new Secret("canary-secret"), tokenMode: "stable" },
  ]);
  const server = await PostgresServer.shared();
  await using admin = server.connect(new URL(folder.url).pathname.slice(1));
  for (const table of ["credentials", "apps", "data_keys", "keyring", "audit_entries"]) {
    const rows: unknown = await admin.unsafe(`SELECT row_to_json(t)::text FROM ${table} AS t`).values();
    expect(JSON.stringify(rows)).not.toContain("canary");
  }
});

test("whoever waits for a lease is told so without waiting for those who write", async () => {
  using folder = await PostgresFolder.create();
  const [a, b] = [await folder.open(), await folder.open()];
  const lease = { now: folder.clock.now(), lifeMs: 10_000 };
  await a.credentials.lease(tokenOf(), { holder: "a", ...lease });
  const server = await PostgresServer.shared();
  await using writer = server.connect(new URL(folder.url).pathname.slice(1));
  await writer.begin(async (sql) => {
    await sql.unsafe("LOCK TABLE credentials IN EXCLUSIVE MODE");
    expect((await b.credentials.lease(tokenOf(), { holder: "b", ...lease })).isGranted).toBe(false);
  });
});

test("a server that can't be reached, lets nobody in or has no such database stops the start with one line without the password", async () => {
  using folder = await PostgresFolder.create();
  const { port } = new URL(folder.url);
  for (const [url, code] of [
    ["postgres://me:canary@127.0.0.1:1/x", "ERR_POSTGRES_CONNECTION_REFUSED"],
    [`postgres://nobody:canary@127.0.0.1:${port}/x`, "28000"],
    [`postgres://postgres:canary@127.0.0.1:${port}/missing`, "3D000"],
  ]) {
    const { message } = await failureOf(folder.open({ address: { url: String(url), password: undefined } }));
    expect(message).toContain(String(code));
    expect(message).not.toContain("\n");
    expect(message).not.toContain("canary");
  }
});

test("a start waits for a server that is not there yet", async () => {
  using folder = await PostgresFolder.create();
  const server = await PostgresServer.start();
  const url = await server.createDatabase();
  await server.signal("SIGINT");
  const opening = folder.open({ address: { url, password: undefined }, clock: systemClock, waitMs: 20_000 });
  await server.resume();
  expect(await (await opening).probe()).toEqual([]);
  server.stop();
});

test("a standby is refused with the reason, and a primary that becomes one is not ready", async () => {
  using folder = await PostgresFolder.create();
  const server = await PostgresServer.start();
  const url = await server.createDatabase();
  const address = { url, password: undefined };
  const store = await folder.open({ address });
  await server.signal("SIGINT");
  await Bun.write(`${server.folder}/data/standby.signal`, "");
  await server.resume();
  expect((await failureOf(folder.open({ address, masterKey: newKey() }))).message).toContain(
    "connect to the primary",
  );
  await Harness.until(async () => (await store.probe())[0]?.message.includes("standby") ?? false);
  server.stop();
});

test("a start waits its turn while another process keeps the database busy for longer than a write may wait", async () => {
  using folder = await PostgresFolder.create();
  const engine = new PostgresEngine({ url: folder.url, password: undefined });
  const opened = await engine.transaction(async (sql) => {
    const opening = folder.open({ clock: systemClock, waitMs: 20_000 });
    // Every attempt waits for a second, and three of them are a write's patience; the server bears 5 s of silence.
    await Bun.sleep(2000);
    await sql.query("SELECT 1", []);
    await Bun.sleep(2000);
    return { opening };
  });
  expect(await (await opened.opening).probe()).toEqual([]);
  engine.close();
});

test.each([
  [
    "credentials",
    "app_id = 'wx10'",
    ({ credentials }: Store, order: Order) => credentials.touch(order(USES)),
  ],
  ["api_keys", "prefix = 'ats_10'", ({ clients }: Store, order: Order) => clients.touchKeys(order(KEY_USES))],
  ["counts", "key = 'key 10'", ({ audit }: Store, order: Order) => audit.addCounts(order(COUNTS))],
  ["usage", "app_id = 'wx10'", ({ callCounts }: Store, order: Order) => callCounts.add(order(CALLS))],
])(
  "nodes that note the same uses in %s at once, in different orders, do not wait for each other in a circle",
  async (table, isMiddle, note) => {
    using folder = await PostgresFolder.create();
    const [a, b] = [await folder.open(), await folder.open()];
    const server = await PostgresServer.shared();
    const database = new URL(folder.url).pathname.slice(1);
    await using admin = server.connect(database);
    const only = async (text: string) => ((await admin.unsafe(text).values()) as unknown[][])[0]?.[0];
    await admin.unsafe(`INSERT INTO credentials (platform, app_id, slot, kind, generation)
      SELECT 'weixin', 'wx' || n, '${weixinSlot().name}', 'access_token', 1 FROM generate_series(1, ${MANY}) AS n`);
    await admin.unsafe(`INSERT INTO api_keys (prefix, client, digest, label, created_at)
      SELECT 'ats_' || n, 'shop', n, '', 1 FROM generate_series(1, ${MANY}) AS n`);
    await note(a, (all) => all);
    // A use that is noted is not written again.
    await admin`UPDATE api_keys SET last_used_at = NULL`;
    await using holder = server.connect(database);
    const noted: Promise<void>[] = [];
    await holder.begin(async (held) => {
      await held.unsafe(`SELECT 1 FROM ${table} WHERE ${isMiddle} FOR UPDATE`);
      noted.push(
        note(a, (all) => all),
        note(b, (all) => all.toReversed()),
      );
      const waiting = `SELECT count(*)::int FROM pg_stat_activity WHERE datname = '${database}' AND wait_event_type = 'Lock'`;
      await Harness.until(async () => (await only(waiting)) === 2);
    });
    await Promise.all(noted);
    folder.close();
    const others = `SELECT count(*)::int FROM pg_stat_activity WHERE datname = '${database}' AND pid <> pg_backend_pid()`;
    await Harness.until(async () => (await only(others)) === 1);
    expect(await only(`SELECT xact_rollback::int FROM pg_stat_database WHERE datname = '${database}'`)).toBe(
      0,
    );
  },
);
