import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { frame } from "../../src/cli/watch-screen.ts";
import { createAdmin } from "../support/access-harness.ts";
import { FROM_SOURCE } from "../support/child.ts";
import { Harness, WX } from "../support/harness.ts";
import { ProcessHarness } from "../support/process-harness.ts";
import { TerminalChild } from "../support/terminal-child.ts";
import { answered, CliHarness, runAlone } from "./cli-harness.ts";

const HOUR_MS = 3_600_000;
const REASON = "access_token: 40164 IP不在白名单 (40164 the address is not on the allow-list)";

/** What the service answers. `now` is the terminal's clock. */
function answers(now: number, refused: readonly string[] = []) {
  const at = now - 2 * HOUR_MS;
  const failure = { code: 40164, msg: REASON, at, count: 3 };
  const blocked = {
    ...{ app: "wx01", title: "商城", state: "blocked", reason: REASON },
    credentials: { access_token: { state: "blocked", generation: 1, last_failure: failure } },
  };
  const data: Record<string, object> = {
    "/v1/overview": {
      counts: { fresh: 1, expiring: 0, failing: 0, blocked: 1, none: 0, disabled: 0, total: 2 },
      needs_you: [{ type: "blocked", app: "wx01", title: "商城", at, message: REASON, action: "unblock" }],
      lives: [],
      quota: [{ app: "wx02", endpoint: "/cgi-bin/stable_token", calls: 450_000, limit: 500_000 }],
      service: {
        ...{ traffic: [], version: "0.1.0", nodes: 2, database: "PostgreSQL" },
        backup: {
          last_at: now - 50 * HOUR_MS,
          bytes: 1,
          file: "a",
          folder: "/b",
          every: 86_400,
          stale: true,
        },
      },
    },
    "/v1/apps?sort=state&limit=8": { apps: [blocked, { app: "wx02", state: "fresh", credentials: {} }] },
    "/v1/nodes": {
      nodes: [{ node: "n", host: "token-a", pid: 812, version: "0.1.0", state: "live", started_at: at }],
    },
    "/v1/alarms": {
      alarms: [
        {
          ...{ condition: "app_blocked", severity: "critical", subject: "wx01", state: "firing", since: at },
          ...{ title: "应用被阻止 (an app is blocked)", message: REASON, hint: "" },
        },
      ],
    },
  };
  return ({ path }: { path: string }) => {
    if (refused.includes(path))
      return Response.json(
        { code: 403, msg: "无权 (not allowed)", data: null, trace_id: "t" },
        { status: 403 },
      );
    return answered(data[path] ?? {});
  };
}

const NOW = 1_790_000_000_000;

test("status shows alarms, what needs somebody, apps by their state, failures, quotas, nodes and the backup on one screen", async () => {
  await using world = new CliHarness(answers(NOW));
  const { code, stdout, stderr } = await world.run(["status"]);
  expect([code, stderr]).toEqual([0, ""]);
  const lines = stdout.split("\n").map((line) => line.trimEnd());
  expect(lines.slice(0, 2)).toEqual([
    "accesstoken 0.1.0 · PostgreSQL · 2 nodes",
    "2 apps: 1 fresh, 1 blocked",
  ]);
  expect(lines[2]).toMatch(/^last backup: .+ ago, STALE$/);
  for (const row of [
    /^critical +\S+ +an app is blocked wx01 +access_token: 40164 the address is not on the allow-list$/,
    /^blocked +wx01 商城 +access_token: 40164 the address is not on the allow-list$/,
    /^wx01 +商城 +blocked +access_token: 40164 the address/,
    /^\S+ +wx01 +access_token +3 +access_token: 40164 the address/,
    /^wx02 +\/cgi-bin\/stable_token +450000 \/ 500000 \(90%\)$/,
    /^token-a +812 +0\.1\.0 +live/,
  ])
    expect(lines).toContainEqual(expect.stringMatching(row));
});

test("an alarm that has not lasted long enough to be told is shown as pending, and not by its severity", async () => {
  const answer = answers(NOW);
  const alarm = { condition: "ticket_missing", severity: "critical", subject: "wxc1", since: NOW };
  const words = {
    title: "收不到ticket (no ticket comes)",
    message: "还没有收到过 (none has come yet)",
    hint: "",
  };
  await using world = new CliHarness((asked) =>
    asked.path === "/v1/alarms"
      ? answered({ alarms: [{ ...alarm, ...words, state: "pending" }] })
      : answer(asked),
  );
  const { stdout } = await world.run(["status"]);
  expect(stdout).toMatch(/^pending +\S+ +no ticket comes wxc1 +none has come yet$/m);
  expect(stdout).not.toContain("critical");
});

