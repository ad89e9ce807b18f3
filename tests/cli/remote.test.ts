import { expect, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { localOrigin } from "../../src/cli/local.ts";
import { loadConfig } from "../../src/config.ts";
import { ServiceError } from "../../src/errors.ts";
import { AnsweringServer, httpAnswer } from "../support/answering-server.ts";
import { Child, FROM_SOURCE } from "../support/child.ts";
import { answered, CliHarness, CLOSED_PIPE, FULL_DISK, runAlone } from "./cli-harness.ts";

const LIST = ["clients", "list"];
const NONE = { clients: [] };

test("a command asks the service that --url names, with the key of --key-file", async () => {
  await using world = new CliHarness(() => NONE);
  expect(await world.run(LIST)).toMatchObject({ code: 0, stderr: "" });
  expect(world.arrived[0]?.headers.get("authorization")).toBe(`Bearer ${world.key}`);
});

test("without --key-file no key is sent, and with a hyphen it comes from standard input", async () => {
  await using world = new CliHarness(() => NONE);
  expect((await runAlone([...LIST, "--url", world.url])).code).toBe(0);
  expect(
    (await runAlone([...LIST, "--url", world.url, "--key-file", "-"], { input: `${world.key}\n` })).code,
  ).toBe(0);
  expect(world.arrived.map(({ headers }) => headers.get("authorization"))).toEqual([
    null,
    `Bearer ${world.key}`,
  ]);
});

test("P6: a redirect is not followed, so the key goes nowhere else", async () => {
  await using other = new CliHarness(() => NONE);
  await using world = new CliHarness(() => Response.redirect(`${other.url}/v1/clients`, 307));
  const { code, stderr } = await world.run(LIST);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^accesstoken: .*HTTP status 307\ncheck --url\n$/);
  expect(other.arrived).toEqual([]);
});

test("P6: a proxy from the environment sees nothing of the key", async () => {
  await using proxy = new CliHarness(() => NONE);
  await using world = new CliHarness(() => NONE);
  const args = [...LIST, "--url", world.url, "--key-file", world.path("key")];
  const variables = ["HTTP_PROXY", "http_proxy", "ALL_PROXY"].map((name) => [name, proxy.url] as const);
  const env = Object.fromEntries(variables);
  await using child = new Child([...FROM_SOURCE, ...args], { cwd: world.folder, env });
  expect(await child.exited()).toBe(0);
  expect([world.arrived.length, proxy.arrived.length]).toEqual([1, 0]);
});

test("a refusal is told in a line with its numbers, and what to do in the next: exit code 1", async () => {
  await using world = new CliHarness(() => {
    throw new ServiceError("forbidden", "禁止访问 (forbidden)", { hint: "请换一个密钥 (use another key)" });
  });
  expect(await world.run(LIST)).toMatchObject({
    code: 1,
    stdout: "",
    stderr: "accesstoken: forbidden (code 403, trace_id trace-1)\nuse another key\n",
  });
});

test("who is refused for want of a key is told how to give one, and who has given one is not", async () => {
  await using world = new CliHarness(() => {
    throw new ServiceError("unauthorized", "需要API密钥 (an API key is needed)");
  });
  const { code, stderr } = await runAlone([...LIST, "--url", world.url]);
  expect(code).toBe(1);
  expect(stderr).toEndWith(" trace_id trace-1)\ngive --key-file <file>\n");
  expect((await world.run(LIST)).stderr).not.toContain("--key-file");
});

