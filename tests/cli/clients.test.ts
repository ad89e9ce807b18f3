import type { HandTerminalOptions } from "../support/manual-terminal.ts";
import { expect, test } from "bun:test";
import type { Grant } from "../../src/access/client.ts";
import { ServiceError } from "../../src/errors.ts";
import { answered, type Answering, type Arrived, CliHarness } from "./cli-harness.ts";

const READ: Grant = { apps: ["wx1", "wx2"], actions: ["token:read"] };
/** A client as the service shows it. */
function client(grants: readonly Grant[] = [READ], more: object = {}) {
  const instants = { created_at: Date.UTC(2027, 0, 1), updated_at: Date.UTC(2027, 0, 2) };
  const reach = { delivery: "virtual", policy: { preset: "no-messaging", allow: [], deny: [] } };
  return {
    client: "bot",
    environment: "dev",
    grants,
    networks: [],
    ...reach,
    ...instants,
    version: 7,
    ...more,
  };
}

/** Answers a GET with the client and its ETag, and a PATCH as `change` says. */
function changing(change: Answering, grants: readonly Grant[] = [READ]): Answering {
  return (request) =>
    request.method === "GET" ? answered(client(grants), { etag: '"7"' }) : change(request);
}

function patched({ body }: Arrived) {
  return client((body as { grants: Grant[] }).grants);
}

function overtaken(): never {
  throw new ServiceError("precondition_failed", "已被他人修改 (changed by somebody else)");
}

test.each([
  [200, false],
  [403, false],
  [404, true],
])("adding a client says that its environment is new where it answers %d: %j", async (status, isSaid) => {
  await using world = new CliHarness(({ method, path }) => {
    if (method === "POST") return answered(client(), { status: 201 });
    expect(path).toBe("/v1/environments/dve");
    return Response.json({ code: status % 200, msg: "", data: {}, trace_id: "t" }, { status });
  });
  const { code, stderr } = await world.run(["clients", "add", "bot", "--environment", "dve"]);
  expect([code, stderr.includes("Environment dve is new\n")]).toEqual([0, isSaid]);
});

test("a client is added with everything that the options say", async () => {
  await using world = new CliHarness(({ method }) =>
    method === "GET" ? { clients: [] } : answered(client(), { status: 201 }),
  );
  const options =
    "--environment dev --apps wx1,wx2 --actions token:read,ticket:sign --network 10.0.0.0/8 --network ::1";
  const args = [
    "clients",
    "add",
    "bot",
    ...options.split(" "),
    "--expires",
    "2027-01-31T00:00Z",
    "--rate",
    "50",
    ..."--concurrency 20 --delivery virtual --policy read-only".split(" "),
    ..."--allow /wxa/msg_sec_check,/cgi-bin/media/upload --deny /datacube/**".split(" "),
  ];
  const { code, stdout, stderr } = await world.run(args);
  expect(code).toBe(0);
  expect(world.arrived.at(-1)).toMatchObject({
    method: "POST",
    path: "/v1/clients",
    body: {
      client: "bot",
      environment: "dev",
      grants: [{ apps: ["wx1", "wx2"], actions: ["token:read", "ticket:sign"] }],
      networks: ["10.0.0.0/8", "::1"],
      expires_at: Date.UTC(2027, 0, 31),
      rate_limit: 50,
      concurrency: 20,
      delivery: "virtual",
      policy: {
        preset: "read-only",
        allow: ["/wxa/msg_sec_check", "/cgi-bin/media/upload"],
        deny: ["/datacube/**"],
      },
    },
  });
  expect(stdout).toContain("grant 1      wx1,wx2: token:read\n");
  expect(stderr).toStartWith(
    `virtual: works through ${world.url} only; for programs that call WeChat themselves`,
  );
  expect(stderr).toEndWith(`  curl -H "Authorization: Bearer $KEY" '${world.url}/v1/apps'\n`);
});

test("test openids without a policy make it safe, also in production", async () => {
  await using world = new CliHarness(({ method }) =>
    method === "GET" ? { clients: [client()] } : answered(client([]), { status: 201 }),
  );
  const openids = ["oListed-0000000000000000001x", "oListed_0000000000000000002x"];
  const add = ["clients", "add", "bot", "--environment", "prod", "--test-openids"];
  expect((await world.run([...add, openids.join(",")])).code).toBe(0);
  expect(world.arrived.at(-1)?.body).toMatchObject({ policy: { preset: "safe", test_openids: openids } });
});

