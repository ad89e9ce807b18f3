import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { answered, CliHarness } from "./cli-harness.ts";

const SECRET = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const APP = {
  app: "wx1",
  platform: "weixin",
  app_id: "wx1",
  mode: "stable",
  title: "商城",
  source: "managed",
  disabled: false,
  version: 3,
  credentials: {
    access_token: { state: "fresh", generation: 1, expires_at: Date.UTC(2027, 0, 31) },
    jsapi_ticket: {
      state: "blocked",
      generation: 0,
      last_failure: {
        code: 40164,
        msg: "invalid ip",
        hint: "加入白名单",
        at: Date.UTC(2027, 0, 30),
        count: 2,
      },
    },
  },
  calls_today: {
    "/cgi-bin/stable_token": { calls: 3, limit: 500_000 },
    "/cgi-bin/ticket/getticket": { calls: 1 },
  },
};

/** A world in which every request is answered with the app, made anew. */
function setup(status = 201): CliHarness {
  return new CliHarness(() => answered(APP, { status, etag: '"3"' }));
}

test("an app is added with what the options say and the secret that the person types", async () => {
  await using world = setup();
  const args = ["apps", "add", "wx1", "--title", "商城", "--mode", "classic", "--verify"];
  const { code, stdout, stderr, questions } = await world.run(args, { typed: SECRET });
  expect({ code, stderr, questions }).toEqual({ code: 0, stderr: "", questions: ["Secret of wx1: "] });
  expect(world.arrived).toMatchObject([
    {
      method: "POST",
      path: "/v1/apps",
      body: {
        platform: "weixin",
        app_id: "wx1",
        title: "商城",
        mode: "classic",
        secret: SECRET,
        verify: true,
      },
    },
  ]);
  expect(stdout).toContain("app       wx1\n");
});

test("a name with an underscore is WeCom's, and its agent follows the last one", async () => {
  await using world = setup();
  expect((await world.run(["apps", "add", "ww_1-2_contacts"], { typed: SECRET })).code).toBe(0);
  expect(world.arrived[0]?.body).toEqual({
    platform: "wecom",
    app_id: "ww_1-2",
    agent: "contacts",
    secret: SECRET,
  });
});

test("a secret comes from a file or from standard input, without the end of its line", async () => {
  await using world = setup();
  writeFileSync(world.path("secret"), `\uFEFF${SECRET}\r\n`, { mode: 0o600 });
  const fromFile = await world.run(["apps", "set-secret", "wx1", "--secret-file", world.path("secret")]);
  expect(fromFile).toMatchObject({ code: 0, stderr: "" });
  const input = { input: `${SECRET}\n` };
  expect((await world.run(["apps", "set-secret", "wx1", "--verify", "--secret-file", "-"], input)).code).toBe(
    0,
  );
  expect(world.arrived.map(({ method, path, body }) => [method, path, body])).toEqual([
    ["PATCH", "/v1/apps/wx1", { secret: SECRET }],
    ["PATCH", "/v1/apps/wx1", { secret: SECRET, verify: true }],
  ]);
});

test("a secret file that others may read is used with a warning", async () => {
  await using world = setup();
  writeFileSync(world.path("secret"), SECRET, { mode: 0o644 });
  const { code, stderr } = await world.run([
    "apps",
    "set-secret",
    "wx1",
    "--secret-file",
    world.path("secret"),
  ]);
  expect(code).toBe(0);
  expect(stderr).toContain("chmod 600");
});

test("P6: a secret that is none is exit code 2, is not repeated, and nothing is asked", async () => {
  await using world = setup();
  for (const typed of ["", "with blank", "秘密", "x".repeat(513)]) {
    const { code, stderr } = await world.run(["apps", "set-secret", "wx1"], { typed });
    expect(code).toBe(2);
    expect(stderr).toStartWith("accesstoken: secret为空或含有非法字符");
    if (typed) expect(stderr).not.toContain(typed);
  }
  expect(world.arrived).toEqual([]);
});

test("P6: a secret among the arguments is exit code 2, is not repeated, and must be changed", async () => {
  await using world = setup();
  for (const word of ["add", "set-secret"]) {
    const { code, stderr } = await world.run(["apps", word, "wx1", SECRET]);
    expect(code).toBe(2);
    expect(stderr).toContain(
      "secret不能作为参数，请用 --secret-file；如已输入，请更换 (secrets are never arguments: use --secret-file; if this was one, change it)\n",
    );
    expect(stderr).not.toContain(SECRET);
  }
  expect((await world.run(["apps", "show", "wx1", "wx2"])).stderr).not.toContain("--secret-file");
  expect(world.arrived).toEqual([]);
});

