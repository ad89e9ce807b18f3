import { dlopen, FFIType } from "bun:ffi";
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { DoctorHarness, expectTroubles, type SetUp, type Trouble } from "../support/doctor-harness.ts";
import { Secret } from "../../src/secret.ts";
import { secretPlace } from "../../src/store/app-rows.ts";
import { SealingKey } from "../../src/store/sealing-key.ts";
import { WX } from "../support/harness.ts";
import { freePort } from "../support/postgres-server.ts";
import { ask, binary } from "../support/process-harness.ts";

const isRoot = process.getuid?.() === 0;
/** What only root can prepare. */
const rootTest = isRoot ? test : test.skip;
const USER = 65_534;

/** Gives a folder of root's an access control list, as far as `mask` goes for others: what may be done by `uid`, and by nobody else. */
function setAcl(path: string, uid: number, may: number, mask: number): void {
  const entries = [
    [0x01, 7, -1],
    [0x02, may, uid],
    [0x04, 0, -1],
    [0x10, mask, -1],
    [0x20, 0, -1],
  ] as const;
  const list = Buffer.alloc(4 + 8 * entries.length);
  list.writeUInt32LE(2);
  for (const [n, [tag, bits, id]] of entries.entries()) {
    list.writeUInt16LE(tag, 4 + 8 * n);
    list.writeUInt16LE(bits, 6 + 8 * n);
    list.writeInt32LE(id, 8 + 8 * n);
  }
  const { cstring, ptr, u64, i32 } = FFIType;
  const { symbols } = dlopen("libc.so.6", {
    setxattr: { args: [cstring, cstring, ptr, u64, i32], returns: i32 },
  });
  const [place, name] = [Buffer.from(`${path}\0`), Buffer.from("system.posix_acl_access\0")];
  expect(symbols.setxattr(place, name, list, list.length, 0)).toBe(0);
}

let harness: DoctorHarness;
beforeAll(async () => {
  harness = await DoctorHarness.start();
}, 120_000);
afterAll(() => harness[Symbol.asyncDispose]());

const WX_ROW = `platform = 'weixin' AND app_id = '${WX.appId}'`;

/** What seals the texts of its database. */
function keyOf(at: SetUp): SealingKey {
  return new SealingKey(Buffer.from(readFileSync(at.path("key/master.key"), "utf8").trim(), "hex"));
}

/** A broken set-up: what is done to one that lacks nothing, and what the doctor must find. */
interface Broken {
  readonly name: string;
  readonly prepare: (setUp: SetUp) => void | Promise<void>;
  readonly troubles: readonly Trouble[];
  readonly env?: Record<string, string>;
  readonly args?: readonly string[];
  readonly shell?: readonly string[];
}

const nothing = () => undefined;
/** The file as the service left it is whole: its log is in it. */
const DATABASE = "data/accesstoken.db";
const MONTHS_AGO = Date.now() - 100 * 86_400_000;

