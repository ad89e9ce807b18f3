import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { ServiceError } from "../../src/errors.ts";
import { ManualTerminal } from "../support/manual-terminal.ts";
import { answered, CliHarness } from "./cli-harness.ts";

const SECRET = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const APP = {
  app: "wx0000000000000001",
  platform: "weixin",
  app_id: "wx0000000000000001",
  mode: "stable",
  title: "商城",
  source: "managed",
  disabled: false,
  version: 3,
  state: "blocked",
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
  const args = ["apps", "add", "wx0000000000000001", "--title", "商城", "--mode", "classic"];
  const { code, stdout, stderr, questions } = await world.run(args, { typed: SECRET });
  expect({ code, stderr, questions }).toEqual({
    code: 0,
    stderr: "",
    questions: ["Secret of wx0000000000000001: "],
  });
  expect(world.arrived).toMatchObject([
    {
      method: "POST",
      path: "/v1/apps",
      body: {
        platform: "weixin",
        app_id: "wx0000000000000001",
        title: "商城",
        mode: "classic",
        secret: SECRET,
        verify: true,
      },
    },
  ]);
  expect(stdout).toContain("app       wx0000000000000001\n");
});

test("a name with an underscore is WeCom's, and its agent follows the last one", async () => {
  await using world = setup();
  expect((await world.run(["apps", "add", "ww_1-2_contacts"], { typed: SECRET })).code).toBe(0);
  expect(world.arrived[0]?.body).toEqual({
    platform: "wecom",
    app_id: "ww_1-2",
    agent: "contacts",
    secret: SECRET,
    verify: true,
  });
});

test("a secret comes from a file or from standard input, without the end of its line", async () => {
  await using world = setup();
  writeFileSync(world.path("secret"), `\uFEFF${SECRET}\r\n`, { mode: 0o600 });
  const fromFile = await world.run([
    "apps",
    "set-secret",
    "wx0000000000000001",
    "--secret-file",
    world.path("secret"),
  ]);
  expect(fromFile).toMatchObject({ code: 0, stderr: "" });
  const input = { input: `${SECRET}\n` };
  expect(
    (await world.run(["apps", "set-secret", "wx0000000000000001", "--verify", "--secret-file", "-"], input))
      .code,
  ).toBe(0);
  expect(world.arrived.map(({ method, path, body }) => [method, path, body])).toEqual([
    ["PATCH", "/v1/apps/wx0000000000000001", { secret: SECRET, verify: true }],
    ["PATCH", "/v1/apps/wx0000000000000001", { secret: SECRET, verify: true }],
  ]);
});

test("a secret file that others may read is used with a warning", async () => {
  await using world = setup();
  writeFileSync(world.path("secret"), SECRET, { mode: 0o644 });
  const { code, stderr } = await world.run([
    "apps",
    "set-secret",
    "wx0000000000000001",
    "--secret-file",
    world.path("secret"),
  ]);
  expect(code).toBe(0);
  expect(stderr).toContain("chmod 600");
});

test("P6: a secret that is none is exit code 2, is not repeated, and nothing is asked", async () => {
  await using world = setup();
  for (const typed of ["", "with blank", "秘密", "x".repeat(513)]) {
    const { code, stderr } = await world.run(["apps", "set-secret", "wx0000000000000001"], { typed });
    expect(code).toBe(2);
    expect(stderr).toContain("\naccesstoken: the secret is empty or has");
    if (typed) expect(stderr).not.toContain(typed);
  }
  expect(world.arrived).toEqual([]);
});

test("P6: a secret among the arguments is exit code 2, is not repeated, and must be changed", async () => {
  await using world = setup();
  for (const word of ["add", "set-secret"]) {
    const { code, stderr } = await world.run(["apps", word, "wx0000000000000001", SECRET]);
    expect(code).toBe(2);
    expect(stderr).toContain("secrets are never arguments: use --secret-file; if this was one, change it\n");
    expect(stderr).not.toContain(SECRET);
  }
  expect(
    (await world.run(["apps", "show", "wx0000000000000001", "wx0000000000000002"])).stderr,
  ).not.toContain("--secret-file");
  expect(world.arrived).toEqual([]);
});

test("where nobody can type a secret, exit code 2 and what to do", async () => {
  await using world = setup();
  const { code, stderr } = await world.run(["apps", "add", "wx0000000000000001"]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/\naccesstoken: .*--secret-file <file>, or - for standard input\n$/);
  expect(world.arrived).toEqual([]);
});

test("a prompt that is broken off is exit code 1, and nothing is asked", async () => {
  await using world = setup();
  expect((await world.run(["apps", "add", "wx0000000000000001"], { typed: undefined })).code).toBe(1);
  expect(world.arrived).toEqual([]);
});

test("standard input can't be both the secret and the key", async () => {
  await using world = setup();
  const args = ["apps", "set-secret", "wx0000000000000001", "--secret-file", "-"];
  const { code, stderr } = await world.run([...args, "--url", world.url, "--key-file", "-"]);
  expect(code).toBe(2);
  expect(stderr).toContain("twice");
});

