import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import {
  chownSync,
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { SERVICE } from "../../src/audit/audit-entry.ts";
import { fileDigest } from "../../src/store/backup-archive.ts";
import { verifyBackup } from "../../src/store/backup-drill.ts";
import { createBackup } from "../../src/store/backup.ts";
import { keyIn } from "../../src/store/key-file.ts";
import { restoreBackup, type RestoreOptions } from "../../src/store/restore.ts";
import { Secret } from "../../src/secret.ts";
import { MIGRATIONS } from "../../src/store/sqlite/open-database.ts";
import { swapDatabase, whileHeld } from "../../src/store/sqlite/swap-database.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { RotationFolder } from "../support/rotation-folder.ts";
import { tokenOf, weixinSlot } from "../support/slots.ts";
import { saveUnderLease } from "../support/store-folder.ts";

/** A stopped database with something in every sealed column, and a backup of it. */
async function setup() {
  const clock = new ManualClock();
  const files = new RotationFolder(clock);
  await files.fill();
  const archive = join(files.folder, "backup.tar.gz");
  const key = { masterKey: undefined, masterKeyFile: files.keyPath };
  const made = await createBackup({ from: { path: files.path }, path: archive, ...key, clock });
  return {
    files,
    clock,
    archive,
    made,
    folder: join(files.folder, "data"),
    verify: (path = archive) => verifyBackup({ archive: path, ...key, clock }),
    restore: (options: Partial<RestoreOptions> = {}) =>
      restoreBackup({
        ...{ archive, to: { path: files.path }, replaces: true, actor: SERVICE, ...key, clock },
        ...options,
      }),
    [Symbol.dispose]: () => files[Symbol.dispose](),
  };
}

async function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "",
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
}

function removeDatabase(folder: string): void {
  for (const name of readdirSync(folder)) if (name.includes(".db")) rmSync(join(folder, name));
}

test("a restore drill opens every sealed text, verifies the audit, and touches nothing", async () => {
  using it = await setup();
  const before = readdirSync(it.folder).map((name) => [name, statSync(join(it.folder, name)).mtimeMs]);
  const report = await it.verify();
  expect(report).toMatchObject({ damaged: [], migrated: [], audit: { isIntact: true } });
  expect(report.sealed).toBeGreaterThan(10);
  expect(report.manifest.audit.id).toBe(it.made.auditEntryId);
  expect(readdirSync(it.folder).map((name) => [name, statSync(join(it.folder, name)).mtimeMs])).toEqual(
    before,
  );
});

test("a restore drill names what does not open, and where the audit is broken", async () => {
  using it = await setup();
  const database = new Database(it.files.path);
  database.run("UPDATE credentials SET value = 'damaged' WHERE slot = 'stable' AND app_id = 'wx1'");
  database.run("UPDATE audit_entries SET client = 'someone' WHERE id = 1");
  database.close();
  const path = join(it.files.folder, "damaged.tar.gz");
  await createBackup({
    ...{ from: { path: it.files.path }, path, masterKey: undefined, masterKeyFile: it.files.keyPath },
    clock: it.clock,
  });
  const report = await it.verify(path);
  expect(report.damaged).toEqual(["credentials.value weixin:wx1:stable:access_token"]);
  expect(report.audit).toMatchObject({ isIntact: false, fault: { id: 1 } });
});

