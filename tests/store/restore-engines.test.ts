import { SQL } from "bun";
import { Database } from "bun:sqlite";
import { expect } from "bun:test";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { SERVICE } from "../../src/audit/audit-entry.ts";
import { systemClock } from "../../src/clock.ts";
import { loadConfig } from "../../src/config.ts";
import { withStore } from "../../src/service.ts";
import { readManifest } from "../../src/store/backup-archive.ts";
import { type BackupOptions, createBackup, pruneBackups } from "../../src/store/backup.ts";
import { copyStore, type DatabasePlace } from "../../src/store/copy-store.ts";
import { restoreBackup, type RestoreOptions } from "../../src/store/restore.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { PostgresServer, postgresTest as test } from "../support/postgres-server.ts";
import { RotationFolder } from "../support/rotation-folder.ts";

/** A database with something in every sealed column on each engine. */
async function setup() {
  const files = new RotationFolder(systemClock);
  await files.fill();
  const server = await PostgresServer.shared();
  const url = await server.createDatabase();
  const postgres: DatabasePlace = { address: { url, password: undefined } };
  const file: DatabasePlace = { path: files.path };
  const parts = { masterKey: undefined, masterKeyFile: files.keyPath, clock: systemClock };
  const out = join(files.folder, "out");
  mkdirSync(out);
  let made = 0;
  return {
    ...{ files, url, postgres, file, out },
    fillPostgres: () => copyStore({ from: file, to: postgres, actor: SERVICE, ...parts }),
    back: async (from: DatabasePlace, options: Partial<BackupOptions> = {}) => {
      const path = join(out, `${++made}.tar.gz`);
      return createBackup({ from, path, ...parts, ...options });
    },
    restore: (archive: string, to: DatabasePlace, options: Partial<RestoreOptions> = {}) =>
      restoreBackup({ archive, to, replaces: false, actor: SERVICE, ...parts, ...options }),
    ask: async (text: string): Promise<unknown[][]> => {
      await using client = new SQL({ url, max: 1, bigint: true });
      return Array.from((await client.unsafe(text).values()) as unknown[][], (row) => [...row]);
    },
    config: loadConfig({ ENV_FILE: "", DATABASE_URL: url, MASTER_KEY_FILE: files.keyPath }),
    [Symbol.dispose]: () => files[Symbol.dispose](),
  };
}

async function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "",
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
}

test("a backup of SQLite is restored on PostgreSQL, and one of PostgreSQL on SQLite, with all that is sealed", async () => {
  using it = await setup();
  const { path } = await it.back(it.file);
  const there = await it.restore(path, it.postgres);
  expect(there).toMatchObject({ damaged: [], kept: {} });
  await withStore(it.config, async (store) => {
    expect((await store.audit.verify()).isIntact).toBe(true);
    expect((await store.apps.list()).map(({ secret }) => secret.reveal())).toHaveLength(3);
  });
  const home = await it.back(it.postgres);
  expect(await readManifest(home.path)).toMatchObject({
    engine: "postgres",
    key_ids: there.manifest.key_ids,
  });
  const target = join(it.files.folder, "home", "accesstoken.db");
  expect((await it.restore(home.path, { path: target })).damaged).toEqual([]);
  const store = await it.files.open({ path: target });
  expect(await it.files.contents(store)).toMatchObject({ isAuditIntact: true, faults: [] });
  expect(await store.audit.list({ action: "backup.restored" }, { limit: 5 })).toHaveLength(2);
});

test("a backup of PostgreSQL is of one moment, while others write, and leaves no file behind", async () => {
  using it = await setup();
  await it.fillPostgres();
  await using writer = new SQL({ url: it.url, max: 1 });
  const done = new AbortController();
  const write = async () => {
    for (let n = 0; !done.signal.aborted; n++)
      await writer.begin(async (client) => {
        // Each transaction leaves as many in the one table as in the other.
        await client`INSERT INTO settings (name, value) VALUES (${`n${n}`}, 'x')`;
        await client`INSERT INTO milestones (name, at, detail) VALUES (${`n${n}`}, 1, '{}')`;
      });
  };
  const writing = write();
  const { rows, path } = await it.back(it.postgres);
  done.abort();
  await writing;
  const before = await it.ask("SELECT count(*) FROM settings WHERE name NOT LIKE 'n%'");
  expect(rows["settings"]! - Number(before[0]![0])).toBe(rows["milestones"]!);
  expect(readdirSync(it.out)).toEqual([path.slice(it.out.length + 1)]);
});

