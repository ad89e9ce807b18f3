import { expect, test } from "bun:test";
import { ServiceError } from "../../src/errors.ts";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createApiKey } from "../../src/access/api-key.ts";
import { Child, FROM_SOURCE } from "../support/child.ts";
import { answered, type Arrived, CliHarness, CLOSED_PIPE, FULL_DISK } from "./cli-harness.ts";

const API_KEY = createApiKey().reveal();
const NAME = API_KEY.slice(0, 12);
const KEY = { key: NAME, label: "ci", state: "active", created_at: Date.UTC(2027, 0, 1) };
const OLD = { key: "ats_Old00000", label: "old", state: "revoked", created_at: 1, revoked_at: 2 };
const ADMIN = { client: "admin", environment: "admin", grants: [{ apps: ["*"], actions: ["admin"] }] };
const shown = { created_at: 1, updated_at: 1, version: 1, networks: [] };

/** Answers to the making of a key, and to the list of the client's keys. */
function keys({ method }: Arrived, list: readonly object[] = [OLD, KEY]) {
  return method === "POST" ? answered({ ...KEY, api_key: API_KEY }, { status: 201 }) : { keys: list };
}

test("a new key is printed alone, with a note that it is shown once", async () => {
  await using world = new CliHarness(keys);
  const args = ["keys", "create", "bot", "--label", "ci", "--expires", "2027-01-31T00:00Z"];
  const { code, stdout, stderr } = await world.run(args);
  expect({ code, stdout }).toEqual({ code: 0, stdout: `${API_KEY}\n` });
  expect(stderr).toStartWith(`Key ${NAME} of bot. It is shown this once: keep it safe\n`);
  expect(stderr).toContain(`In the program, ${world.url} takes the place of https://api.weixin.qq.com`);
  expect(stderr).toEndWith(`  curl -H "Authorization: Bearer $KEY" '${world.url}/v1/apps'\n`);
  expect(world.asked).toEqual(["POST /v1/clients/bot/keys"]);
  expect(world.arrived[0]?.body).toEqual({ label: "ci", expires_at: Date.UTC(2027, 0, 31) });
  const json = await world.run(["keys", "create", "bot", "--json"]);
  expect(JSON.parse(json.stdout)).toEqual({ ...KEY, api_key: API_KEY });
});

test("P6: with --out the key is in a file that only its owner may read, and nowhere else", async () => {
  await using world = new CliHarness(keys);
  for (const [name, ...json] of [["one"], ["two", "--json"]] as const) {
    const { code, stdout, stderr } = await world.run([
      "keys",
      "create",
      "bot",
      "--out",
      world.path(name),
      ...json,
    ]);
    expect(code).toBe(0);
    expect(stdout + stderr).not.toContain(API_KEY);
    expect(stdout).toContain(NAME);
    expect(readFileSync(world.path(name), "utf8")).toBe(`${API_KEY}\n`);
    expect(statSync(world.path(name)).mode & 0o777).toBe(0o600);
  }
});

test("a file that is there is not overwritten, and no key is made", async () => {
  await using world = new CliHarness(keys);
  writeFileSync(world.path("out"), "precious");
  const there = await world.run(["keys", "create", "bot", "--out", world.path("out")]);
  expect(there.code).toBe(2);
  expect(there.stderr).toContain("out exists already; choose another name");
  expect(readFileSync(world.path("out"), "utf8")).toBe("precious");
  expect((await world.run(["keys", "create", "bot", "--out", world.path("no/such/folder")])).code).toBe(2);
  expect(world.arrived).toEqual([]);
});

test("where no key is made no file is left", async () => {
  await using world = new CliHarness(() => {
    throw new ServiceError("conflict", "标签已被使用 (the label is taken)");
  });
  expect((await world.run(["keys", "create", "bot", "--out", world.path("out")])).code).toBe(1);
  expect(existsSync(world.path("out"))).toBe(false);
});

test("a key that can't be written to its file is revoked", async () => {
  await using world = new CliHarness((request) => (request.method === "DELETE" ? {} : keys(request)));
  const args = ["keys", "create", "bot", "--url", world.url, "--out", "out"];
  // No file may grow, as on a full disk; the signal that says so is not for us.
  const shell = ["sh", "-c", `trap "" XFSZ; ulimit -f 0; exec "$@"`, "sh", ...FROM_SOURCE, ...args];
  await using child = new Child(shell, { cwd: world.folder });
  expect(await child.exited()).toBe(3);
  expect(child.stdout + child.stderr).not.toContain(API_KEY);
  expect(child.stderr).toContain("could not be written to the file\n");
  expect(child.stderr).toContain(`key ${NAME} was revoked\n`);
  expect(world.asked).toEqual(["POST /v1/clients/bot/keys", `DELETE /v1/clients/bot/keys/${NAME}`]);
  expect(existsSync(world.path("out"))).toBe(false);
});