test("where nobody can type a secret, exit code 2 and what to do", async () => {
  await using world = setup();
  const { code, stderr } = await world.run(["apps", "add", "wx1"]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/^accesstoken: .*--secret-file <file>, or - for standard input\)\n/);
  expect(world.arrived).toEqual([]);
});

test("a prompt that is broken off is exit code 1, and nothing is asked", async () => {
  await using world = setup();
  expect((await world.run(["apps", "add", "wx1"], { typed: undefined })).code).toBe(1);
  expect(world.arrived).toEqual([]);
});

test("standard input can't be both the secret and the key", async () => {
  await using world = setup();
  const args = ["apps", "set-secret", "wx1", "--secret-file", "-"];
  const { code, stderr } = await world.run([...args, "--url", world.url, "--key-file", "-"]);
  expect(code).toBe(2);
  expect(stderr).toContain("twice");
});

test("who adds the very same app again is told so", async () => {
  await using world = setup(200);
  const { code, stderr } = await world.run(["apps", "add", "wx1"], { typed: SECRET });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "It exists already, unchanged\n" });
});

test("an app is shown with its credentials, their failures and today's calls", async () => {
  await using world = setup(200);
  const { stdout } = await world.run(["apps", "show", "wx1"]);
  expect(stdout).toContain("title     商城\n");
  expect(stdout).toMatch(/\naccess_token +fresh +20\d\d-/);
  expect(stdout).toMatch(/\njsapi_ticket: invalid ip \(code 40164, 2×, 20.*\)\n加入白名单\n/);
  expect(stdout).toMatch(/\n\/cgi-bin\/stable_token +3 +500000\n/);
});

test("apps are listed a line each, a disabled one as such", async () => {
  await using world = new CliHarness(() => ({
    apps: [APP, { ...APP, app: "wx2", title: undefined, disabled: true }],
  }));
  const { stdout } = await world.run(["apps", "list"]);
  const [head, first, second] = stdout.split("\n");
  expect(head).toMatch(/^APP +PLATFORM +MODE +SOURCE +STATE +EXPIRES +TITLE$/);
  expect(first).toMatch(/^wx1 +weixin +stable +managed +fresh +20\S+ +商城$/);
  expect(second).toMatch(/^wx2 +weixin +stable +managed +disabled +20\S+ +-$/);
});

test.each([
  [["unblock"], "POST /v1/apps/wx1/unblock", undefined],
  [["disable"], "PATCH /v1/apps/wx1", { disabled: true }],
  [["enable"], "PATCH /v1/apps/wx1", { disabled: false }],
  [["remove"], "DELETE /v1/apps/wx1", undefined],
  [["show"], "GET /v1/apps/wx1", undefined],
])("apps %j asks %s, and --json shows the answer's data as it is", async ([word = ""], asked, body) => {
  await using world = setup(200);
  const { code, stdout, stderr } = await world.run(["apps", word, "wx1", "--json"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(JSON.parse(stdout)).toEqual(APP);
  expect(world.asked).toEqual([asked]);
  expect(world.arrived[0]?.body).toEqual(body);
});

test.each([".", "..", "wx1/credentials", "wx 1", "wx1?", "", "微信"])(
  "%j is no app's name: exit code 2, and nothing is asked",
  async (name) => {
    await using world = setup();
    for (const word of ["show", "remove", "disable", "unblock"]) {
      expect((await world.run(["apps", word, name])).code).toBe(2);
    }
    expect(world.arrived).toEqual([]);
  },
);

test.each([
  ["wx1", "fast", "must be stable or classic"],
  ["ww1_1000002", "stable", "WeCom has no modes"],
])("apps add %s --mode %s is exit code 2 before a secret is asked for", async (app, mode, line) => {
  await using world = setup();
  const { code, stderr, questions } = await world.run(["apps", "add", app, "--mode", mode], {
    typed: SECRET,
  });
  expect({ code, questions }).toEqual({ code: 2, questions: [] });
  expect(stderr).toContain(line);
});
