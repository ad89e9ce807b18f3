import { SQL } from "bun";
import { Database } from "bun:sqlite";
import { expect } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { commandLineActor } from "../../src/audit/audit-entry.ts";
import { systemClock } from "../../src/clock.ts";
import { loadConfig } from "../../src/config.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { startService } from "../../src/service.ts";
import { type CopyReport, copyStore, type DatabasePlace } from "../../src/store/copy-store.ts";
import { PLATFORMS_MIGRATION as onPostgres } from "../../src/store/postgres/migrations.ts";
import { PLATFORMS_MIGRATION as onSqlite } from "../../src/store/sqlite/open-database.ts";
import facts from "../fixtures/schema-0004/facts.json";
import { beforeCopies, CopiedFolder, FORGOTTEN_ID, type Rows, rowsOf } from "../support/copied-folder.ts";
import { PostgresServer, postgresTest as test } from "../support/postgres-server.ts";
import { ask } from "../support/process-harness.ts";
import { COPY } from "./programs/copy.ts";

const KILLED = 137;
const ACTOR = commandLineActor("root (sudo: li.si)");

/** A full SQLite database, and an empty PostgreSQL beside it. */
async function setup() {
  const folder = await CopiedFolder.create();
  const server = await PostgresServer.shared();
  const url = await server.createDatabase();
  const connect = () => new SQL({ url, max: 1, bigint: true });
  const file: DatabasePlace = { path: folder.path };
  const postgres: DatabasePlace = { address: { url, password: undefined } };
  const back = join(folder.folder, "back", "accesstoken.db");
  const copy = (
    from: DatabasePlace,
    to: DatabasePlace,
    masterKeyFile = folder.keyPath,
  ): Promise<CopyReport> =>
    copyStore({ from, to, masterKey: undefined, masterKeyFile, clock: folder.clock, actor: ACTOR });
  return {
    folder,
    url,
    file,
    postgres,
    back,
    copy,
    /** What is in PostgreSQL. */
    rows: async (): Promise<Rows> => {
      await using client = connect();
      return await rowsOf((text) => client.unsafe(text).values());
    },
    /** The rows of one statement there. */
    ask: async (text: string): Promise<unknown[][]> => {
      await using client = connect();
      return Array.from((await client.unsafe(text).values()) as unknown[][], (row) => [...row]);
    },
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}

const TABLES = "SELECT 1 FROM information_schema.tables WHERE table_schema = current_schema()";

/** The message of what `work` rejects with. */
async function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "",
    (error: unknown) => (error instanceof Error ? error.message : ""),
  );
}

test("a database with something in every table goes to PostgreSQL and back, the same in every row", async () => {
  using it = await setup();
  const before = await it.folder.rows();
  expect(Object.values(before).filter((rows) => rows.length === 0)).toEqual([]);
  const there = await it.copy(it.file, it.postgres);
  expect(beforeCopies(await it.rows())).toEqual(beforeCopies(before));
  expect(await it.folder.rows()).toEqual(before);
  expect(there.audit).toMatchObject({ isIntact: true, entries: before["audit_entries"]!.length + 1 });
  expect(there.tables).toEqual(
    Object.fromEntries(Object.entries(before).map(([name, rows]) => [name, rows.length])),
  );
  expect(there.keyIds).toHaveLength(before["keyring"]!.length);
  const home = await it.copy(it.postgres, { path: it.back });
  expect(beforeCopies(await it.folder.rows(it.back))).toEqual(beforeCopies(before));
  expect(home.audit).toMatchObject({ isIntact: true, entries: before["audit_entries"]!.length + 2 });
  expect(home.keyIds).toEqual(there.keyIds);
  expect(await it.folder.open(it.back)).toBe(true);
});

test("P7: the audit of a copy goes on with who copied what, and where to", async () => {
  using it = await setup();
  const last = "SELECT client, address, action, detail FROM audit_entries ORDER BY id DESC LIMIT 1";
  await it.copy(it.file, it.postgres);
  const [there] = await it.ask(last);
  const path = `file:${it.folder.path}`;
  const server = expect.stringMatching(/^postgres:\/\/[^@]+$/) as string;
  const made = ["(command line)", "root (sudo: li.si)", "store.copied"];
  expect(there!.slice(0, 3)).toEqual(made);
  expect(JSON.parse(String(there![3]))).toEqual({ from: path, to: server });
  await it.copy(it.postgres, { path: it.back });
  using database = new Database(it.back, { readonly: true });
  const [home] = database.query(last).values();
  expect(home!.slice(0, 3) as unknown[]).toEqual(made);
  expect(JSON.parse(String(home![3]))).toEqual({ from: server, to: `file:${it.back}` });
});