const CONFIGURATION: readonly Broken[] = [
  {
    name: "a variable of the environment is misspelt",
    prepare: nothing,
    env: { TRUSTED_NETWORK: "10.0.0.0/8" },
    troubles: [[1, "warn", /rename, remove or correct/]],
  },
  {
    name: "a line of the env file is misspelt",
    prepare: (at) => at.set({ WEIXIN_SECRT_wx00000000000000dd: "x" }),
    troubles: [[1, "fail", /correct that variable/]],
  },
  {
    name: "a value can't be read",
    prepare: (at) => at.set({ PORT: "http" }),
    troubles: [[1, "fail", /correct that variable/]],
  },
  {
    name: "the env file is of another program, too",
    prepare: (at) => at.set({ COMPOSE_PROJECT_NAME: "x" }),
    troubles: [[1, "warn", /rename, remove or correct/]],
  },
  {
    name: "ALLOWED_HOSTS lacks the host of PUBLIC_URL",
    prepare: (at) =>
      at.set({
        PUBLIC_URL: "https://token.example.test",
        PUBLIC_URL_SERVES: "all",
        ALLOWED_HOSTS: "other.example.test",
      }),
    args: ["--offline"],
    troubles: [[2, "warn", /add token\.example\.test to ALLOWED_HOSTS/]],
  },
  {
    name: "an app is in the environment and registered",
    prepare: (at) =>
      at.sql(
        `INSERT INTO apps (platform, app_id, agent, token_mode, secret, updated_at, source)
         SELECT platform, 'wx00000000000000ee', agent, token_mode, secret, 0, 'environment' FROM apps WHERE ${WX_ROW}`,
        `DELETE FROM apps WHERE app_id = 'wx00000000000000ee'`,
        `UPDATE apps SET source = 'managed', updated_at = 0, version = 0 WHERE ${WX_ROW}`,
      ),
    troubles: [[3, "warn", /accesstoken apps remove wx00000000000000aa/]],
  },
  {
    name: "everybody is trusted",
    prepare: (at) => at.set({ TRUSTED_NETWORKS: "127.0.0.1,0.0.0.0/0", ANONYMOUS: "on" }),
    troubles: [[4, "fail", /your own networks alone/]],
  },
  {
    name: "everybody is trusted by the database that the first start makes",
    prepare: (at) => {
      rmSync(at.path("data"), { recursive: true });
      rmSync(at.path("key/master.key"));
      at.set({ TRUSTED_NETWORKS: "0.0.0.0/0" });
    },
    troubles: [[4, "fail", /your own networks alone/]],
  },
  {
    name: "every caller has the address of Docker's bridge, which is trusted",
    prepare: (at) => {
      at.set({ TRUSTED_NETWORKS: "172.16.0.0/12", ANONYMOUS: "on" });
      const key = ["172.17.0.1", "(anonymous)", "GET /AccessToken/getXcx", "401"].join("\u001F");
      at.sql(`INSERT INTO counts (minute, kind, key, n) VALUES (${Date.now()}, 'denial', '${key}', 50)`);
    },
    troubles: [[4, "warn", /take the bridge out/]],
  },
  {
    name: "keys cross the network in the clear",
    prepare: (at) => at.set({ HOST: "0.0.0.0" }),
    troubles: [[5, "warn", /put a proxy with TLS before it/]],
  },
  {
    name: "BUN_OPTIONS is set",
    prepare: nothing,
    env: { BUN_OPTIONS: "--smol" },
    troubles: [[6, "fail", /UnsetEnvironment/]],
  },
  {
    name: "BUN_BE_BUN is in the env file, by which systemd makes the program Bun itself",
    prepare: (at) => at.set({ BUN_BE_BUN: "1" }),
    troubles: [
      [1, "warn", /rename, remove or correct/],
      [6, "fail", /UnsetEnvironment/],
    ],
  },
];

