import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { type Answer, CORP, WECOM, Harness, WX } from "../support/harness.ts";

const TOKEN = "/cgi-bin/stable_token";
const ROOT = join(import.meta.dir, "../..");

/** `accesstoken serve` as a process of its own, whose files can be made unwritable while it runs. */
async function serve() {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-disk-"));
  const sandbox = Sandbox.start({ clock: systemClock, weixinApps: [WX], wecomApps: [WECOM] });
  const databasePath = join(folder, "accesstoken.db");
  const child = Bun.spawn({
    // A process that exceeds a file size limit gets a signal; a full disk sends none, so it is ignored.
    cmd: ["sh", "-c", `trap '' XFSZ; exec "$0" src/main.ts serve`, process.execPath],
    cwd: ROOT,
    env: {
      PATH: process.env["PATH"] ?? "",
      ENV_FILE: "",
      PORT: "0",
      DATABASE_URL: `file:${databasePath}`,
      WEIXIN_BASE_URL: sandbox.weixinUrl,
      WECOM_BASE_URL: sandbox.wecomUrl,
      [`WEIXIN_SECRET_${WX.appId}`]: WX.secret,
      [`WECOM_SECRET_${CORP}_${WECOM.agent}`]: WECOM.secret,
    },
    stdout: "pipe",
    stderr: "ignore",
  });
  const url = await startedUrl(child.stdout);
  const limitFiles = async (bytes: "0" | "unlimited") => {
    expect(
      await Bun.spawn(["prlimit", "--pid", String(child.pid), `--fsize=${bytes}:unlimited`]).exited,
    ).toBe(0);
  };
  const get = async (path: string): Promise<Answer> => {
    const response = await fetch(url + path);
    return { ...((await response.json()) as Answer), status: response.status };
  };
  const stop = async () => {
    child.kill("SIGTERM");
    return child.exited;
  };
  const dispose = async () => {
    child.kill("SIGKILL");
    await child.exited;
    await sandbox.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return { sandbox, databasePath, limitFiles, get, stop, [Symbol.asyncDispose]: dispose };
}

/** Reads the log until the service says where it listens, and keeps reading so that it is never blocked. */
async function startedUrl(output: ReadableStream<Uint8Array>): Promise<string> {
  const started = Promise.withResolvers<string>();
  const read = async () => {
    let text = "";
    for await (const chunk of output) {
      text += new TextDecoder().decode(chunk);
      const url = /"event":"service.started","url":"([^"]+)"/.exec(text)?.[1];
      if (url) started.resolve(url);
    }
    started.reject(new Error("it did not start"));
  };
  void read();
  return started.promise;
}

test.skipIf(!Bun.which("prlimit"))(
  "P4: a process whose disk takes no more bytes serves what lives, says why it is not ready, and recovers",
  async () => {
    await using t = await serve();
    const getXcx = () => t.get(`/AccessToken/getXcx?appid=${WX.appId}`);
    const getQyapi = () => t.get(`/AccessToken/getQyapi?corpid=${CORP}`);
    const token = (await getXcx()).data["access_token"];
    expect((await t.get("/readyz")).status).toBe(200);

    await t.limitFiles("0");
    await Harness.until(async () => (await t.get("/readyz")).status === 503);
    const notReady = await t.get("/readyz");
    expect(notReady.data["reasons"]).toContainEqual(expect.objectContaining({ part: "database" }));
    expect(notReady.msg).toContain("请检查磁盘空间和文件权限");
    for (let round = 0; round < 20; round++) {
      const { code, data } = await getXcx();
      expect([code, data["access_token"]]).toEqual([0, token]);
    }
    expect((await t.get("/livez")).status).toBe(200);
    // What is not there can't be obtained: its result could not be kept, so WeCom is not even asked.
    expect(await getQyapi()).toMatchObject({ status: 200, code: 503 });
    expect(t.sandbox.calls("/cgi-bin/gettoken")).toBe(0);

    await t.limitFiles("unlimited");
    await Harness.until(async () => (await t.get("/readyz")).status === 200);
    await Harness.until(async () => (await getQyapi()).code === 0);
    expect((await getXcx()).data["access_token"]).toBe(token);
    expect(await t.stop()).toBe(0);
    // The calls that were counted while nothing could be written are written down in the end.
    using database = new Database(t.databasePath, { readonly: true });
    const usage = database.query<{ calls: number }, []>("SELECT sum(calls) AS calls FROM usage").get();
    expect(usage?.calls).toBe(t.sandbox.calls());
  },
);

test("P8: handing out a living credential fifty times does not write to the database each time", async () => {
  await using world = await Harness.create();
  const get = () => world.get("/AccessToken/getXcx", { appid: WX.appId });
  await get();
  using other = new Database(world.databasePath, { readonly: true });
  const version = () => other.query<{ data_version: number }, []>("PRAGMA data_version").get()!.data_version;
  // What the start and the first get have to write is written: the call that was counted is the last of it.
  await Harness.until(async () => other.query("SELECT 1 FROM usage").get() !== null);
  const before = version();
  for (let round = 0; round < 50; round++) {
    world.clock.advance(100);
    expect((await get()).code).toBe(0);
  }
  // On a slow machine the flush of counts, once a second, comes in between.
  expect(version() - before).toBeLessThan(25);
});

test("P4: a renewal that can't be written down costs the living credential nothing, and comes when it can", async () => {
  await using world = await Harness.create();
  const get = async () => (await world.get("/AccessToken/getXcx", { appid: WX.appId })).data["access_token"];
  const token = await get();
  using other = new Database(world.databasePath, { readwrite: true });
  other.run("BEGIN IMMEDIATE");
  // 200 s are left: whatever the jitter, it is due.
  world.clock.advance(7_000_000);
  // Two rounds of the refresher, and what it writes down by itself, meet the locked database.
  for (let round = 0; round < 2; round++) {
    await world.service.tick();
    world.clock.advance(10_000);
  }
  expect(await get()).toBe(token);
  await Harness.until(async () => world.events.some(({ type }) => type === "credential.refresh_failed"));
  expect(await get()).toBe(token);
  expect(world.sandbox.calls(TOKEN)).toBe(1);
  other.run("ROLLBACK");

  world.clock.advance(31_000);
  await Harness.until(async () => {
    world.clock.advance(1000);
    await world.service.tick();
    // A lease lasts ten of these seconds: what it is taken for must not be outrun.
    await Bun.sleep(100);
    return world.sandbox.calls(TOKEN) >= 2;
  });
  await Harness.until(async () => (await get()) !== token);
});

test("P4: what this process holds lives on while the store can't be read", async () => {
  await using world = await Harness.create();
  const first = await world.get("/AccessToken/getXcx", { appid: WX.appId });
  using other = new Database(world.databasePath, { readwrite: true });
  // Another process changes something, so this one would read again, and the table is not there.
  other.run("ALTER TABLE credentials RENAME TO moved");
  world.clock.advance(1000);
  const again = await world.get("/AccessToken/getXcx", { appid: WX.appId });
  expect(again.data["access_token"]).toBe(first.data["access_token"]);
  other.run("ALTER TABLE moved RENAME TO credentials");
});