test.each([
  ["that know no platforms are shut out of both", onSqlite, [[onPostgres]]],
  ["that know none are shut out of neither, where there is none", 5, []],
])("versions %s: a database and its copy on the other engine", async (_, onFile, onServer) => {
  using it = await setup();
  const compatibleFrom = "SELECT number FROM revisions WHERE name = 'compatible_from'";
  it.folder.run(`UPDATE revisions SET number = ${onFile} WHERE name = 'compatible_from'`);
  await it.copy(it.file, it.postgres);
  expect((await it.ask(compatibleFrom)).map((row) => row.map(Number))).toEqual(onServer);
  await it.copy(it.postgres, { path: it.back });
  using database = new Database(it.back, { readonly: true });
  expect(database.query(compatibleFrom).values()).toEqual([[onFile]]);
});

test("an id that was given before is not given again after a copy, on either engine", async () => {
  using it = await setup();
  await it.copy(it.file, it.postgres);
  await it.copy(it.postgres, { path: it.back });
  const insert = (digest: string) =>
    `INSERT INTO user_tokens (digest, client, client_created_at, key_prefix, app, until) VALUES ('${digest}', '', 1, '', '', 1) RETURNING id`;
  const [row] = await it.ask(insert("new"));
  expect(Number(row![0])).toBe(FORGOTTEN_ID + 1);
  using database = new Database(it.back, { readwrite: true });
  expect(database.query(insert("new")).values()).toEqual([[FORGOTTEN_ID + 1]]);
  const [count] = await it.ask(
    "INSERT INTO counts (minute, kind, key, n) VALUES (1, 'usage', 'new', 1) RETURNING id",
  );
  const { id } = database.query<{ id: number }, []>("SELECT max(id) AS id FROM counts").get()!;
  expect(Number(count![0])).toBe(id + 1);
});

test("the service goes on with what was copied: the same key, the same API keys, the same tokens, no call upstream", async () => {
  using it = await setup();
  // On PostgreSQL the time is the server's.
  const later = systemClock.now() + 3_600_000;
  it.folder.run(
    `UPDATE credentials SET issued_at = ${later - 7_200_000}, expires_at = ${later}, renew_at = ${later}`,
  );
  await it.copy(it.file, it.postgres);
  const secret = "f0e1d2c3b4a5968778695a4b3c2d1e0f";
  const weixinApps = facts.apps.map((appId) => ({ appId, secret }));
  const { clock, keyPath } = it.folder;
  const sandbox = Sandbox.start({ clock, weixinApps, wecomApps: [] });
  const config = loadConfig({
    ENV_FILE: "",
    PORT: "0",
    DATABASE_URL: it.url,
    MASTER_KEY_FILE: keyPath,
    WEIXIN_BASE_URL: sandbox.weixinUrl,
    WECOM_BASE_URL: sandbox.wecomUrl,
    ...Object.fromEntries(facts.apps.map((appId) => [`WEIXIN_SECRET_${appId}`, secret])),
  });
  const service = await startService(config, { clock });
  const as = (key: string, path: string) => ask(service.url, path, {}, { headers: { "x-api-key": key } });
  try {
    for (const { app, kind, value } of facts.credentials) {
      const { data } = await as(facts.api_keys.shop, `/v1/apps/${app}/credentials/${kind}`);
      expect([app, kind, data]).toMatchObject([app, kind, { value }]);
    }
    expect((await as(facts.api_keys.revoked, "/v1/apps")).status).toBe(401);
    expect((await as(facts.api_keys.admin, "/v1/audit/verify")).data).toMatchObject({ intact: true });
    expect(sandbox.calls()).toBe(0);
    expect(await refusal(it.copy(it.postgres, { path: it.back }))).toContain("a service is using it");
    expect(existsSync(it.back)).toBe(false);
  } finally {
    await service.stop("test");
    await sandbox.stop();
  }
});