test("truncated, foreign, newer and tampered archives are refused with one line each", async () => {
  using it = await setup();
  const bytes = readFileSync(it.archive);
  const other = join(it.files.folder, "other.tar.gz");
  const given = (content: Uint8Array | string) => {
    writeFileSync(other, content);
    return refusal(Promise.all([it.verify(other)]));
  };
  for (const length of [0, 5, 300, bytes.length >> 1, bytes.length - 9])
    expect(await given(bytes.subarray(0, length))).toContain("cut off");
  expect(await given("not a backup")).toContain("no backup of this service");
  for (const at of [40, bytes.length >> 1, bytes.length - 6])
    expect(await given(bytes.map((byte, n) => (n === at ? byte ^ 0x55 : byte)))).toMatch(
      /damaged|changed|cut off|can't be read/,
    );
  expect(await refusal(it.verify(join(it.files.folder, "none")))).toContain("can't be read: ENOENT");
  const repacked = async (change: (manifest: Record<string, unknown>, folder: string) => void) => {
    const folder = join(it.files.folder, "repacked");
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    Bun.spawnSync(["tar", "xzf", it.archive, "-C", folder]);
    const manifest = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"));
    change(manifest, folder);
    writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest));
    Bun.spawnSync(["tar", "czf", other, "-C", folder, "manifest.json", "accesstoken.db"]);
    return refusal(it.verify(other));
  };
  expect(await repacked(() => undefined)).toBe("");
  expect(await repacked((manifest) => void (manifest["format"] = 2))).toContain("newer version");
  expect(await repacked((manifest) => void (manifest["created_at"] = 1))).toContain("can't be trusted");
  const forge = (_: unknown, folder: string) => {
    const database = new Database(join(folder, "accesstoken.db"));
    database.run("UPDATE milestones SET at = 5");
    database.run("CREATE TABLE more (x)");
    database.close();
  };
  expect(await repacked(forge)).toContain("can't be trusted");
  expect(await repacked((manifest) => void (manifest["key_ids"] = ["00000000"]))).toContain("00000000");
});

test("an archive that is exchanged while it is read is not restored, although it repeats a good one's digest", async () => {
  using it = await setup();
  const folder = join(it.files.folder, "forged");
  mkdirSync(folder);
  Bun.spawnSync(["tar", "xzf", it.archive, "-C", folder]);
  const path = join(folder, "accesstoken.db");
  const forged = new Database(path);
  forged.run("UPDATE settings SET value = 'on' WHERE name = 'anonymous'");
  forged.run("CREATE TABLE more (x)");
  forged.close();
  const manifest = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"));
  writeFileSync(join(folder, "manifest.json"), JSON.stringify({ ...manifest, ...(await fileDigest(path)) }));
  const other = join(it.files.folder, "forged.tar.gz");
  Bun.spawnSync(["tar", "czf", other, "-C", folder, "manifest.json", "accesstoken.db"]);
  const drill = {
    ...{ archive: it.archive, masterKey: undefined, clock: it.clock },
    // It is looked for once it is known which key is needed.
    get masterKeyFile() {
      copyFileSync(other, it.archive);
      return it.files.keyPath;
    },
  };
  expect(await refusal(verifyBackup(drill))).toContain("can't be trusted");
});

test("a backup of a newer schema is refused with the version that made it", async () => {
  using it = await setup();
  const database = new Database(it.files.path);
  database.run("INSERT INTO migrations VALUES ('9999_future', 1)");
  database.close();
  const path = join(it.files.folder, "newer.tar.gz");
  const key = { masterKey: undefined, masterKeyFile: it.files.keyPath };
  expect(
    await refusal(createBackup({ from: { path: it.files.path }, path, ...key, clock: it.clock })),
  ).toContain("newer version");
  expect(existsSync(path)).toBe(false);
});

test("a restored database has what the backup had, and the old one is kept beside it", async () => {
  using it = await setup();
  const store = await it.files.open();
  await store.apps.replaceAll([]);
  it.files.close();
  it.clock.advance(60_000);
  const report = await it.restore();
  expect(report).toMatchObject({ damaged: [], droppedTokens: 3, revived: [], lost: [], anonymous: "on" });
  expect(report.kept).toEqual({ file: `${it.files.path}.before-restore-20261122T040100Z` });
  expect(readdirSync(it.folder).toSorted()).toEqual(
    ["accesstoken.db", "accesstoken.db.before-restore-20261122T040100Z", "master.key"].toSorted(),
  );
  expect(statSync(it.files.path).mode & 0o777).toBe(0o600);
  const restored = await it.files.open();
  expect(await it.files.contents(restored)).toMatchObject({ isAuditIntact: true, faults: [] });
  expect(await restored.apps.list()).toHaveLength(3);
  const [entry] = await restored.audit.list({ action: "backup.restored" }, { limit: 5 });
  expect(entry).toMatchObject({
    client: "(service)",
    detail: { file: "backup.tar.gz", entry: it.made.auditEntryId, made_at: it.made.createdAt },
  });
  const old = await it.files.open({ path: report.kept.file! });
  expect(await old.apps.list()).toEqual([]);
});

