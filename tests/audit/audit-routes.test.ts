import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { createAdmin } from "../support/access-harness.ts";
import { appendAtOnce, DENIAL, denialRow, entryOf, USAGE, usageRow } from "../support/audit-entries.ts";
import { Harness } from "../support/harness.ts";

/** A service, and its audit as another process has it. */
async function setup() {
  const world = await Harness.create();
  const { databasePath: path, clock } = world;
  const keyPath = join(dirname(path), "master.key");
  const store = await openSqliteStore({
    path,
    masterKey: undefined,
    masterKeyFile: keyPath,
    clock,
    onKeyCreated: () => {},
  });
  const other = new Database(world.databasePath, { readwrite: true });
  const dispose = async () => {
    other.close();
    store.close();
    await world[Symbol.asyncDispose]();
  };
  const ask = (path: string, query: Record<string, string> = {}) =>
    world.administer(`${path}?${new URLSearchParams(query).toString()}`);
  return { world, path, keyPath, clock, ask, audit: store.audit, other, [Symbol.asyncDispose]: dispose };
}

test("P7: an entry is shown with all that is known of it, and without what is not", async () => {
  await using t = await setup();
  const at = t.world.clock.now();
  await t.audit.append(entryOf());
  const bare = { client: "(command line)", environment: "", address: "", traceId: "", app: "" } as const;
  await t.audit.append(entryOf({ ...bare, action: "master_key.rotated", tokenDigest: "", detail: {} }));
  const { status, code, data } = await t.ask("/v1/audit");
  expect([status, code, data["next"]]).toEqual([200, 0, undefined]);
  const [second, first] = data["entries"] as Record<string, unknown>[];
  expect(second).toEqual({
    id: 2,
    at,
    client: "(command line)",
    address: "",
    action: "master_key.rotated",
    outcome: "ok",
    hash: second?.["hash"],
  });
  expect(first).toEqual({
    id: 1,
    at,
    client: "order-service",
    environment: "dev",
    address: "10.0.0.8",
    action: "credential.cleared",
    app: "wx00000000000000aa",
    outcome: "ok",
    trace_id: "6f1c4a3be0d94f6f9f8e9a5d2f5c7b10",
    token_digest: "0123456789abcdef",
    detail: { kind: "access_token" },
    hash: first?.["hash"],
  });
});

test("P7: entries come in pages, the newest first, narrowed by every filter", async () => {
  await using t = await setup();
  for (let number = 1; number <= 7; number++) {
    t.world.clock.advance(1000);
    await t.audit.append(entryOf({ client: number % 2 === 0 ? "even" : "odd", app: `wx${number}` }));
  }
  const pages: number[][] = [];
  let before: string | undefined;
  do {
    const { data } = await t.ask("/v1/audit", { limit: "3", ...(before ? { before } : {}) });
    pages.push((data["entries"] as { id: number }[]).map(({ id }) => id));
    before = data["next"] as string | undefined;
  } while (before);
  expect(pages).toEqual([[7, 6, 5], [4, 3, 2], [1]]);
  const now = t.world.clock.now();
  const cases: [Record<string, string>, number[]][] = [
    [{ client: "even" }, [6, 4, 2]],
    [{ client: "(service)" }, []],
    [{ app: "wx3" }, [3]],
    [{ environment: "prod" }, []],
    [{ action: "credential.cleared", client: "odd" }, [7, 5, 3, 1]],
    [{ action: "app.created" }, []],
    [{ token_digest: "0123456789abcdef", app: "wx2" }, [2]],
    [{ token_digest: "0123456789abcde0" }, []],
    [{ since: String(now - 2000) }, [7, 6, 5]],
    [{ since: String(now - 3000), until: String(now - 1000) }, [5, 4]],
  ];
  for (const [query, ids] of cases) {
    const { data } = await t.ask("/v1/audit", query);
    expect((data["entries"] as { id: number }[]).map(({ id }) => id)).toEqual(ids);
  }
});

