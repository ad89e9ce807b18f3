import { ServiceError } from "../../errors.ts";
import {
  type CopiedTable,
  columnList,
  type CopySide,
  inUse,
  type SideRole,
  unusableSide,
} from "../copy-side.ts";
import { fileStamp } from "../durable-files.ts";
import { type Sql, type SqlEngine, SqlFailure } from "../sql.ts";
import { placeOf } from "./address.ts";
import { isMigrated, migrate, MIGRATIONS } from "./migrations.ts";
import {
  connect,
  failureOf,
  lockWrites,
  plainRows,
  type PostgresAddress,
  PROGRAM,
  statementOf,
} from "./postgres-engine.ts";

/** A statement over a large table takes longer than any of the service, and the server may just be undoing a copy that was killed. */
const SETTINGS = [
  "SET LOCAL statement_timeout = '1h'",
  "SET LOCAL idle_in_transaction_session_timeout = '1h'",
  "SET LOCAL lock_timeout = '30s'",
];

const OTHERS = `SELECT 1 FROM pg_stat_activity
  WHERE datname = current_database() AND application_name = '${PROGRAM}' LIMIT 1`;
/** From its first moment to its last it is no service: the server sees its end a little later. */
const COPY = `${PROGRAM} store copy`;

/**
 * Runs `work` on the database in one transaction, in which nobody else writes. As a source it is only read, and refused
 * while a service is connected to it; as a target all of it is undone when `work` throws or this process ends. As a
 * snapshot it is only read, as it is at one moment, while others go on. As what is replaced it is a target that no service
 * may be connected to, and that one which starts meanwhile can't read.
 *
 * @throws {ServiceError} `store_unusable` when it can't be used; what `work` throws.
 */
export async function withPostgresSide<T>(
  address: PostgresAddress,
  role: SideRole,
  work: (side: CopySide) => Promise<T>,
): Promise<T> {
  const place = placeOf(address);
  const pool = connect(address, 1, COPY);
  const isWritten = role === "target" || role === "replaced";
  const mode = isWritten ? "read write" : "isolation level repeatable read read only";
  try {
    return await pool.begin(mode, async (client) => {
      const sql: Sql = {
        query: async (text, parameters) => {
          try {
            return plainRows(await statementOf(client, text, parameters));
          } catch (error) {
            throw failureOf(error);
          }
        },
      };
      for (const setting of SETTINGS) await sql.query(setting, []);
      if (role !== "snapshot") await lockWrites(sql);
      const refuseUsed = async () => {
        if ((await sql.query(OTHERS, [])).length > 0) throw inUse(place);
      };
      if (role === "source" || role === "replaced") await refuseUsed();
      const side = new PostgresSide(place, sql);
      if (role === "replaced") {
        await side.lockTables();
        // One that came in between has read what is about to go.
        await sql.query("SELECT pg_stat_clear_snapshot()", []);
        await refuseUsed();
      }
      return work(side);
    });
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    const failure = failureOf(error);
    throw failure instanceof SqlFailure ? unusableSide(place, failure.code) : failure;
  } finally {
    await pool.close({ timeout: 0 });
  }
}

/**
 * Moves every table of a database of ours, with what belongs to it, into a new schema beside it, and returns that schema's name;
 * undefined where there is none of ours. Part of the transaction that `side` is. `now` is in epoch milliseconds.
 *
 * @throws {ServiceError} `store_unusable` when this role must not.
 */
export async function setAside(side: CopySide, now: number): Promise<string | undefined> {
  const { sql, place } = side;
  const tables = await side.tables();
  if (!tables.includes("migrations")) return undefined;
  const taken = await sql.query("SELECT nspname FROM pg_namespace", []);
  const own = `before_restore_${fileStamp(now).toLowerCase()}`;
  let schema = own;
  for (let n = 2; taken.some(([name]) => name === schema); n++) schema = `${own}_${n}`;
  try {
    await sql.query(`CREATE SCHEMA ${schema}`, []);
    for (const [name] of await sql.query(TRIGGERED, []))
      await sql.query(`ALTER FUNCTION ${String(name)} SET SCHEMA ${schema}`, []);
    for (const name of tables) await sql.query(`ALTER TABLE "${name}" SET SCHEMA ${schema}`, []);
  } catch (error) {
    throw error instanceof SqlFailure && error.code === FORBIDDEN ? mustNotKeep(place) : error;
  }
  return schema;
}