test("a restore to a machine without a database needs no --replace, and one with a database does", async () => {
  using it = await setup();
  expect(await refusal(it.restore({ replaces: false }))).toContain("give --replace");
  expect(readdirSync(it.folder).toSorted()).toEqual(["accesstoken.db", "master.key"]);
  removeDatabase(it.folder);
  expect(await it.restore({ replaces: false })).toMatchObject({ kept: {}, lastEntryId: undefined });
  expect((await it.files.contents(await it.files.open())).isAuditIntact).toBe(true);
});

test("P5: after a restore no write and no generation of the time between counts, and no token is handed out that may be cleared by now", async () => {
  using it = await setup();
  const classic = tokenOf(weixinSlot("wx0", "classic"));
  const stable = tokenOf(weixinSlot("wx1", "stable"));
  const credential = (value: string) => {
    const now = it.clock.now();
    return { value: new Secret(value), issuedAt: now, expiresAt: now + 7_200_000 };
  };
  const store = await it.files.open();
  await saveUnderLease(store.credentials, classic, credential("canary-classic"));
  await saveUnderLease(store.credentials, stable, credential("canary-stable"));
  const archive = join(it.files.folder, "second.tar.gz");
  await createBackup({
    ...{ from: { path: it.files.path }, path: archive, masterKey: undefined },
    ...{ masterKeyFile: it.files.keyPath, clock: it.clock },
  });
  it.clock.advance(1000);
  const { record } = await store.credentials.lease(stable, {
    ...{ holder: "late", now: it.clock.now(), lifeMs: 10_000 },
  });
  it.files.close();
  it.clock.advance(1000);
  const { droppedTokens } = await it.restore({ archive });
  expect(droppedTokens).toBe(4);
  const restored = await it.files.open();
  const late = await restored.credentials.save(stable, credential("canary-late"), record.generation);
  expect(late.credential).toBeUndefined();
  expect(late.generation).toBeGreaterThan(record.generation);
  expect((await restored.credentials.find(classic)).credential).toBeUndefined();
  const free = await restored.credentials.lease(stable, {
    ...{ holder: "next", now: it.clock.now(), lifeMs: 10_000 },
  });
  expect(free.isGranted).toBe(true);
});

test("a restore does not open again anonymous access that was ended since, or may have been", async () => {
  using it = await setup();
  const isOn = () => {
    using database = new Database(it.files.path, { readonly: true });
    return database.query("SELECT value FROM settings WHERE name = 'anonymous'").values()[0]?.[0];
  };
  const database = new Database(it.files.path);
  database.run("UPDATE settings SET value = 'off' WHERE name = 'anonymous'");
  database.close();
  expect(await it.restore()).toMatchObject({ anonymous: "ended" });
  expect(isOn()).toBe("off");
  writeFileSync(it.files.path, Buffer.alloc(8192, 0x41));
  expect(await it.restore()).toMatchObject({ anonymous: "ended" });
  expect(isOn()).toBe("off");
  removeDatabase(it.folder);
  expect(await it.restore()).toMatchObject({ anonymous: "on" });
  expect(isOn()).toBe("on");
  expect(await it.restore()).toMatchObject({ anonymous: "on" });
});