test("who adds the very same app again is told so", async () => {
  await using world = setup(200);
  const { code, stderr } = await world.run(["apps", "add", "wx0000000000000001"], { typed: SECRET });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "It exists already, unchanged\n" });
});

test("an app is shown with its credentials, their failures and today's calls", async () => {
  await using world = setup(200);
  const { stdout } = await world.run(["apps", "show", "wx0000000000000001"]);
  expect(stdout).toContain("title     商城\n");
  expect(stdout).toMatch(/\naccess_token +fresh +20\d\d-/);
  expect(stdout).toMatch(/\njsapi_ticket: invalid ip \(code 40164, 2×, 20.*\)\n加入白名单\n/);
  expect(stdout).toMatch(/\n\/cgi-bin\/stable_token +3 +500000\n/);
});

test("apps are listed a line each, a disabled one as such", async () => {
  await using world = new CliHarness(() => ({
    apps: [APP, { ...APP, app: "wx0000000000000002", title: undefined, disabled: true, state: "disabled" }],
  }));
  const { stdout } = await world.run(["apps", "list"]);
  const [head, first, second] = stdout.split("\n");
  expect(head).toMatch(/^APP +MODE +SOURCE +STATE +EXPIRES +TITLE$/);
  expect(first).toMatch(/^wx0000000000000001 +stable +managed +blocked: jsapi_ticket +20\S+ +商城$/);
  expect(second).toMatch(/^wx0000000000000002 +stable +managed +disabled +20\S+ +-$/);
});

const fresh = { state: "fresh", generation: 1 };
const failure = { code: 40164, msg: "invalid ip", at: Date.UTC(2027, 0, 30), count: 2 };

test.each([
  ["fresh", { access_token: fresh, jsapi_ticket: { state: "none" } }, "fresh"],
  ["failing", { access_token: fresh, jsapi_ticket: { state: "failing" } }, "failing: jsapi_ticket"],
  [
    "blocked",
    { access_token: { state: "failing" }, jsapi_ticket: { state: "blocked" } },
    "blocked: jsapi_ticket",
  ],
  ["blocked", { access_token: { state: "blocked" }, jsapi_ticket: { state: "failing" } }, "blocked"],
  ["none", { access_token: { state: "none" }, jsapi_ticket: { state: "none" } }, "none"],
])("of an app that is %s, with %j, the list shows: %s", async (state, credentials, shown) => {
  await using world = new CliHarness(() => ({ apps: [{ ...APP, state, credentials }] }));
  const { stdout } = await world.run(["apps", "list"]);
  expect(stdout.split("\n")[1]).toMatch(RegExp(` managed +${shown} +`));
});

test("apps set changes title and mode, and nothing else", async () => {
  await using world = setup(200);
  for (const [args, body] of [
    [["--title", "shop", "--mode", "classic"], { title: "shop", mode: "classic" }],
    [["--title", ""], { title: null }],
  ] as const) {
    expect((await world.run(["apps", "set", APP.app, ...args])).code).toBe(0);
    expect(world.arrived.at(-1)).toMatchObject({ method: "PATCH", path: `/v1/apps/${APP.app}`, body });
  }
  const before = world.arrived.length;
  for (const args of [[], ["--mode", "fast"]])
    expect((await world.run(["apps", "set", APP.app, ...args])).code).toBe(2);
  expect(world.arrived).toHaveLength(before);
});

test("what is wrong with an app is told in the list and in its own view: since when, why, and who may be to blame", async () => {
  const revoked = { at: new ManualTerminal().clock.now(), early: 6000 };
  const credentials = {
    access_token: { ...fresh, revoked_early: revoked },
    jsapi_ticket: { state: "blocked", last_failure: failure },
  };
  const app = { ...APP, credentials };
  const recently = { ...app, foreign_refresh: revoked };
  await using world = new CliHarness(({ path }) => (path.includes("?") ? { apps: [recently] } : app));
  for (const args of [["list"], ["show", APP.app]]) {
    const { stdout } = await world.run(["apps", ...args]);
    expect(stdout).toMatch(/jsapi_ticket: invalid ip \(code 40164, 2×, 2027-01-\S+\)\n/);
    expect(stdout).toMatch(
      /another program fetches tokens for this app: at 20\S+ one was revoked 100 min early/,
    );
  }
});

test("one that was revoked early long ago is told of the app alone, and a damaged secret in the list", async () => {
  const credentials = { access_token: { ...fresh, revoked_early: { at: 1, early: 6000 } } };
  const app = { ...APP, credentials, reason: "secret已损坏 (the secret is damaged)" };
  await using world = new CliHarness(({ path }) => (path.includes("?") ? { apps: [app] } : app));
  const { stdout } = await world.run(["apps", "list"]);
  expect(stdout).toEndWith(`\n${APP.app} the secret is damaged\n`);
  expect((await world.run(["apps", "show", APP.app])).stdout).toContain("another program");
});

