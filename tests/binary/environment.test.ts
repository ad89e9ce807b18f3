import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";
import { WX } from "../support/harness.ts";

const XCX = { appid: WX.appId };

function setup(): ProcessHarness {
  return new ProcessHarness(binary());
}

function asFile(variables: Record<string, string>): string {
  return Object.entries(variables)
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");
}

/** Starts the service with nothing but `env`; its address. */
function start(world: ProcessHarness, env: Record<string, string> = {}): Promise<string> {
  return world.run(["serve"], env).serviceUrl();
}

test("a .env file in the working directory is read", async () => {
  await using world = setup();
  world.write(".env", asFile(world.variables));
  const url = await start(world);
  expect((await ask(url, "/AccessToken/getXcx", XCX)).code).toBe(0);
});

test("a real environment variable wins over the file", async () => {
  await using world = setup();
  world.write(".env", asFile({ ...world.variables, [`WEIXIN_SECRET_${WX.appId}`]: "wrong" }));
  const url = await start(world, { [`WEIXIN_SECRET_${WX.appId}`]: WX.secret });
  expect((await ask(url, "/AccessToken/getXcx", XCX)).code).toBe(0);
});

test("ENV_FILE names another file, and then .env is not read", async () => {
  await using world = setup();
  world.write(".env", "WEIXIN_NONSENSE=1\n");
  world.write("production.env", asFile(world.variables));
  const url = await start(world, { ENV_FILE: "production.env" });
  expect((await ask(url, "/AccessToken/getXcx", XCX)).code).toBe(0);
});

test("an empty ENV_FILE means that no file is read, .env included", async () => {
  await using world = setup();
  const { PORT = "", ...others } = world.variables;
  world.write(".env", asFile(others));
  const url = await start(world, { PORT, ENV_FILE: "" });
  expect((await ask(url, "/AccessToken/getXcx", XCX)).msg).toBe("缺少secret参数");
});

test("an ENV_FILE that is not there stops the start with one line that names it", async () => {
  await using world = setup();
  const child = world.run(["serve"], { ...world.variables, ENV_FILE: "missing.env" });
  expect(await child.exited()).toBe(1);
  expect(child.stderr).toMatch(/^accesstoken: ENV_FILE: .*missing\.env.*\n$/);
});

test.each(["WEIXIN_SECERT_wx00000000000000aa", "WECOM_SECRET", "WEIXIN_TOKEN_MODES"])(
  "a misspelt name in the file (%s) stops the start with one line that names it and not its value",
  async (name) => {
    await using world = setup();
    world.write(".env", asFile({ ...world.variables, [name]: "value-of-the-misspelt" }));
    const child = world.run(["serve"]);
    expect(await child.exited()).toBe(1);
    expect(child.stderr.split("\n")).toEqual([expect.stringMatching(RegExp(`^accesstoken: ${name}: `)), ""]);
    expect(child.stderr + child.stdout).not.toContain("value-of-the-misspelt");
    expect(readdirSync(world.folder)).toEqual([".env"]);
  },
);

test("an unknown name in the environment is a warning, and the service starts", async () => {
  await using world = setup();
  const { service, url } = await world.serve({ WEIXIN_PORT_80_TCP: "value-of-the-unknown" });
  expect((await ask(url, "/")).code).toBe(0);
  expect(service.stdout).toMatch(/"level":"warn","event":"config\.warning","message":"WEIXIN_PORT_80_TCP: /);
  expect(service.stdout + service.stderr).not.toContain("value-of-the-unknown");
});

test("a bunfig.toml in the working directory executes nothing", async () => {
  await using world = setup();
  world.write("bunfig.toml", 'preload = ["./preload.ts"]\n[run]\npreload = ["./preload.ts"]\n');
  world.write("preload.ts", 'require("node:fs").writeFileSync("executed", "");\n');
  const { url } = await world.serve();
  expect((await ask(url, "/")).code).toBe(0);
  expect(existsSync(join(world.folder, "executed"))).toBe(false);
});

test("the machine's own proxy variables are not obeyed", async () => {
  await using world = setup();
  const nowhere = "http://127.0.0.1:1";
  const proxies = { HTTP_PROXY: nowhere, http_proxy: nowhere, HTTPS_PROXY: nowhere, ALL_PROXY: nowhere };
  const { url } = await world.serve(proxies);
  expect((await ask(url, "/AccessToken/getXcx", XCX)).code).toBe(0);
});

test("WeChat is asked through UPSTREAM_PROXY when that is set", async () => {
  await using world = setup();
  const { url } = await world.serve({ UPSTREAM_PROXY: "http://127.0.0.1:1" });
  expect((await ask(url, "/AccessToken/getXcx", XCX)).code).toBe(502);
  expect(world.sandbox.calls()).toBe(0);
});
