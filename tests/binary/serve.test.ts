import { expect, test } from "bun:test";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { Gate } from "../../src/sandbox/fault.ts";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";
import { read } from "../docs/document.ts";
import { CORP, WECOM, WX } from "../support/harness.ts";

const XCX = { appid: WX.appId };

function setup(): ProcessHarness {
  return new ProcessHarness(binary());
}

test("the binary serves every flow in an empty folder", async () => {
  await using world = setup();
  const { url } = await world.serve();
  const post = (body: object) => ({
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const sign = post({ wx_app_id: WX.appId, url: "https://example.com/" });
  const oauth = post({ wx_app_id: WX.appId, code: "sandbox-code-1" });
  const answers = [
    await ask(url, "/"),
    await ask(url, "/AccessToken/getXcx", XCX),
    await ask(url, "/AccessToken/getQyapi", { corpid: CORP, agentid: WECOM.agent }),
    await ask(url, "/JsSDK/getJsApiSign", {}, sign),
    await ask(url, "/AccessToken/getOauthAccessToken", {}, oauth),
    await ask(url, "/xcx/jscode2session", { ...XCX, code: "sandbox-code-2" }),
    await ask(url, "/AccessToken/clearXcx", XCX),
    await ask(url, "/AccessToken/clearQyapi", { corpid: CORP }),
  ];
  expect(answers.map(({ code }) => code)).toEqual(answers.map(() => 0));
  expect((await ask(url, "/AccessToken/getXcx")).msg).toBe("缺少appid参数");
  expect((await ask(url, "/nope")).code).toBe(404);
});

test("the first start makes a folder of 0700 and files of 0600, and speaks of the key once", async () => {
  await using world = setup();
  const { service, url } = await world.serve();
  await ask(url, "/AccessToken/getXcx", XCX);
  const folder = join(world.folder, "data");
  expect(readdirSync(world.folder)).toEqual(["data"]);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  const files = readdirSync(folder);
  expect(files).toContain("accesstoken.db");
  expect(files).toContain("master.key");
  for (const file of files) expect([file, statSync(join(folder, file)).mode & 0o777]).toEqual([file, 0o600]);
  expect(service.stderr).toContain(join(folder, "master.key"));
  expect(service.stderr).toContain("Losing it loses the data");
  expect(service.stderr).toContain("not beside backups of the database");
  service.signal("SIGTERM");
  expect(await service.exited()).toBe(0);

  const again = await world.serve();
  again.service.signal("SIGTERM");
  expect(await again.service.exited()).toBe(0);
  expect(again.service.stderr).toBe("");
});

test("P3: after kill -9 and a new start the same token is served without an upstream call", async () => {
  await using world = setup();
  const before = await world.serve();
  const first = await ask(before.url, "/AccessToken/getXcx", XCX);
  before.service.signal("SIGKILL");
  await before.service.exited();
  const after = await world.serve();
  const second = await ask(after.url, "/AccessToken/getXcx", XCX);
  expect(second.data["access_token"]).toBe(first.data["access_token"]);
  expect(second.data["expires_in"]).toBeLessThanOrEqual(7190);
  expect(second.data["expires_in"]).toBeGreaterThan(7100);
  expect(world.sandbox.calls()).toBe(1);
});

test.each(["SIGTERM", "SIGINT"] as const)("%s lets what runs finish, and exits 0", async (signal) => {
  await using world = setup();
  const { service, url } = await world.serve();
  const gate = new Gate();
  world.sandbox.inject({ kind: "gate", gate, times: 1 });
  const underWay = ask(url, "/AccessToken/getXcx", XCX);
  await gate.arrived();
  service.signal(signal);
  await service.find(/"event":"service\.stopping"/);
  gate.open();
  expect((await underWay).code).toBe(0);
  expect(await service.exited()).toBe(0);
  expect(service.stdout).toContain('"event":"service.stopped"');
});

test("SIGTERM ends a service that has nothing to do at once, though a client keeps its connection", async () => {
  await using world = setup();
  const { service, url } = await world.serve();
  await fetch(url);
  service.signal("SIGTERM");
  expect(await service.exited()).toBe(0);
});

test("the documents are in the binary, in both languages, without the repository", async () => {
  await using world = setup();
  const { url } = await world.serve();
  const { lines } = read("docs/configuration.md");
  for (const [path, text] of [
    ["README", '<html lang="en">'],
    ["zh/README", '<html lang="zh-CN">'],
    ["configuration", `<h1 id="configuration">${lines[0]?.slice(2)} <a`],
    ["configuration.md", lines.join("\n")],
    ["style.css", "prefers-color-scheme"],
  ] as const) {
    const answer = await fetch(`${url}/docs/${path}`);
    expect([path, answer.status, await answer.text()]).toEqual([path, 200, expect.stringContaining(text)]);
  }
  expect((await fetch(`${url}/docs/nope`)).status).toBe(404);
});

test("the documentation page and its files are in the binary, and name no other host to load from", async () => {
  await using world = setup();
  const { url } = await world.serve();
  const html = await (await fetch(`${url}/swagger`)).text();
  const references = [...html.matchAll(/(?:src|href)="(\/[^"]*)"/g)].map(([, path = ""]) => path);
  expect(references.toSorted()).toEqual(["/swagger/start.js", "/swagger/ui.css", "/swagger/ui.js"]);
  expect(html).not.toMatch(/https?:|["'(]\/\//);
  for (const path of references) {
    const file = await fetch(url + path);
    expect([path, file.status, (await file.text()).length > 50]).toEqual([path, 200, true]);
  }
  const specification = (await (await fetch(`${url}/swagger/json`)).json()) as { paths: object };
  for (const path of ["/AccessToken/getXcx", "/v1/apps/{app}/credentials/{kind}", "/readyz", "/metrics"])
    expect(specification.paths).toHaveProperty([path]);
});
