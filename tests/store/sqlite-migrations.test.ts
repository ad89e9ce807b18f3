import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { denialOf, usageOf } from "../../src/audit/audit-counts.ts";
import type { MinuteCount } from "../../src/audit/audit-store.ts";
import { appliedMigrations, migrate, MIGRATIONS } from "../../src/store/sqlite/open-database.ts";

const ROOT = join(import.meta.dir, "../..");
const FOLDER = join(ROOT, "drizzle/sqlite");

function setup() {
  const database = new Database(":memory:");
  return { database, [Symbol.dispose]: () => database.close() };
}

test("the embedded migrations are those of the folder and of its journal, in order, text and all", () => {
  const files = readdirSync(FOLDER)
    .filter((name) => name.endsWith(".sql"))
    .toSorted();
  const journal = JSON.parse(readFileSync(join(FOLDER, "meta/_journal.json"), "utf8")) as {
    entries: { tag: string }[];
  };
  const names = MIGRATIONS.map(({ name }) => name);
  expect(files).toEqual(names.map((name) => `${name}.sql`));
  expect(journal.entries.map(({ tag }) => tag)).toEqual(names);
  for (const { name, sql } of MIGRATIONS) expect(sql).toBe(readFileSync(join(FOLDER, `${name}.sql`), "utf8"));
});

test("the schema has not moved away from the migrations: there is nothing to generate", () => {
  const copy = mkdtempSync(join(tmpdir(), "accesstoken-drizzle-"));
  cpSync(FOLDER, copy, { recursive: true });
  const tool = join(ROOT, "node_modules/drizzle-kit/bin.cjs");
  const schema = "src/store/schema.ts";
  const command = [
    process.execPath,
    tool,
    "generate",
    "--dialect",
    "sqlite",
    "--schema",
    schema,
    "--out",
    relative(ROOT, copy),
  ];
  const child = Bun.spawnSync(command, { cwd: ROOT });
  const made = readdirSync(copy).toSorted();
  rmSync(copy, { recursive: true, force: true });
  expect(child.stdout.toString()).toContain("nothing to migrate");
  expect(made).toEqual(readdirSync(FOLDER).toSorted());
});

test("a database is brought up once: a second time changes nothing", () => {
  using it = setup();
  expect(appliedMigrations(it.database)).toEqual([]);
  migrate(it.database, 1);
  migrate(it.database, 2);
  expect(appliedMigrations(it.database)).toEqual(MIGRATIONS.map(({ name }) => name));
  expect(it.database.query("SELECT DISTINCT applied_at FROM migrations").all()).toEqual([{ applied_at: 1 }]);
});

test("credentials of an older version are due ahead of their end, and those of secrets that we don't hold never", () => {
  using it = setup();
  const { database } = it;
  database.run("CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)");
  for (const { name, sql } of MIGRATIONS.filter((migration) => migration.name < "0004")) {
    for (const statement of sql.split("--> statement-breakpoint")) database.run(statement);
    database.query("INSERT INTO migrations VALUES (?, 1)").run(name);
  }
  const insert = database.query(
    `INSERT INTO credentials (platform, app_id, slot, kind, generation, value, issued_at, expires_at, renew_left_ms, is_rejected)
     VALUES ($platform, $appId, $slot, $kind, 1, $value, 0, $expiresAt, $renewLeft, $isRejected)`,
  );
  const rows = [
    { expected: 6_915_000 },
    { expected: 3_457_500, $expiresAt: 3_600_000 },
    { expected: 7_140_000, $renewLeft: 60_000 },
    { expected: 6_600_000, $kind: "jsapi_ticket" },
    { expected: 7_201_000, $platform: "wecom", $slot: "1000002" },
    { expected: null, $value: null, $expiresAt: null },
    { expected: null, $isRejected: 1 },
    { expected: null, $slot: "~digest" },
  ];
  for (const [index, { expected: _, ...row }] of rows.entries()) {
    const standard = { $platform: "weixin", $slot: "stable", $kind: "access_token", $value: "sealed" };
    insert.run({
      ...standard,
      $appId: `wx${index}`,
      $expiresAt: 7_200_000,
      $renewLeft: null,
      $isRejected: 0,
      ...row,
    });
  }
  migrate(database, 2);
  const due = database.query<{ at: number | null }, []>(
    "SELECT renew_at AS at FROM credentials ORDER BY app_id",
  );
  expect(due.all().map(({ at }) => at)).toEqual(rows.map(({ expected }) => expected));
});

test("a migration that fails leaves the database as it was", () => {
  using it = setup();
  it.database.run("CREATE TABLE keyring (other TEXT)");
  expect(() => migrate(it.database, 1)).toThrow();
  expect(it.database.query("SELECT name FROM sqlite_master").all()).toEqual([{ name: "keyring" }]);
});

