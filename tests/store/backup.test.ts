import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { SERVICE } from "../../src/audit/audit-entry.ts";
import { readManifest, unpackArchive } from "../../src/store/backup-archive.ts";
import { isSigned } from "../../src/store/backup-manifest.ts";
import { createBackup, pruneBackups } from "../../src/store/backup.ts";
import { restoreBackup } from "../../src/store/restore.ts";
import { inTempFolder } from "../../src/store/temp-folder.ts";
import { keyIn } from "../../src/store/key-file.ts";
import { MIGRATIONS } from "../../src/store/sqlite/open-database.ts";
import { VERSION } from "../../src/version.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { RotationFolder } from "../support/rotation-folder.ts";

/** A stopped database with something in every sealed column, and a folder for its backups. */
async function setup() {
  const files = new RotationFolder();
  await files.fill();
  const out = join(files.folder, "out");
  mkdirSync(out);
  const path = join(out, "backup.tar.gz");
  return {
    files,
    out,
    path,
    make: (options: Partial<Parameters<typeof createBackup>[0]> = {}) =>
      createBackup({
        from: { path: files.path },
        path,
        masterKey: undefined,
        masterKeyFile: files.keyPath,
        clock: files.clock,
        ...options,
      }),
    [Symbol.dispose]: () => files[Symbol.dispose](),
  };
}

/** The message of what `work` rejects with. */
async function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "",
    (error: unknown) => (error instanceof Error ? error.message : ""),
  );
}

test("P6: a backup that is made while the service writes has the whole database of one moment, no master key and nothing unsealed", async () => {
  using it = await setup();
  const store = await it.files.open();
  const { last } = await store.audit.verify();
  const report = await it.make();
  await store.milestones.reach("audit_verified", { at: 1, detail: {} });
  const manifest = await readManifest(it.path);
  expect(manifest).toMatchObject({
    format: 1,
    version: VERSION,
    engine: "sqlite",
    schema: MIGRATIONS.map(({ name }) => name),
    key_ids: [keyIn(it.files.keyPath)!.keyId],
    audit: last!,
    created_at: it.files.clock.now(),
  });
  expect(report).toEqual({
    path: it.path,
    bytes: statSync(it.path).size,
    createdAt: manifest.created_at,
    keyIds: manifest.key_ids,
    rows: manifest.rows,
    auditEntryId: last!.id,
    isCurrent: true,
  });
  expect(manifest.rows["credentials"]).toBeGreaterThan(0);
  expect(isSigned(keyIn(it.files.keyPath)!, manifest)).toBe(true);
  const unpacked = join(it.out, "unpacked.db");
  await unpackArchive(it.path, unpacked, () => undefined);
  it.files.close();
  const other = await it.files.open({ path: unpacked });
  const contents = await it.files.contents(other);
  expect(contents).toMatchObject({ isAuditIntact: true, isVirtualTokenKnown: true, faults: [] });
  expect(contents.tokens).not.toContain(undefined);
  const key = readFileSync(it.files.keyPath, "utf8").trim();
  for (const secret of [key, ...contents.tokens, contents.login, ...contents.callbacks, ...contents.pushes])
    expect(readFileSync(unpacked).includes(secret!)).toBe(false);
});

test("a backup is its owner's alone, reads as an ordinary archive, and leaves nothing beside it", async () => {
  using it = await setup();
  await it.make();
  expect(statSync(it.path).mode & 0o777).toBe(0o600);
  expect(readdirSync(it.out)).toEqual(["backup.tar.gz"]);
  const listed = Bun.spawnSync(["tar", "tzf", it.path]);
  expect(listed.stdout.toString()).toBe("manifest.json\naccesstoken.db\n");
});

test("a file that is there is not overwritten by a backup", async () => {
  using it = await setup();
  writeFileSync(it.path, "something");
  expect(await refusal(it.make())).toContain("was left as it is");
  expect(readFileSync(it.path, "utf8")).toBe("something");
  expect(readdirSync(it.out)).toHaveLength(1);
});

test("no backup is made without the database's own master key, or of a database that it does not open", async () => {
  using it = await setup();
  using other = new RotationFolder();
  await other.fill();
  expect(await refusal(it.make({ masterKeyFile: join(it.out, "none") }))).toContain("missing");
  expect(await refusal(it.make({ masterKeyFile: other.keyPath }))).toContain("does not open this database");
  const database = new Database(it.files.path);
  database.run("UPDATE apps SET secret = substr(secret, 1, length(secret) - 4) || 'AAAA'");
  database.close();
  expect(await refusal(it.make())).toContain("apps.secret");
  expect(readdirSync(it.out)).toEqual([]);
});

test("one damaged token does not keep a database from being backed up", async () => {
  using it = await setup();
  const database = new Database(it.files.path);
  database.run(
    "UPDATE credentials SET value = 'damaged' WHERE rowid = (SELECT max(rowid) FROM credentials WHERE value IS NOT NULL)",
  );
  database.close();
  expect((await it.make()).rows["credentials"]).toBeGreaterThan(0);
});

test("a damaged, foreign or missing database gives no backup, and nothing is left behind", async () => {
  using it = await setup();
  const from = (name: string) => ({ from: { path: join(it.files.folder, name) } });
  expect(await refusal(it.make(from("none.db")))).toContain("there is no database");
  expect(existsSync(join(it.files.folder, "none.db"))).toBe(false);
  const foreign = new Database(join(it.files.folder, "foreign.db"));
  foreign.run("CREATE TABLE something (x)");
  foreign.close();
  expect(await refusal(it.make(from("foreign.db")))).toContain("another program");
  const bytes = readFileSync(it.files.path);
  bytes.fill(0x5a, Math.floor(bytes.length / 2));
  writeFileSync(join(it.files.folder, "damaged.db"), bytes);
  expect(await refusal(it.make(from("damaged.db")))).not.toBe("");
  expect(readdirSync(it.out)).toEqual([]);
});

