import { expect, test as always } from "bun:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Sql, sqlFailureOf } from "../../src/store/sql.ts";
import {
  type Client,
  connect,
  plainRows,
  PostgresEngine,
  statementOf,
} from "../../src/store/postgres/postgres-engine.ts";
import { postgresText, togetherText } from "../../src/store/postgres/statement-text.ts";
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

always("statements that go together become one, with their parameters in their order", () => {
  const statements = [
    { text: `insert into "a" ("b") values (?)`, parameters: [1] },
    {
      text: `insert into "c" ("id", "d") values (null, ?) on conflict ("c"."d") do nothing`,
      parameters: [2],
    },
  ];
  expect(togetherText(statements)).toBe(
    `WITH w0 AS (insert into "a" ("b") values ($1)), w1 AS (insert into "c" ("id", "d") values (default, $2) on conflict ("d") do nothing) SELECT`,
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

test("a server that was away is written to again although nobody looks whether it is back, as in a start", async () => {
  using it = await withThings();
  it.proxy.cut();
  expect(await it.outcome(it.add("lost"))).toBeDefined();
  it.proxy.restore();
  await Harness.until(async () => (await it.outcome(it.add("kept"))) === undefined, 20_000);
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

test("a transaction waits for one of its own process that takes longer than others are waited for, and keeps its place", async () => {
  using it = await withThings();
  const long = it.engine.transaction(async (sql) => {
    for (let n = 0; n < 3; n++) await sql.query("SELECT pg_sleep(1.4)", []);
    await sql.query("INSERT INTO things VALUES ('first', 1)", []);
  });
  const add = (name: string) =>
    it.engine.transaction((sql) => sql.query("INSERT INTO things VALUES (?, 1)", [name]), { maxAttempts: 1 });
  await Promise.all([long, add("second"), add("third")]);
  expect(await it.list()).toEqual(["first", "second", "third"]);
}, 30_000);

test("a transaction sees what the one before it has written, whatever isolation is the server's default", async () => {
  using it = await withThings();
  const name = new URL(it.url).pathname.slice(1);
  await it.engine.transaction((sql) =>
    sql.query(`ALTER DATABASE "${name}" SET default_transaction_isolation = 'repeatable read'`, []),
  );
  const others = [it.open(), it.open()];
  await it.engine.transaction((sql) => sql.query("INSERT INTO things VALUES ('counter', 0)", []));
  const count = (engine: PostgresEngine) =>
    engine.transaction(
      async (sql) => {
        const [row] = await sql.query("SELECT number FROM things", []);
        await sql.query("UPDATE things SET number = ?", [Number(row?.[0]) + 1]);
      },
      { maxAttempts: 1 },
    );
  await Promise.all(Array.from({ length: 20 }, (_, n) => count(others[n % 2]!)));
  expect(await it.engine.reads.query("SELECT number FROM things", [])).toEqual([[20]]);
});

test("a statement that PostgreSQL does not support fails alone: the server is not taken for one that follows another", async () => {
  using it = await withThings();
  const unsupported = "SELECT count(*) FROM things FOR UPDATE";
  expect(await it.outcome(it.engine.transaction((sql) => sql.query(unsupported, [])))).toMatchObject({
    code: "0A000",
    isBusy: false,
  });
  expect(it.engine.isAway).toBe(false);
});

/** Does `one` for each number below `count`, many at a time. */
async function mixed(count: number, one: (n: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await one(next++);
  };
  await Promise.all(Array.from({ length: 32 }, worker));
}

test("N17: ten thousand statements and transactions on four connections get their own rows, and none stalls", async () => {
  using it = await setup();
  await using pool = connect({ url: it.url, password: undefined }, 4);
  const ask = async (client: Client, n: number) =>
    plainRows(await statementOf(client, "SELECT ?::bigint, ?::text", [n, `r${n}`]));
  const wrong: number[] = [];
  await mixed(10_000, async (n) => {
    const inTransaction = () =>
      pool.begin(async (client) => {
        await ask(client, -n);
        return ask(client, n);
      });
    const [row = []] = n % 5 === 0 ? await inTransaction() : await ask(pool, n);
    if (row[0] !== n || row[1] !== `r${n}`) wrong.push(n);
  });
  expect(wrong).toEqual([]);
}, 120_000);

test("N17: four thousand statements and transactions beside such that fail or are late get their own rows, and none stalls", async () => {
  using it = await setup();
  const over = new AbortController();
  const late = async () => {
    const codes: unknown[] = [];
    while (!over.signal.aborted || codes.length === 0) {
      const failing = it.engine.reads.query("SELECT pg_sleep(5)", []);
      codes.push(sqlFailureOf(await failing.catch((error: unknown) => error))?.code);
    }
    return codes;
  };
  const lates = Promise.all([late(), late()]);
  const wrong: number[] = [];
  let done = 0;
  const check = (n: number, rows: unknown[][]) => {
    if (rows[0]?.[0] !== n || rows[0][1] !== `r${n}`) wrong.push(n);
    done++;
  };
  await mixed(4000, async (n) => {
    const text = n % 4 === 0 ? "SELECT ?::bigint / 0, ?::text" : "SELECT ?::bigint, ?::text";
    const asked =
      n % 4 === 1
        ? it.engine.transaction((sql) => sql.query(text, [n, `r${n}`]))
        : it.engine.reads.query(text, [n, `r${n}`]);
    await asked.then(
      (rows) => check(n, rows),
      async (error: unknown) => {
        if (n % 4 === 0 && sqlFailureOf(error)?.code === "22012") return;
        // On a busy machine the end of a late one may come so late that its line counts as dead, with all others.
        expect(sqlFailureOf(error)).toMatchObject({ isBusy: true });
        await answers(it.engine);
      },
    );
  });
  over.abort();
  for (const code of (await lates).flat()) expect(code).toBeString();
  expect(wrong).toEqual([]);
  expect(done).toBeGreaterThan(1500);
}, 120_000);

test("N17, P3: of writes whose connection is cut in their midst none is half there, none is missing that was acknowledged, and no row is another's", async () => {
  using it = await withThings();
  const over = new AbortController();
  const acknowledged = new Set<string>();
  const wrong: string[] = [];
  let failed = 0;
  let slowestMs = 0;
  const timed = async (work: Promise<unknown>) => {
    const startedAt = performance.now();
    const failure = sqlFailureOf(
      await work.then(
        () => undefined,
        (error: unknown) => error,
      ),
    );
    slowestMs = Math.max(slowestMs, performance.now() - startedAt);
    if (failure) {
      expect(failure.isBusy).toBeTrue();
      failed++;
      // As the feed does: until the server has answered, everything else fails at once.
      await it.far.look("SELECT 1").catch(() => Bun.sleep(5));
    }
    return !failure;
  };
  const write = async (worker: number) => {
    for (let n = 0; !over.signal.aborted; n++) {
      const name = `${worker}-${n}`;
      const both = it.far.transaction(async (sql) => {
        const [row] = await sql.query("INSERT INTO things VALUES (?, 1) RETURNING name", [name]);
        if (row?.[0] !== name) wrong.push(name);
        await sql.query("INSERT INTO things VALUES (?, 2)", [name]);
      });
      if (await timed(both)) acknowledged.add(name);
    }
  };
  const read = async (worker: number) => {
    for (let n = 0; !over.signal.aborted; n++) {
      const asked = it.far.reads.query("SELECT ?::text", [`${worker}:${n}`]);
      await timed(
        asked.then(([row]) => void (row?.[0] === `${worker}:${n}` || wrong.push(`${worker}:${n}`))),
      );
    }
  };
  const working = Promise.all([0, 1, 2, 3].flatMap((worker) => [write(worker), read(worker)]));
  for (let cut = 0; cut < 100; cut++) {
    // Each time at another moment of a transaction.
    const before = acknowledged.size;
    await Harness.until(() => acknowledged.size > before + 1);
    for (let turn = cut % 20; turn > 0; turn--) await nextTurn();
    it.proxy.cut();
    it.proxy.restore();
  }
  over.abort();
  await working;
  await answers(it.far);
  const rows = await it.engine.reads.query("SELECT name, count(*) FROM things GROUP BY name", []);
  const there = new Map(rows.map(([name, count]) => [String(name), Number(count)]));
  expect([...there].filter(([, count]) => count !== 2)).toEqual([]);
  expect([...acknowledged].filter((name) => !there.has(name))).toEqual([]);
  expect(wrong).toEqual([]);
  expect(failed).toBeGreaterThan(50);
  expect(slowestMs).toBeLessThan(15_000);
}, 240_000);
