import { expect, test } from "bun:test";
import { CliHarness, runAlone } from "./cli-harness.ts";

const EXPIRES_AT = Date.UTC(2027, 0, 31);
const HANDED_OUT = {
  value: "TOKEN-1",
  expires_in: 7000,
  expires_at: EXPIRES_AT,
  issued_at: EXPIRES_AT - 7_200_000,
};

test("token get prints the value alone", async () => {
  await using world = new CliHarness(() => HANDED_OUT);
  expect(await world.run(["token", "get", "wx1"])).toMatchObject({
    code: 0,
    stdout: "TOKEN-1\n",
    stderr: "",
  });
  const args = ["token", "get", "ww1_1000002", "--kind", "agent_config_ticket", "--min-ttl", "2m", "--json"];
  expect(JSON.parse((await world.run(args)).stdout)).toEqual(HANDED_OUT);
  expect(world.asked).toEqual([
    "GET /v1/apps/wx1/credentials/access_token",
    "GET /v1/apps/ww1_1000002/credentials/agent_config_ticket?min_ttl=120",
  ]);
});

test("a virtual token is told as such, beside the value", async () => {
  const value = `atv1_${"a".repeat(40)}`;
  await using world = new CliHarness(() => ({ ...HANDED_OUT, value }));
  for (const json of [[], ["--json"]]) {
    const { stdout, stderr } = await world.run(["token", "get", "wx1", ...json]);
    expect(stdout).toContain(value);
    expect(stderr).toBe(
      "A virtual token: it works through this service only, and WeChat itself does not know it\n",
    );
  }
});

test("P6: token refresh tells how long the new one lives, and not the token", async () => {
  await using world = new CliHarness(() => HANDED_OUT);
  const { code, stdout, stderr } = await world.run(["token", "refresh", "wx1"]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^access_token of wx1 is valid until 20\S+\n$/);
  expect(stdout + stderr).not.toContain("TOKEN-1");
  await world.run(["token", "refresh", "wx1", "--kind", "jsapi_ticket", "--force"]);
  expect(world.arrived.map(({ method, path, body }) => [method, path, body])).toEqual([
    ["POST", "/v1/apps/wx1/credentials/access_token/refresh", {}],
    ["POST", "/v1/apps/wx1/credentials/jsapi_ticket/refresh", { force: true }],
  ]);
});

test("token clear forgets the access token, or what --kind says", async () => {
  await using world = new CliHarness(() => ({}));
  const { code, stdout } = await world.run(["token", "clear", "wx1"], { language: "zh" });
  expect({ code, stdout }).toEqual({ code: 0, stdout: "已清除 wx1 的 access_token\n" });
  expect((await world.run(["token", "clear", "wx1", "--kind", "jsapi_ticket", "--json"])).stdout).toBe(
    "{}\n",
  );
  expect(world.asked).toEqual([
    "DELETE /v1/apps/wx1/credentials/access_token",
    "DELETE /v1/apps/wx1/credentials/jsapi_ticket",
  ]);
});

test("token get asks for as much life as the service takes, and its help tells how much that is", async () => {
  await using world = new CliHarness(() => HANDED_OUT);
  expect((await world.run(["token", "get", "wx1", "--min-ttl", "240"])).code).toBe(0);
  expect(world.asked).toEqual(["GET /v1/apps/wx1/credentials/access_token?min_ttl=240"]);
  const help = async (language: "en" | "zh") =>
    (await runAlone(["help", "token", "get"], { language })).stdout;
  expect(await help("en")).toContain("Minimum remaining lifetime, as 60 or 2m; 240 seconds at most\n");
  expect(await help("zh")).toContain("至少还应有效的时间，如 60 或 2m，最多240秒\n");
});

test.each([
  [["get", "wx1", "--kind", "session_key"], "must be one of access_token, "],
  [["get", "wx1", "--min-ttl", "241"], "240 seconds at most"],
  [["get", "wx1", "--min-ttl", "5m"], "240 seconds at most"],
  [["refresh", ".."], "must be an appid"],
  [["clear"], "argument <app> is missing"],
])("token %j is exit code 2, and nothing is asked", async (args, line) => {
  await using world = new CliHarness(() => HANDED_OUT);
  const { code, stderr } = await world.run(["token", ...args]);
  expect(code).toBe(2);
  expect(stderr.split("\n")[1]).toContain(line);
  expect(world.arrived).toEqual([]);
});
