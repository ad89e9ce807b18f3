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
import {
  appliedMigrations,
  isMigrated,
  migrate,
  MIGRATIONS,
  OWN_FUNCTIONS,
  OWN_TABLES,
  tablesOf,
} from "./migrations.ts";
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
  work: (side: PostgresSide) => Promise<T>,
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

/** The role that the tables belong to, as a statement names it. */
const OWNER = "SELECT relowner::regrole::text FROM pg_class WHERE oid = 'migrations'::regclass";
/** All that belongs to it in the schema. */
const OWNED = `SELECT relname FROM pg_class WHERE relnamespace = current_schema()::text::regnamespace
  AND relowner = (SELECT relowner FROM pg_class WHERE oid = 'migrations'::regclass)`;

/** PostgreSQL's `insufficient_privilege`. */
const FORBIDDEN = "42501";

function mustNotKeep(place: string, owner: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${place}: 该角色无权建立schema或移动这些表，无法保留原有内容，未作任何改动；请先执行 GRANT CREATE ON DATABASE … TO ${owner}，再以该角色执行，或恢复到空数据库 (this role must not make a schema, or move the tables, to keep what is there, and nothing was changed; GRANT CREATE ON DATABASE … TO ${owner} first and run it as that role, or restore into an empty database)`,
  );
}

function notAllKnown(place: string, tables: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${place}: 数据库已由更新版本升级，其中有本版本不认识的表，未作任何改动：${tables}；请用该版本恢复，或恢复到空数据库 (a newer version has migrated the database, which has tables that this one does not know, and nothing was changed: ${tables}; restore with that version, or into an empty database)`,
  );
}

/** A PostgreSQL as one end of a copy. */
export class PostgresSide implements CopySide {
  readonly place: string;
  readonly sql: Sql;
  readonly keepsNul = false;
  readonly migrations = MIGRATIONS.map(({ name }) => name);
  /** What stayed when the tables were set aside. */
  #others: readonly string[] = [];

  constructor(place: string, sql: Sql) {
    this.place = place;
    this.sql = sql;
  }

  async tables(): Promise<string[]> {
    return (await tablesOf(this.sql)).filter((name) => !this.#others.includes(name));
  }

  /** Lets nobody else read a table, or write to it. */
  async lockTables(): Promise<void> {
    const tables = (await this.#ownTables()).map((name) => `"${name}"`);
    if (tables.length > 0)
      await this.sql.query(`LOCK TABLE ${tables.join(", ")} IN ACCESS EXCLUSIVE MODE`, []);
  }

  /**
   * Moves the tables of a database of ours, with what belongs to them, into a new schema beside it, and returns that schema's
   * name; undefined where there is none of ours. What is another program's stays. The new schema, and what is made from then
   * on, belong to whom the tables belong to. `now` is in epoch milliseconds.
   *
   * @throws {ServiceError} `store_unusable` when this role must not, or a newer version's tables can't be told from others.
   */
  async setAside(now: number): Promise<string | undefined> {
    const { sql, place } = this;
    const own = await this.#ownTables();
    if (own.length === 0) return undefined;
    const others = (await this.tables()).filter((name) => !own.includes(name));
    const owned = await sql.query(OWNED, []);
    const unknown = owned.map(([name]) => String(name)).filter((name) => others.includes(name));
    const applied = await appliedMigrations(sql);
    if (unknown.length > 0 && applied.some((name) => !this.migrations.includes(name)))
      throw notAllKnown(place, unknown.join(", "));
    const taken = await sql.query("SELECT nspname FROM pg_namespace", []);
    const first = `before_restore_${fileStamp(now).toLowerCase()}`;
    let schema = first;
    for (let n = 2; taken.some(([name]) => name === schema); n++) schema = `${first}_${n}`;
    const owner = String((await sql.query(OWNER, []))[0]?.[0]);
    try {
      await sql.query(`CREATE SCHEMA ${schema} AUTHORIZATION ${owner}`, []);
      for (const name of OWN_FUNCTIONS)
        await sql.query(`ALTER FUNCTION "${name}"() SET SCHEMA ${schema}`, []);
      for (const name of own) await sql.query(`ALTER TABLE "${name}" SET SCHEMA ${schema}`, []);
      await sql.query(`SET LOCAL ROLE ${owner}`, []);
    } catch (error) {
      throw error instanceof SqlFailure && error.code === FORBIDDEN ? mustNotKeep(place, owner) : error;
    }
    this.#others = others;
    return schema;
  }

  /** The tables of a database of ours; none where it is another program's. */
  async #ownTables(): Promise<string[]> {
    const own = (await this.tables()).filter((name) => OWN_TABLES.includes(name));
    // Other programs have a table of that name, too.
    return own.includes("migrations") && own.includes("keyring") ? own : [];
  }

  async isCurrent(): Promise<boolean> {
    if (!(await isMigrated(this.sql))) return false;
    const [row] = await this.sql.query("SELECT count(*) FROM migrations", []);
    return row?.[0] === MIGRATIONS.length;
  }

  async migrate(now: number): Promise<void> {
    const within: SqlEngine = { reads: this.sql, transaction: (work) => work(this.sql) };
    await migrate(within, now, MIGRATIONS, this.#others);
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