test.each([
  [["unblock"], "POST /v1/apps/wx0000000000000001/unblock", undefined],
  [["disable"], "PATCH /v1/apps/wx0000000000000001", { disabled: true }],
  [["enable"], "PATCH /v1/apps/wx0000000000000001", { disabled: false }],
  [["remove"], "DELETE /v1/apps/wx0000000000000001", undefined],
  [["show"], "GET /v1/apps/wx0000000000000001", undefined],
])("apps %j asks %s, and --json shows the answer's data as it is", async ([word = ""], asked, body) => {
  await using world = setup(200);
  const { code, stdout, stderr } = await world.run([
    ...["apps", word, "wx0000000000000001", "--json"],
    ...(word === "remove" ? ["--yes"] : []),
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(JSON.parse(stdout)).toEqual(APP);
  expect(world.asked).toEqual([asked]);
  expect(world.arrived[0]?.body).toEqual(body);
});

test.each([".", "..", "wx0000000000000001/credentials", "wx 1", "wx0000000000000001?", "", "微信"])(
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
  ["wx0000000000000001", "fast", "must be stable or classic"],
  ["ww0000000000000001_1000002", "stable", "WeCom has no modes"],
])("apps add %s --mode %s is exit code 2 before a secret is asked for", async (app, mode, line) => {
  await using world = setup();
  const { code, stderr, questions } = await world.run(["apps", "add", app, "--mode", mode], {
    typed: SECRET,
  });
  expect({ code, questions }).toEqual({ code: 2, questions: [] });
  expect(stderr).toContain(line);
});

test.each([
  ["gh_0123456789", "the AppID, which begins with wx"],
  ["ww0000000000000001", "WeCom is written <corpid>_<agent>"],
  ["ww0000000000000001_external_contact", "only one underscore"],
  ["WX0000000000000001", "16 lower-case hex digits"],
  ["wx000000000000001", "16 lower-case hex digits"],
])("apps add %s is exit code 2 before a secret is asked for, and says what is wrong", async (app, line) => {
  await using world = setup();
  const { code, stderr, questions } = await world.run(["apps", "add", app], { typed: SECRET });
  expect({ code, questions, arrived: world.arrived }).toEqual({ code: 2, questions: [], arrived: [] });
  expect(stderr).toContain(line);
});

test.each([
  ["apps add wx0000000000000001", "<AppSecret>", "angle brackets"],
  ["apps add wx0000000000000001", SECRET.slice(1), "31 characters"],
  ["apps set-secret wx0000000000000001", `"${SECRET}"`, "without quotes"],
])("%s with %s is exit code 2, and nothing is sent", async (words, typed, line) => {
  await using world = setup();
  const { code, stderr } = await world.run(words.split(" "), { typed });
  expect({ code, arrived: world.arrived }).toEqual({ code: 2, arrived: [] });
  expect(stderr).toContain(line);
  expect(stderr).not.toContain(typed);
});

/** A world in which WeChat can't say whether a secret is right. */
function undecided(error: ServiceError): CliHarness {
  return new CliHarness(({ body }) => {
    if ((body as { verify?: boolean }).verify) throw error;
    return answered(APP, { status: 201, etag: '"1"' });
  });
}

function refusalOf(errcode: number, errmsg: string, hint?: string): ServiceError {
  const upstream = { platform: "weixin", errcode, errmsg, class: "config" } as const;
  return new ServiceError("upstream_rejected", errmsg, { upstream, ...(hint === undefined ? {} : { hint }) });
}

test.each([
  [refusalOf(40164, "invalid ip 192.0.2.7", "add 192.0.2.7 to the IP allow-list"), "add 192.0.2.7"],
  [refusalOf(60020, "not allow to access from your ip", "add it"), "not allow"],
  [refusalOf(-1, "system error"), "system error"],
  [refusalOf(45009, "reach max api daily quota limit"), "quota"],
  [new ServiceError("rate_limited", "too many verifications", { retryAfterMs: 1000 }), "verifications"],
  [new ServiceError("upstream_unreachable", "can't connect to WeChat: ECONNREFUSED"), "ECONNREFUSED"],
  [new ServiceError("upstream_timeout", "WeChat did not answer in time"), "in time"],
])("a secret that can't be verified now (%s) is stored with a warning", async (error, line) => {
  await using world = undecided(error);
  for (const words of ["apps add wx0000000000000001", "apps set-secret wx0000000000000001"]) {
    const { code, stdout, stderr } = await world.run(words.split(" "), { typed: SECRET });
    expect(code).toBe(0);
    expect(stderr).toContain(line);
    expect(stderr).toContain("It is stored all the same, and not verified\n");
    expect(stdout).toContain("wx0000000000000001");
  }
});

test("a wrong secret is not stored, and with --no-verify nobody is asked", async () => {
  await using world = undecided(refusalOf(40125, "invalid appsecret"));
  const add = ["apps", "add", "wx0000000000000001"];
  expect(await world.run(add, { typed: SECRET })).toMatchObject({ code: 1 });
  expect(world.arrived).toHaveLength(1);
  expect(await world.run([...add, "--no-verify"], { typed: SECRET })).toMatchObject({ code: 0, stderr: "" });
  expect(world.arrived.at(-1)?.body).not.toHaveProperty("verify");
});