test.each([
  [FULL_DISK, /^accesstoken: [^\n]*standard output can't be written to: ENOSPC\n$/],
  // Whoever reads has seen enough.
  [CLOSED_PIPE, /^$/],
])(
  "standard output that can't be written to is exit code 1 without a stack trace: %s",
  async (script, text) => {
    await using world = new CliHarness(() => NONE);
    for (const args of [[...LIST, "--url", world.url], [...LIST, "--json", "--url", world.url], ["help"]]) {
      const shell = ["sh", "-c", script, "sh", ...FROM_SOURCE, ...args];
      await using child = new Child(shell, { cwd: world.folder });
      expect([args, await child.exited()]).toEqual([args, 1]);
      expect(child.stderr).toMatch(text);
    }
  },
);

test("with --json a refusal is the service's own answer, on standard output", async () => {
  await using world = new CliHarness(() => {
    throw new ServiceError("rate_limited", "慢一点 (slower)", { retryAfterMs: 3000 });
  });
  const { code, stdout, stderr } = await world.run([...LIST, "--json"]);
  expect({ code, stderr }).toEqual({ code: 1, stderr: "" });
  expect(JSON.parse(stdout)).toEqual({
    code: 429,
    msg: "慢一点 (slower)",
    data: {},
    trace_id: "trace-1",
    retry_after: 3,
  });
});

test.each([
  ["unavailable", 503],
  ["store_unusable", 503],
] as const)("a service that is not ready (%s) is exit code 3", async (errorCode, number) => {
  await using world = new CliHarness(() => {
    throw new ServiceError(errorCode, "not ready");
  });
  expect((await world.run(LIST)).code).toBe(3);
  expect(JSON.parse((await world.run([...LIST, "--json"])).stdout)).toMatchObject({ code: number });
});

test("a service that nobody runs is exit code 3, and with --json an answer all the same", async () => {
  const { url } = await (async () => {
    await using gone = new CliHarness(() => NONE);
    return { url: gone.url };
  })();
  const refused = await runAlone([...LIST, "--url", url]);
  expect(refused).toMatchObject({ code: 3, stdout: "" });
  expect(refused.stderr).toMatch(
    /^accesstoken: can't connect to http:\/\/127\.0\.0\.1:\d+: \w+; check that it runs, and its address and port\n$/,
  );
  const { code, stdout, stderr } = await runAlone([...LIST, "--url", url, "--json"]);
  expect({ code, stderr }).toEqual({ code: 3, stderr: "" });
  expect(JSON.parse(stdout)).toMatchObject({ code: 503, data: {} });
});

test.each([
  [200, "<html>a captive portal</html>", 1],
  [404, "Not Found", 1],
  [200, "null", 1],
  [200, "[]", 1],
  [502, "<html>Bad Gateway</html>", 3],
  [503, "", 3],
])(
  "an answer that is not this service's (%d %j) is not taken for one: exit code %d",
  async (status, body, exitCode) => {
    await using world = new CliHarness(() => new Response(body, { status }));
    const { code, stdout, stderr } = await world.run(LIST);
    expect({ code, stdout }).toEqual({ code: exitCode, stdout: "" });
    expect(stderr).toContain(`HTTP status ${status}`);
  },
);

test("an answer that breaks off is exit code 3", async () => {
  await using server = await AnsweringServer.start(({ socket }) => {
    const whole = httpAnswer(JSON.stringify({ code: 0, msg: "success", data: NONE, trace_id: "t" }));
    socket.write(whole.subarray(0, whole.length - 5));
    socket.end();
  });
  expect((await runAlone([...LIST, "--url", server.url])).code).toBe(3);
});

test("where /v1 is not answered, as under PUBLIC_URL, the internal address is asked for", async () => {
  await using world = new CliHarness(() =>
    Response.json({ code: 404, msg: "页面不存在 (not found)", data: {}, trace_id: "t" }, { status: 404 }),
  );
  expect((await world.run(LIST)).stderr).toContain("give --url the service's internal address");
});

test.each([
  ["ftp://127.0.0.1"],
  ["127.0.0.1:3000"],
  ["https://token.example.com/api"],
  ["https://token.example.com/?a=1"],
  ["https://user@token.example.com"],
  [""],
])("--url %j is none: exit code 2", async (url) => {
  const { code, stderr } = await runAlone([...LIST, "--url", url]);
  expect(code).toBe(2);
  expect(stderr).toContain("\naccesstoken: --url: must be an http(s) origin without a path");
});

test("P6: a key travels in the clear to another machine only where --insecure-http says so", async () => {
  const { code, stderr } = await runAlone([...LIST, "--url", "http://192.0.2.1"]);
  expect(code).toBe(2);
  expect(stderr).toContain("\naccesstoken: --url: keys and tokens would travel in the clear");
  await using world = new CliHarness(() => NONE);
  expect((await world.run([...LIST, "--insecure-http"])).code).toBe(0);
});

test.each([[["--key-file", "key"]], [["--insecure-http"]]])(
  "%j without --url is exit code 2",
  async (options) => {
    const { code, stderr } = await runAlone([...LIST, ...options]);
    expect(code).toBe(2);
    expect(stderr).toContain("with --url only");
  },
);

test("P6: a key file without a good key is exit code 2, nothing is asked, and its content is not repeated", async () => {
  await using world = new CliHarness(() => NONE);
  const mistyped = world.key.slice(0, -1) + (world.key.endsWith("0") ? "1" : "0");
  for (const content of [mistyped, "hunter2", ""]) {
    writeFileSync(world.path("key"), content);
    const { code, stderr } = await world.run(LIST);
    expect(code).toBe(2);
    expect(stderr).toContain("\naccesstoken: --key-file: it has no valid API key");
    if (content) expect(stderr).not.toContain(content);
  }
  writeFileSync(world.path("key"), "x".repeat(10_000));
  const large = await world.run(LIST);
  expect([large.code, large.stderr]).toEqual([
    2,
    expect.stringContaining("key is too large; name the right file\n"),
  ]);
  const missing = await runAlone([...LIST, "--url", world.url, "--key-file", world.path("nowhere")]);
  expect(missing.code).toBe(2);
  expect(missing.stderr).toContain("there is no such file");
  expect(world.arrived).toEqual([]);
});

test("a key file that others may read is used with a warning", async () => {
  await using world = new CliHarness(() => NONE);
  chmodSync(world.path("key"), 0o644);
  const { code, stderr } = await world.run(LIST);
  expect(code).toBe(0);
  expect(stderr).toContain(`${world.path("key")}: others may access this file`);
});

test("a list is asked for page after page and shown as one", async () => {
  const names = Array.from({ length: 450 }, (_, n) => `client-${String(n).padStart(3, "0")}`);
  await using world = new CliHarness(({ path }) => {
    const query = new URL(path, "http://localhost").searchParams;
    const start = query.has("after") ? names.indexOf(query.get("after") ?? "") + 1 : 0;
    const page = names.slice(start, start + Number(query.get("limit")));
    const hasMore = start + page.length < names.length;
    return { clients: page.map((client) => ({ client })), ...(hasMore ? { next: page.at(-1) } : {}) };
  });
  const { code, stdout } = await world.run([...LIST, "--json"]);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual({ clients: names.map((client) => ({ client })) });
  expect(world.arrived.length).toBe(3);
});

test("what a refusal says can't steer the terminal", async () => {
  await using world = new CliHarness(() =>
    Response.json({ code: 400, msg: "a\u001b[2Jb", data: {}, trace_id: "t\r\nx" }, { status: 400 }),
  );
  expect((await world.run(LIST)).stderr).toBe("accesstoken: a�[2Jb (code 400, trace_id t��x)\n");
});

test("a success in the body with a failure's status is no success", async () => {
  await using world = new CliHarness(() => answered(NONE, { status: 500 }));
  expect((await world.run(LIST)).code).toBe(1);
});

test.each([
  ["127.0.0.1", "", "http://localhost:4600"],
  ["localhost", "", "http://localhost:4600"],
  ["0.0.0.0", "https://wx.example.com", "http://localhost:4600"],
  ["::", "http://127.0.0.1:4600", "http://localhost:4600"],
  ["::1", "", "http://localhost:4600"],
  ["10.1.2.3", "", "http://10.1.2.3:4600"],
  ["2001:db8::7", "", "http://[2001:db8::7]:4600"],
  // There localhost answers what is public, and nothing else.
  ["127.0.0.1", "http://localhost:4600", "http://127.0.0.1:4600"],
  ["localhost", "http://localhost:4600", "http://127.0.0.1:4600"],
  ["0.0.0.0", "http://localhost", "http://127.0.0.1:4600"],
  ["::", "http://localhost.:4600", "http://[::1]:4600"],
  ["10.1.2.3", "http://localhost:4600", "http://10.1.2.3:4600"],
])(
  "on the service's own machine, HOST=%s with PUBLIC_URL=%s is reached at %s",
  (HOST, PUBLIC_URL, expected) => {
    const environment = { ENV_FILE: "", PORT: "4600", HOST, PUBLIC_URL };
    expect(localOrigin(loadConfig(environment))).toBe(expected);
  },
);

test("where the host of PUBLIC_URL answers everything, it is reached by that", () => {
  const environment = { ENV_FILE: "", PUBLIC_URL: "http://localhost:3000", PUBLIC_URL_SERVES: "all" };
  expect(localOrigin(loadConfig(environment))).toBe("http://localhost:3000");
});

test("a key made on the service's own machine says the base URL that programs there use", async () => {
  await using world = new CliHarness(() => ({}));
  const args = ["keys", "create", "--admin", "--json"];
  await using child = new Child([...FROM_SOURCE, ...args], { cwd: world.folder, env: { PORT: "4600" } });
  expect(await child.exited()).toBe(0);
  expect(JSON.parse(child.stdout)).toMatchObject({ base_url: "http://localhost:4600" });
});
