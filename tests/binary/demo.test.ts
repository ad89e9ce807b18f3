import { expect, test } from "bun:test";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Child } from "../support/child.ts";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";

/** What a printed line answers, run by bash as it stands; sent by hand where there is no curl. */
async function runLine(line: string, cwd: string): Promise<{ code: number; output: string }> {
  if (!Bun.which("curl") || !Bun.which("bash")) return sendLine(line);
  await using shell = new Child(["bash", "-c", line], { cwd });
  const code = await shell.exited();
  return { code, output: shell.stdout };
}

async function sendLine(line: string): Promise<{ code: number; output: string }> {
  const plain = line
    .replaceAll("$RANDOM", () => String(Math.floor(Math.random() * 32_768)))
    .replaceAll('\\"', "\u0001");
  const [, url = ""] = /["'](http:[^"']*)["']/.exec(plain) ?? [];
  const [, , body] = / -d (["'])(.*?)\1$/.exec(plain) ?? [];
  const [, authorization] = / -H 'Authorization: ([^']+)'/.exec(plain) ?? [];
  const init = body === undefined ? {} : { method: "POST", body: body.replaceAll("\u0001", '"') };
  const headers = { "content-type": "application/json", ...(authorization ? { authorization } : {}) };
  const response = await fetch(url, { ...init, headers });
  return { code: 0, output: await response.text() };
}

test("every curl line that the demo prints works as it stands, twice over", async () => {
  await using world = new ProcessHarness(binary());
  const demo = world.run(["demo", "--port", "0"]);
  const [, url = ""] = await demo.find(/API: (http:\S+)\/swagger/);
  const lines = demo.stdout.split("\n").filter((line) => line.startsWith("curl "));
  expect(lines.length).toBeGreaterThanOrEqual(6);
  for (const path of [
    "getXcx",
    "getQyapi",
    "cgi-bin/token",
    "getJsApiSign",
    "jscode2session",
    "getOauthAccessToken",
    "clearXcx",
  ]) {
    expect(lines.filter((line) => line.includes(`/${path}`))).not.toEqual([]);
  }
  for (const line of [...lines, ...lines.filter((again) => !again.includes("clearXcx"))]) {
    const { code, output } = await runLine(line, world.folder);
    expect([line, code]).toEqual([line, 0]);
    const answer = JSON.parse(output) as { code?: number; expires_in?: number };
    if (line.includes("/cgi-bin/token")) expect(answer.expires_in).toBeGreaterThan(7000);
    else if (line.includes("/gateway/")) expect(output).toContain('"errcode":48001');
    else if (line.includes(url)) expect([line, answer.code]).toEqual([line, 0]);
  }
  expect((await fetch(`${url}/swagger`)).status).toBe(200);
  demo.signal("SIGTERM");
  expect(await demo.exited()).toBe(0);
  expect(readdirSync(world.folder)).toEqual([]);
});

test("the demo's keys show what prod, dev and an administrator get", async () => {
  await using world = new ProcessHarness(binary());
  const demo = world.run(["demo", "--port", "0"]);
  const [, url = ""] = await demo.find(/API: (http:\S+)\/swagger/);
  const keyOf = (client: string) => new RegExp(`^  ${client} +(ats_\\w+)$`, "m").exec(demo.stdout)?.[1] ?? "";
  const lineOf = (client: string, path: string) =>
    demo.stdout.split("\n").find((line) => line.includes(keyOf(client)) && line.includes(path)) ?? "";
  const answerTo = async (client: string, path: string) =>
    (await runLine(lineOf(client, path), world.folder)).output;
  expect(new Set(["admin", "shop-prod", "shop-dev"].map(keyOf)).size).toBe(3);
  const anonymous = await ask(url, "/AccessToken/getXcx", { appid: "wx0000000000000001" });
  const { access_token: real } = anonymous.data as { access_token: string };
  expect(JSON.parse(await answerTo("shop-prod", "/cgi-bin/token"))).toMatchObject({ access_token: real });
  expect(await answerTo("shop-dev", "/cgi-bin/token")).toStartWith('{"access_token":"atv1_');
  expect(await answerTo("shop-dev", "/cgi-bin/message/custom/send")).toContain("(safe)");
  expect(await answerTo("admin", "/v1/audit")).toContain('"action":"key.created"');
});

test("the demo takes no part in what the environment or a .env file says", async () => {
  await using world = new ProcessHarness(binary());
  world.write(".env", "WEIXIN_NONSENSE=1\n");
  const demo = world.run(["demo", "--port", "0"], { ...world.variables, HOST: "192.0.2.1" });
  const [, url = ""] = await demo.find(/API: (http:\S+)\/swagger/);
  expect((await ask(url, "/")).code).toBe(0);
  expect(world.sandbox.calls()).toBe(0);
});

