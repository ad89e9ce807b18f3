import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { createBackup } from "../../src/store/backup.ts";
import { Child } from "../support/child.ts";
import { binary } from "../support/process-harness.ts";
import { RotationFolder } from "../support/rotation-folder.ts";

/** A database with something in every sealed column, and the program to work on it. */
async function setup() {
  const files = new RotationFolder(systemClock);
  await files.fill();
  const env = { ENV_FILE: "", DATABASE_URL: `file:${files.path}`, MASTER_KEY_FILE: files.keyPath };
  const key = readFileSync(files.keyPath, "utf8").trim();
  const run = async (
    args: readonly string[],
    more: Record<string, string> = {},
    before: readonly string[] = [],
  ) => {
    await using child = new Child([...before, ...binary(), ...args], {
      cwd: files.folder,
      env: { ...env, ...more },
    });
    const code = await child.exited();
    expect(child.stdout + child.stderr).not.toContain(key);
    return { code, stdout: child.stdout, stderr: child.stderr };
  };
  /** Makes the folder `out`, and tells by which digits the database's backups are known there. */
  const installation = async () => {
    expect((await run(["backup", "--out", "out/"])).code).toBe(0);
    const [made = ""] = readdirSync(join(files.folder, "out"));
    rmSync(join(files.folder, "out", made));
    return /-([0-9a-f]{8})\.tar\.gz$/.exec(made)?.[1] ?? "";
  };
  return {
    files,
    run,
    installation,
    data: join(files.folder, "data"),
    [Symbol.dispose]: () => files[Symbol.dispose](),
  };
}

test("backups are made into a folder, the oldest go, one is tried, and the database knows of it", async () => {
  using it = await setup();
  const installation = await it.installation();
  for (const name of [
    `accesstoken-20200101T000000Z-${installation}.tar.gz`,
    `accesstoken-20200102T000000Z-${installation}.tar.gz`,
    "accesstoken-20200101T000000Z-0123abcd.tar.gz",
    "mine.tar.gz",
  ])
    writeFileSync(join(it.files.folder, "out", name), "");
  const { code, stdout } = await it.run(["backup", "--out", "out", "--keep", "2", "--json"]);
  const made = JSON.parse(stdout) as Record<string, unknown>;
  expect(code).toBe(0);
  expect(made).toMatchObject({ removed: [`out/accesstoken-20200101T000000Z-${installation}.tar.gz`] });
  const file = String(made["file"]);
  expect(readdirSync(join(it.files.folder, "out"))).toHaveLength(4);
  const verified = await it.run(["backup", "verify", file], { LANG: "zh_CN.UTF-8" });
  expect([verified.code, verified.stderr]).toEqual([0, ""]);
  expect(verified.stdout).toMatch(/密文：(\d+)项中\1项可解密。\n审计：完整，共\d+条。\n可以完整恢复。/);
  const store = await it.files.open();
  const [entry] = await store.audit.list({ action: "backup.created" }, { limit: 1 });
  expect(entry).toMatchObject({ client: "(command line)", detail: { bytes: made["bytes"] } });
  const milestones = await store.milestones.list();
  expect(milestones.get("backup")).toMatchObject({ at: made["created_at"] });
  expect(milestones.get("backup_verified")).toMatchObject({ detail: { made_at: made["created_at"] } });
});

test("a backup of a database whose audit can't be written is made and noted, and removes none of the earlier ones", async () => {
  using it = await setup();
  const name = `accesstoken-20200101T000000Z-${await it.installation()}.tar.gz`;
  const earlier = join(it.files.folder, "out", name);
  writeFileSync(earlier, "");
  const database = new Database(it.files.path);
  database.run(
    "CREATE TRIGGER no_audit BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'full'); END",
  );
  database.close();
  const { code, stdout, stderr } = await it.run(["backup", "--out", "out", "--keep", "1", "--json"]);
  expect([code, stderr]).toEqual([0, expect.stringContaining("done, but not noted in the database")]);
  expect(JSON.parse(stdout)).toMatchObject({ removed: [] });
  expect(readdirSync(join(it.files.folder, "out"))).toHaveLength(2);
  const store = await it.files.open();
  expect((await store.milestones.list()).get("backup")).toBeDefined();
});