test("status in Chinese says each reason in Chinese, and with --json all of it is data", async () => {
  await using world = new CliHarness(answers(NOW));
  const { stdout } = await world.run(["status"], { language: "zh" });
  expect(stdout).toContain("\n2 个应用：1 fresh，1 blocked\n");
  expect(stdout).toContain("IP不在白名单");
  expect(stdout).not.toContain("allow-list");
  const json = JSON.parse((await world.run(["status", "--json"])).stdout) as Record<string, unknown>;
  expect(Object.keys(json).toSorted()).toEqual(
    ["alarms", "apps", "counts", "lives", "needs_you", "nodes", "quota", "service"].toSorted(),
  );
  expect(json["apps"]).toMatchObject([{ app: "wx01" }]);
});

test("a client that may not see nodes and alarms gets the rest", async () => {
  await using world = new CliHarness(answers(NOW, ["/v1/nodes", "/v1/alarms"]));
  const { code, stdout } = await world.run(["status"]);
  expect([code, stdout.includes("NODES"), stdout.includes("ALARMS"), stdout.includes("wx01")]).toEqual([
    ...[0, false, false],
    true,
  ]);
});

test("status of this machine's own database works without a service, and says where nothing is wrong", async () => {
  await using harness = new ProcessHarness(FROM_SOURCE);
  const { service } = await harness.serve();
  service.signal("SIGTERM");
  await service.exited();
  await using status = harness.run(["status"], harness.variables);
  expect([await status.exited(), status.stderr]).toEqual([0, ""]);
  expect(status.stdout).toContain(
    "2 apps: 2 none\nno backup yet, and BACKUP_DIR is not set\n\nNothing needs you.\n",
  );
});

test("--watch needs a terminal, and goes without --json", async () => {
  await using world = new CliHarness(answers(NOW));
  for (const [args, reason] of [
    [["status", "--watch"], "--watch needs a terminal"],
    [["status", "--watch", "--json"], "--watch goes without --json"],
  ] as const) {
    const { code, stderr } = await world.run(args);
    expect([code, stderr]).toEqual([2, expect.stringContaining(reason)]);
  }
  expect((await runAlone(["status", "--key-file", "x"])).code).toBe(2);
});

test.each([1, 2, 7, 8, 20, 200])("no line of a frame is wider than a terminal of %d columns", (columns) => {
  const text = "应用被阻止 an app is blocked\nabc\n🔑微信🔑微信\n";
  for (const rows of [1, 2, 24]) {
    const drawn = frame(text, { columns, rows });
    const lines = Bun.stripANSI(drawn).split("\r\n");
    expect(lines.length).toBe(Math.min(rows, 3));
    for (const line of lines) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(columns);
    expect(drawn).toStartWith("\u001b[H");
  }
});

test("--watch shows a change as it comes, and leaves the terminal as it was at Ctrl+C", async () => {
  await using world = await Harness.create({ environment: { ANONYMOUS: "on" } });
  const key = join(world.folder, "key");
  writeFileSync(key, await createAdmin(world), { mode: 0o600 });
  const command = [...FROM_SOURCE, "status", "--watch", "--url", world.service.url, "--key-file", key];
  await using child = new TerminalChild(command, world.folder);
  await child.shows("\u001b[?1049h\u001b[?25l");
  await child.shows(/ none/);
  await world.get(`/AccessToken/getXcx?appid=${WX.appId}`);
  await child.shows("1 fresh");
  child.type("\u0003");
  expect(await child.exited()).toBe(0);
  await child.shows("\u001b[?25h\u001b[?1049l");
  expect(child.hasEcho).toBe(true);
});

test("--watch says that the service is away, shows what it knew, and goes on when it is back", async () => {
  let isAway = false;
  const answer = answers(Date.now());
  await using world = new CliHarness((request) =>
    isAway
      ? Response.json(
          { code: 503, msg: "暂不可用 (not available)", data: null, trace_id: "t" },
          { status: 503 },
        )
      : request.path === "/v1/events"
        ? new Response(new ReadableStream())
        : answer(request),
  );
  const command = [...FROM_SOURCE, "status", "--watch", "--url", world.url, "--key-file", world.path("key")];
  await using child = new TerminalChild(command, world.folder);
  await child.shows("2 nodes");
  isAway = true;
  await child.shows("not available");
  isAway = false;
  const before = child.shown.length;
  await Harness.until(() => child.shown.slice(before).includes("\u001b[Haccesstoken 0.1.0"));
  child.signal("SIGTERM");
  expect(await child.exited()).toBe(0);
  await child.shows("\u001b[?1049l");
});