test("a key that can be neither written to its file nor revoked is named as one that is still active", async () => {
  await using world = new CliHarness((request) => {
    if (request.method === "DELETE") throw new ServiceError("unavailable", "没空 (busy)");
    return keys(request);
  });
  const args = ["keys", "create", "bot", "--url", world.url, "--out", "out"];
  const shell = ["sh", "-c", `trap "" XFSZ; ulimit -f 0; exec "$@"`, "sh", ...FROM_SOURCE, ...args];
  await using child = new Child(shell, { cwd: world.folder });
  expect(await child.exited()).toBe(3);
  expect(child.stderr).toEndWith(
    `\nkey ${NAME} could not be revoked and is still active: accesstoken keys revoke bot ${NAME}\n`,
  );
  expect(existsSync(world.path("out"))).toBe(false);
});

test.each([
  ["a full disk", FULL_DISK, "ENOSPC"],
  ["a closed pipe", CLOSED_PIPE, "EPIPE"],
])("a key in its file stays there when standard output is %s", async (_what, script, reason) => {
  await using world = new CliHarness(keys);
  for (const [n, words] of [
    ["create", "bot"],
    ["roll", "bot", NAME],
  ].entries()) {
    const args = ["keys", ...words, "--url", world.url, "--out", `out${n}`];
    await using child = new Child(["sh", "-c", script, "sh", ...FROM_SOURCE, ...args], { cwd: world.folder });
    expect(await child.exited()).toBe(1);
    expect(child.stderr.trimEnd().split("\n")).toEqual([
      expect.stringContaining(`standard output can't be written to: ${reason}`),
      expect.stringContaining(`key ${NAME} is active and in the file of --out`),
    ]);
    expect(readFileSync(world.path(`out${n}`), "utf8")).toBe(`${API_KEY}\n`);
  }
  expect(world.asked.filter((line) => line.startsWith("DELETE"))).toEqual([]);
});

test.each([
  ["a full disk", FULL_DISK, "ENOSPC"],
  ["a closed pipe", CLOSED_PIPE, "EPIPE"],
])(
  "a key that nobody could be shown, standard output being %s, is revoked",
  async (_what, script, reason) => {
    await using world = new CliHarness((request) => (request.method === "DELETE" ? {} : keys(request)));
    const args = ["keys", "create", "bot", "--json", "--url", world.url];
    await using child = new Child(["sh", "-c", script, "sh", ...FROM_SOURCE, ...args], { cwd: world.folder });
    expect(await child.exited()).toBe(1);
    expect(child.stderr.trimEnd().split("\n")).toEqual([
      expect.stringContaining(`standard output can't be written to: ${reason}`),
      expect.stringContaining(`key ${NAME} was revoked`),
    ]);
    expect(world.asked).toEqual(["POST /v1/clients/bot/keys", `DELETE /v1/clients/bot/keys/${NAME}`]);
  },
);

test("a key of the machine's own database is shown when running services have learned of it", async () => {
  await using world = new CliHarness(keys);
  await using child = new Child([...FROM_SOURCE, "keys", "create", "--admin", "--out", "out"], {
    cwd: world.folder,
  });
  await child.find(/^ats_/m);
  // They look every 200 ms.
  expect(Date.now() - statSync(world.path("out")).mtimeMs).toBeGreaterThan(250);
  expect(await child.exited()).toBe(0);
});

test("keys create --admin makes the administrator where there is none", async () => {
  await using world = new CliHarness((request) => {
    if (request.path === "/v1/clients/admin") throw new ServiceError("not_found", "没有 (none)");
    return request.path === "/v1/clients" ? answered({ ...ADMIN, ...shown }, { status: 201 }) : keys(request);
  });
  const { code, stdout, stderr } = await world.run(["keys", "create", "--admin"]);
  expect({ code, stdout }).toEqual({ code: 0, stdout: `${API_KEY}\n` });
  expect(world.asked).toEqual(["GET /v1/clients/admin", "POST /v1/clients", "POST /v1/clients/admin/keys"]);
  expect(world.arrived[1]?.body).toEqual(ADMIN);
  expect(stderr).not.toContain("ANONYMOUS");
});

test("keys create --admin takes the administrator that there is", async () => {
  await using world = new CliHarness((request) =>
    request.method === "GET" ? { ...ADMIN, ...shown } : keys(request),
  );
  expect((await world.run(["keys", "create", "--admin", "--label", "laptop"])).code).toBe(0);
  expect(world.asked).toEqual(["GET /v1/clients/admin", "POST /v1/clients/admin/keys"]);
});

