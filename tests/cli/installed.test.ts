import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { commandLineUser, isInstalled, loadConfig, loadLocalConfig } from "../../src/config.ts";
import { Harness } from "../support/harness.ts";
import { openLocalService } from "../../src/service.ts";

/** The files of an installed service, and a working directory that has none. */
function setup() {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-installed-"));
  const at = (name: string) => join(folder, name);
  const server = { envFile: at("env"), database: at("accesstoken.db"), masterKey: at("master.key") };
  writeFileSync(server.envFile, "LOG_LEVEL=warn\n", { mode: 0o600 });
  writeFileSync(server.database, "");
  const before = process.cwd();
  mkdirSync(at("cwd"));
  process.chdir(at("cwd"));
  const load = (environment: Record<string, string> = {}) => loadLocalConfig(environment, server);
  return {
    server,
    at,
    load,
    [Symbol.dispose]: () => {
      process.chdir(before);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

test("a command finds the installed service's variables, database and key by itself", () => {
  using it = setup();
  expect(it.load()).toMatchObject({
    logLevel: "warn",
    databasePath: it.server.database,
    masterKeyFile: it.server.masterKey,
  });
  // What the file says comes first, and a key in it leaves none in a file.
  writeFileSync(it.server.envFile, `DATABASE_URL=file:${it.at("other.db")}\nMASTER_KEY=${"ab".repeat(32)}\n`);
  writeFileSync(it.at("other.db"), "");
  expect(it.load().databasePath).toBe(it.at("other.db"));
  expect(it.load().masterKey).toBeDefined();
});

test("the service has those files too, but where its file names others; one that the environment overrules is said", () => {
  using it = setup();
  const serve = (environment: Record<string, string> = {}) =>
    loadConfig({ ENV_FILE: it.server.envFile, ...environment }, it.server);
  expect(serve()).toMatchObject({ databasePath: it.server.database, masterKeyFile: it.server.masterKey });
  writeFileSync(it.server.envFile, "DATABASE_URL=postgres://a@db.internal/a\n");
  expect(serve()).toMatchObject({
    databasePath: undefined,
    masterKeyFile: it.server.masterKey,
    warnings: [],
  });
  const overruled = serve({ DATABASE_URL: `file:${it.server.database}` });
  expect(overruled.databasePath).toBe(it.server.database);
  expect(overruled.warnings).toEqual([expect.stringMatching(/^DATABASE_URL: .*environment/)]);
});

test("what the environment or the working directory names goes before the installed service", () => {
  using it = setup();
  const own = loadConfig({ ENV_FILE: "" }).databasePath;
  expect(it.load({ ENV_FILE: "" }).databasePath).toBe(own);
  expect(it.load({ DATABASE_URL: "file:data/accesstoken.db" }).databasePath).toBe(own);
  mkdirSync("data");
  writeFileSync("data/accesstoken.db", "");
  expect(it.load().databasePath).toBe(own);
  rmSync("data", { recursive: true });
  writeFileSync(".env", "");
  expect(it.load().databasePath).toBe(own);
  rmSync(".env");
  expect(it.load().databasePath).toBe(it.server.database);
});

test("before the installed service was started nothing is begun in the place of its database", () => {
  using it = setup();
  rmSync(it.server.database);
  const config = it.load();
  expect([config.databasePath, isInstalled(config, it.server)]).toEqual([it.server.database, true]);
  expect(isInstalled(it.load({ DATABASE_URL: "file:data/accesstoken.db" }), it.server)).toBe(false);
});

test("the system's user is named, with the one behind sudo, and no other text of the environment", () => {
  const user = commandLineUser({});
  expect(user).toMatch(/^[\w.@-]+$|^uid \d+$/);
  expect(commandLineUser({ SUDO_USER: "alice" })).toBe(`${user} (sudo: alice)`);
  for (const SUDO_USER of ["", "a b", "x\n", "a".repeat(65)])
    expect(commandLineUser({ SUDO_USER })).toBe(user);
});

test("P7: what is done on the machine itself is in the audit with the system's user", async () => {
  await using world = await Harness.create();
  const service = await openLocalService(
    loadConfig({ ENV_FILE: "", DATABASE_URL: `file:${world.databasePath}` }),
  );
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ client: "bot", environment: "prod", grants: [], delivery: "real" });
  const url = "http://localhost/v1/clients";
  expect((await service.handle(new Request(url, { method: "POST", headers, body }))).status).toBe(201);
  await service.close();
  const { data } = await world.administer("/v1/audit?action=client.created");
  expect(data["entries"]).toMatchObject([{ client: "(command line)", address: commandLineUser() }]);
});
