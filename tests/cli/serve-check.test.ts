import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { appliedMigrations, NEWEST_MIGRATION } from "../../src/store/sqlite/open-database.ts";
import { FROM_SOURCE } from "../support/child.ts";
import { PostgresServer, postgresTest } from "../support/postgres-server.ts";
import { ProcessHarness } from "../support/process-harness.ts";

/** A folder, in which `serve --check` answers, and every file there with its bytes. */
function setup() {
  const harness = new ProcessHarness(FROM_SOURCE);
  const check = async (env: Record<string, string> = {}, ...options: string[]) => {
    await using child = harness.run(["serve", "--check", ...options], { ...harness.variables, ...env });
    return { code: await child.exited(), stdout: child.stdout, stderr: child.stderr };
  };
  const files = () =>
    readdirSync(harness.folder, { recursive: true, encoding: "utf8" })
      .filter((name) => statSync(join(harness.folder, name)).isFile())
      .toSorted()
      .map((name) => [name, Bun.hash(readFileSync(join(harness.folder, name)))]);
  const useFixture = (schema: string) => {
    mkdirSync(join(harness.folder, "data"));
    for (const name of ["accesstoken.db", "master.key"]) {
      const to = join(harness.folder, "data", name);
      cpSync(join(import.meta.dir, `../fixtures/${schema}/${name}`), to);
      chmodSync(to, 0o600);
    }
  };
  const dispose = () => harness[Symbol.asyncDispose]();
  return { harness, check, files, useFixture, [Symbol.asyncDispose]: dispose };
}

test("a check of a first start says that it would make database and key, and makes neither", async () => {
  await using it = setup();
  const { code, stdout, stderr } = await it.check();
  expect([code, stderr, it.files()]).toEqual([0, "", []]);
  const database = join(it.harness.folder, "data/accesstoken.db");
  expect(stdout.split("\n")).toEqual([
    "The configuration is valid: 2 apps in it, 127.0.0.1:0 is free.",
    `A start would make a new database: ${database}`,
    `A start would make a new master key: ${join(it.harness.folder, "data/master.key")}`,
    "",
  ]);
});

test("a check of a database that is in order says that the key fits and every secret opens", async () => {
  await using it = setup();
  const { service } = await it.harness.serve();
  service.signal("SIGTERM");
  await service.exited();
  const before = it.files();
  const { code, stdout } = await it.check();
  expect([code, it.files()]).toEqual([0, before]);
  expect(stdout).toMatch(/The key fits the database .+, and 2 secrets of apps open\.\n$/);
});

test("a check before an upgrade names the migrations that a start would apply, and applies none", async () => {
  await using it = setup();
  it.useFixture("schema-0007");
  const before = it.files();
  const { code, stdout } = await it.check();
  const pending = Array.from({ length: NEWEST_MIGRATION - 7 }, (_, n) => String(n + 8).padStart(4, "0"));
  expect([code, it.files()]).toEqual([0, before]);
  expect(stdout).toContain(`A start would apply migrations ${pending.join(", ")}, after a copy.\n`);
  using database = new Database(join(it.harness.folder, "data/accesstoken.db"));
  expect(appliedMigrations(database)).toHaveLength(8);
});

test("a check fails where an app's secret does not open, and names the app", async () => {
  await using it = setup();
  it.useFixture("schema-0007");
  using database = new Database(join(it.harness.folder, "data/accesstoken.db"));
  database.run("UPDATE apps SET secret = substr(secret, 1, 60) || 'A' WHERE app_id LIKE '%02'");
  const { code, stdout, stderr } = await it.check();
  expect([code, stdout, stderr.trimEnd().split("\n")]).toEqual([
    1,
    "",
    [expect.stringMatching(/^accesstoken: .*can't open apps\.secret of weixin:wx\w+02:; restore/)],
  ]);
});

test("a check tells of a file that others may read, as a start does, and of a port that is taken", async () => {
  await using it = setup();
  const { service, url } = await it.harness.serve();
  chmodSync(join(it.harness.folder, "data/master.key"), 0o644);
  const told = await it.check();
  expect([told.code, told.stderr]).toEqual([0, expect.stringMatching(/master\.key: .*chmod 600 it\n$/)]);
  const taken = await it.check({ PORT: new URL(url).port });
  expect([taken.code, taken.stdout, taken.stderr]).toEqual([
    1,
    "",
    expect.stringMatching(/port \d+ is in use/),
  ]);
  service.signal("SIGTERM");
  await service.exited();
});

test("a check of a folder that nobody may write, of a lost database and of a CONNECT proxy fails as a start would", async () => {
  await using it = setup();
  const proxy = await it.check({ CONNECT_PORT: "0" });
  expect([proxy.code, proxy.stderr]).toEqual([1, expect.stringContaining("CONNECT_CERTIFICATES")]);
  it.harness.write("plain", "");
  const path = await it.check({ DATABASE_URL: "file:plain/accesstoken.db" });
  expect([path.code, path.stderr]).toEqual([1, expect.stringContaining("plain/accesstoken.db")]);
  const lost = await it.check({ MASTER_KEY: "ab".repeat(32) });
  expect([lost.code, lost.stderr]).toEqual([1, expect.stringContaining("--new-database")]);
  expect(await it.check({ MASTER_KEY: "ab".repeat(32) }, "--new-database")).toMatchObject({ code: 0 });
  expect(it.files()).toHaveLength(1);
});

postgresTest("a check of a PostgreSQL says what a start would do with it, and does nothing", async () => {
  await using it = setup();
  const server = await PostgresServer.shared();
  const env = { DATABASE_URL: await server.createDatabase() };
  expect((await it.check(env)).stdout).toContain("A start would make a new database: PostgreSQL\n");
  expect((await it.check(env)).stdout).toContain("A start would make a new master key");
  const { service } = await it.harness.serve(env);
  expect((await it.check(env)).stdout).toMatch(
    /The key fits the database PostgreSQL, and 2 secrets of apps open\.\n$/,
  );
  service.signal("SIGTERM");
  await service.exited();
  const wrong = await it.check({ ...env, MASTER_KEY: "ab".repeat(32) });
  expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining("does not open this database")]);
});