test("the demo listens on PORT where --port does not say otherwise", async () => {
  await using world = new ProcessHarness(binary());
  const { url } = await world.serve();
  const { port } = new URL(url);
  const demo = world.run(["demo"], { PORT: port });
  expect(await demo.exited()).toBe(1);
  expect(demo.stderr).toContain(`port ${port} is in use`);
});

test("a demo whose port is taken says so in one line, exits 1 and leaves nothing behind", async () => {
  await using world = new ProcessHarness(binary());
  const { url } = await world.serve();
  const temporary = join(world.folder, "temporary");
  mkdirSync(temporary);
  const demo = world.run(["demo", "--port", new URL(url).port], { TMPDIR: temporary });
  expect(await demo.exited()).toBe(1);
  expect(demo.stderr).toMatch(/^accesstoken: .*已被占用.*by PORT, or for demo and sandbox by --port\)\n$/);
  expect(readdirSync(temporary)).toEqual([]);
});

test("a demo that may open too few files to start leaves nothing behind", async () => {
  await using world = new ProcessHarness(["bash", "-c", 'ulimit -n "$0" && exec "$@"']);
  const temporary = join(world.folder, "temporary");
  mkdirSync(temporary);
  // With some of these not even the sandbox has its sockets, with others the service fails.
  for (const files of ["5", "6", "7", "8"]) {
    const demo = world.run([files, ...binary(), "demo", "--port", "0"], { TMPDIR: temporary });
    expect([files, await demo.exited()]).toEqual([files, 1]);
    expect([files, readdirSync(temporary)]).toEqual([files, []]);
  }
});

test("what `accesstoken sandbox` prints is a .env with which the service works", async () => {
  await using world = new ProcessHarness(binary());
  const sandbox = world.run(["sandbox", "--port", "0"]);
  await sandbox.find(/sandbox-code-/);
  const lines = sandbox.stdout.split("\n").filter((line) => /^[A-Z]+_\w+=/.test(line));
  world.write(".env", `${lines.join("\n")}\n`);
  const url = await world.run(["serve"], { PORT: "0" }).serviceUrl();
  const [, appid = ""] = /WEIXIN_SECRET_(\w+)=/.exec(sandbox.stdout) ?? [];
  const [, corpid = ""] = /WECOM_SECRET_(\w+)_\w+=/.exec(sandbox.stdout) ?? [];
  expect((await ask(url, "/AccessToken/getXcx", { appid })).code).toBe(0);
  expect((await ask(url, "/AccessToken/getQyapi", { corpid })).code).toBe(0);
  expect((await ask(url, "/xcx/jscode2session", { appid, code: "sandbox-code-1" })).code).toBe(0);
  const [, state = ""] = await sandbox.find(/curl (http:\S+\/sandbox\/state)/);
  expect((await fetch(state)).status).toBe(200);
  sandbox.signal("SIGTERM");
  expect(await sandbox.exited()).toBe(0);
});

test("what `accesstoken sandbox` prints of its group bots takes messages, and shows them", async () => {
  await using world = new ProcessHarness(binary());
  const sandbox = world.run(["sandbox", "--port", "0"]);
  const [, bots = ""] = await sandbox.find(/curl (http:\S+\/sandbox)\/state/);
  for (const [kind, body] of [
    ["wecom", { msgtype: "text", text: { content: "hello" } }],
    ["dingtalk", { msgtype: "text", text: { content: "hello" } }],
    ["feishu", { msg_type: "text", content: { text: "hello" } }],
  ] as const) {
    const [, url = "", secret] = await sandbox.find(new RegExp(`^${kind}: (\\S+)(?:.*: (\\S+))?$`, "m"));
    expect(secret === undefined).toBe(kind === "wecom");
    const init = {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    };
    const answer = (await (await fetch(url, init)).json()) as Record<string, unknown>;
    // Two of them ask for a signature.
    expect(answer["errcode"] ?? answer["code"]).toBe({ wecom: 0, dingtalk: 310_000, feishu: 19_021 }[kind]);
  }
  expect(await (await fetch(`${bots}/bots`)).text()).toContain('"content":"hello"');
});

test("a sandbox whose port is taken says so in one line and exits 1", async () => {
  await using world = new ProcessHarness(binary());
  const { port } = new URL(world.sandbox.weixinUrl);
  const sandbox = world.run(["sandbox", "--port", port]);
  expect(await sandbox.exited()).toBe(1);
  expect(sandbox.stderr).toMatch(/^accesstoken: .*已被占用.*\n$/);
});
