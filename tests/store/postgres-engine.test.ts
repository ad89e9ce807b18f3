import { expect, test as always } from "bun:test";
import { type Sql, sqlFailureOf } from "../../src/store/sql.ts";
import { PostgresEngine } from "../../src/store/postgres/postgres-engine.ts";
import { postgresText } from "../../src/store/postgres/statement-text.ts";
import { Harness } from "../support/harness.ts";
import { PostgresServer, postgresTest as test } from "../support/postgres-server.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { sqlEngineContract } from "./contract/sql-engine.ts";

async function setup() {
  const server = await PostgresServer.shared();
  const url = await server.createDatabase();
  const proxy = await TcpProxy.start(server.port);
  const engines: PostgresEngine[] = [];
  const open = (at = url) => {
    const engine = new PostgresEngine({ url: at, password: undefined });
    engines.push(engine);
    return engine;
  };
  const dispose = () => {
    for (const engine of engines) engine.close();
    proxy[Symbol.dispose]();
  };
  return { url, proxy, open, engine: open(), dispose, [Symbol.dispose]: dispose };
}

sqlEngineContract(
  "PostgreSQL",
  async () => {
    const { engine, open, dispose } = await setup();
    return { engine, beside: () => open(), dispose };
  },
  test,
);

async function withThings() {
  const it = await setup();
  await it.engine.transaction((sql) => sql.query("CREATE TABLE things (name text, number bigint)", []));
  const far = it.open(it.proxy.through(it.url));
  await far.look("SELECT 1");
  const add = (name: string) =>
    far.transaction((sql) => sql.query("INSERT INTO things VALUES (?, 1)", [name]));
  const list = async () => (await it.engine.reads.query("SELECT name FROM things", [])).flat();
  const outcome = async (work: Promise<unknown>) => sqlFailureOf(await work.catch((error: unknown) => error));
  return { ...it, far, add, list, outcome };
}

always("statements for SQLite become PostgreSQL's, and what is in quotes stays", () => {
  expect(postgresText(`SELECT '?', "a?b" FROM x WHERE y = ? AND z = ?`)).toBe(
    `SELECT '?', "a?b" FROM x WHERE y = $1 AND z = $2`,
  );
  expect(
    postgresText(
      `insert into "a" ("b") values (?) on conflict ("a"."b", "a"."c") do update set "b" = "a"."b"`,
    ),
  ).toBe(`insert into "a" ("b") values ($1) on conflict ("b", "c") do update set "b" = "a"."b"`);
  expect(postgresText(`insert into "a" ("id", "b") values (null, ?), (null, ?)`)).toBe(
    `insert into "a" ("id", "b") values (default, $1), (default, $2)`,
  );
});

/** Waits until the server answers `engine` again. */
function answers(engine: PostgresEngine): Promise<void> {
  return Harness.until(() =>
    engine.look("SELECT 1").then(
      () => true,
      () => false,
    ),
  );
}

test("a text comes back as it was, but for a NUL, which PostgreSQL can't keep", async () => {
  using it = await setup();
  const odd = 'it\'s "a" \\ \n\u2028 中😀 ? $1';
  expect(await it.engine.reads.query("SELECT ?::text, ?::text", [odd, "a\0b"])).toEqual([[odd, "a\uFFFDb"]]);
});

test("a write on a line that is cut fails at once, is never done later, and the next works once the line is back", async () => {
  using it = await withThings();
  it.proxy.cut();
  expect(await it.outcome(it.add("lost"))).toMatchObject({ isBusy: true });
  expect(await it.outcome(it.far.reads.query("SELECT 1", []))).toMatchObject({ isBusy: true });
  expect(it.far.isAway).toBe(true);
  it.proxy.restore();
  await answers(it.far);
  await it.add("kept");
  expect(await it.list()).toEqual(["kept"]);
});

test("a line that is silent is given up within three seconds, and a write that waited in it is not done when it speaks again", async () => {
  using it = await withThings();
  it.proxy.halt();
  const since = performance.now();
  const failures = await Promise.all([it.outcome(it.add("lost")), it.outcome(it.far.look("SELECT 1"))]);
  for (const failure of failures) expect(failure).toMatchObject({ isBusy: true });
  expect(performance.now() - since).toBeLessThan(4000);
  it.proxy.restore();
  await answers(it.far);
  await it.add("kept");
  expect(await it.list()).toEqual(["kept"]);
});

test("a statement that is late, or has waited too long for a connection, may be tried again", async () => {
  using it = await withThings();
  const late = Array.from({ length: 12 }, () => it.outcome(it.engine.look("SELECT pg_sleep(5)")));
  for (const failure of await Promise.all(late)) expect(failure).toMatchObject({ isBusy: true });
}, 30_000);

test("a transaction whose process has gone silent in its midst holds up no other for long", async () => {
  using it = await withThings();
  const ended = Promise.withResolvers<void>();
  const { promise: started, resolve } = Promise.withResolvers<Sql>();
  const stuck = it.far.transaction(async (sql) => {
    await sql.query("INSERT INTO things VALUES ('lost', 1)", []);
    resolve(sql);
    await ended.promise;
  });
  const failed = it.outcome(stuck);
  await started;
  it.proxy.halt();
  await Harness.until(() => it.engine.transaction(async () => true).catch(() => false), 10_000);
  expect(await it.list()).toEqual([]);
  ended.resolve();
  expect(await failed).toMatchObject({ isBusy: true });
}, 30_000);

test("N17: ten thousand mixed statements and transactions beside failing ones get their own rows, and none stalls", async () => {
  using it = await setup();
  let mixed = 0;
  const one = async (n: number) => {
    if (n % 10 === 0) {
      const failing = it.engine.reads.query("SELECT ?::bigint / 0", [n]);
      expect(sqlFailureOf(await failing.catch((error: unknown) => error))?.code).toBe("22012");
    } else if (n % 10 === 1) {
      const rows = await it.engine.transaction((sql) => sql.query("SELECT ?::text", [`t${n}`]));
      if (rows[0]?.[0] !== `t${n}`) mixed++;
    } else {
      const rows = await it.engine.reads.query("SELECT ?::bigint, ?::text", [n, `r${n}`]);
      if (rows[0]?.[0] !== n || rows[0][1] !== `r${n}`) mixed++;
    }
  };
  let next = 0;
  const worker = async () => {
    while (next < 10_000) await one(next++);
  };
  await Promise.all(Array.from({ length: 32 }, worker));
  expect(mixed).toBe(0);
}, 120_000);