test("backoffs and used forced refreshes move into the one table of the pacer; what lasted ten seconds is left behind", () => {
  using it = setup();
  for (const { sql } of MIGRATIONS.slice(0, 4))
    for (const statement of sql.split("--> statement-breakpoint")) it.database.run(statement);
  it.database.run("CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)");
  for (const { name } of MIGRATIONS.slice(0, 4))
    it.database.run("INSERT INTO migrations VALUES (?, 1)", [name]);
  const pauses = ["ladder", "circuit", "quota"].map((reason, n) => [
    `weixin:wx${n}`,
    reason,
    "{}",
    n + 1,
    10,
    20,
  ]);
  const claims = ["complaint:weixin:wx1", "clear:weixin:wx1:stable:access_token", "refresh:x"].map((key) => [
    ...[key, "quota", "{}", 1, 10, 20],
  ]);
  for (const row of [...pauses, ...claims])
    it.database.run("INSERT INTO pauses VALUES (?, ?, ?, ?, ?, ?)", row);
  it.database.run("INSERT INTO forced_refreshes VALUES ('wx1', '2026-11-22', 7, 1795320000000)");
  migrate(it.database, 2);
  const midnight = Date.parse("2026-11-23T00:00:00+08:00");
  expect(
    it.database.query("SELECT key, reason, detail, count, since, until FROM pacing ORDER BY key").values(),
  ).toEqual([
    ["force:weixin:wx1#migrated", "used", null, 7, 1_795_320_000_000, midnight],
    ["weixin:wx0", "exponential", "{}", 1, 10, 20],
    ["weixin:wx1", "circuit_open", "{}", 2, 10, 20],
    ["weixin:wx2", "quota", "{}", 3, 10, 20],
  ]);
});

test("P3: P7: the audit's counts of a former version are kept in the one table, and told apart as before", () => {
  using it = setup();
  it.database.run("CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)");
  for (const { name, sql } of MIGRATIONS.slice(0, 4)) {
    for (const statement of sql.split("--> statement-breakpoint")) it.database.run(statement);
    it.database.query("INSERT INTO migrations VALUES (?, 0)").run(name);
  }
  it.database.run(
    `INSERT INTO audit_reads VALUES (60000, 'one', 'dev', 'api:call /wxa', 'wx1', 3), (0, '(app secret)', '', 'token:read', 'wx2', 2)`,
  );
  it.database.run(
    `INSERT INTO audit_refusals VALUES (0, '203.0.113.7', '', '/v1/apps', -1, 5), (60000, '*', '', '*', 401, 7)`,
  );
  migrate(it.database, 1);
  const rows = it.database
    .query<MinuteCount & { id: number }, []>("SELECT id, minute, kind, key, n FROM counts ORDER BY id")
    .all();
  const usage = rows.filter(({ kind }) => kind === "usage").map(usageOf);
  const denials = rows.filter(({ kind }) => kind === "denial").map(denialOf);
  expect(usage.map(({ id: _id, ...count }) => count)).toEqual([
    { minute: 0, client: "(app secret)", environment: "", action: "token:read", app: "wx2", count: 2 },
    { minute: 60_000, client: "one", environment: "dev", action: "api:call /wxa", app: "wx1", count: 3 },
  ]);
  expect(denials.map(({ id: _id, ...count }) => count)).toEqual([
    { minute: 0, address: "203.0.113.7", client: "", route: "/v1/apps", code: -1, count: 5 },
    { minute: 60_000, address: "*", client: "", route: "*", code: 401, count: 7 },
  ]);
  // Later minutes are on newer pages.
  expect(rows.map(({ minute }) => minute)).toEqual([0, 0, 60_000, 60_000]);
});

test.each([
  ["nobody", "on", ""],
  [
    "a client",
    "off",
    "INSERT INTO clients VALUES ('a', 'dev', '[]', '', NULL, NULL, 1, 1, 1, NULL, 'real', '')",
  ],
  [
    "a client's key alone",
    "off",
    "INSERT INTO api_keys VALUES ('ats_1', 'a', 'd', 'l', 1, NULL, NULL, NULL)",
  ],
  ["a client that is gone", "off", "INSERT INTO revisions VALUES ('clients', 2)"],
  ["apps alone", "on", "INSERT INTO revisions VALUES ('apps', 2)"],
])("a database of a former version with %s has anonymous access %s", (_of, expected, insert) => {
  using it = setup();
  it.database.run("CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)");
  for (const { name, sql } of MIGRATIONS.slice(0, 5)) {
    for (const statement of sql.split("--> statement-breakpoint")) it.database.run(statement);
    it.database.query("INSERT INTO migrations VALUES (?, 0)").run(name);
  }
  if (insert !== "") it.database.run(insert);
  migrate(it.database, 1);
  expect(it.database.query("SELECT name, value FROM settings").values()).toEqual([["anonymous", expected]]);
});

test("a migration under the write lock takes no longer where the audit is long", () => {
  expect(MIGRATIONS.find(({ name }) => name === "0005_hardening")?.sql).not.toContain("audit_entries");
});

test("processes of a version that knows no setting of anonymous access are outdated, and those of this one are not", () => {
  using it = setup();
  migrate(it.database, 1);
  expect(it.database.query("SELECT number FROM revisions WHERE name = 'compatible_from'").values()).toEqual([
    [5],
  ]);
});