test("a copy of a database on the other engine is the same installation, which removes its earlier backups", async () => {
  using it = await setup();
  await it.fillPostgres();
  const clock = new ManualClock();
  const inFolder = { path: it.out, isFolder: true, clock };
  const first = await it.back(it.file, inFolder);
  clock.advance(1000);
  const second = await it.back(it.postgres, inFolder);
  expect(pruneBackups(second.path, 1)).toEqual([first.path]);
});

test("on PostgreSQL a database that is used is replaced with --replace alone, in one transaction, and not under a service", async () => {
  using it = await setup();
  await it.fillPostgres();
  const { path } = await it.back(it.postgres);
  await it.ask("INSERT INTO settings (name, value) VALUES ('later', 'x')");
  await it.ask("UPDATE settings SET value = 'off' WHERE name = 'anonymous'");
  expect(await refusal(it.restore(path, it.postgres))).toContain("give --replace");
  await withStore(it.config, async (store) => {
    expect(await refusal(it.restore(path, it.postgres, { replaces: true }))).toContain(
      "a service is using it",
    );
    expect(await store.probe()).toEqual([]);
  });
  expect(await it.ask("SELECT 1 FROM settings WHERE name = 'later'")).toHaveLength(1);
  const until = systemClock.monotonic() + 20_000;
  let said = "";
  // The server sees the service's end a little later.
  do said = await refusal(it.restore(path, it.postgres, { replaces: true }));
  while (said.includes("a service is using it") && systemClock.monotonic() < until);
  expect(said).toBe("");
  expect(await it.ask("SELECT name, value FROM settings")).toEqual([["anonymous", "off"]]);
  await withStore(it.config, async (store) => expect((await store.audit.verify()).isIntact).toBe(true));
});

test("what a restore on PostgreSQL replaces is kept in another schema, from which a service can go on", async () => {
  using it = await setup();
  await it.fillPostgres();
  const { path } = await it.back(it.postgres);
  await it.ask("INSERT INTO settings (name, value) VALUES ('later', 'x')");
  const kept: string[] = [];
  for (let n = 0; n < 2; n++)
    kept.push((await it.restore(path, it.postgres, { replaces: true })).kept.schema ?? "");
  expect(new Set(kept).size).toBe(2);
  for (const schema of kept) expect(schema).toMatch(/^before_restore_\d{8}t\d{6}z(_2)?$/);
  expect(await it.ask("SELECT 1 FROM settings WHERE name = 'later'")).toEqual([]);
  const url = new URL(it.url);
  url.searchParams.set("search_path", kept[0]!);
  const old = loadConfig({ ENV_FILE: "", DATABASE_URL: url.href, MASTER_KEY_FILE: it.files.keyPath });
  await withStore(old, async (store) => {
    expect((await store.audit.verify()).isIntact).toBe(true);
    expect(await store.audit.list({ action: "backup.restored" }, { limit: 1 })).toEqual([]);
    expect((await store.apps.list()).map(({ secret }) => secret.reveal())).toHaveLength(3);
  });
  expect(await it.ask(`SELECT count(*)::int FROM ${kept[0]}.settings WHERE name = 'later'`)).toEqual([[1]]);
  await it.ask(`DROP SCHEMA ${kept[0]} CASCADE`);
  await withStore(it.config, async (store) => expect((await store.audit.verify()).isIntact).toBe(true));
});

/** Gives the tables and functions to a role of its own, as where the service has not made its database. */
async function giveAway(it: Awaited<ReturnType<typeof setup>>): Promise<{ role: string; url: string }> {
  const role = `service_${new URL(it.url).pathname.slice(1)}`;
  await it.ask(`CREATE ROLE ${role} LOGIN; GRANT USAGE, CREATE ON SCHEMA public TO ${role}`);
  await it.ask(
    `DO $$ DECLARE t text; BEGIN
     FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public'
     LOOP EXECUTE format('ALTER TABLE %I OWNER TO ${role}', t); END LOOP;
     FOR t IN SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
     LOOP EXECUTE format('ALTER FUNCTION %I OWNER TO ${role}', t); END LOOP; END $$`,
  );
  const url = new URL(it.url);
  url.username = role;
  return { role, url: url.href };
}

test("a role that must not make a schema on PostgreSQL restores nothing, and is told what it lacks", async () => {
  using it = await setup();
  await it.fillPostgres();
  const { path } = await it.back(it.postgres);
  const { role, url } = await giveAway(it);
  const place: DatabasePlace = { address: { url, password: undefined } };
  const said = await refusal(it.restore(path, place, { replaces: true }));
  expect(said).toContain(`nothing was changed; GRANT CREATE ON DATABASE … TO ${role} first and run it`);
  expect(await it.ask("SELECT count(*)::int FROM apps")).toEqual([[3]]);
  await it.ask(`GRANT CREATE ON DATABASE ${new URL(url).pathname.slice(1)} TO ${role}`);
  // As an extension's views.
  await it.ask("CREATE VIEW seen_by_all AS SELECT 1; GRANT SELECT ON seen_by_all TO PUBLIC");
  expect((await it.restore(path, place, { replaces: true })).kept.schema).toBeDefined();
});

