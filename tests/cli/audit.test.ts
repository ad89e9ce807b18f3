import { expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { AUDIT_ACTIONS } from "../../src/audit/audit-entry.ts";
import { ACTIONS } from "../../src/access/client.ts";
import { ServiceError } from "../../src/errors.ts";
import { AnsweringServer, httpAnswer } from "../support/answering-server.ts";
import { ManualTerminal } from "../support/manual-terminal.ts";
import { CliHarness, runAlone, withoutBlanks } from "./cli-harness.ts";

const ENTRY = {
  id: 7,
  at: Date.UTC(2027, 0, 31),
  client: "bot",
  environment: "dev",
  address: "10.0.0.7",
  action: "app.updated",
  app: "wx1",
  outcome: "ok",
  detail: { title: "商城", disabled: true },
  hash: "ab".repeat(32),
};
const LINES = [1, 2, 3].map((id) => `${JSON.stringify({ ...ENTRY, id })}\n`);

test("entries are listed a line each, as many as --limit says, from as many pages as it takes", async () => {
  await using world = new CliHarness(({ path }) => {
    const query = new URL(path, "http://localhost").searchParams;
    const newest = Number(query.get("before") ?? 1001) - 1;
    const entries = Array.from({ length: Number(query.get("limit")) }, (_, n) => ({
      ...ENTRY,
      id: newest - n,
    }));
    return { entries, next: entries.at(-1)?.id };
  });
  const { stdout } = await world.run(["audit", "list", "--limit", "250", "--json"]);
  const { entries, next } = JSON.parse(stdout) as { entries: { id: number }[]; next: number };
  expect(entries.map(({ id }) => id)).toEqual(Array.from({ length: 250 }, (_, n) => 1000 - n));
  expect(next).toBe(751);
  expect(world.asked).toEqual(["GET /v1/audit?limit=200", "GET /v1/audit?limit=50&before=801"]);
  expect((await world.run(["audit", "list"])).stdout).toMatch(
    /^ID +TIME +CLIENT +ACTION +APP +OUTCOME +ENVIRONMENT +ADDRESS\n +DETAIL\n1000 +20\S+ +bot +app\.updated +wx1 +ok +dev +10\.0\.0\.7\n +title=商城 disabled=true\n/,
  );
});

test("entries with long names and Chinese titles fit into 100 columns, and are whole", async () => {
  const long = {
    ...ENTRY,
    ...{ id: 1_234_567, client: "order-service-backend-production", environment: "pre-production" },
    ...{ address: "2001:db8:85a3:8d3:1319:8a2e:370:7348", action: "app.secret_verified" },
    ...{
      app: "ww0123456789abcdef_1000002",
      detail: { title: "微信商城旗舰店官方公众号".repeat(6), of: "bot" },
    },
  };
  await using world = new CliHarness(() => ({ entries: [long, ENTRY] }));
  const { stdout } = await world.run(["audit", "list"]);
  for (const line of stdout.split("\n")) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(100);
  const { client, address, app, environment, action } = long;
  for (const text of [client, address, app, environment, action]) expect(stdout).toContain(text);
  expect(withoutBlanks(stdout)).toContain(`title=${long.detail.title}of=bot`);
});

test("no entry shows a person epoch milliseconds or JSON", async () => {
  const at = Date.UTC(2027, 0, 31);
  const detail = {
    ...{ expires_at: at, before: at, since: null, entries: 3, title: "a" },
    grants: [{ apps: ["wx1", "wx2"], actions: ["login"] }],
    networks: [],
  };
  await using world = new CliHarness(() => ({ entries: [{ ...ENTRY, detail }] }));
  const { stdout } = await world.run(["audit", "list"]);
  expect(stdout).toMatch(
    /expires_at=2027-01-3\S+ before=2027-01-3\S+ since=- entries=3 title=a\n +grants=\(apps=wx1,wx2 actions=login\) networks=-\n$/,
  );
});

test("filters are sent, times as instants", async () => {
  await using world = new CliHarness(() => ({ entries: [] }));
  const now = new ManualTerminal().clock.now();
  const filters = [
    "--app",
    "wx1",
    "--client",
    "(app secret)",
    "--environment",
    "dev",
    "--action",
    "app.updated",
  ];
  const { code } = await world.run([
    "audit",
    "list",
    ...filters,
    "--since",
    "24h",
    "--until",
    "2027-01-31T08:00+08:00",
  ]);
  expect(code).toBe(0);
  const query = new URL(world.arrived[0]?.path ?? "", "http://localhost").searchParams;
  expect(Object.fromEntries(query)).toEqual({
    app: "wx1",
    client: "(app secret)",
    environment: "dev",
    action: "app.updated",
    since: String(now - 86_400_000),
    until: String(Date.UTC(2027, 0, 31)),
    limit: "50",
  });
});

test.each([
  ["list", AUDIT_ACTIONS],
  ["export", AUDIT_ACTIONS],
  ["usage", ACTIONS],
  ["reads", ACTIONS],
])("audit %s knows its actions: they are in its help, and another is exit code 2", async (word, actions) => {
  await using world = new CliHarness(() => ({ entries: [], usage: [], reads: [] }));
  const { stdout } = await runAlone(["help", "audit", word]);
  expect(withoutBlanks(stdout)).toContain(actions.join(","));
  for (const action of ["nonsense", "", actions === ACTIONS ? "app.updated" : "token:read"]) {
    const { code, stderr } = await world.run(["audit", word, "--action", action]);
    expect(code).toBe(2);
    expect(stderr).toContain(`\naccesstoken: --action: must be one of ${actions.join(", ")}`);
  }
  expect(world.arrived).toEqual([]);
  for (const action of actions) {
    expect((await world.run(["audit", word, "--action", action])).code).toBe(0);
  }
});

test("usage and denials are listed as they were counted, under their former names too", async () => {
  const usage = [
    { minute: 60_000, client: "bot", environment: "dev", action: "token:read", app: "wx1", count: 12 },
  ];
  const denials = [{ minute: 60_000, address: "10.0.0.7", route: "/v1/apps", code: 401, count: 3 }];
  const answers: Record<string, object> = { usage, denials, reads: usage, refusals: denials };
  await using world = new CliHarness(({ path }) => {
    const word = /audit\/(\w+)/.exec(path)?.[1] ?? "";
    return { [word]: answers[word] };
  });
  for (const word of ["usage", "reads"]) {
    const { stdout } = await world.run(["audit", word]);
    expect(stdout).toMatch(/\n\S+ +bot +dev +token:read +wx1 +12\n/);
  }
  for (const word of ["denials", "refusals"]) {
    const { stdout } = await world.run(["audit", word]);
    expect(stdout).toMatch(/\n\S+ +10\.0\.0\.7 +- +\/v1\/apps +401 +3\n/);
    expect(JSON.parse((await world.run(["audit", word, "--json"])).stdout)).toEqual({ [word]: denials });
  }
  expect(new Set(world.asked)).toEqual(
    new Set(Object.keys(answers).map((word) => `GET /v1/audit/${word}?limit=50`)),
  );
  expect((await runAlone(["help", "audit"])).stdout).not.toMatch(/reads|refusals/);
});

test("denials have no filter that the service would not heed", async () => {
  await using world = new CliHarness(() => ({ denials: [] }));
  for (const option of ["--app", "--environment", "--action"]) {
    expect((await world.run(["audit", "denials", option, "x"])).code).toBe(2);
  }
  expect((await world.run(["audit", "denials", "--client", "bot", "--since", "1h"])).code).toBe(0);
  expect(world.arrived.length).toBe(1);
});

test("an export goes to standard output as it comes, or into a new file that only its owner may read", async () => {
  await using world = new CliHarness(() => new Response(LINES.join("")));
  expect(await world.run(["audit", "export", "--app", "wx1"])).toMatchObject({
    code: 0,
    stdout: LINES.join(""),
  });
  const { code, stdout } = await world.run(["audit", "export", "--out", world.path("audit")]);
  expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
  expect(readFileSync(world.path("audit"), "utf8")).toBe(LINES.join(""));
  expect(statSync(world.path("audit")).mode & 0o777).toBe(0o600);
  expect((await world.run(["audit", "export", "--out", world.path("audit")])).code).toBe(2);
  expect(world.asked).toEqual(["GET /v1/audit/export?app=wx1", "GET /v1/audit/export"]);
});

test("half an export is a failure, and no file is left", async () => {
  await using world = new CliHarness(() => ({}));
  await using server = await AnsweringServer.start(({ socket }) => {
    socket.end(httpAnswer(LINES.join("")).subarray(0, -10));
  });
  const args = ["audit", "export", "--url", server.url, "--out", world.path("audit")];
  const { code } = await runAlone(args);
  expect(code).toBe(3);
  expect(existsSync(world.path("audit"))).toBe(false);
});

test("an export that is refused tells why, and no file is left", async () => {
  await using world = new CliHarness(() => {
    throw new ServiceError("forbidden", "禁止访问 (forbidden)");
  });
  const { code, stderr } = await world.run(["audit", "export", "--out", world.path("audit")]);
  expect(code).toBe(1);
  expect(stderr).toContain("code 403");
  expect(existsSync(world.path("audit"))).toBe(false);
});

test.each([
  [
    { intact: true, entries: 9, last: { id: 9, hash: "ab12" } },
    0,
    "Intact: 9 entries. The last one:\n9 ab12\n",
  ],
  [{ intact: true, entries: 0 }, 0, "Intact: 0 entries. The last one: none\n"],
  [
    { intact: false, entries: 9, fault: { id: 4, message: "changed" } },
    1,
    "NOT INTACT at entry 4 of 9: changed\n",
  ],
])("a verdict of %j is exit code %d", async (verdict, exitCode, text) => {
  await using world = new CliHarness(() => verdict);
  expect(await world.run(["audit", "verify"])).toMatchObject({ code: exitCode, stdout: text });
  const json = await world.run(["audit", "verify", "--json"]);
  expect(json.code).toBe(exitCode);
  expect(JSON.parse(json.stdout)).toEqual(verdict);
});