test("what a killed backup has left is taken away by the next one, and what a running one has is not", async () => {
  using it = await setup();
  const { host } = /^\.accesstoken-(?<host>\w+)-/.exec(
    await inTempFolder(it.out, it.files.clock, async (folder) => basename(folder)),
  )!.groups!;
  const left = `.accesstoken-${host}-999999999-00000000`;
  const running = `.accesstoken-${host}-${process.ppid}-00000000`;
  const elsewhere = ".accesstoken-00000000-999999999-00000000";
  for (const name of [left, running, elsewhere]) mkdirSync(join(it.out, name));
  await it.make({ path: join(it.out, "second.tar.gz") });
  const names = readdirSync(it.out);
  expect(names).not.toContain(left);
  expect(names).toContain(running);
  expect(names).toContain(elsewhere);
});

test("what a killed backup of another user has left, or what can't be removed, keeps nobody from making one", async () => {
  using it = await setup();
  const { host } = /^\.accesstoken-(?<host>\w+)-/.exec(
    await inTempFolder(it.out, it.files.clock, async (folder) => basename(folder)),
  )!.groups!;
  const left = join(it.out, `.accesstoken-${host}-999999999-00000000`);
  mkdirSync(left);
  writeFileSync(join(left, "file"), "");
  // Root may remove what is another's, and then only leaves it alone.
  if (process.getuid?.() === 0) chownSync(left, 12_345, 12_345);
  else chmodSync(left, 0o500);
  expect((await it.make()).path).toBe(it.path);
  expect(readdirSync(it.out)).toContain(basename(left));
  if (process.getuid?.() !== 0) chmodSync(left, 0o700);
});

test("only backups under their own names count for how many are kept, and the oldest go", async () => {
  using it = await setup();
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  const made: string[] = [];
  for (let day = 0; day < 4; day++) {
    made.push((await it.make({ path: it.out, isFolder: true, clock })).path);
    clock.advance(86_400_000);
  }
  const installation = /^accesstoken-20260104T000000Z-([0-9a-f]{8})\.tar\.gz$/.exec(basename(made[3]!))![1]!;
  for (const name of [
    "accesstoken.tar.gz",
    `accesstoken-20200101T000000Z-${installation}.tar.gz.part`,
    "notes",
  ])
    writeFileSync(join(it.out, name), "");
  // A folder is no backup, whatever it is called.
  mkdirSync(join(it.out, `accesstoken-20200101T000000Z-${installation}.tar.gz`));
  expect(pruneBackups(made[3]!, 2)).toEqual(made.slice(0, 2));
  expect(readdirSync(it.out)).toHaveLength(2 + 4);
  expect(pruneBackups(made[3]!, 1)).toEqual([made[2]!]);
  expect(existsSync(made[3]!)).toBe(true);
});

test("installations that share a folder remove their own backups alone, also one that was restored from the other's", async () => {
  using it = await setup();
  using other = new RotationFolder();
  await other.fill();
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  const parts = { path: it.out, isFolder: true, clock };
  const foreign = { ...parts, from: { path: other.path }, masterKeyFile: other.keyPath };
  const own: string[] = [];
  const others: string[] = [];
  for (let day = 0; day < 2; day++) {
    own.push((await it.make(parts)).path);
    // At the same second, under another name.
    others.push((await it.make(foreign)).path);
    clock.advance(86_400_000);
  }
  const copy = join(it.files.folder, "copy.db");
  await restoreBackup({
    ...{ archive: own[0]!, to: { path: copy }, replaces: false, actor: SERVICE },
    ...{ masterKey: undefined, masterKeyFile: it.files.keyPath, clock },
  });
  const copied = (await it.make({ ...parts, from: { path: copy } })).path;
  expect(pruneBackups(copied, 1)).toEqual([]);
  expect(pruneBackups(others[1]!, 1)).toEqual([others[0]!]);
  expect(readdirSync(it.out).toSorted()).toEqual(
    [...own, others[1]!, copied].map((path) => basename(path)).toSorted(),
  );
  expect(pruneBackups(own[1]!, 1)).toEqual([own[0]!]);
});

test("a new master key leaves an installation its backups", async () => {
  using it = await setup();
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  const first = await it.make({ path: it.out, isFolder: true, clock });
  await it.files.rotate();
  clock.advance(86_400_000);
  const second = await it.make({ path: it.out, isFolder: true, clock });
  expect(second.keyIds).not.toEqual(first.keyIds);
  expect(pruneBackups(second.path, 1)).toEqual([first.path]);
});

test("backups of a clock that was ahead never push out the one that was just made, or those before it", async () => {
  using it = await setup();
  const of = (day: number) =>
    join(it.out, `accesstoken-2026${String(day).padStart(4, "0")}T000000Z-0123abcd.tar.gz`);
  for (const day of [101, 102, 103, 1001, 1002, 1003]) writeFileSync(of(day), "");
  expect(pruneBackups(of(103), 3)).toEqual([]);
  expect(pruneBackups(of(103), 2)).toEqual([of(101)]);
  expect(readdirSync(it.out).toSorted()).toEqual(
    [102, 103, 1001, 1002, 1003].map((day) => basename(of(day))),
  );
});