const FILES: readonly Broken[] = [
  {
    name: "anybody may read the key",
    prepare: (at) => chmodSync(at.path("key/master.key"), 0o644),
    troubles: [[7, "warn", /chmod 600 .*master\.key/]],
  },
  {
    name: "anybody may read the env file",
    prepare: (at) => chmodSync(at.path(".env"), 0o644),
    troubles: [[7, "warn", /chmod 640 .*\.env/]],
  },
  {
    name: "the key lies beside the database",
    prepare: (at) => {
      renameSync(at.path("key/master.key"), at.path("data/master.key"));
      at.set({ MASTER_KEY_FILE: "data/master.key" });
    },
    troubles: [[8, "warn", /set MASTER_KEY_FILE/]],
  },
  {
    name: "backups are made into the folder of the key",
    prepare: (at) => at.set({ BACKUP_DIR: at.path("key") }),
    troubles: [
      [8, "warn", /set MASTER_KEY_FILE/],
      [27, "warn", /another disk/],
    ],
  },
  {
    name: "backups are made onto the disk of the database",
    prepare: (at) => at.set({ BACKUP_DIR: at.path("backups") }),
    troubles: [[27, "warn", /put BACKUP_DIR on another disk/]],
  },
  {
    name: "BACKUP_DIR is a file",
    prepare: (at) => at.set({ BACKUP_DIR: at.path(".env") }),
    troubles: [[27, "fail", /set BACKUP_DIR to the path of a folder/]],
  },
  {
    name: "the key file is a link to one beside the database",
    prepare: (at) => {
      renameSync(at.path("key"), at.path("data/key"));
      renameSync(at.path("data/key/master.key"), at.path("data/master.key.real"));
      rmSync(at.path("data/key"), { recursive: true });
      mkdirSync(at.path("key"));
      Bun.spawnSync(["ln", "-s", at.path("data/master.key.real"), at.path("key/master.key")]);
    },
    troubles: [[8, "warn", /set MASTER_KEY_FILE/]],
  },
  {
    name: "the log of another database was left beside it",
    prepare: async (at) => {
      const other = harness.setUp();
      other.remove("data", "key");
      await other.serving((url) => ask(url, "/AccessToken/getXcx", { appid: WX.appId }).then(nothing));
      using database = new Database(other.path(DATABASE));
      database.run("PRAGMA wal_autocheckpoint = 0");
      // Every page of it is in the log.
      database.run("VACUUM");
      copyFileSync(other.path(`${DATABASE}-wal`), at.path(`${DATABASE}-wal`));
    },
    troubles: [[12, "fail", /move .*-wal and the -shm away/]],
  },
];