test("what an administrator of PostgreSQL restores belongs to the service's role, as what is kept does", async () => {
  using it = await setup();
  await it.fillPostgres();
  const { path } = await it.back(it.postgres);
  const { role, url } = await giveAway(it);
  const { kept } = await it.restore(path, it.postgres, { replaces: true });
  const owners = "SELECT DISTINCT schemaname, tableowner FROM pg_tables WHERE tablename = 'apps' ORDER BY 1";
  expect(await it.ask(owners)).toEqual([
    [kept.schema, role],
    ["public", role],
  ]);
  const config = loadConfig({ ENV_FILE: "", DATABASE_URL: url, MASTER_KEY_FILE: it.files.keyPath });
  await withStore(config, async (store) => expect(await store.apps.list()).toHaveLength(3));
  await it.ask(`SET ROLE ${role}; DROP SCHEMA ${kept.schema} CASCADE`);
});

test("what another program has beside our tables on PostgreSQL stays where it is", async () => {
  using it = await setup();
  await it.fillPostgres();
  const { path } = await it.back(it.postgres);
  await it.ask(`CREATE TABLE theirs (x int); INSERT INTO theirs VALUES (1);
    CREATE VIEW their_view AS SELECT x FROM theirs;
    CREATE FUNCTION their_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER watch BEFORE INSERT ON theirs FOR EACH ROW EXECUTE FUNCTION their_trigger();
    CREATE TRIGGER watch BEFORE INSERT ON apps FOR EACH ROW EXECUTE FUNCTION their_trigger()`);
  const { kept } = await it.restore(path, it.postgres, { replaces: true });
  await it.ask(`DROP SCHEMA ${kept.schema} CASCADE`);
  expect(
    await it.ask("INSERT INTO theirs VALUES (2) RETURNING (SELECT count(*)::int FROM their_view)"),
  ).toEqual([[1]]);
  await withStore(it.config, async (store) => expect(await store.apps.list()).toHaveLength(3));
  // A newer version's tables look the same.
  await it.ask("INSERT INTO migrations VALUES ('0999_newer', 1)");
  expect(await refusal(it.restore(path, it.postgres, { replaces: true }))).toContain(
    "tables that this one does not know, and nothing was changed: their_view, theirs; restore with that version",
  );
});

test("a restore that fails on PostgreSQL leaves what was there, and another program's tables are not touched", async () => {
  using it = await setup();
  await it.ask("CREATE TABLE something (x int)");
  const { path } = await it.back(it.file);
  expect(await refusal(it.restore(path, it.postgres))).toContain("give --replace");
  expect(await refusal(it.restore(path, it.postgres, { replaces: true }))).toContain(
    "the target is not empty, and nothing was changed; it has: something",
  );
  expect(
    await it.ask("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"),
  ).toEqual([["something"]]);
});

test("a service that starts on PostgreSQL during a restore finds the restored database", async () => {
  using it = await setup();
  await it.fillPostgres();
  const { path } = await it.back(it.postgres);
  await it.ask("DELETE FROM apps");
  const restoring = it.restore(path, it.postgres, { replaces: true });
  const found: number[] = [];
  const done = new AbortController();
  const look = async () => {
    while (!done.signal.aborted)
      await withStore(it.config, async (store) => void found.push((await store.apps.list()).length)).catch(
        () => undefined,
      );
  };
  const looking = look();
  const said = await refusal(restoring);
  done.abort();
  await looking;
  expect(said === "" || said.includes("a service is using it"), said).toBe(true);
  for (const count of found) expect([0, 3]).toContain(count);
  const apps = await it.ask("SELECT count(*)::int FROM apps");
  expect(apps).toEqual([[said === "" ? 3 : 0]]);
});

test("a file that a database was copied into has no log beside it", async () => {
  using it = await setup();
  await it.fillPostgres();
  const { path } = await it.back(it.postgres);
  const folder = join(it.files.folder, "unpacked");
  mkdirSync(folder);
  Bun.spawnSync(["tar", "xzf", path, "-C", folder]);
  using database = new Database(join(folder, "accesstoken.db"), { readonly: true });
  expect(database.query("SELECT count(*) AS n FROM apps").get()).toEqual({ n: 3 });
});