test("what is not given is not sent", async () => {
  await using world = new CliHarness(({ method }) =>
    method === "GET" ? { clients: [client()] } : answered(client([]), { status: 201 }),
  );
  expect((await world.run(["clients", "add", "bot", "--environment", "dev"])).code).toBe(0);
  expect(world.arrived.at(-1)?.body).toEqual({ client: "bot", environment: "dev", grants: [] });
});

test("who adds the very same client again is told so", async () => {
  await using world = new CliHarness(({ method }) => (method === "GET" ? { clients: [] } : client()));
  const { code, stderr } = await world.run(["clients", "add", "bot", "--environment", "dev"]);
  expect({ code, stderr }).toEqual({
    code: 0,
    stderr: expect.stringContaining("It exists already, unchanged\n"),
  });
});

test("who adds another client of the same name is told how to change the one that is there", async () => {
  await using world = new CliHarness(({ method }) => {
    if (method === "GET") return { clients: [client()] };
    throw new ServiceError("conflict", "已存在 (exists already)");
  });
  const { code, stderr } = await world.run(["clients", "add", "bot", "--environment", "dev"]);
  expect(code).toBe(1);
  expect(stderr).toEndWith("\nclients grant or revoke changes its grants, clients set the rest\n");
});

test.each([
  ["all", "login", { apps: ["*"], actions: ["login"] }],
  [undefined, "admin", { apps: ["*"], actions: ["admin"] }],
  [undefined, "metrics:read", { apps: ["*"], actions: ["metrics:read"] }],
])("--apps %s --actions %s is the grant %j", async (apps, actions, grant) => {
  await using world = new CliHarness(({ method }) => (method === "GET" ? { clients: [] } : client()));
  const options = [...(apps ? ["--apps", apps] : []), "--actions", actions];
  expect((await world.run(["clients", "add", "bot", "--environment", "dev", ...options])).code).toBe(0);
  expect(world.arrived.at(-1)?.body).toMatchObject({ grants: [grant] });
});

test.each([
  [["bot"], "--environment is missing"],
  [["Bot", "--environment", "dev"], "lower-case"],
  [["..", "--environment", "dev"], "lower-case"],
  [["bot", "--environment", "dev", "--apps", "wx1"], "--actions is missing"],
  [["bot", "--environment", "dev", "--actions", "login"], "--apps is missing"],
  [
    ["bot", "--environment", "dev", "--apps", "all,wx1", "--actions", "login"],
    "all can't be combined with other apps",
  ],
  [["bot", "--environment", "dev", "--apps", "wx1,,wx2", "--actions", "login"], "an entry is empty"],
  [
    ["bot", "--environment", "dev", "--apps", "wx1", "--actions", "token:steal"],
    "must be of view, token:read, ",
  ],
  [["bot", "--environment", "dev", "--expires", "yesterday"], "must be a time"],
  ...["10/8", "10.0.0.0/33", "", "a", "10.0.0.1,10.0.0.2", "10.0.0.0/8/8"].map(
    (network) => [["bot", "--environment", "dev", "--network", network], "--network: "] as const,
  ),
  [["bot", "--environment", "dev", "--rate", "0"], "must be an integer from 1"],
  [["bot", "--environment", "dev", "--rate", "any"], "must be an integer from 1"],
  [["bot", "--environment", "dev", "--concurrency", "0"], "must be an integer from 1"],
  [["bot", "--environment", "dev", "--delivery", "imaginary"], "--delivery: "],
  [["bot", "--environment", "dev", "--policy", "some"], "--policy: "],
  [["bot", "--environment", "dev", "--allow", "/a"], "--allow and --deny need --policy"],
  [["bot", "--environment", "dev", "--policy", "none", "--allow", "a"], "must be paths"],
  [["bot", "--environment", "dev", "--policy", "none", "--deny", "/a,,/b"], "an entry is empty"],
])("clients add %j is exit code 2, and nothing is asked", async (args, line) => {
  await using world = new CliHarness(() => client());
  const { code, stderr } = await world.run(["clients", "add", ...args]);
  expect(code).toBe(2);
  expect(stderr.split("\n")[1]).toContain(line);
  expect(world.arrived).toEqual([]);
});