const DATABASES: readonly Broken[] = [
  {
    name: "the database is gone, and its key is there",
    prepare: (at) => at.remove("data"),
    troubles: [[13, "fail", /restore a backup/]],
  },
  {
    name: "the database is empty, and its key is there",
    prepare: (at) => truncateSync(at.path(DATABASE)),
    troubles: [[13, "fail", /restore a backup/]],
  },
  {
    name: "DATABASE_URL leads to a database of another program",
    prepare: (at) => {
      using other = new Database(at.path("data/other.db"));
      other.run("CREATE TABLE songs (name TEXT)");
      chmodSync(at.path("data/other.db"), 0o600);
      at.set({ DATABASE_URL: "file:data/other.db" });
    },
    troubles: [[13, "fail", /correct DATABASE_URL/]],
  },
  {
    name: "what is there is no database",
    prepare: (at) => writeFileSync(at.path(DATABASE), "hello ".repeat(10_000)),
    troubles: [[13, "fail", /restore a backup/]],
  },
  {
    name: "a page is damaged",
    prepare: (at) => {
      using database = new Database(at.path(DATABASE));
      const page = database
        .query<{ rootpage: number }, []>("SELECT rootpage FROM sqlite_master WHERE name = 'due_work'")
        .get();
      database.close();
      const bytes = readFileSync(at.path(DATABASE));
      bytes.fill(0x5a, ((page?.rootpage ?? 0) - 1) * 4096, (page?.rootpage ?? 0) * 4096);
      writeFileSync(at.path(DATABASE), bytes);
    },
    troubles: [[13, "fail", /restore a backup/]],
  },
  {
    name: "a newer version has migrated it",
    prepare: (at) => at.sql("INSERT INTO migrations VALUES ('9999_future', 0)"),
    troubles: [[14, "fail", /upgrade this program/]],
  },
  {
    name: "it is older than the program",
    prepare: (at) => at.sql("DELETE FROM migrations WHERE name = (SELECT max(name) FROM migrations)"),
    troubles: [[14, "warn", /start the service of this version/]],
  },
  {
    name: "the key is missing",
    prepare: (at) => at.remove("key"),
    troubles: [[15, "fail", /put the key of this database back/]],
  },
  {
    name: "the key is another database's",
    prepare: (at) => writeFileSync(at.path("key/master.key"), "ab".repeat(32)),
    troubles: [[15, "fail", /put the key of this database back/]],
  },
  {
    name: "the key file holds no key",
    prepare: (at) => writeFileSync(at.path("key/master.key"), "not a key"),
    troubles: [[15, "fail", /put the key of this database back/]],
  },
  {
    name: "a secret does not open",
    prepare: (at) =>
      at.sql(
        `UPDATE apps SET secret = substr(secret, 1, 20) || 'AAAA' || substr(secret, 25) WHERE ${WX_ROW}`,
      ),
    troubles: [[15, "fail", /set that app's secret/]],
  },
  {
    name: "an entry of the audit was changed",
    prepare: (at) => at.sql("UPDATE audit_entries SET client = 'nobody' WHERE id = 1"),
    troubles: [[16, "fail", /compare it with backups/]],
  },
  {
    name: "the end of the audit was cut off",
    prepare: (at) => at.sql("DELETE FROM audit_entries WHERE id = (SELECT max(id) FROM audit_entries)"),
    troubles: [[16, "fail", /compare it with backups/]],
  },
];

const OPERATIONS: readonly Broken[] = [
  {
    name: "a token died before its time",
    prepare: (at) =>
      at.sql(`UPDATE credentials SET died_early_at = ${Date.now()}, died_early_ms = 1000 WHERE ${WX_ROW}`),
    troubles: [[23, "warn", /who else holds its secret/]],
  },
  {
    name: "most forced refreshes of the day are used",
    prepare: (at) => {
      const row = (n: number) =>
        `('force:weixin:${WX.appId}#${n}', 'used', 1, ${Date.now()}, ${Date.now() + 3_600_000})`;
      at.sql(
        `INSERT INTO pacing (key, reason, count, since, until) VALUES ${Array.from({ length: 15 }, (_, n) => row(n)).join()}`,
      );
    },
    troubles: [[23, "warn", /find out who forces them/]],
  },
  {
    name: "a quota is nearly used",
    prepare: (at) =>
      at.sql(
        `INSERT OR REPLACE INTO usage VALUES ('weixin', '${WX.appId}', '/cgi-bin/token', strftime('%Y-%m-%d', 'now', '+8 hours'), 1700)`,
      ),
    troubles: [[24, "warn", /midnight in Beijing/]],
  },
  {
    name: "a key of an administrator has no end and is good from anywhere",
    prepare: (at) => at.command("keys", "create", "--admin", "--out", "admin.key").then(nothing),
    troubles: [[25, "warn", /clients set admin --network /]],
  },
  {
    name: "a key ends soon",
    prepare: (at) =>
      at
        .command("keys", "create", "shop", "--label", "soon", "--expires", "7d", "--out", "soon.key")
        .then(nothing),
    troubles: [[26, "warn", /keys roll/]],
  },
  {
    name: "a key was never used in 90 days",
    prepare: (at) => at.sql(`UPDATE api_keys SET created_at = ${MONTHS_AGO}`),
    troubles: [[26, "warn", /keys revoke/]],
  },
  {
    name: "the last backup is old",
    prepare: (at) => at.sql(`UPDATE milestones SET at = ${MONTHS_AGO} WHERE name = 'backup'`),
    troubles: [[27, "warn", /accesstoken backup/]],
  },
  {
    name: "the last attempt to make a backup failed",
    prepare: (at) =>
      at.sql(
        `INSERT INTO milestones (name, at, detail) VALUES ('backup_failed', ${Date.now() + 1000}, '{}')`,
      ),
    troubles: [[27, "warn", /accesstoken backup/]],
  },
  {
    name: "no backup was ever restored on trial",
    prepare: (at) => at.sql("DELETE FROM milestones WHERE name = 'backup_verified'"),
    troubles: [[27, "warn", /accesstoken backup verify/]],
  },
  {
    name: "the key was never exported",
    prepare: (at) => at.sql("DELETE FROM milestones WHERE name = 'master_key_exported'"),
    troubles: [[28, "warn", /accesstoken master-key export/]],
  },
  {
    name: "nothing was sent by a channel of notifications",
    prepare: (at) => {
      const place = { table: "notification_channels", row: "ops", column: "url" };
      const url = keyOf(at).seal(new Secret("https://hooks.example.test/x"), place);
      at.sql(
        `INSERT INTO notification_channels (name, kind, url, is_enabled, rules, created_at, updated_at) VALUES ('ops', 'webhook', '${url}', 1, '{}', 0, 0)`,
      );
    },
    troubles: [[31, "warn", /accesstoken notify test ops/]],
  },
  {
    name: "a platform has no callbacks, another gets no ticket, and an account's authorization is lost",
    prepare: (at) => {
      const key = keyOf(at);
      const add = (platform: string, appId: string, agent: string, facts: string) => {
        const secret = key.seal(new Secret("s3cret"), secretPlace({ platform, appId, agent }));
        return `INSERT INTO apps (platform, app_id, agent, token_mode, secret, third_party, updated_at, version, source)
          VALUES ('${platform}', '${appId}', '${agent}', '', '${secret}', '${facts}', 0, 0, 'managed')`;
      };
      const suite = "ww00000000000000d1";
      const token = key.seal(new Secret("token"), { table: "callbacks", row: suite, column: "token" });
      at.sql(
        add("weixin", "wx00000000000000c1", "@component", "{}"),
        add("wecom", suite, "@suite", "{}"),
        add("wecom", "ww00000000000000a1", suite, '{"lostAt":5}'),
        `INSERT INTO callbacks (app, token, mode, format, receive_ids, created_at, updated_at)
          VALUES ('${suite}', '${token}', 'secure', 'xml', '', 0, 0)`,
      );
    },
    troubles: [
      [
        33,
        "warn",
        /\/callback\/ww00000000000000d1\/auth[^]*callbacks set wx00000000000000c1[^]*authorize again/,
      ],
    ],
  },
  {
    name: "few files may be open",
    prepare: nothing,
    shell: ["sh", "-c", 'ulimit -n 1024 && exec "$@"', "sh"],
    troubles: [[29, "warn", /LimitNOFILE/]],
  },
];

test("a set-up that lacks nothing has no trouble, and the exit code is 0", async () => {
  const { code, checks } = await harness.setUp().diagnose();
  expectTroubles({ code, checks }, []);
  const looked = checks.filter(({ state }) => state === "ok").map(({ name }) => name);
  for (const name of ["integrity", "sealed_rows", "audit", "hosts", "clock", "backup"] as const)
    expect(looked).toContain(name);
});

test.each([...CONFIGURATION, ...FILES, ...DATABASES, ...OPERATIONS])(
  "it is named, with what to do: $name",
  async ({ prepare, troubles, args, env, shell }) => {
    const at = harness.setUp();
    await prepare(at);
    const before = at.look();
    expectTroubles(await at.diagnose(args, env, shell), troubles);
    expect(at.look()).toEqual(before);
  },
);

rootTest.each<{ name: string; prepare: (at: SetUp) => void; remedy: RegExp; check?: number }>([
  {
    name: "the key is another user's",
    prepare: (at) => chownSync(at.path("key/master.key"), 65_533, 65_533),
    remedy: /chown 65534 .*master\.key/,
  },
  {
    name: "the database is another user's",
    prepare: (at) => chownSync(at.path(DATABASE), 65_533, 65_533),
    remedy: /chown 65534 .*accesstoken\.db/,
  },
  {
    name: "the folder of the database lets nobody in",
    prepare: (at) => chmodSync(at.path("data"), 0o600),
    remedy: /chmod u\+rwx .*data/,
  },
  {
    name: "the folder of the key lets nobody in",
    prepare: (at) => chmodSync(at.path("key"), 0o600),
    remedy: /chmod u\+rwx .*key/,
  },
  {
    name: "root has left a log beside the database",
    prepare: (at) => writeFileSync(at.path(`${DATABASE}-wal`), "", { mode: 0o644 }),
    remedy: /chown 65534 .*-wal/,
  },
  {
    name: "BACKUP_DIR is root's",
    check: 27,
    prepare: (at) => {
      mkdirSync(at.path("backups"), { mode: 0o700 });
      at.set({ BACKUP_DIR: at.path("backups") });
    },
    remedy: /chown 65534 .*backups/,
  },
  {
    name: "BACKUP_DIR is to be made where the service may not",
    check: 27,
    prepare: (at) => {
      mkdirSync(at.path("backups"), { mode: 0o755 });
      at.set({ BACKUP_DIR: at.path("backups/own") });
    },
    remedy: /install -d -o 65534 -m 0700 .*backups\/own/,
  },
])("root learns what keeps the service's user out: $name", async ({ prepare, remedy, check = 7 }) => {
  const at = harness.setUp();
  chownSync(harness.world.folder, USER, USER);
  Bun.spawnSync(["chown", "-R", `${USER}:${USER}`, at.folder]);
  prepare(at);
  const before = at.look();
  expectTroubles(await at.diagnose(), [[check, "fail", remedy]]);
  expect(at.look()).toEqual(before);
});

rootTest(
  "a user whom a supplementary group lets in is let in, whether it asks itself or root does",
  async () => {
    const at = harness.setUp();
    chownSync(harness.world.folder, USER, USER);
    Bun.spawnSync(["chown", "-R", `${USER}:${USER}`, at.folder]);
    chownSync(at.path("data"), 0, 54_321);
    chmodSync(at.path("data"), 0o2770);
    const shell = ["setpriv", `--reuid=${USER}`, `--regid=${USER}`, "--groups=54321"];
    const stateFor = async (as: readonly string[]) =>
      (await at.diagnose(["--offline"], {}, as)).checks.find(({ id }) => id === 7);
    expect(await stateFor(shell)).toMatchObject({ state: "ok" });
    await at.serving(
      async () => expect(await stateFor([])).toMatchObject({ state: "ok" }),
      [...shell, ...binary()],
    );
  },
);

rootTest(
  "a user whom an access control list lets in is let in, and one whom its mask keeps out is not",
  async () => {
    const at = harness.setUp();
    chownSync(harness.world.folder, USER, USER);
    Bun.spawnSync(["chown", "-R", `${USER}:${USER}`, at.folder]);
    chownSync(at.path("key"), 0, 0);
    const permissions = async () => (await at.diagnose()).checks.find(({ id }) => id === 7);
    setAcl(at.path("key"), USER, 7, 7);
    expect(await permissions()).toMatchObject({ state: "ok" });
    setAcl(at.path("key"), USER, 7, 6);
    expect(await permissions()).toMatchObject({
      state: "fail",
      remedy: { en: expect.stringContaining("key") },
    });
  },
);

rootTest(
  "whoever may not look is told who may, and not to take the files away from the service",
  async () => {
    const at = harness.setUp();
    chownSync(harness.world.folder, USER, USER);
    Bun.spawnSync(["chown", "-R", `${USER}:${USER}`, at.folder]);
    chmodSync(harness.world.folder, 0o755);
    chmodSync(at.folder, 0o755);
    chmodSync(at.path(".env"), 0o644);
    chmodSync(at.path("data"), 0o700);
    const other = ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups"];
    const { checks } = await at.diagnose(["--offline"], {}, other);
    expect(checks.find(({ id }) => id === 7)).toMatchObject({
      state: "fail",
      remedy: { en: expect.stringContaining(`run this as root or as uid ${USER}`) },
    });
    expect(checks.filter(({ state }) => state === "fail").map(({ id }) => id)).toEqual([7]);
  },
);

rootTest.each<{
  name: string;
  megabytes: number;
  fill?: boolean;
  isReadOnly?: boolean;
  troubles: readonly Trouble[];
}>([
  { name: "is read-only", megabytes: 2000, isReadOnly: true, troubles: [[7, "fail", /remount,rw/]] },
  { name: "is full", megabytes: 16, fill: true, troubles: [[9, "fail", /free or add space/]] },
  { name: "is small", megabytes: 256, troubles: [[9, "warn", /free or add space/]] },
])("a file system that $name is named", async ({ megabytes, fill = false, isReadOnly = false, troubles }) => {
  const folder = join(harness.world.folder, `mount-${megabytes}`);
  mkdirSync(folder);
  const mount = (...args: string[]) => expect(Bun.spawnSync(["mount", ...args]).exitCode).toBe(0);
  mount("-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", folder);
  try {
    const at = harness.setUp(folder);
    if (fill) Bun.spawnSync(["dd", "if=/dev/zero", `of=${join(folder, "filler")}`, "bs=4096"]);
    if (isReadOnly) mount("-o", "remount,ro", folder);
    expectTroubles(await at.diagnose(), troubles);
  } finally {
    Bun.spawnSync(["umount", folder]);
  }
});

test("a port that another program has is named", async () => {
  using server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: nothing } });
  const at = harness.setUp();
  at.set({ PORT: String(server.port) });
  expectTroubles(await at.diagnose(), [[5, "fail", /change PORT/]]);
});

