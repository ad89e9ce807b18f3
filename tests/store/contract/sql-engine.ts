import { expect, test as declared } from "bun:test";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Sql, SqlDatabase, type SqlEngine, sqlFailureOf } from "../../../src/store/sql.ts";
import { failureOf } from "../../support/refusals.ts";

/** Opens an engine on an empty database. */
export type OpenEngine = () => Promise<{
  readonly engine: SqlEngine;
  /** Another process's engine on the same database. */
  readonly beside: () => SqlEngine;
  readonly dispose: () => void;
}>;

const things = sqliteTable("things", {
  name: text("name").primaryKey(),
  number: integer("number").notNull(),
});

const INSERT = "INSERT INTO things (name, number) VALUES (?, ?)";
const LIST = "SELECT name, number FROM things ORDER BY name";

/** What every engine must do. `kind` names it in the tests' names. */
export function sqlEngineContract(kind: string, open: OpenEngine, test = declared): void {
  async function setup() {
    const opened = await open();
    const { engine } = opened;
    await engine.transaction((sql) =>
      sql.query("CREATE TABLE things (name TEXT PRIMARY KEY, number BIGINT NOT NULL)", []),
    );
    const add = (name: string, number: number, on = engine) =>
      on.transaction((sql) => sql.query(INSERT, [name, number]));
    const list = (on = engine) => on.reads.query(LIST, []);
    return { ...opened, add, list, [Symbol.dispose]: () => opened.dispose() };
  }

  test(`${kind}: rows are arrays of columns, and parameters stand in the order of their marks`, async () => {
    using it = await setup();
    expect(await it.add("a", 1)).toEqual([]);
    await it.add("it's ?", 1_795_320_000_000);
    expect(await it.list()).toEqual([
      ["a", 1],
      ["it's ?", 1_795_320_000_000],
    ]);
    expect(await it.engine.reads.query("SELECT number FROM things WHERE name = ?", ["none"])).toEqual([]);
  });

  test(`${kind}: transactions of one process run one after the other, in the order in which they were asked for`, async () => {
    using it = await setup();
    await it.add("counter", 0);
    const order: string[] = [];
    const count = async (n: number) =>
      it.engine.transaction(async (sql) => {
        order.push(`begin ${n}`);
        const [row] = await sql.query("SELECT number FROM things WHERE name = 'counter'", []);
        await nextTurn();
        await sql.query("UPDATE things SET number = ? WHERE name = 'counter'", [Number(row?.[0]) + 1]);
        order.push(`end ${n}`);
      });
    await Promise.all([1, 2, 3].map(count));
    expect(order).toEqual(["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]);
    expect(await it.list()).toEqual([["counter", 3]]);
  });

  test(`${kind}: of two processes that count at once, none loses a step`, async () => {
    using it = await setup();
    await it.add("counter", 0);
    const count = (engine: SqlEngine) =>
      engine.transaction(async (sql) => {
        const [row] = await sql.query("SELECT number FROM things WHERE name = 'counter'", []);
        await sql.query("UPDATE things SET number = ? WHERE name = 'counter'", [Number(row?.[0]) + 1]);
      });
    const beside = it.beside();
    await Promise.all(Array.from({ length: 20 }, (_, n) => count(n % 2 === 0 ? it.engine : beside)));
    expect(await it.list()).toEqual([["counter", 20]]);
  });

  test(`${kind}: a read sees nothing of an open transaction, and everything that was committed`, async () => {
    using it = await setup();
    const beside = it.beside();
    await it.engine.transaction(async (sql) => {
      await sql.query(INSERT, ["a", 1]);
      expect(await sql.query(LIST, [])).toEqual([["a", 1]]);
      for (const engine of [it.engine, beside]) expect(await it.list(engine)).toEqual([]);
    });
    for (const engine of [it.engine, beside]) expect(await it.list(engine)).toEqual([["a", 1]]);
  });

  test(`${kind}: P3: nothing of a transaction that throws remains, and the next one runs`, async () => {
    using it = await setup();
    const own = new Error("refused");
    const failing = it.engine.transaction(async (sql) => {
      await sql.query(INSERT, ["a", 1]);
      throw own;
    });
    const doubled = it.engine.transaction(async (sql) => {
      await sql.query(INSERT, ["b", 1]);
      await sql.query(INSERT, ["b", 2]);
    });
    const following = it.add("c", 1);
    expect(await failing.catch((error: unknown) => error)).toBe(own);
    expect(sqlFailureOf(await doubled.catch((error: unknown) => error))).toMatchObject({ isBusy: false });
    await following;
    expect(await it.list()).toEqual([["c", 1]]);
  });

  test(`${kind}: P3: statements that are sent together are all done in their transaction, or none of them`, async () => {
    using it = await setup();
    const database = new SqlDatabase(it.engine);
    const addAll = (names: readonly string[]) =>
      database.transact(async (queries) => {
        const [first, ...others] = names.map((name, n) =>
          queries.insert(things).values({ name, number: n }).onConflictDoNothing(),
        );
        await queries.batch([first!, ...others, queries.insert(things).values({ name: "?", number: 7 })]);
      });
    await addAll(["a", "it's ?"]);
    const all = [
      ["?", 7],
      ["a", 0],
      ["it's ?", 1],
    ];
    expect(await it.list()).toEqual(all);
    // The last one is there already.
    expect(await failureOf(addAll(["b", "c"]))).toMatchObject({ code: "store_unusable" });
    expect(await it.list()).toEqual(all);
  });

  test(`${kind}: a statement of a transaction that has ended is refused`, async () => {
    using it = await setup();
    const { promise, resolve } = Promise.withResolvers<Sql>();
    await it.engine.transaction(async (sql) => resolve(sql));
    const late = (await promise).query(INSERT, ["a", 1]);
    expect(await late.catch(String)).toContain("the transaction has ended");
    expect(await it.list()).toEqual([]);
  });

  test(`${kind}: a transaction that only reads sees one moment, and keeps nobody from writing`, async () => {
    using it = await setup();
    await it.add("a", 1);
    const beside = it.beside();
    const snapshot = await it.engine.transaction(
      async (sql) => {
        const first = await sql.query(LIST, []);
        await it.add("b", 2, beside);
        return [first, await sql.query(LIST, [])];
      },
      { isReadOnly: true },
    );
    expect(snapshot).toEqual([[["a", 1]], [["a", 1]]]);
    expect(await it.list()).toHaveLength(2);
  });

  test(`${kind}: a transaction that only reads waits for no writer of this process, and writes nothing`, async () => {
    using it = await setup();
    const list = (sql: Sql) => sql.query(LIST, []);
    await it.engine.transaction(async (sql) => {
      await sql.query(INSERT, ["a", 1]);
      expect(await it.engine.transaction(list, { isReadOnly: true })).toEqual([]);
    });
    const written = it.engine.transaction((sql) => sql.query(INSERT, ["b", 1]), { isReadOnly: true });
    expect(sqlFailureOf(await written.catch((error: unknown) => error))).toBeDefined();
    expect(await it.list()).toEqual([["a", 1]]);
  });

  test(`${kind}: a caller that waits for another process in vain is answered that the database is busy`, async () => {
    using it = await setup();
    const database = new SqlDatabase(it.beside());
    await it.engine.transaction(async (sql) => {
      await sql.query(INSERT, ["a", 1]);
      const failure = await failureOf(database.transact(async () => undefined, { maxAttempts: 2 }));
      expect(failure).toMatchObject({ code: "unavailable", retryAfterMs: 1000 });
    });
    await database.transact(async () => undefined, { maxAttempts: 2 });
  });

  test(`${kind}: P6: what the engine refuses names neither the statement nor its parameters`, async () => {
    using it = await setup();
    const database = new SqlDatabase(it.engine);
    await it.engine.transaction((sql) => sql.query("DROP TABLE things", []));
    const failure = await failureOf(
      database.read((queries) => queries.values(`SELECT 'canary' FROM things`)),
    );
    expect(failure.code).toBe("store_unusable");
    expect(JSON.stringify(failure, Object.getOwnPropertyNames(failure))).not.toContain("canary");
  });
}