/** The functions of the tables' triggers: all that there is beside tables. */
const TRIGGERED = `SELECT DISTINCT p.oid::regprocedure::text FROM pg_trigger t
  JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid
  WHERE NOT t.tgisinternal AND p.pronamespace = current_schema()::text::regnamespace AND c.relnamespace = p.pronamespace`;

/** PostgreSQL's `insufficient_privilege`. */
const FORBIDDEN = "42501";

function mustNotKeep(place: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${place}: 该角色无权建立schema或移动这些表，无法保留原有内容，未作任何改动；请由数据库的属主执行，或先执行 GRANT CREATE ON DATABASE，或恢复到空数据库 (this role must not make a schema, or move the tables, to keep what is there, and nothing was changed; run it as the owner of the database, GRANT CREATE ON DATABASE first, or restore into an empty database)`,
  );
}

class PostgresSide implements CopySide {
  readonly place: string;
  readonly sql: Sql;
  readonly keepsNul = false;
  readonly migrations = MIGRATIONS.map(({ name }) => name);

  constructor(place: string, sql: Sql) {
    this.place = place;
    this.sql = sql;
  }

  async tables(): Promise<string[]> {
    const rows = await this.sql.query(
      "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY 1",
      [],
    );
    return rows.map(([name]) => String(name));
  }

  /** Lets nobody else read a table, or write to it. */
  async lockTables(): Promise<void> {
    const tables = (await this.tables()).map((name) => `"${name}"`);
    if (tables.length > 0)
      await this.sql.query(`LOCK TABLE ${tables.join(", ")} IN ACCESS EXCLUSIVE MODE`, []);
  }

  async isCurrent(): Promise<boolean> {
    if (!(await isMigrated(this.sql))) return false;
    const [row] = await this.sql.query("SELECT count(*) FROM migrations", []);
    return row?.[0] === MIGRATIONS.length;
  }

  async migrate(now: number): Promise<void> {
    const within: SqlEngine = { reads: this.sql, transaction: (work) => work(this.sql) };
    await migrate(within, now);
  }

  async *rows(table: CopiedTable): AsyncIterable<unknown[][]> {
    await this.sql.query(
      `DECLARE copied NO SCROLL CURSOR FOR SELECT ${columnList(table)} FROM "${table.name}"`,
      [],
    );
    for (;;) {
      const rows = await this.sql.query(`FETCH ${table.atOnce} FROM copied`, []);
      if (rows.length === 0) break;
      yield rows;
    }
    await this.sql.query("CLOSE copied", []);
  }

  async insert(table: CopiedTable, rows: readonly (readonly unknown[])[]): Promise<void> {
    const objects = rows.map((row) => Object.fromEntries(table.columns.map(({ name }, n) => [name, row[n]])));
    const columns = columnList(table);
    await this.sql.query(
      `INSERT INTO "${table.name}" (${columns})
       SELECT ${columns} FROM json_populate_recordset(null::"${table.name}", ?::text::json)`,
      [JSON.stringify(objects)],
    );
  }

  async counter({ name }: CopiedTable): Promise<number> {
    const [row] = await this.sql.query(
      `SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM "${name}_id_seq"`,
      [],
    );
    return Number(row?.[0] ?? 0);
  }

  async setCounter({ name }: CopiedTable, id: number): Promise<void> {
    await this.sql.query(`SELECT setval('"${name}_id_seq"', ?::bigint)`, [id]);
  }
}
