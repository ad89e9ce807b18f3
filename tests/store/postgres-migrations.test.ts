import { expect } from "bun:test";
import { Database } from "bun:sqlite";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { MIGRATIONS, migrate } from "../../src/store/postgres/migrations.ts";
import { PostgresEngine } from "../../src/store/postgres/postgres-engine.ts";
import { migrate as migrateSqlite } from "../../src/store/sqlite/open-database.ts";
import { PostgresFolder } from "../support/postgres-folder.ts";
import { PostgresServer, postgresTest as test } from "../support/postgres-server.ts";
import { failureOf } from "../support/refusals.ts";

const ROOT = join(import.meta.dir, "../..");
const FOLDER = join(ROOT, "drizzle/postgres");

async function setup() {
  const server = await PostgresServer.shared();
  const url = await server.createDatabase();
  const engines: PostgresEngine[] = [];
  const open = () => {
    const engine = new PostgresEngine({ url, password: undefined });
    engines.push(engine);
    return engine;
  };
  const close = () => engines.forEach((engine) => engine.close());
  return { url, open, engine: open(), [Symbol.dispose]: close };
}

test("every generated migration for PostgreSQL is embedded, and there is nothing left to generate", () => {
  const files = readdirSync(FOLDER).filter((name) => name.endsWith(".sql"));
  expect(files.toSorted()).toEqual(MIGRATIONS.map(({ name }) => `${name}.sql`));
  for (const { name, sql } of MIGRATIONS) expect(sql).toBe(readFileSync(join(FOLDER, `${name}.sql`), "utf8"));
  const copy = mkdtempSync(join(tmpdir(), "accesstoken-drizzle-"));
  cpSync(FOLDER, copy, { recursive: true });
  const tool = [process.execPath, join(ROOT, "node_modules/drizzle-kit/bin.cjs"), "generate"];
  const options = ["--dialect", "postgresql", "--schema", "src/store/postgres/schema.ts"];
  const child = Bun.spawnSync([...tool, ...options, "--out", relative(ROOT, copy)], { cwd: ROOT });
  rmSync(copy, { recursive: true, force: true });
  expect(child.stdout.toString()).toContain("nothing to migrate");
});

test("both engines have the same tables, columns, nullability, keys and indexes", async () => {
  using it = await setup();
  await migrate(it.engine, 1);
  const names = (rows: unknown[][]) => rows.map((row) => row.join(" ")).toSorted();
  const columns = await it.engine.reads.query(
    `SELECT table_name, column_name, CASE is_nullable WHEN 'YES' THEN 1 ELSE 0 END
     FROM information_schema.columns WHERE table_schema = current_schema()`,
    [],
  );
  const indexes = await it.engine.reads.query(
    `SELECT t.relname, CASE WHEN i.indisunique THEN 1 ELSE 0 END,
       string_agg(a.attname, ',' ORDER BY array_position(i.indkey::int2[], a.attnum))
     FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
       JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = ANY(i.indkey)
     WHERE n.nspname = current_schema() GROUP BY t.relname, i.indexrelid, i.indisunique`,
    [],
  );
  using sqlite = new Database(":memory:");
  migrateSqlite(sqlite, 1);
  const tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
  const sqliteColumns = sqlite
    .query(
      `SELECT t.name, c.name, CASE WHEN c."notnull" = 0 AND c.pk = 0 THEN 1 ELSE 0 END
       FROM (${tables}) AS t, pragma_table_info(t.name) AS c`,
    )
    .values();
  const sqliteIndexes = sqlite
    .query(
      `SELECT t.name, i."unique", (SELECT group_concat(x.name) FROM pragma_index_info(i.name) AS x)
       FROM (${tables}) AS t, pragma_index_list(t.name) AS i
       UNION ALL
       SELECT t.name, 1, c.name FROM (${tables}) AS t, pragma_table_info(t.name) AS c
       WHERE c.type = 'INTEGER' AND c.pk = 1`,
    )
    .values();
  expect(names(columns)).toEqual(names(sqliteColumns));
  expect(names(indexes)).toEqual(names(sqliteIndexes));
});

test("processes that meet an empty database at the same moment give it its tables once", async () => {
  using it = await setup();
  const answers = await Promise.all([it.engine, it.open(), it.open()].map((engine) => migrate(engine, 1)));
  expect(answers.filter(Boolean)).toHaveLength(1);
  expect(await it.engine.reads.query("SELECT count(*) FROM migrations", [])).toEqual([[MIGRATIONS.length]]);
});

test("a statement of a migration may take longer than any other", async () => {
  using it = await setup();
  const slow = { name: "9999_slow", sql: "SELECT pg_sleep(2.5)" };
  expect(await migrate(it.engine, 1, [...MIGRATIONS, slow])).toBe(true);
  expect(await it.engine.reads.query("SELECT 1 FROM migrations WHERE name = ?", [slow.name])).toEqual([[1]]);
});

test("a database with tables of another program is left as it is", async () => {
  using it = await setup();
  await it.engine.transaction((sql) => sql.query("CREATE TABLE theirs (id bigint)", []));
  expect(await failureOf(migrate(it.engine, 1))).toMatchObject({ code: "store_unusable" });
  expect(
    await it.engine.reads.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", []),
  ).toEqual([[1]]);
});

test("a newer version's database is used beside it, until that version says that older ones must not", async () => {
  using it = await PostgresFolder.create();
  const engine = new PostgresEngine({ url: it.url, password: undefined });
  const run = (text: string) => engine.transaction((sql) => sql.query(text, []));
  await it.open();
  await run("INSERT INTO migrations VALUES ('0999_newer', 1)");
  let outdated = 0;
  const { changes } = await it.open({ onOutdated: () => outdated++ });
  await run("INSERT INTO revisions (name, number) VALUES ('compatible_from', 999)");
  await changes.catchUp();
  await changes.catchUp();
  expect(outdated).toBe(1);
  const refused = await failureOf(it.open());
  expect(refused.message).toContain("upgrade this program");
  engine.close();
});
