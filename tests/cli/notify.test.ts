import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { type Answering, CliHarness } from "./cli-harness.ts";

const URL = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=0123456789abcdef";
const CHANNEL = {
  ...{
    channel: "ops",
    kind: "wecom",
    url: "…cdef",
    enabled: true,
    min_severity: "warning",
    mention: ["@all"],
  },
  ...{ quiet_hours: "23:00-08:00", tell_resolved: true, created_at: 1, updated_at: 1, version: 3 },
};
const ALARM = {
  ...{ condition: "app_blocked", severity: "critical", subject: "wx1", state: "firing", since: 1 },
  ...{ title: "应用被拒绝 (an app is blocked)", message: "m", hint: "h" },
};

const withOps: Answering = ({ method, path }) => {
  if (path === "/v1/alarms") return { alarms: [ALARM] };
  if (path.endsWith("/test"))
    return { ok: false, answer: "93000 invalid", errcode: 93000, hint: "重新复制 (copy it again)" };
  if (method === "DELETE") return {};
  return path.endsWith("/channels") && method === "GET" ? { channels: [CHANNEL] } : CHANNEL;
};

test("P6: a bot's URL comes from a file, standard input or the person, and never as an argument", async () => {
  await using world = new CliHarness(withOps);
  writeFileSync(world.path("url"), `${URL}\n`, { mode: 0o600 });
  writeFileSync(world.path("signing"), "a-signing-secret\n", { mode: 0o600 });
  const add = ["notify", "add", "ops", "--kind", "wecom"];
  const more = [
    "--min-severity",
    "warning",
    "--quiet-hours",
    "23:00-08:00",
    "--mention",
    "@all",
    "--resolved",
    "no",
  ];
  await world.run([...add, "--webhook-file", world.path("url"), ...more]);
  await world.run([...add, "--webhook-file", "-", "--signing-file", world.path("signing")], {
    input: `${URL}\n`,
  });
  const typed = await world.run(add, { typed: URL });
  const rules = {
    min_severity: "warning",
    quiet_hours: "23:00-08:00",
    mention: ["@all"],
    tell_resolved: false,
  };
  expect(world.arrived.map(({ method, path, body }) => [method, path, body])).toEqual([
    ["POST", "/v1/notifications/channels", { channel: "ops", kind: "wecom", url: URL, ...rules }],
    [
      "POST",
      "/v1/notifications/channels",
      { channel: "ops", kind: "wecom", url: URL, secret: "a-signing-secret" },
    ],
    ["POST", "/v1/notifications/channels", { channel: "ops", kind: "wecom", url: URL }],
  ]);
  expect(typed.questions).toEqual(["URL of the bot: "]);
  expect(typed.stdout).toContain("…cdef");
  expect(typed.stderr).toContain("accesstoken notify test ops");
  expect((await world.run(add)).code).toBe(2);
  expect((await world.run([...add.slice(0, 3), "--webhook-file", world.path("url")])).code).toBe(2);
});

test("channels are listed with the alarms that stand, changed by what is given, and removed when that is confirmed", async () => {
  await using world = new CliHarness(withOps);
  const list = await world.run(["notify", "list"]);
  expect(list.stdout).toMatch(
    /^CHANNEL +KIND +URL +STATE +SEVERITY +QUIET\nops +wecom +…cdef +on +warning +23:00-08:00\n/,
  );
  expect(list.stdout).toMatch(/critical +firing +wx1 +an app is blocked\n$/);
  await world.run(["notify", "set", "ops", "--enabled", "no", "--quiet-hours", "none"]);
  expect(world.arrived.at(-1)).toMatchObject({
    ...{ method: "PATCH", path: "/v1/notifications/channels/ops" },
    body: { enabled: false, quiet_hours: null },
  });
  expect((await world.run(["notify", "set", "ops"])).code).toBe(2);
  expect((await world.run(["notify", "remove", "ops"])).code).toBe(2);
  expect((await world.run(["notify", "remove", "ops", "--yes"])).stdout).toBe("ops is removed\n");
  expect(world.asked.at(-1)).toBe("DELETE /v1/notifications/channels/ops");
});

test("a test shows the bot's own answer and what to do, and fails when the bot refuses", async () => {
  await using world = new CliHarness(withOps);
  const tried = await world.run(["notify", "test", "ops"], { language: "zh" });
  expect([tried.code, world.asked]).toEqual([1, ["POST /v1/notifications/channels/ops/test"]]);
  expect(tried.stdout).toContain("93000 invalid");
  expect(tried.stdout).toContain("重新复制");
  expect(tried.stdout).not.toContain("copy");
});
