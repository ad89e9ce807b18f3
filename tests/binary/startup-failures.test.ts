import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";
import { WECOM, WX } from "../support/harness.ts";
import { cannotListen } from "../../src/http/server.ts";

const XCX = { appid: WX.appId };

/** A folder in which the service has run, stored a token and stopped. */
async function setup(): Promise<{ world: ProcessHarness; data: string } & AsyncDisposable> {
  const world = new ProcessHarness(binary());
  const { service, url } = await world.serve();
  expect((await ask(url, "/AccessToken/getXcx", XCX)).code).toBe(0);
  service.signal("SIGTERM");
  expect(await service.exited()).toBe(0);
  return {
    world,
    data: join(world.folder, "data"),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

/**
 * Every file of a folder with a digest of what is in it.
 *
 * Who reads a database in WAL mode makes its index (-shm), and an empty log (-wal) if there is none; neither holds data.
 */
function contents(folder: string): string[] {
  return readdirSync(folder)
    .toSorted()
    .map((name) => ({ name, bytes: readFileSync(join(folder, name)) }))
    .filter(({ name, bytes }) => !name.endsWith("-shm") && !(name.endsWith("-wal") && bytes.length === 0))
    .map(({ name, bytes }) => `${name} ${createHash("sha256").update(bytes).digest("hex")}`);
}

/** Starts the service, which must end with exit code 1 and one line on stderr, as `serve --check` did before; that line. */
async function refusalToStart(world: ProcessHarness, env: Record<string, string> = {}): Promise<string> {
  const check = world.run(["serve", "--check"], { ...world.variables, ...env });
  expect([await check.exited(), check.stdout]).toEqual([1, ""]);
  const child = world.run(["serve"], { ...world.variables, ...env });
  expect([await child.exited(), child.stdout]).toEqual([1, ""]);
  const [line = "", ...more] = child.stderr.trimEnd().split("\n");
  expect(more).toEqual([]);
  expect(check.stderr).toBe(child.stderr);
  expect(line).toStartWith("accesstoken: ");
  return line;
}

test("a wrong MASTER_KEY stops the start with one line, and no file is changed", async () => {
  await using at = await setup();
  const before = contents(at.data);
  const key = "ab".repeat(32);
  const line = await refusalToStart(at.world, { MASTER_KEY: key });
  expect(line).toMatch(/MASTER_KEY.*与数据库不匹配.*use the key that it was made with/);
  expect(line).not.toContain(key);
  expect(contents(at.data)).toEqual(before);
});

test("P3: a wrong key leaves what a killed service had not yet moved out of the log as it is", async () => {
  await using world = new ProcessHarness(binary());
  const { service, url } = await world.serve();
  const before = await ask(url, "/AccessToken/getXcx", XCX);
  service.signal("SIGKILL");
  await service.exited();
  const data = join(world.folder, "data");
  const files = contents(data);
  expect(files.some((line) => line.startsWith("accesstoken.db-wal "))).toBe(true);
  await refusalToStart(world, { MASTER_KEY: "ab".repeat(32) });
  expect(contents(data)).toEqual(files);
  const after = await world.serve();
  const { access_token } = (await ask(after.url, "/AccessToken/getXcx", XCX)).data;
  expect(access_token).toBe(before.data["access_token"]);
  expect(world.sandbox.calls()).toBe(1);
});

test("a MASTER_KEY that is none stops the start with one line that does not quote it", async () => {
  await using at = await setup();
  const before = contents(at.data);
  const line = await refusalToStart(at.world, { MASTER_KEY: "not-a-key-zzzz" });
  expect(line).toMatch(/MASTER_KEY.*不是有效的主密钥/);
  expect(line).not.toContain("not-a-key-zzzz");
  expect(contents(at.data)).toEqual(before);
});

test("a missing key stops the start with one line, and no new key is made", async () => {
  await using at = await setup();
  renameSync(join(at.data, "master.key"), join(at.world.folder, "elsewhere"));
  const before = contents(at.data);
  expect(await refusalToStart(at.world)).toMatch(
    /MASTER_KEY_FILE .*主密钥不存在.*put the original key file back/,
  );
  expect(contents(at.data)).toEqual(before);

  renameSync(join(at.world.folder, "elsewhere"), join(at.data, "master.key"));
  const { url } = await at.world.serve();
  expect((await ask(url, "/AccessToken/getXcx", XCX)).code).toBe(0);
  expect(at.world.sandbox.calls()).toBe(1);
});

test("a key file with another key stops the start with one line, and no file is changed", async () => {
  await using at = await setup();
  writeFileSync(join(at.data, "master.key"), `${"cd".repeat(32)}\n`);
  const before = contents(at.data);
  expect(await refusalToStart(at.world)).toMatch(/MASTER_KEY_FILE .*与数据库不匹配/);
  expect(contents(at.data)).toEqual(before);
});

test("the key may come from MASTER_KEY instead of its file", async () => {
  await using at = await setup();
  const key = readFileSync(join(at.data, "master.key"), "utf8").trim();
  rmSync(join(at.data, "master.key"));
  const { url } = await at.world.serve({ MASTER_KEY: key });
  expect((await ask(url, "/AccessToken/getXcx", XCX)).code).toBe(0);
  expect(at.world.sandbox.calls()).toBe(1);
  expect(readdirSync(at.data)).not.toContain("master.key");
});

test.each([
  [
    "overwritten with something else",
    (path: string) => writeFileSync(path, "no database at all\n".repeat(500)),
  ],
  ["cut in half", (path: string) => truncateSync(path, 4096)],
  [
    "damaged in the middle",
    (path: string) => {
      const bytes = readFileSync(path);
      bytes.fill(0x5a, 4096);
      writeFileSync(path, bytes);
    },
  ],
])("a database that was %s stops the start with one line, and no file is changed", async (_what, harm) => {
  await using at = await setup();
  harm(join(at.data, "accesstoken.db"));
  const before = contents(at.data);
  const line = await refusalToStart(at.world);
  expect(line).toMatch(/DATABASE_URL file:.*accesstoken\.db: .*nothing was changed; restore a backup/);
  expect(contents(at.data)).toEqual(before);
});

test("a database of a newer version stops the start with one line, and no file is changed", async () => {
  await using at = await setup();
  const database = new Database(join(at.data, "accesstoken.db"));
  database.run("INSERT INTO migrations (name, applied_at) VALUES ('9999_from_the_future', 1)");
  database.close();
  const before = contents(at.data);
  expect(await refusalToStart(at.world)).toMatch(/DATABASE_URL .*newer version; upgrade this program/);
  expect(contents(at.data)).toEqual(before);
});

test("a port that is taken stops the start with one line that names it", async () => {
  await using at = await setup();
  const { url } = await at.world.serve();
  const { port } = new URL(url);
  const line = await refusalToStart(at.world, { PORT: port });
  expect(line).toContain(`PORT: 端口${port}已被占用`);
  expect((await ask(url, "/AccessToken/getXcx", XCX)).code).toBe(0);
});

test.each([
  ["no-such-host.invalid", /^accesstoken: HOST: 无法解析 no-such-host\.invalid.*can't be resolved/],
  ["192.0.2.1", /^accesstoken: HOST: 192\.0\.2\.1 不是本机的地址.*no address of this machine/],
])("a HOST of %s stops the start with one line that says what is wrong with it", async (host, expected) => {
  await using world = new ProcessHarness(binary());
  for (const workers of [[], ["--workers", "2"]]) {
    const child = world.run(["serve", ...workers], { ...world.variables, HOST: host });
    expect(await child.exited()).toBe(1);
    expect(child.stderr.trimEnd().split("\n").at(-1)).toMatch(expected);
  }
});

test("a port that the user may not use is blamed on PORT", () => {
  const failure = cannotListen(Object.assign(new Error("permission denied"), { code: "EACCES" }), "::", 80);
  expect(failure.message).toMatch(/^PORT: .*may not listen on port 80.*CAP_NET_BIND_SERVICE/);
});

test("a start says which apps are held, who is answered without a key and where the documentation is", async () => {
  await using world = new ProcessHarness(binary());
  const { service, url } = await world.serve();
  const line = service.stdout.split("\n").find((each) => each.includes("service.started")) ?? "";
  expect(JSON.parse(line)).toMatchObject({
    url,
    apps: 2,
    names: [`${WECOM.corpId}_${WECOM.agent}`, WX.appId],
    anonymous: "127.0.0.0/8,::1/128",
    docs: `${url}/docs/`,
  });
});

test("without any app a start warns, and not when the database has some", async () => {
  await using world = new ProcessHarness(binary());
  const { WEIXIN_BASE_URL = "", WECOM_BASE_URL = "" } = world.variables;
  const variables = { PORT: "0", WEIXIN_BASE_URL, WECOM_BASE_URL };
  world.write("secret", WX.secret);
  const first = world.run(["start"], variables);
  await first.serviceUrl();
  expect(first.stdout).toContain("no app is held");
  first.signal("SIGTERM");
  await first.exited();
  const add = world.run(["apps", "add", WX.appId, "--secret-file", "secret"], variables);
  expect(await add.exited()).toBe(0);
  const second = world.run(["start"], variables);
  await second.serviceUrl();
  expect(second.stdout).not.toContain("no app is held");
});

test("a value that can't be used stops the start with one line that names it and does not quote it", async () => {
  await using world = new ProcessHarness(binary());
  const bad = "zzz-unusable";
  for (const name of ["PORT", "LOG_LEVEL", "DATABASE_URL", "WEIXIN_BASE_URL", "TRUSTED_NETWORKS"]) {
    const line = await refusalToStart(world, { [name]: bad });
    expect(line).toStartWith(`accesstoken: ${name}: `);
    expect(line).not.toContain(bad);
  }
  expect(readdirSync(world.folder)).toEqual([]);
});