/** Each under its name and its former one, in the path and in the answer. */
test.each(["usage", "reads"])("P7: %s comes in pages, and is narrowed by every filter", async (word) => {
  await using t = await setup();
  const minutes = [0, 1, 2, 3, 4].map((number) => number * 60_000);
  await t.audit.addCounts([usageRow({ client: "(anonymous)", environment: "", n: 9 })]);
  await t.audit.addCounts(minutes.map((minute, index) => usageRow({ minute, n: index + 1 })));
  const counts: number[] = [];
  let after: string | undefined;
  do {
    const { data } = await t.ask(`/v1/audit/${word}`, { limit: "2", ...(after ? { after } : {}) });
    const page = data[word] as { count: number }[];
    expect(page.length).toBeLessThanOrEqual(2);
    counts.push(...page.map(({ count }) => count));
    after = data["next"] as string | undefined;
  } while (after);
  expect(counts).toEqual([5, 4, 3, 2, 1, 9]);
  const of = async (query: Record<string, string>) => (await t.ask(`/v1/audit/${word}`, query)).data[word];
  expect(await of({ client: "(anonymous)" })).toEqual([
    { minute: 0, client: "(anonymous)", action: "token:read", app: "wx1", count: 9 },
  ]);
  expect(await of({ client: "one", since: "240000" })).toEqual([{ minute: 240_000, ...USAGE, count: 5 }]);
  expect(await of({ environment: "dev", app: "wx1", action: "token:read", until: "1" })).toEqual([
    { minute: 0, ...USAGE, count: 1 },
  ]);
  expect(await of({ action: "token:clear" })).toEqual([]);
});

test.each(["denials", "refusals"])(
  "P7: %s come in pages, and are narrowed by client and time",
  async (word) => {
    await using t = await setup();
    await t.audit.addCounts([
      denialRow({ n: 1 }),
      denialRow({ minute: 60_000, client: "one", n: 2 }),
      denialRow({ minute: 120_000, n: 3 }),
    ]);
    const ask = async (query: Record<string, string>) => (await t.ask(`/v1/audit/${word}`, query)).data;
    const first = await ask({ limit: "2" });
    const { client: _nobody, ...shown } = DENIAL;
    expect(first[word]).toEqual([
      { minute: 120_000, ...shown, count: 3 },
      { minute: 60_000, ...shown, client: "one", count: 2 },
    ]);
    const second = await ask({ limit: "2", after: String(first["next"]) });
    expect(second).toEqual({ [word]: [{ minute: 0, ...shown, count: 1 }] });
    const one = await ask({ client: "one", since: "0", until: "120000" });
    expect(one[word]).toMatchObject([{ count: 2 }]);
  },
);

const PATHS = ["/v1/audit", "/v1/audit/usage", "/v1/audit/denials", "/v1/audit/export"];
const BAD: [path: string, name: string, ...values: string[]][] = [
  ...PATHS.flatMap((path): [string, string, ...string[]][] => [
    [path, "since", "", "-1", "1.5", "2026-11-22", "9".repeat(16)],
    [path, "until", "x", "1e9"],
    [path, "client", "Canary", "a b", "(Canary)", "a".repeat(65)],
  ]),
  ...PATHS.slice(0, 3).map((path): [string, string, ...string[]] => [
    path,
    "limit",
    "0",
    "1001",
    "-1",
    "1.0",
    "canary",
    "0100",
  ]),
  ["/v1/audit", "action", "token:read", "canary", "app.*"],
  ["/v1/audit", "before", "0", "-1", "canary", "9".repeat(16)],
  ["/v1/audit", "app", "a/b", "中文"],
  ["/v1/audit", "environment", "", "a b"],
  ["/v1/audit", "token_digest", "", "0123456789abcde", "0123456789ABCDEF", "0123456789abcdef0"],
  ["/v1/audit/export", "action", "token:read"],
  ["/v1/audit/usage", "action", "credential.cleared"],
  ["/v1/audit/usage", "after", "", "0", "-1", "canary", "9".repeat(16)],
  ["/v1/audit/denials", "after", "canary", "WzAsImEiLCJiIiwiYyIsImQiXQ"],
];