test("P3: a copy that is killed at any moment leaves an empty target, and the next one is whole", async () => {
  using it = await setup();
  const before = await it.folder.rows();
  const run = async (direction: "to" | "from", path: string, last: number) => {
    const command = [process.execPath, COPY, path, it.url, direction, it.folder.keyPath, String(last)];
    const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
    const stdout = await new Response(child.stdout).text();
    return { code: await child.exited, stdout, stderr: await new Response(child.stderr).text() };
  };
  const pieces = Object.keys(before).length * 2;
  const moments = [1, Math.floor(pieces / 3), pieces - 1, pieces];
  for (const last of moments) {
    expect((await run("from", it.folder.path, last)).code).toBe(KILLED);
    expect(await it.ask(TABLES)).toEqual([]);
  }
  expect(await run("from", it.folder.path, 0)).toEqual({ code: 0, stdout: `${pieces}\n`, stderr: "" });
  expect(beforeCopies(await it.rows())).toEqual(beforeCopies(before));
  for (const last of moments) expect((await run("to", it.back, last)).code).toBe(KILLED);
  expect((await it.copy(it.postgres, { path: it.back })).audit?.isIntact).toBe(true);
  expect(beforeCopies(await it.folder.rows(it.back))).toEqual(beforeCopies(before));
});

test("a target with anything in it is refused, says what it has, and is left alone", async () => {
  using it = await setup();
  await it.copy(it.file, it.postgres);
  await it.copy(it.postgres, { path: it.back });
  expect(await refusal(it.copy(it.file, it.postgres))).toMatch(/is not empty.*api_keys \d.*keyring 1/);
  expect(await refusal(it.copy(it.postgres, { path: it.back }))).toMatch(/is not empty.*keyring 1/);
  const other = await (await PostgresServer.shared()).createDatabase();
  await using client = (await PostgresServer.shared()).connect(new URL(other).pathname.slice(1));
  await client.unsafe("CREATE TABLE theirs (n bigint)");
  const place = { address: { url: other, password: undefined } };
  expect(await refusal(it.copy(it.file, place))).toMatch(/is not empty.*theirs/);
});

test("a source that is in use, missing or not of this version is refused, and nothing is written", async () => {
  using it = await setup();
  {
    using idle = new Database(it.folder.path, { readwrite: true });
    idle.run("SELECT count(*) FROM apps");
    expect(await refusal(it.copy(it.file, it.postgres))).toContain("a service is using it");
  }
  expect(await refusal(it.copy({ path: it.back }, it.postgres))).toContain("there is no database");
  it.folder.run("DELETE FROM migrations WHERE name = (SELECT max(name) FROM migrations)");
  expect(await refusal(it.copy(it.file, it.postgres))).toContain("start the service on it once");
  expect(await refusal(it.copy(it.postgres, { path: it.back }))).toContain("start the service on it once");
  expect(await it.ask(TABLES)).toEqual([]);
  expect(existsSync(it.back)).toBe(false);
});

test("a value that PostgreSQL can't hold is refused by the name of its column; a NUL in a text is replaced and counted", async () => {
  using it = await setup();
  it.folder.run("UPDATE settings SET value = 'a' || char(0) || 'b' WHERE name = 'anonymous'");
  it.folder.run("UPDATE due_work SET due_at = 'soon'");
  expect(await refusal(it.copy(it.file, it.postgres))).toContain("a value in due_work.due_at is damaged");
  expect(await it.ask(TABLES)).toEqual([]);
  it.folder.run("UPDATE due_work SET due_at = 1");
  expect((await it.copy(it.file, it.postgres)).textsWithNul).toBe(1);
  expect(await it.ask("SELECT value FROM settings WHERE name = 'anonymous'")).toEqual([["a\uFFFDb"]]);
});

test("without the master key everything is copied; with it, a chain that was broken before is reported", async () => {
  using it = await setup();
  const missing = join(it.folder.folder, "missing.key");
  expect((await it.copy(it.file, it.postgres, missing)).audit).toBeUndefined();
  writeFileSync(missing, "0".repeat(64), { mode: 0o600 });
  expect((await it.copy(it.postgres, { path: it.back }, missing)).audit).toBeUndefined();
  it.folder.run("UPDATE audit_entries SET client = 'nobody' WHERE id = (SELECT min(id) FROM audit_entries)");
  const url = await (await PostgresServer.shared()).createDatabase();
  const { audit } = await it.copy(it.file, { address: { url, password: undefined } });
  expect(audit?.isIntact).toBe(false);
});
