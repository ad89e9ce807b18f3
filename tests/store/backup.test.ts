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
import { readManifest, unpackArchive } from "../../src/store/backup-archive.ts";
import { isSigned } from "../../src/store/backup-manifest.ts";
import { backupName, createBackup, listBackups, pruneBackups } from "../../src/store/backup.ts";
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
  const path = join(out, backupName(files.clock.now()));
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
  expect(readdirSync(it.out)).toEqual(["accesstoken-20261122T040000Z.tar.gz"]);
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
    await inTempFolder(it.path, it.files.clock, async (folder) => basename(folder)),
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
    await inTempFolder(it.path, it.files.clock, async (folder) => basename(folder)),
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
  const names: string[] = [];
  for (let day = 0; day < 4; day++) {
    const name = backupName(clock.now());
    names.push(name);
    await it.make({ path: join(it.out, name), clock });
    clock.advance(86_400_000);
  }
  for (const name of ["accesstoken.tar.gz", "accesstoken-20200101T000000Z.tar.gz.part", "notes.txt"])
    writeFileSync(join(it.out, name), "");
  expect(listBackups(it.out)).toEqual(names.map((name) => join(it.out, name)));
  // A folder is no backup, whatever it is called.
  mkdirSync(join(it.out, "accesstoken-20200101T000000Z.tar.gz"));
  const made = join(it.out, names[3]!);
  expect(pruneBackups(made, 2)).toEqual(names.slice(0, 2).map((name) => join(it.out, name)));
  expect(readdirSync(it.out)).toHaveLength(2 + 4);
  expect(pruneBackups(made, 1)).toEqual([join(it.out, names[2]!)]);
  expect(listBackups(it.out)).toEqual([made]);
});

test("backups of a clock that was ahead never push out the one that was just made, or those before it", async () => {
  using it = await setup();
  const of = (day: number) => join(it.out, backupName(Date.UTC(2026, 0, day)));
  for (const day of [1, 2, 3, 300, 301, 302]) writeFileSync(of(day), "");
  expect(pruneBackups(of(3), 3)).toEqual([]);
  expect(pruneBackups(of(3), 2)).toEqual([of(1)]);
  expect(listBackups(it.out)).toEqual([2, 3, 300, 301, 302].map(of));
});
