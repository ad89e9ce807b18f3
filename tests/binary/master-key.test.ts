import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";
import { WX } from "../support/harness.ts";

const ROTATE = ["master-key", "rotate"];
const OLD = "11".repeat(32);
const TOKEN = "/AccessToken/getXcx";

/** A folder in which the program runs, and a command's code and output there. */
function setup() {
  const world = new ProcessHarness(binary());
  const run = async (args: readonly string[], env: Record<string, string> = {}) => {
    const child = world.run(args, env);
    const code = await child.exited();
    return { code, stdout: child.stdout, stderr: child.stderr };
  };
  const token = async (url: string) => (await ask(url, TOKEN, { appid: WX.appId })).data["access_token"];
  const read = (name: string) => readFileSync(join(world.folder, name), "utf8");
  return { world, run, token, read, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

test("the master key is changed under two running workers, which go on, and a restart finds all", async () => {
  await using at = setup();
  const { service, url } = await at.world.serve({}, ["--workers", "2"]);
  const before = await at.token(url);
  const oldKey = at.read("data/master.key");
  const { code, stdout, stderr } = await at.run([...ROTATE, "--json"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const report = JSON.parse(stdout) as Record<string, string>;
  expect(report).toMatchObject({ resumed: false, damaged: [] });
  expect(readFileSync(report["old_key_file"] ?? "", "utf8")).toBe(oldKey);
  expect(stdout).not.toContain(at.read("data/master.key").trim());
  expect((await ask(url, "/AccessToken/clearXcx", { appid: WX.appId })).code).toBe(0);
  // Each on a connection of its own, so that both workers are asked.
  for (let n = 0; n < 20; n++) {
    expect(await at.token(url)).toBeString();
    expect((await ask(url, "/readyz")).code).toBe(0);
  }
  const last = await at.token(url);
  service.signal("SIGTERM");
  expect(await service.exited()).toBe(0);
  expect(service.stdout).not.toContain("store.damaged");
  const again = await at.world.serve();
  expect(await at.token(again.url)).toBe(last);
  expect(before).toBeString();
  const verdict = await at.run(["audit", "verify", "--json"]);
  expect([verdict.code, JSON.parse(verdict.stdout)]).toMatchObject([0, { intact: true }]);
});

test("with MASTER_KEY the new key goes to a file, is not shown, and the person is told to set it", async () => {
  await using at = setup();
  const env = { MASTER_KEY: OLD, ANONYMOUS: "on" };
  const { service, url } = await at.world.serve(env, ["--new-database"]);
  const before = await at.token(url);
  expect((await at.run(ROTATE, env)).code).toBe(2);
  const { code, stdout, stderr } = await at.run([...ROTATE, "--new-key-file", "new.key"], env);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toContain("Set MASTER_KEY to the new key now (new.key)");
  expect(stdout).not.toContain(at.read("new.key").trim());
  expect(statSync(join(at.world.folder, "new.key")).mode & 0o777).toBe(0o600);
  expect(await at.token(url)).toBe(before);
  service.signal("SIGTERM");
  expect(await service.exited()).toBe(0);
  const again = await at.world.serve({ ...env, MASTER_KEY: at.read("new.key").trim() });
  expect(await at.token(again.url)).toBe(before);
});

test("with --now virtual tokens that are out are refused, and the person is told what else a theft requires", async () => {
  await using at = setup();
  await at.world.serve();
  const kept = await at.run([...ROTATE, "--json"]);
  expect(JSON.parse(kept.stdout)).toMatchObject({ virtual_tokens_revoked: false });
  const { code, stdout } = await at.run([...ROTATE, "--now"]);
  expect(code).toBe(0);
  for (const part of ["refused from now on", "roll every API key", "change every AppSecret"])
    expect(stdout).toContain(part);
});

test("where there is no database nothing is made, and it says what to do", async () => {
  await using at = setup();
  const { code, stdout, stderr } = await at.run(ROTATE);
  expect({ code, stdout }).toEqual({ code: 3, stdout: "" });
  expect(stderr).toContain("there is no database");
  expect(readdirSync(at.world.folder)).toEqual([]);
});

test("with a key file, a file for the new key is refused as a wrong use", async () => {
  await using at = setup();
  const { service } = await at.world.serve();
  const { code, stderr } = await at.run([...ROTATE, "--new-key-file", "new.key"]);
  expect(code).toBe(2);
  expect(stderr).toContain("the option is for MASTER_KEY only");
  expect(existsSync(join(at.world.folder, "new.key"))).toBeFalse();
  service.signal("SIGTERM");
  expect(await service.exited()).toBe(0);
});