test("a restore says which keys are valid again, and which are gone", async () => {
  using it = await setup();
  const database = new Database(it.files.path);
  const add = (prefix: string, revokedAt: number | null) =>
    database
      .query(
        "INSERT INTO api_keys (prefix, client, digest, label, created_at, revoked_at) VALUES (?, 'shop', ?, '', 1, ?)",
      )
      .run(prefix, prefix, revokedAt);
  add("ats_kept", null);
  add("ats_revoked", null);
  const archive = join(it.files.folder, "keys.tar.gz");
  const key = { masterKey: undefined, masterKeyFile: it.files.keyPath };
  await createBackup({ from: { path: it.files.path }, path: archive, ...key, clock: it.clock });
  database.run("UPDATE api_keys SET revoked_at = 5 WHERE prefix = 'ats_revoked'");
  add("ats_new", null);
  add("ats_short", 6);
  database.close();
  const report = await it.restore({ archive });
  expect(report.revived).toEqual(["shop ats_revoked"]);
  expect(report.lost).toEqual(["shop ats_new"]);
  expect(report.lastEntryId).toBe(it.made.auditEntryId);
});

test("a restore needs the backup's own master key, and says where it is", async () => {
  using it = await setup();
  const { keyId } = keyIn(it.files.keyPath)!;
  await it.files.rotate({ graceMs: 0 });
  const failure = await it.restore().catch((error: unknown) => error);
  expect(failure).toMatchObject({
    message: expect.stringContaining(`needs the master key ${keyId}`),
    hint: expect.stringContaining(`master.key.${keyId}`),
  });
  expect((await it.verify()).damaged).toEqual([]);
  copyFileSync(`${it.files.keyPath}.${keyId}`, it.files.keyPath);
  expect((await it.restore()).damaged).toEqual([]);
  renameSync(it.files.keyPath, join(it.folder, "away"));
  rmSync(`${it.files.keyPath}.${keyId}`);
  expect(await refusal(it.restore())).toContain("is not there");
});

test("a restore is refused while a process has the database open, and changes nothing", async () => {
  using it = await setup();
  const store = await it.files.open();
  expect(await refusal(it.restore())).toContain("stop the service first");
  expect(await store.probe()).toEqual([]);
  it.files.close();
  expect((await it.restore()).damaged).toEqual([]);
});

test("a restore says in one line that what has the database's name is none that can be opened", async () => {
  using it = await setup();
  removeDatabase(it.folder);
  mkdirSync(it.files.path);
  expect(await refusal(it.restore())).toContain("it is a folder; name a file");
  rmSync(it.files.path, { recursive: true });
  symlinkSync(join(it.folder, "nowhere"), it.files.path);
  expect(await refusal(it.restore())).toContain("a link that leads nowhere");
  expect(readdirSync(it.folder).toSorted()).toEqual(["accesstoken.db", "master.key"]);
});

test("a restore through a link replaces the file that it leads to, and root leaves that file its owner's", async () => {
  using it = await setup();
  const elsewhere = join(it.files.folder, "elsewhere");
  mkdirSync(elsewhere);
  const real = join(elsewhere, "real.db");
  renameSync(it.files.path, real);
  symlinkSync(real, it.files.path);
  const owner = process.getuid?.() === 0 ? 12_345 : statSync(real).uid;
  chownSync(real, owner, statSync(real).gid);
  const before = statSync(real).ino;
  const { kept } = await it.restore();
  expect(kept.file).toStartWith(`${real}.before-restore-`);
  expect(lstatSync(it.files.path).isSymbolicLink()).toBe(true);
  expect(statSync(real)).toMatchObject({ uid: owner });
  expect(statSync(real).ino).not.toBe(before);
  expect(readdirSync(elsewhere)).toHaveLength(2);
});