test("a folder that is to be made is, for its owner alone", async () => {
  using it = await setup();
  expect((await it.run(["backup", "--out", "new/er/"])).code).toBe(0);
  expect(readdirSync(join(it.files.folder, "new/er"))).toHaveLength(1);
  expect(statSync(join(it.files.folder, "new/er")).mode & 0o777).toBe(0o700);
  const { code, stderr } = await it.run(["backup", "--out", "/proc/nowhere/"]);
  expect([code, stderr]).toEqual([3, expect.stringContaining("can't be written")]);
});

test("a path that can't be used is named in one line by every command, with what to do", async () => {
  using it = await setup();
  const write = (name: string, text: string) =>
    writeFileSync(join(it.files.folder, name), text, { mode: 0o600 });
  write("plain", "");
  write("pass", "a long passphrase\n");
  const passphrase = ["--passphrase-file", "pass"];
  const written =
    "can't be written: ENOTDIR; nothing was left behind; check its folder, free space and permissions";
  const unreadable = "can't be read: ENOTDIR; check path, owner and mode";
  for (const [code, line, ...args] of [
    [3, `plain: ${written}`, "backup", "--out", "plain/x"],
    [3, `plain/: ${written}`, "backup", "--out", "plain/"],
    [3, `plain/x: ${unreadable}`, "backup", "verify", "plain/x"],
    [3, `plain/x: ${unreadable}`, "restore", "plain/x", "--replace"],
    // It may be the passphrase itself.
    [
      ...[
        2,
        "--passphrase-file: there is no such file, or its folder can't be entered; if that was the secret itself, change it",
      ],
      ...["master-key", "export", "--passphrase-file", "plain/x"],
    ],
    [2, `<file>: plain/x ${unreadable}`, "master-key", "import", "plain/x", ...passphrase],
    [
      ...[2, "--out: plain/x can't be made: ENOTDIR; check path, free space and permissions"],
      ...["master-key", "export", ...passphrase, "--out", "plain/x"],
    ],
  ] as const) {
    const { code: exitCode, stderr } = await it.run(args as string[]);
    expect([exitCode, stderr.split("\n").slice(-2)]).toEqual([code, [`accesstoken: ${line}`, ""]]);
  }
  expect(readdirSync(it.files.folder).toSorted()).toEqual(["data", "pass", "plain"]);
});

test("a drill that finds damage exits with 1, what is no backup with 3, and wrong usage with 2", async () => {
  using it = await setup();
  expect((await it.run(["backup", "--out", "b.tar.gz"])).code).toBe(0);
  const bytes = readFileSync(join(it.files.folder, "b.tar.gz"));
  writeFileSync(join(it.files.folder, "cut.tar.gz"), bytes.subarray(0, 900));
  const cut = await it.run(["backup", "verify", "cut.tar.gz"]);
  expect([cut.code, cut.stderr]).toEqual([
    3,
    "accesstoken: cut.tar.gz: the backup is cut off; copy the file again, or take another\n",
  ]);
  expect((await it.run(["restore", "cut.tar.gz", "--replace"])).code).toBe(3);
  expect((await it.run(["backup", "--out", "x.tar.gz", "--keep", "2"])).code).toBe(2);
  expect((await it.run(["restore"])).code).toBe(2);
  const again = await it.run(["restore", "b.tar.gz"]);
  expect([again.code, again.stderr]).toEqual([1, expect.stringContaining("give --replace")]);
});

test("a restore says what is lost and what to do, and its old file is kept", async () => {
  using it = await setup();
  expect((await it.run(["backup", "--out", "b.tar.gz"])).code).toBe(0);
  const { code, stdout } = await it.run(["restore", "b.tar.gz", "--replace"]);
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /Restored\. Lost: everything after audit entry \d+, \S+ \(the old database had entries up to \d+\)/,
  );
  expect(stdout).toContain("The old database is kept as ");
  expect(readdirSync(it.data)).toHaveLength(3);
  expect((await it.run(["audit", "verify"])).code).toBe(0);
});

