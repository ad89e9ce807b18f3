import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { chmodSync, cpSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync, watch } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { appliedMigrations, MIGRATIONS, NEWEST_MIGRATION } from "../../src/store/sqlite/open-database.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { Child, FROM_SOURCE } from "../support/child.ts";
import { ManualClock } from "../support/manual-clock.ts";

const FIXTURE = join(import.meta.dir, "../fixtures/schema-0007");
const OLD = MIGRATIONS.slice(0, 8).map(({ name }) => name);
const NEW = MIGRATIONS.map(({ name }) => name);
const STEP = String(NEWEST_MIGRATION).padStart(4, "0");

/** A folder with a database of an older version, and what is made of it. */
function setup(folder = mkdtempSync(join(tmpdir(), "accesstoken-before-"))) {
  const clock = new ManualClock(Date.UTC(2027, 0, 1));
  const path = join(folder, "accesstoken.db");
  const copied: string[] = [];
  /** Puts the old database back, as somebody does who goes back to the version before. */
  const goBack = () => {
    for (const name of ["accesstoken.db", "master.key", ".env"])
      cpSync(join(FIXTURE, name), join(folder, name));
    chmodSync(path, 0o600);
    chmodSync(join(folder, "master.key"), 0o600);
  };
  const open = async () => {
    const store = await openSqliteStore({
      ...{ path, clock, masterKey: undefined, masterKeyFile: join(folder, "master.key") },
      onKeyCreated: () => undefined,
      onDatabaseCopied: (copy) => copied.push(copy),
    });
    store.close();
  };
  const run = (...args: string[]) =>
    new Child([...FROM_SOURCE, ...args], {
      cwd: folder,
      env: { PORT: "0", WEIXIN_BASE_URL: "http://127.0.0.1:9" },
    });
  goBack();
  const others = () =>
    readdirSync(folder)
      .filter((name) => name.includes(".db."))
      .toSorted();
  const dispose = () => rmSync(folder, { recursive: true, force: true });
  return { folder, path, clock, copied, goBack, open, run, others, [Symbol.dispose]: dispose };
}

