import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rawGatewayWorld } from "../gateway/gateway-harness.ts";
import { Gate } from "../../src/sandbox/fault.ts";
import { Child } from "../support/child.ts";
import { Harness, WX } from "../support/harness.ts";

const DOWNLOAD = "/cgi-bin/media/get";
/** Says that a million bytes come, sends the first and never the rest. */
const ENDLESS = Buffer.from(
  "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 1000000\r\n\r\nx",
);

/** What the store kept of what was counted. */
function countsIn(path: string) {
  using database = new Database(path, { readonly: true });
  const all = (sql: string) => database.query<Record<string, unknown>, []>(sql).all();
  const counts = all(
    "SELECT key, sum(n) AS count FROM counts WHERE kind = 'usage' GROUP BY key ORDER BY key",
  );
  return {
    usage: counts.map(({ key, count }) => ({ action: String(key).split("\u001f")[2], count })),
    calls: all(`SELECT endpoint, calls FROM usage WHERE endpoint LIKE '/cgi-bin/media%'`),
    keys: all("SELECT 1 FROM api_keys WHERE last_used_at IS NOT NULL").length,
    used: all("SELECT 1 FROM credentials WHERE used_at IS NOT NULL").length,
  };
}

test("a stop during a download that takes longer loses no counts, key uses or uses of credentials", async () => {
  await using raw = await rawGatewayWorld(ENDLESS, { stopMs: 200 });
  const { it } = raw;
  const token = await it.token();
  const download = await fetch(`${it.url}${DOWNLOAD}?access_token=${token}&media_id=1`);
  const reader = download.body!.getReader();
  expect((await reader.read()).value).toHaveLength(1);
  const { databasePath } = it.world;
  await it.world.stop();

  const cut = await reader.read().catch((error: unknown) => error);
  expect(cut).toBeInstanceOf(Error);
  expect(countsIn(databasePath)).toEqual({
    usage: [
      { action: "api:call /cgi-bin/media", count: 1 },
      { action: "token:read", count: 1 },
    ],
    calls: [{ endpoint: "/cgi-bin/media", calls: 1 }],
    keys: 1,
    used: 1,
  });
});

test("what was counted is on the disk before a stop waits for the answers under way", async () => {
  await using raw = await rawGatewayWorld(ENDLESS, { stopMs: 60_000 });
  const { it } = raw;
  const token = await it.token();
  const download = await fetch(`${it.url}${DOWNLOAD}?access_token=${token}&media_id=1`);
  const { databasePath } = it.world;
  const stopped = it.world.stop();
  await Harness.until(() => countsIn(databasePath).keys === 1);
  await Harness.until(() => countsIn(databasePath).used === 1 && countsIn(databasePath).usage.length === 2);
  // It still waits for this one.
  expect(it.world.events.some(({ type }) => type === "service.stopped")).toBe(false);
  await download.body!.cancel();
  await stopped;
});

/** A service whose stop waits 100 ms for answers, and a caller who waits for a token that WeChat has issued and not yet sent. */
async function setupSlowWechat() {
  const world = await Harness.create({ stopMs: 100, upstreamMs: { attempt: 60_000, total: 60_000 } });
  const gate = new Gate();
  world.sandbox.inject({ kind: "gate", gate, endpoint: "/cgi-bin/stable_token", times: 1 });
  const caller = world.get("/AccessToken/getXcx", { appid: WX.appId });
  const cutOff = caller.then(
    () => false,
    () => true,
  );
  await gate.arrived();
  return { world, gate, cutOff };
}

test("a token that WeChat is issuing at the deadline of a stop is stored", async () => {
  const { world, gate, cutOff } = await setupSlowWechat();
  await using _ = world;
  const stopped = world.stop();
  expect(await cutOff).toBe(true);
  gate.open();
  await stopped;

  await world.start();
  const { code, data } = await world.get("/AccessToken/getXcx", { appid: WX.appId });
  expect([code, typeof data["access_token"]]).toEqual([0, "string"]);
  expect(world.sandbox.calls("/cgi-bin/stable_token")).toBe(1);
});

test("a stop ends although WeChat never answers a refresh under way", async () => {
  const { world, gate, cutOff } = await setupSlowWechat();
  await using _ = world;
  await world.stop();
  expect(await cutOff).toBe(true);
  gate.open();
});

test.each(["renewal", "port"])(
  "a start that fails at its %s leaves nothing open: the process ends by itself",
  async (failing) => {
    const folder = mkdtempSync(join(tmpdir(), "accesstoken-start-"));
    try {
      const program = [process.execPath, join(import.meta.dir, "failing-start.ts"), failing];
      await using child = new Child(program, { cwd: folder, env: {} });
      expect([await child.exited(), child.stderr]).toEqual([0, ""]);
      expect(child.stdout.trim()).toBe("failed: it does not start");
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
