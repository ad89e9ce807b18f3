import { expect, test } from "bun:test";
import { chmodSync, chownSync, existsSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";
import { WX } from "../support/harness.ts";

/** Root may do everything with every file, so the program runs as another user there. */
const USER = 65_534;
const AS_USER =
  process.getuid?.() === 0 ? ["setpriv", `--reuid=${USER}`, `--regid=${USER}`, "--clear-groups"] : [];
const STRACE = Bun.which("strace") !== null;

/** A folder in which the service has run as a user that is not root, and stopped. */
async function setup() {
  const world = new ProcessHarness([...AS_USER, ...binary()]);
  if (AS_USER.length > 0) chownSync(world.folder, USER, USER);
  const { service, url } = await world.serve();
  const first = service.stdout;
  expect((await ask(url, "/AccessToken/getXcx", { appid: WX.appId })).code).toBe(0);
  service.signal("SIGTERM");
  expect(await service.exited()).toBe(0);
  const data = join(world.folder, "data");
  const refusal = async (env: Record<string, string> = {}) => {
    const child = world.run(["serve"], { ...world.variables, ...env });
    expect(await child.exited()).toBe(1);
    return child.stderr;
  };
  return { world, first, data, refusal, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

test("what owner and mode forbid is not called damage: path, owner, mode and user are named", async () => {
  await using at = await setup();
  const database = join(at.data, "accesstoken.db");
  const { uid } = statSync(database);
  for (const [place, mode] of [
    [at.data, 0o500],
    [at.data, 0o000],
    [database, 0o000],
    [database, 0o400],
  ] as const) {
    const before = statSync(place).mode;
    chmodSync(place, mode);
    const line = await at.refusal();
    chmodSync(place, before);
    expect([place, line]).toEqual([place, expect.not.stringContaining("damaged: ")]);
    expect(line).toContain(`${place} (uid ${uid}, mode ${mode.toString(8).padStart(4, "0")})`);
    expect(line).toMatch(/which is uid \d+; nothing is known to be damaged; fix owner, mode or mount/);
  }
  expect(
    await at.refusal({ DATABASE_URL: `file:${at.data}`, MASTER_KEY_FILE: join(at.data, "master.key") }),
  ).toContain("it is a folder; name a file");
  expect((await ask((await at.world.serve()).url, "/readyz")).status).toBe(200);
});

test.skipIf(AS_USER.length === 0)("a database of another user is not called damage", async () => {
  await using at = await setup();
  const database = join(at.data, "accesstoken.db");
  chownSync(database, 0, 0);
  expect(await at.refusal()).toContain(`${database} (uid 0, mode 0600) does not let this process in`);
  chownSync(database, USER, USER);
  writeFileSync(`${database}-wal`, "", { mode: 0o600 });
  expect(await at.refusal()).toContain(`${database}-wal (uid 0, mode 0600) does not let this process in`);
});

test("P6: a lost database stops the start; one that is begun anew answers nobody without a key, and says so at warn", async () => {
  await using at = await setup();
  expect(at.first).toContain('"level":"warn","event":"database.created"');
  for (const name of readdirSync(at.data)) if (name.startsWith("accesstoken.db")) rmSync(join(at.data, name));
  expect(await at.refusal()).toMatch(/master\.key.*check path and mounts.*--new-database/);
  expect(existsSync(join(at.data, "accesstoken.db"))).toBeFalse();
  for (const words of [
    ["keys", "create", "--admin"],
    ["apps", "add", "wx0000000000000009"],
  ])
    expect(await at.world.run(words).exited()).not.toBe(0);

  const { service, url } = await at.world.serve({}, ["--new-database"]);
  expect(service.stdout).toContain('"level":"warn","event":"database.created"');
  expect((await ask(url, "/AccessToken/getXcx", { appid: WX.appId })).code).toBe(401);
  service.signal("SIGTERM");
  await service.exited();
  const again = await at.world.serve();
  expect((await ask(again.url, "/AccessToken/getXcx", { appid: WX.appId })).code).toBe(401);
  const open = await at.world.serve({ ANONYMOUS: "on" });
  expect((await ask(open.url, "/AccessToken/getXcx", { appid: WX.appId })).code).toBe(0);
});

test("with MASTER_KEY the first start has to be asked for, and workers start on it like one process", async () => {
  await using world = new ProcessHarness(binary());
  const env = { MASTER_KEY: "ab".repeat(32) };
  const child = world.run(["serve"], { ...world.variables, ...env });
  expect(await child.exited()).toBe(1);
  expect(child.stderr).toContain("--new-database");
  const { service, url } = await world.serve(env, ["--new-database", "--workers", "2"]);
  expect(service.stdout.match(/"event":"database.created"/g)).toHaveLength(1);
  expect((await ask(url, "/AccessToken/getXcx", { appid: WX.appId })).code).toBe(401);
});

test.skipIf(!STRACE)(
  "P3: a first start that is killed in the switch to the write-ahead log is no damage to the next",
  async () => {
    // The first name that a start takes away is that of the rollback journal.
    const cut = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=unlink"];
    await using world = new ProcessHarness([...cut, "-e", "inject=unlink:signal=SIGKILL", ...binary()]);
    const killed = world.run(["serve"], world.variables);
    await killed.exited();
    const data = join(world.folder, "data");
    expect(readdirSync(data)).toContain("accesstoken.db-journal");
    await using next = new ProcessHarness(binary());
    const child = next.run(["serve"], {
      ...next.variables,
      DATABASE_URL: `file:${join(data, "accesstoken.db")}`,
    });
    const url = await child.serviceUrl();
    expect((await ask(url, "/readyz")).status).toBe(200);
    expect((await ask(url, "/AccessToken/getXcx", { appid: WX.appId })).code).toBe(0);
  },
);

test.skipIf(!STRACE)(
  "P3: the names of database, key, their folder and an --out file are on the disk before anything relies on them",
  async () => {
    const trace = "trace.txt";
    await using world = new ProcessHarness([
      ...["strace", "-f", "-y", "-qq", "-o", trace, "-e", "trace=fsync,mkdir,mkdirat,link,linkat"],
      ...binary(),
    ]);
    const child = world.run(["keys", "create", "--admin", "--out", "admin.key"], world.variables);
    expect(await child.exited()).toBe(0);
    const calls = (await Bun.file(join(world.folder, trace)).text()).split("\n");
    const synced = (path: string) =>
      calls.findLastIndex((line) => line.includes("fsync(") && line.includes(`<${path}>`));
    const data = join(world.folder, "data");
    const firstAt = (text: string) => calls.findIndex((line) => line.includes(text));
    // The parent of the new folder before the key gets its name, the folder itself after.
    expect(
      calls.findIndex((line) => line.includes("fsync(") && line.includes(`<${world.folder}>`)),
    ).toBeWithin(0, firstAt("master.key"));
    expect(synced(data)).toBeGreaterThan(firstAt("master.key"));
    expect(synced(world.folder)).toBeGreaterThan(synced(join(world.folder, "admin.key")));
  },
);