test("a grant is added to those that stand, under the version that was seen", async () => {
  await using world = new CliHarness(changing(patched));
  const { code, stdout } = await world.run("clients grant bot --apps all --actions login --json".split(" "));
  expect(code).toBe(0);
  expect(world.asked).toEqual(["GET /v1/clients/bot", "PATCH /v1/clients/bot"]);
  expect(world.arrived[1]?.headers.get("if-match")).toBe('"7"');
  expect(JSON.parse(stdout)).toMatchObject({ grants: [READ, { apps: ["*"], actions: ["login"] }] });
});

test("a change that somebody else overtakes is made anew on what stands then, three times at most", async () => {
  let changes = 0;
  await using world = new CliHarness(changing((request) => (++changes < 3 ? overtaken() : patched(request))));
  const args = "clients grant bot --apps wx3 --actions login".split(" ");
  expect((await world.run(args)).code).toBe(0);
  expect(changes).toBe(3);

  await using always = new CliHarness(changing(overtaken));
  const { code, stderr } = await always.run(args);
  expect(code).toBe(1);
  expect(stderr).toContain("code 412");
  expect(always.asked.filter((line) => line.startsWith("PATCH")).length).toBe(3);
});

test("another refusal than that is not tried anew", async () => {
  await using world = new CliHarness(
    changing(() => {
      throw new ServiceError("forbidden", "禁止访问 (forbidden)");
    }),
  );
  expect((await world.run("clients grant bot --apps wx3 --actions login".split(" "))).code).toBe(1);
  expect(world.asked.length).toBe(2);
});

test("what the service hints at, as an app of a grant that is not held, is told in the person's language", async () => {
  const hint = "尚未持有：wx3 (not held: wx3)";
  await using world = new CliHarness(
    changing((request) =>
      Response.json({ code: 0, msg: "success", data: patched(request), trace_id: "1", hint }),
    ),
  );
  const args = "clients grant bot --apps wx3 --actions login".split(" ");
  expect((await world.run(args)).stderr).toBe("not held: wx3\n");
  expect((await world.run(args, { language: "zh" })).stderr).toBe("尚未持有：wx3\n");
});

test("a grant that is there already changes nothing, and that is told", async () => {
  await using world = new CliHarness(changing(patched));
  const { code, stderr } = await world.run("clients grant bot --apps wx2 --actions token:read".split(" "));
  expect({ code, stderr }).toEqual({ code: 0, stderr: "It may do that already\n" });
  expect(world.asked).toEqual(["GET /v1/clients/bot"]);
});

test.each([
  ["--apps all", []],
  ["--apps wx1", [{ apps: ["wx2"], actions: ["token:read"] }]],
  ["--actions token:read", []],
  ["--apps wx2 --actions token:read", [{ apps: ["wx1"], actions: ["token:read"] }]],
])("clients revoke %s leaves %j", async (options, left) => {
  await using world = new CliHarness(changing(patched));
  expect((await world.run(["clients", "revoke", "bot", ...options.split(" ").filter(Boolean)])).code).toBe(0);
  expect(world.arrived[1]?.body).toEqual({ grants: left });
});

test("clients revoke without a word of what is wrong usage, and nothing is asked", async () => {
  await using world = new CliHarness(changing(patched));
  const { code, stderr } = await world.run(["clients", "revoke", "bot"]);
  expect([code, stderr]).toEqual([2, expect.stringContaining("--apps all takes everything")]);
  expect(world.asked).toEqual([]);
});

test.each([
  ["apps remove wx0000000000000001", "DELETE /v1/apps/wx0000000000000001"],
  ["clients remove bot", "DELETE /v1/clients/bot"],
])("%s asks on a terminal, and takes --yes in a script", async (words, request) => {
  const run = async (options: HandTerminalOptions, ...more: string[]) => {
    await using world = new CliHarness(() => ({}));
    const { code, questions } = await world.run([...words.split(" "), ...more], options);
    return [code, questions.length, world.asked];
  };
  const name = words.split(" ").at(-1);
  for (const typed of ["y", "yes", " Y "]) expect(await run({ typed })).toEqual([0, 1, [request]]);
  for (const typed of ["", "n", name]) expect(await run({ typed: typed ?? "" })).toEqual([1, 1, []]);
  expect(await run({})).toEqual([2, 0, []]);
  expect(await run({}, "--yes")).toEqual([0, 0, [request]]);
  expect(await run({ typed: "n" }, "--yes")).toEqual([0, 0, [request]]);
});

