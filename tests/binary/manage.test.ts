import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { chmodSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isWellFormedApiKey } from "../../src/access/api-key.ts";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";
import { Harness, WX, WX_FOREIGN } from "../support/harness.ts";

/** What a command wrote, and its exit code. */
interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder with a sandbox, the secrets of two apps in files, and the program that is run there. */
function setup() {
  const world = new ProcessHarness(binary(), { weixinApps: [WX, WX_FOREIGN] });
  const run = async (words: string, env: Record<string, string> = {}): Promise<Ran> => {
    const { WEIXIN_BASE_URL = "", WECOM_BASE_URL = "" } = world.variables;
    const child = world.run(words.split(" "), { WEIXIN_BASE_URL, WECOM_BASE_URL, ...env });
    const code = await child.exited();
    return { code, stdout: child.stdout, stderr: child.stderr };
  };
  /** The data that a command prints, which must succeed. */
  const data = async <Data>(words: string): Promise<Data> => {
    const { code, stdout, stderr } = await run(`${words} --json`);
    expect({ words, code, stderr }).toEqual({ words, code: 0, stderr });
    return JSON.parse(stdout) as Data;
  };
  world.write("secret", `${WX_FOREIGN.secret}\n`);
  world.write("wrong", "0".repeat(32));
  for (const name of ["secret", "wrong"]) chmodSync(join(world.folder, name), 0o600);
  return { world, run, data, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

test("a database that is made while a program listens on the configured port comes with a warning", async () => {
  await using at = setup();
  using server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  const port = String(server.port);
  const first = await at.run("keys create --admin", { PORT: port });
  expect([first.code, first.stderr]).toEqual([
    0,
    expect.stringContaining(`\nWarning: a program listens on port ${port}.`),
  ]);
  expect((await at.run("clients list", { PORT: port })).stderr).toBe("");
});

const ADD = `apps add ${WX_FOREIGN.appId} --secret-file secret --title shop`;

test("on the machine itself everything is managed without a running service and without a key", async () => {
  await using at = setup();
  const first = await at.run("keys create --admin --label laptop");
  expect(first).toMatchObject({ code: 0 });
  expect(isWellFormedApiKey(first.stdout.trim())).toBe(true);
  expect(first.stderr).toContain("A new database is made: ");
  expect(first.stderr).toContain("A master key was made: ");
  expect(first.stderr).toContain("In the program, http://localhost:3000 takes the place of");

  expect(await at.run(`${ADD} --verify`)).toMatchObject({ code: 0, stderr: "" });
  const token = await at.run(`token get ${WX_FOREIGN.appId}`);
  expect(token.code).toBe(0);
  expect(await at.data(`token get ${WX_FOREIGN.appId}`)).toMatchObject({ value: token.stdout.trim() });
  expect((await at.run(`token clear ${WX_FOREIGN.appId}`)).code).toBe(0);
  expect((await at.run(`token refresh ${WX_FOREIGN.appId}`)).code).toBe(0);

  expect((await at.run("clients add bot --environment dev --apps all --actions login,api:call")).code).toBe(
    0,
  );
  expect((await at.run(`clients grant bot --apps ${WX_FOREIGN.appId} --actions token:read`)).code).toBe(0);
  expect((await at.run("clients revoke bot --actions login")).code).toBe(0);
  expect(await at.data("clients list")).toMatchObject({
    clients: [
      { client: "admin" },
      {
        client: "bot",
        grants: [
          { apps: ["*"], actions: ["api:call"] },
          { apps: [WX_FOREIGN.appId], actions: ["token:read"] },
        ],
      },
    ],
  });

  const { entries } = await at.data<{ entries: { action: string; client: string }[] }>("audit list");
  expect(new Set(entries.map(({ client }) => client))).toEqual(new Set(["(command line)"]));
  const actions = entries.map(({ action }) => action);
  for (const action of [
    "client.created",
    "key.created",
    "app.created",
    "credential.cleared",
    "client.updated",
  ]) {
    expect(actions).toContain(action);
  }
  const exported = await at.run("audit export");
  expect(exported.stdout.trim().split("\n").length).toBeGreaterThanOrEqual(entries.length);
  expect(await at.data("audit verify")).toMatchObject({ intact: true });
  const written = [first, token, exported].map(({ stderr }) => stderr).join("");
  expect(written + exported.stdout).not.toContain(WX_FOREIGN.secret);
});

test("a remote service is managed with an administrator's key, and obeys what is done to clients and keys", async () => {
  await using at = setup();
  const { url } = await at.world.serve();
  expect((await at.run("keys create --admin --out admin.key")).code).toBe(0);
  const admin = `--url ${url} --key-file admin.key`;
  await Harness.until(async () => (await at.run(`clients list ${admin}`)).code === 0);

  expect((await at.run(`${ADD} ${admin}`)).code).toBe(0);
  const grant = `--apps ${WX_FOREIGN.appId} --actions token:read,api:call`;
  expect((await at.run(`clients add bot --environment dev ${grant} ${admin}`)).code).toBe(0);
  const { key } = await at.data<{ key: string }>(`keys create bot --out bot.key ${admin}`);
  const bot = `--url ${url} --key-file bot.key`;
  const token = await at.run(`token get ${WX_FOREIGN.appId} ${bot}`);
  expect(token.code).toBe(0);
  expect(token.stdout).toMatch(/^\S+\n$/);

  const refused = await at.run(`token clear ${WX_FOREIGN.appId} ${bot}`);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain("(code 403, trace_id ");
  const rolled = await at.run(`keys roll bot --overlap 0 --out next.key ${admin}`);
  expect(rolled.code).toBe(0);
  expect((await at.run(`token get ${WX_FOREIGN.appId} ${bot} --json`)).stdout).toContain('"code": 401');
  const next = `--url ${url} --key-file next.key`;
  expect((await at.run(`token get ${WX_FOREIGN.appId} ${next}`)).code).toBe(0);
  expect((await at.run(`apps disable ${WX_FOREIGN.appId} ${admin}`)).code).toBe(0);
  expect((await at.run(`token get ${WX_FOREIGN.appId} ${next}`)).code).toBe(1);
  expect((await at.run(`apps enable ${WX_FOREIGN.appId} ${admin}`)).code).toBe(0);
  expect((await at.run(`clients remove bot ${admin}`)).code).toBe(2);
  expect((await at.run(`clients remove bot --yes ${admin}`)).code).toBe(0);
  expect((await at.run(`token get ${WX_FOREIGN.appId} ${next}`)).code).toBe(1);

  const { entries } = await at.data<{ entries: { action: string; client: string }[] }>(
    `audit list --client admin ${admin}`,
  );
  expect(entries.map(({ action }) => action)).toContain("client.deleted");
  expect((await at.run(`audit verify ${admin}`)).code).toBe(0);
  expect(key).toMatch(/^ats_\w{8}$/);
});

test("P3: what is done on the machine itself is known to the running service, and takes nothing from it", async () => {
  await using at = setup();
  const { url } = await at.world.serve();
  const before = await ask(url, "/AccessToken/getXcx", { appid: WX.appId });
  // The command line has none of the variables that hold the service's own apps.
  expect((await at.run("keys create --admin --out admin.key")).code).toBe(0);
  expect((await at.run(ADD)).code).toBe(0);
  const admin = `--url ${url} --key-file admin.key`;
  const names = async () => {
    const { stdout } = await at.run(`apps list --json ${admin}`);
    const { apps = [] } = JSON.parse(stdout) as { apps?: { app: string; source: string }[] };
    return apps.map(({ app, source }) => `${app} ${source}`);
  };
  await Harness.until(async () => (await names()).includes(`${WX_FOREIGN.appId} managed`));
  expect(await names()).toContain(`${WX.appId} environment`);
  const after = await at.data<{ value: string }>(`token get ${WX.appId} ${admin}`);
  // A client outside of production, as this one is, is given a token of ours.
  expect(after.value).toMatch(/^atv1_/);
  expect(await at.data(`token get ${WX.appId}`)).toMatchObject({ value: before.data["access_token"] });
  // The token, and the verification of the new app's secret.
  expect(at.world.sandbox.calls("/cgi-bin/stable_token")).toBe(2);
});

test("a secret that WeChat refuses is not taken, and WeChat's words are told", async () => {
  await using at = setup();
  const { code, stderr } = await at.run(`apps add ${WX_FOREIGN.appId} --secret-file wrong`);
  expect(code).toBe(1);
  expect(stderr).toMatch(/\(code 401\d\d/);
  expect(stderr).not.toContain("0".repeat(32));
  expect((await at.data<{ apps: unknown[] }>("apps list")).apps).toEqual([]);
});

test("without a database a command that begins nothing is exit code 3 and makes none", async () => {
  await using at = setup();
  for (const words of [
    "apps list",
    "audit verify",
    `token get ${WX.appId}`,
    "clients show bot",
    "console setup",
  ]) {
    const { code, stderr } = await at.run(words);
    expect([words, code]).toEqual([words, 3]);
    expect(stderr).toContain("there is no database");
  }
  expect(readdirSync(at.world.folder).toSorted()).toEqual(["secret", "wrong"]);
});

test("a database that can't be opened is exit code 3, and with --json an answer", async () => {
  await using at = setup();
  expect((await at.run("keys create --admin")).code).toBe(0);
  const env = { MASTER_KEY: "ab".repeat(32) };
  const refused = await at.run("clients list", env);
  expect(refused).toMatchObject({ code: 3, stdout: "" });
  expect(refused.stderr).toMatch(/^accesstoken: .*MASTER_KEY/);
  const json = await at.run("clients list --json", env);
  expect(json.code).toBe(3);
  expect(JSON.parse(json.stdout)).toMatchObject({ code: 503, data: {} });
});

test("an entry that was changed in the database is found, and told by exit code 1", async () => {
  await using at = setup();
  expect((await at.run("keys create --admin")).code).toBe(0);
  expect((await at.run("audit verify")).code).toBe(0);
  const database = new Database(join(at.world.folder, "data", "accesstoken.db"));
  database.run("UPDATE audit_entries SET client = 'somebody else' WHERE id = 1");
  database.close();
  const { code, stdout } = await at.run("audit verify");
  expect(code).toBe(1);
  expect(stdout).toStartWith("NOT INTACT at entry 1 of ");
});

test("P6: no secret and no key is in the database or in a file that others may read", async () => {
  await using at = setup();
  const { stdout } = await at.run("keys create --admin");
  expect((await at.run(ADD)).code).toBe(0);
  const data = join(at.world.folder, "data");
  for (const name of readdirSync(data)) {
    const bytes = readFileSync(join(data, name));
    for (const secret of [stdout.trim(), WX_FOREIGN.secret])
      expect([name, bytes.includes(secret)]).toEqual([name, false]);
  }
});