test("beside a running service nothing is wrong, and its files are left as they are", async () => {
  const at = harness.setUp();
  at.set({ PORT: String(freePort()) });
  await at.serving(async (url) => {
    expectTroubles(await at.diagnose(), []);
    expect((await ask(url, "/AccessToken/getXcx", { appid: WX.appId })).code).toBe(0);
  });
});

test("after a crash nothing is wrong, and the log is left to the next start", async () => {
  const at = harness.setUp();
  const write = "UPDATE milestones SET detail = '{\"n\":1}'";
  const crash = `new (require("bun:sqlite").Database)("${at.path(DATABASE)}").run(\`${write}\`); process.kill(process.pid, 9)`;
  Bun.spawnSync([process.execPath, "-e", crash]);
  expect(statSync(at.path(`${DATABASE}-wal`)).size).toBeGreaterThan(0);
  const before = at.look();
  expectTroubles(await at.diagnose(), []);
  // As in a backup by cp.
  rmSync(at.path(`${DATABASE}-shm`));
  expectTroubles(await at.diagnose(), []);
  expect(at.look()).toEqual(before.filter((line) => !line.includes("-shm ")));
});

test("a log that grows without end is named", async () => {
  const at = harness.setUp();
  using database = new Database(at.path(DATABASE));
  database.run("PRAGMA wal_autocheckpoint = 0");
  database.run("CREATE TABLE filler (text TEXT)");
  for (let n = 0; n < 70; n++) database.run("INSERT INTO filler VALUES (hex(zeroblob(524288)))");
  expectTroubles(await at.diagnose(), [[17, "warn", /end what reads the database for long/]]);
});

test("a process that runs with BUN_OPTIONS, and one whose program was replaced, are named", async () => {
  const at = harness.setUp();
  const [own = ""] = binary();
  const program = at.path("accesstoken");
  copyFileSync(own, program);
  const serve = async () => {
    expectTroubles(await at.diagnose(), [[6, "fail", /UnsetEnvironment/]]);
    rmSync(program);
    expectTroubles(await at.diagnose(), [
      [6, "fail", /UnsetEnvironment/],
      [30, "warn", /restart the service/],
    ]);
  };
  await at.serving(serve, [program], { BUN_OPTIONS: "--smol" });
});