/** The migrations of a database that is whole. */
function migrationsOf(path: string): string[] {
  using database = new Database(path);
  expect(database.query("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
  return appliedMigrations(database);
}

test("a database is copied beside itself before its first migration, for its owner alone, and not again", async () => {
  using it = setup();
  // What is still in the log is a part of it.
  const writer = new Database(it.path);
  writer.run("PRAGMA journal_mode = WAL");
  writer.run("PRAGMA wal_autocheckpoint = 0");
  writer.run("UPDATE clients SET updated_at = 4711");
  await it.open();
  writer.close();
  const copy = `${it.path}.before-${STEP}-20270101T000000Z`;
  expect([it.copied, it.others()]).toEqual([
    [copy],
    [expect.stringMatching(/\.before-\d{4}-20270101T000000Z$/)],
  ]);
  expect(statSync(copy).mode & 0o777).toBe(0o600);
  expect(migrationsOf(copy)).toEqual(OLD);
  expect(migrationsOf(it.path)).toEqual(NEW);
  using database = new Database(copy);
  expect(database.query("SELECT DISTINCT updated_at FROM clients").values()).toEqual([[4711]]);
  await it.open();
  expect(it.others()).toHaveLength(1);
});

test("the copy leads back: put in the database's place, it is what it was", async () => {
  using it = setup();
  await it.open();
  const rows = (path: string) => {
    using database = new Database(path);
    return database.query("SELECT * FROM audit_entries ORDER BY id").values();
  };
  expect(rows(it.copied[0] ?? "")).toEqual(rows(join(FIXTURE, "accesstoken.db")));
});

test("a new database has nothing to be copied", async () => {
  using it = setup();
  rmSync(it.path);
  rmSync(join(it.folder, "master.key"));
  await it.open();
  expect([it.copied, it.others()]).toEqual([[], []]);
});

test("the two newest copies are kept, and no other file is touched", async () => {
  using it = setup();
  const own = [`${it.path}.before-upgrade`, `${it.path}.before-0010-20270101T000000Z.gz`];
  for (const file of own) cpSync(it.path, file);
  for (let n = 0; n < 4; n++) {
    it.goBack();
    await it.open();
    it.clock.advance(60_000);
  }
  const kept = ["20270101T000200Z", "20270101T000300Z"].map(
    (time) => `accesstoken.db.before-${STEP}-${time}`,
  );
  expect(it.others()).toEqual([...kept, ...own.map((file) => file.slice(it.folder.length + 1))].toSorted());
});

test("copies of a clock that was ahead do not push out the one that was just made", async () => {
  using it = setup();
  const later = ["20300101T000000Z", "20300102T000000Z"].map((time) => `${it.path}.before-0009-${time}`);
  for (const file of later) cpSync(it.path, file);
  await it.open();
  expect(it.copied).toHaveLength(1);
  expect(migrationsOf(it.copied[0] ?? "")).toEqual(OLD);
  expect(it.others()).toHaveLength(2);
});

test("of several processes that start at once one makes the copy, and all of them go on", async () => {
  using it = setup();
  const commands = Array.from({ length: 4 }, () => it.run("environments", "list", "--json"));
  for (const command of commands) {
    await using child = command;
    expect([await child.exited(), child.stderr]).toEqual([0, ""]);
  }
  expect(it.others()).toHaveLength(1);
  expect(migrationsOf(join(it.folder, it.others()[0] ?? ""))).toEqual(OLD);
});

test.each([
  ["while the copy is being written", /\.tmp$/],
  ["once the copy is there", /\.before-\d{4}-\w+Z$/],
  ["when the database's log is there", /-wal$/],
])(
  "P3: killed %s, the database is the old one or the new one, and the next start goes on",
  async (_, when) => {
    using it = setup();
    for (let round = 0; round < 3; round++) {
      it.goBack();
      const seen = Promise.withResolvers<void>();
      const files = watch(it.folder, (_event, name) =>
        when.test(String(name)) ? seen.resolve() : undefined,
      );
      await using child = it.run("serve");
      await seen.promise;
      files.close();
      child.signal("SIGKILL");
      await child.exited();
      expect([OLD, NEW]).toContainEqual(migrationsOf(it.path));
      for (const name of it.others().filter((each) => !each.includes(".tmp")))
        expect(migrationsOf(join(it.folder, name))).toEqual(OLD);
      await it.open();
      expect(migrationsOf(it.path)).toEqual(NEW);
      expect(it.others().filter((name) => name.includes(".tmp"))).toEqual([]);
      for (const name of it.others()) rmSync(join(it.folder, name));
    }
  },
);

test.each([
  ["there is no room for it", "size=1m", "MB are needed"],
  ["the disk fills up under it", "size=3m,nr_inodes=5", "ENOSPC"],
])("where %s, one line says so, and nothing is migrated or left", async (_, options, reason) => {
  if (!mayMount()) return;
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-full-"));
  try {
    const source = join(FIXTURE, ".");
    const script = `mount -t tmpfs -o ${options} none "$0" && cp -a "${source}/accesstoken.db" "${source}/master.key" "$0/" &&
      chmod 600 "$0"/* && cd "$0" && { "$@"; code=$?; ls; cp accesstoken.db "$OUT"; exit $code; }`;
    const out = `${folder}.db`;
    await using child = new Child(["unshare", "-m", "sh", "-c", script, folder, ...FROM_SOURCE, "serve"], {
      cwd: folder,
      env: { PORT: "0", ENV_FILE: "", OUT: out, DATABASE_URL: "file:accesstoken.db" },
    });
    const code = await child.exited();
    expect([code, child.stderr.trimEnd().split("\n")]).toEqual([1, [expect.stringContaining(reason)]]);
    expect(child.stderr).toContain("nothing was changed");
    expect(child.stdout.split("\n").filter((name) => name.includes(".before-"))).toEqual([]);
    expect(migrationsOf(out)).toEqual(OLD);
    rmSync(out);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

/** Whether this process may mount a small disk of its own. */
function mayMount(): boolean {
  if (!existsSync("/usr/bin/unshare")) return false;
  return Bun.spawnSync(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]).exitCode === 0;
}