test.each([
  ["a link to another file", (draft: string, other: string) => symlinkSync(other, draft)],
  ["another file's second name", (draft: string, other: string) => linkSync(other, draft)],
  ["a pipe", (draft: string) => void Bun.spawnSync(["mkfifo", draft])],
  ["a folder", (draft: string) => mkdirSync(draft)],
])("what lies in the place of the restored database is not handed over: %s", async (_, put) => {
  using it = await setup();
  const [draft, other] = [join(it.files.folder, "draft"), join(it.files.folder, "other")];
  writeFileSync(other, "somebody else's", { mode: 0o600 });
  const before = statSync(other);
  if (process.getuid?.() === 0) chownSync(it.files.path, 12_345, 12_345);
  put(draft, other);
  const content = readFileSync(it.files.path);
  const swap = whileHeld(it.files.path, (held) => swapDatabase(it.files.path, draft, held, it.clock));
  expect(await refusal(swap)).toMatch(/has put something else in its place|EISDIR/);
  expect(statSync(other)).toMatchObject({ uid: before.uid, gid: before.gid });
  expect(readFileSync(it.files.path)).toEqual(content);
});

test("what is put in the restored database's place at the last moment does not pass for it", async () => {
  using it = await setup();
  const [draft, other] = [join(it.files.folder, "draft"), join(it.files.folder, "other")];
  copyFileSync(it.files.path, draft);
  writeFileSync(other, "somebody else's");
  const before = statSync(it.files.path).ino;
  const swap = whileHeld(it.files.path, async (held) => {
    const database = held.database!;
    const run = database.run.bind(database);
    database.run = (...given: Parameters<typeof run>) => {
      rmSync(draft, { force: true });
      symlinkSync(other, draft);
      return run(...given);
    };
    return swapDatabase(it.files.path, draft, held, it.clock);
  });
  expect(await refusal(swap)).toContain("has put something else in its place");
  expect(statSync(it.files.path).ino).toBe(before);
});

test("a damaged database is replaced too, and kept", async () => {
  using it = await setup();
  writeFileSync(it.files.path, Buffer.alloc(8192, 0x41));
  expect(await refusal(it.restore({ replaces: false }))).toContain("give --replace");
  const { kept } = await it.restore();
  expect(readFileSync(kept.file!)).toEqual(Buffer.alloc(8192, 0x41));
  expect((await it.files.contents(await it.files.open())).isAuditIntact).toBe(true);
});

test("what is committed in the old log is in the old database that is kept, and the new one has none of it", async () => {
  using it = await setup();
  const open = await it.files.open();
  await open.apps.replaceAll([]);
  // As a kill leaves it: with its log.
  for (const end of ["", "-wal", "-shm"])
    copyFileSync(it.files.path + end, join(it.files.folder, `left${end}`));
  it.files.close();
  for (const end of ["", "-wal", "-shm"])
    renameSync(join(it.files.folder, `left${end}`), it.files.path + end);
  const { kept } = await it.restore();
  expect(readdirSync(it.folder)).not.toContain("accesstoken.db-wal");
  expect(await (await it.files.open()).apps.list()).toHaveLength(3);
  expect(await (await it.files.open({ path: kept.file! })).apps.list()).toEqual([]);
});

test("a backup of an earlier version is brought to this one by a restore", async () => {
  using it = await setup();
  const path = join(it.files.folder, "old", "accesstoken.db");
  mkdirSync(join(it.files.folder, "old"));
  const fixture = join(import.meta.dir, "../fixtures/schema-0004");
  copyFileSync(join(fixture, "accesstoken.db"), path);
  const key = { masterKey: undefined, masterKeyFile: join(it.files.folder, "old", "master.key") };
  copyFileSync(join(fixture, "master.key"), key.masterKeyFile);
  const archive = join(it.files.folder, "old.tar.gz");
  const made = await createBackup({ from: { path }, path: archive, ...key, clock: it.clock });
  expect(made.isCurrent).toBe(false);
  const report = await it.restore({ archive, to: { path }, ...key });
  expect(report.migrated.length).toBe(MIGRATIONS.length - 5);
  expect(report.audit.isIntact).toBe(true);
  truncateSync(archive, 1000);
  expect(await refusal(it.restore({ archive, to: { path }, ...key }))).toContain("cut off");
});