test("keys create --admin gives no key to a client of that name that is no administrator", async () => {
  await using world = new CliHarness(() => ({
    ...ADMIN,
    ...shown,
    grants: [{ apps: ["*"], actions: ["login"] }],
  }));
  const { code, stdout, stderr } = await world.run(["keys", "create", "--admin"]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toContain("clients grant admin --actions admin");
});

test.each([[[]], [["bot", "--admin"]], [["bot", "--expires", "1x"]], [["BOT"]]])(
  "keys create %j is exit code 2, and nothing is asked",
  async (args) => {
    await using world = new CliHarness(keys);
    expect((await world.run(["keys", "create", ...args])).code).toBe(2);
    expect(world.arrived).toEqual([]);
  },
);

test("the only active key is rolled without being named, with the overlap that is asked for", async () => {
  await using world = new CliHarness(keys);
  const { code, stdout } = await world.run(["keys", "roll", "bot", "--overlap", "7d"]);
  expect({ code, stdout }).toEqual({ code: 0, stdout: `${API_KEY}\n` });
  expect(world.asked).toEqual([
    "GET /v1/clients/bot/keys",
    `POST /v1/clients/bot/keys/${NAME}/roll`,
    "GET /v1/clients/bot/keys",
  ]);
  expect(world.arrived[1]?.body).toEqual({ overlap: 604_800 });
  await world.run(["keys", "roll", "bot", "ats_Other000"]);
  expect(world.asked.at(-2)).toBe("POST /v1/clients/bot/keys/ats_Other000/roll");
  expect(world.arrived.at(-2)?.body).toEqual({});
});

test("a rolled key says which one it replaces and when that ends, also when this can't be asked any more", async () => {
  const old = { ...KEY, expires_at: Date.UTC(2027, 0, 31) };
  let isEnded = false;
  await using world = new CliHarness((request) => {
    if (isEnded && request.method === "GET") throw new ServiceError("unauthorized", "ended");
    return keys(request, [old]);
  });
  const rolled = await world.run(["keys", "roll", "bot"]);
  expect(rolled.stderr).toMatch(RegExp(`It replaces ${NAME}, which ends at 2027-01-3[^ ]+\n$`));
  isEnded = true;
  const { code, stderr } = await world.run(["keys", "roll", "bot", NAME]);
  expect(code).toBe(0);
  expect(stderr).toEndWith(`It replaces ${NAME}\n`);
});

test.each([
  [[OLD], "there is no active key"],
  [[KEY, { ...KEY, key: "ats_Other000" }], `there are several active keys, say which: ${NAME}, ats_Other000`],
])("with the keys %j one must be named: exit code 2", async (list, line) => {
  await using world = new CliHarness((request) => keys(request, list));
  const { code, stderr } = await world.run(["keys", "roll", "bot"]);
  expect(code).toBe(2);
  expect(stderr).toContain(line);
});

test("keys are listed a line each, a revoked one with its end", async () => {
  await using world = new CliHarness(keys);
  const [head, first, second] = (await world.run(["keys", "list", "bot"])).stdout.split("\n");
  expect(head).toMatch(/^KEY +STATE +CREATED +EXPIRES +LAST USED +LABEL$/);
  expect(first).toMatch(/^ats_Old00000 +revoked +\S+ +\S+T\S+ +- +old$/);
  expect(second).toMatch(new RegExp(`^${NAME} +active +\\S+ +- +- +ci$`));
});

test("a rolled key is listed with what replaced it, and when it ends", async () => {
  const rolled = { ...OLD, state: "active", revoked_at: undefined, expires_at: Date.UTC(2027, 0, 31) };
  await using world = new CliHarness((request) => keys(request, [{ ...rolled, replaced_by: NAME }, KEY]));
  const { stdout } = await world.run(["keys", "list", "bot"]);
  expect(stdout).toMatch(/^KEY +STATE +CREATED +EXPIRES +LAST USED +REPLACED BY\n? +LABEL\n/);
  expect(stdout).toMatch(RegExp(`ats_Old00000 +active +\\S+ +2027-01-3\\S+ +- +${NAME}\\n? +old\n`));
});

test("a key is revoked by its public name", async () => {
  await using world = new CliHarness(() => ({}));
  expect(await world.run(["keys", "revoke", "bot", NAME])).toMatchObject({
    code: 0,
    stdout: `${NAME} is revoked\n`,
  });
  expect(world.asked).toEqual([`DELETE /v1/clients/bot/keys/${NAME}`]);
});

test("P6: a whole key in the place of its name is refused without being repeated or sent", async () => {
  await using world = new CliHarness(() => ({}));
  const { code, stdout, stderr } = await world.run(["keys", "roll", "bot", API_KEY]);
  expect(code).toBe(2);
  expect(stdout + stderr).not.toContain(API_KEY);
  expect(stderr).toContain("never give the whole key");
  expect(world.arrived).toEqual([]);
});

test("P6: a leaked key is found and revoked by its beginning alone, or as a whole, of which no more is sent", async () => {
  await using world = new CliHarness(() => ({ ...KEY, client: "bot" }));
  for (const key of [NAME, API_KEY]) {
    const found = await world.run(["keys", "find", key]);
    expect(found.stdout).toMatch(new RegExp(`^client +bot\nKEY .*\n${NAME} +active `));
    const revoked = await world.run(["keys", "revoke", key]);
    expect(revoked).toMatchObject({ code: 0, stdout: `${NAME} is revoked\n` });
    expect(found.stderr + revoked.stderr).toBe("");
  }
  const asked = [`GET /v1/keys/${NAME}`, `DELETE /v1/keys/${NAME}`];
  expect(world.asked).toEqual([...asked, ...asked]);
  // A key with a slip of the finger is nobody's.
  expect((await world.run(["keys", "revoke", `${NAME}0`])).code).toBe(2);
});