test("who revokes what was never granted learns it by exit code 1, and nothing is changed", async () => {
  await using world = new CliHarness(changing(patched));
  const { code, stderr } = await world.run("clients revoke bot --apps wx11".split(" "));
  expect(code).toBe(1);
  expect(stderr).toContain("nothing was changed");
  expect(world.asked).toEqual(["GET /v1/clients/bot"]);
});

test("who takes something from an administrator is told that it may still do everything", async () => {
  const grants: Grant[] = [READ, { apps: ["*"], actions: ["admin"] }];
  await using world = new CliHarness(changing(patched, grants));
  const { code, stderr } = await world.run("clients revoke bot --actions token:read".split(" "));
  expect(code).toBe(0);
  expect(stderr).toContain("still an administrator");
});

test("clients are listed by app and by environment", async () => {
  const clients = [
    client([READ], { client: "one" }),
    client([{ apps: ["*"], actions: ["login"] }], { client: "two", environment: "prod" }),
    client([{ apps: ["wx9"], actions: ["login"] }], { client: "three" }),
    client([], { client: "none" }),
  ];
  await using world = new CliHarness(() => ({ clients }));
  const listed = async (...args: string[]) => {
    const { stdout } = await world.run(["clients", "list", ...args, "--json"]);
    return (JSON.parse(stdout) as { clients: { client: string }[] }).clients.map((each) => each.client);
  };
  expect(await listed("--app", "wx1")).toEqual(["one", "two"]);
  expect(await listed("--environment", "dev")).toEqual(["one", "three", "none"]);
  expect(await listed("--app", "wx9", "--environment", "dev")).toEqual(["three"]);
  expect(await listed()).toHaveLength(4);
});

test("clients are listed a line each, and one is shown with all that it is", async () => {
  const all = client([READ, { apps: ["*"], actions: ["login"] }], {
    networks: ["10.0.0.0/8"],
    rate_limit: 5,
    policy: { preset: "read-only", allow: ["/a", "/b/**"], deny: [] },
  });
  await using world = new CliHarness(({ path }) =>
    path.includes("?") ? { clients: [all, client([])] } : all,
  );
  const { stdout } = await world.run(["clients", "list"]);
  expect(stdout).toMatch(
    /\nbot +dev +virtual +read-only\+allow +5 +- +10\.0\.0\.0\/8\n +wx1,wx2: token:read; all: login\nbot +dev +virtual +no-messaging +- +- +-\n$/,
  );
  const shown = (await world.run(["clients", "show", "bot"])).stdout;
  expect(shown).toMatch(/\nexpires +never\nrate +5\/s\nconcurrency +96 \(default\)\n/);
  expect(shown).toMatch(
    /\nconcurrency +96 \(default\)\ndelivery +virtual\npolicy +read-only\nallow +\/a,\/b\/\*\*\ngrant 1 +wx1,wx2: token:read\ngrant 2 +all: login\n/,
  );
});

test("clients with long names and many grants fit into 100 columns, and are whole", async () => {
  const apps = Array.from({ length: 8 }, (_, n) => `wx000000000000000${n}`);
  const networks = Array.from({ length: 9 }, (_, n) => `2001:db8:85a3:${n}::/64`);
  const long = client([{ apps, actions: ["token:read", "api:call"] }], {
    ...{ client: "order-service-backend-production", environment: "预发布环境-华东一区", networks },
    ...{ expires_at: Date.UTC(2027, 0, 31), rate_limit: 1_000_000 },
  });
  await using world = new CliHarness(() => ({ clients: [long, client()] }));
  const { stdout } = await world.run(["clients", "list"]);
  for (const line of stdout.split("\n")) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(100);
  for (const text of [...apps, ...networks, "预发布环境-华东一区"]) expect(stdout).toContain(text);
});

test("a client is removed", async () => {
  await using world = new CliHarness(() => ({}));
  expect(await world.run(["clients", "remove", "bot", "--yes"])).toMatchObject({
    code: 0,
    stdout: "bot is removed\n",
  });
  expect((await world.run(["clients", "remove", "bot", "--json", "--yes"])).stdout).toBe("{}\n");
  expect(world.asked).toEqual(["DELETE /v1/clients/bot", "DELETE /v1/clients/bot"]);
});