test("the master key goes to paper and back, and only with its passphrase", async () => {
  using it = await setup();
  const write = (name: string, text: string) =>
    writeFileSync(join(it.files.folder, name), text, { mode: 0o600 });
  write("pass", "a long passphrase\n");
  write("other", "another passphrase\n");
  write("short", "short\n");
  expect((await it.run(["master-key", "export", "--passphrase-file", "short"])).code).toBe(2);
  const made = await it.run(["master-key", "export", "--passphrase-file", "pass", "--out", "key.txt"]);
  expect([made.code, made.stderr]).toEqual([0, ""]);
  expect(statSync(join(it.files.folder, "key.txt")).mode & 0o777).toBe(0o600);
  expect((await it.run(["master-key", "export", "--passphrase-file", "pass", "--out", "key.txt"])).code).toBe(
    2,
  );
  const store = await it.files.open();
  expect((await store.milestones.list()).has("master_key_exported")).toBe(true);
  it.files.close();
  const key = readFileSync(it.files.keyPath, "utf8");
  rmSync(it.files.keyPath);
  const wrong = await it.run(["master-key", "import", "key.txt", "--passphrase-file", "other"]);
  expect([wrong.code, wrong.stderr]).toEqual([
    3,
    "accesstoken: the passphrase is another one; nothing was changed\n",
  ]);
  const back = await it.run(["master-key", "import", "key.txt", "--passphrase-file", "pass"]);
  expect([back.code, back.stdout]).toEqual([
    0,
    expect.stringContaining("It opens the database that is here."),
  ]);
  expect(readFileSync(it.files.keyPath, "utf8")).toBe(key);
  const set = await it.run(["master-key", "import", "key.txt", "--passphrase-file", "pass"], {
    MASTER_KEY: "11".repeat(32),
    MASTER_KEY_FILE: "",
  });
  expect(set.code).toBe(2);
});

/** Runs a command where `folder` is a disk of so many kilobytes, and lists that folder afterwards. */
const ON_SMALL_DISK = `folder=$1 size=$2; shift 2; cp -a "$folder" "$folder.kept"
mount -t tmpfs -o size=\${size}k tmpfs "$folder" && cp -a "$folder.kept/." "$folder" || exit 99
"$@"; code=$?; echo "left: $(ls -A "$folder" | tr '\\n' ' ')"; cmp "$folder/accesstoken.db" "$folder.kept/accesstoken.db" && echo same; exit $code`;

const canMount =
  Bun.which("unshare") !== null &&
  Bun.spawnSync(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], { stderr: "ignore" }).exitCode ===
    0;

test.skipIf(!canMount)(
  "a full disk leaves nothing of a backup, a restore or an exported key behind, and says so in one line",
  async () => {
    using it = await setup();
    const path = join(it.files.folder, "b.tar.gz");
    await createBackup({
      ...{ from: { path: it.files.path }, path, masterKey: undefined, masterKeyFile: it.files.keyPath },
      clock: systemClock,
    });
    const sizes = Math.ceil(statSync(it.files.path).size / 1024);
    const disk = ["unshare", "-m", "sh", "-c", ON_SMALL_DISK, "sh", "data", String(sizes + 200)];
    const backup = await it.run(["backup", "--out", "data/"], {}, disk);
    expect(backup).toEqual({
      code: 3,
      stdout: "left: accesstoken.db master.key \nsame\n",
      stderr: expect.stringMatching(
        /^accesstoken: data\/: can't be written: \w+; nothing was left behind.*\n$/,
      ),
    });
    rmSync(`${it.data}.kept`, { recursive: true });
    const restore = await it.run(["restore", "b.tar.gz", "--replace"], {}, disk);
    expect(restore).toEqual({
      code: 3,
      stdout: "left: accesstoken.db master.key \nsame\n",
      stderr: expect.stringMatching(/^accesstoken: .*(ENOSPC|SQLITE_FULL).*\n$/),
    });
    writeFileSync(join(it.files.folder, "pass"), "correct horse battery staple\n");
    mkdirSync(join(it.files.folder, "full"));
    const script = `mount -t tmpfs -o size=4k none full; head -c 4096 /dev/zero > full/zeros; "$0" "$@"; code=$?; ls full; exit $code`;
    const args = ["master-key", "export", "--passphrase-file", "pass", "--out", "full/key.txt"];
    expect(await it.run(args, {}, ["unshare", "-m", "sh", "-c", script])).toEqual({
      code: 3,
      stdout: "zeros\n",
      stderr: expect.stringContaining("full/key.txt: can't be written: ENOSPC; nothing was left behind"),
    });
  },
);