test.each(BAD)("%s refuses a bad %s", async (path, name, ...values) => {
  await using t = await setup();
  for (const value of values) {
    const { status, code, msg } = await t.ask(path, { [name]: value });
    expect([status, code]).toEqual([400, 1]);
    expect(msg).toContain(name);
    if (value.length > 3) expect(msg).not.toContain(value);
  }
});

/** The lines of an export, and how it came. */
async function exported(world: Harness, query: Record<string, string> = {}) {
  const search = new URLSearchParams(query).toString();
  const response = await world.service.handle(new Request(`http://localhost/v1/audit/export?${search}`));
  const text = await response.text();
  const lines = text.split("\n");
  expect(lines.pop()).toBe("");
  return { response, entries: lines.map((line) => JSON.parse(line) as { id: number; client: string }) };
}

test("P7: an export has every entry on a line of its own, the oldest first, itself included", async () => {
  await using t = await setup();
  await appendAtOnce(t, 1203, (number) =>
    entryOf({ client: number % 400 === 0 ? "rare" : "many", detail: { text: "a\nb" } }),
  );
  const { response, entries } = await exported(t.world);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("application/x-ndjson; charset=utf-8");
  expect(response.headers.get("cache-control")).toBe("no-store");
  expect(entries.map(({ id }) => id)).toEqual(Array.from({ length: 1204 }, (_, index) => index + 1));
  expect(entries.at(-1)).toMatchObject({ action: "audit.exported", outcome: "ok", client: "(command line)" });

  const { entries: rare } = await exported(t.world, { client: "rare", since: "0" });
  expect(rare.map(({ id }) => id)).toEqual([400, 800, 1200]);
  const [record] = await t.audit.list({}, { limit: 1 });
  const detail = { since: 0, narrowed_by: ["client", "since"] };
  expect(record).toMatchObject({ id: 1205, action: "audit.exported", detail });
  expect(await t.audit.verify()).toMatchObject({ isIntact: true, entries: 1205 });
});

test("P7: an export that can't be written down is refused", async () => {
  await using t = await setup();
  await t.audit.append(entryOf());
  t.other.run("CREATE TRIGGER broken BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'x'); END");
  const refused = await t.ask("/v1/audit/export");
  expect(refused).toMatchObject({ status: 503, code: 503 });
  expect(refused.msg).toContain("审计无法写入");
  expect((await t.ask("/v1/audit")).data["entries"]).toHaveLength(1);
});

test("an export whose database fails half way is broken off, and the service goes on", async () => {
  await using t = await setup();
  await appendAtOnce(t, 3000, () => entryOf({ detail: { text: "x".repeat(4000) } }));
  const headers = { authorization: `Bearer ${await createAdmin(t.world)}` };
  const response = await fetch(`${t.world.service.url}/v1/audit/export`, { headers });
  const reader = response.body!.getReader();
  await reader.read();
  t.other.run("ALTER TABLE audit_entries RENAME TO moved");
  const rest = async () => {
    while (!(await reader.read()).done);
    return "whole";
  };
  expect(await rest().catch(() => "broken off")).toBe("broken off");
  t.other.run("ALTER TABLE moved RENAME TO audit_entries");
  expect((await t.ask("/v1/audit", { limit: "1" })).code).toBe(0);
});

test("P7: a look at the chain says that it is intact, or what is not", async () => {
  await using t = await setup();
  expect((await t.ask("/v1/audit/verify")).data).toEqual({ intact: true, entries: 0 });
  for (let number = 1; number <= 3; number++) await t.audit.append(entryOf());
  const [newest] = await t.audit.list({}, { limit: 1 });
  const last = { id: 3, hash: newest!.hash };
  expect((await t.ask("/v1/audit/verify")).data).toEqual({ intact: true, entries: 3, last });
  t.other.run("UPDATE audit_entries SET outcome = 'x' WHERE id = 2");
  const broken = await t.ask("/v1/audit/verify");
  expect(broken.code).toBe(0);
  expect(broken.data).toMatchObject({ intact: false, fault: { id: 2 }, last: { id: 1 } });
});
