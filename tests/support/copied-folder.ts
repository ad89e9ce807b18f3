import { Database } from "bun:sqlite";
import { chmodSync, cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getTableConfig, type SQLiteTable } from "drizzle-orm/sqlite-core";
import * as schema from "../../src/store/schema.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import facts from "../fixtures/schema-0004/facts.json";
import { ManualClock } from "./manual-clock.ts";

const FIXTURE = join(import.meta.dir, "../fixtures/schema-0004");
const TABLES = Object.values(schema).map((table: SQLiteTable) => getTableConfig(table));
/** Ids that were given in `user_tokens` before the highest that is left. */
export const FORGOTTEN_ID = 500;

/** Every row of every table, in an order that both engines share. */
export type Rows = Readonly<Record<string, readonly string[]>>;

/** The rows that `query` finds, table by table. What the oldest migration to know is called is the engine's own. */
export async function rowsOf(query: (text: string) => unknown): Promise<Rows> {
  const all: Record<string, string[]> = {};
  for (const { name, columns } of TABLES) {
    const list = columns.map((column) => `"${column.name}"`).join(", ");
    const rows = (await query(`SELECT ${list} FROM "${name}"`)) as unknown[][];
    all[name] = Array.from(rows, (row) =>
      JSON.stringify(Array.from(row, (cell) => (typeof cell === "bigint" ? Number(cell) : cell))),
    )
      .filter((row) => !row.startsWith('["compatible_from"'))
      .toSorted();
  }
  return all;
}

/** What was there before copies of it went on with the audit. */
export function beforeCopies(rows: Rows): Rows {
  const isOfCopy = (row: string) => /^\["(last|tie|audit)"|"store\.copied"/.test(row);
  return Object.fromEntries(
    Object.entries(rows).map(([name, each]) => [name, each.filter((row) => !isOfCopy(row))]),
  );
}

/** A folder with the stopped database of a service that has been used, a row and more in every table; gone with `using`. */
export class CopiedFolder {
  readonly folder = mkdtempSync(join(tmpdir(), "accesstoken-copy-"));
  readonly path = join(this.folder, "accesstoken.db");
  readonly keyPath = join(this.folder, "master.key");
  readonly clock = new ManualClock(facts.stopped_at + 1000);

  static async create(): Promise<CopiedFolder> {
    const made = new CopiedFolder();
    cpSync(FIXTURE, made.folder, { recursive: true });
    for (const path of [made.path, made.keyPath]) chmodSync(path, 0o600);
    await made.open();
    made.#fill();
    return made;
  }

  /** Opens a database as the service does, which migrates it, and closes it. */
  async open(path = this.path): Promise<boolean> {
    const store = await openSqliteStore({
      path,
      masterKey: undefined,
      masterKeyFile: this.keyPath,
      clock: this.clock,
      onKeyCreated: () => undefined,
    });
    const { isIntact } = await store.audit.verify();
    store.close();
    return isIntact;
  }

  /** Every row of one of the folder's databases. */
  async rows(path = this.path): Promise<Rows> {
    using database = new Database(path, { readonly: true });
    return await rowsOf((text) => database.query(text).values());
  }

  /** Changes a database past the service. */
  run(...statements: readonly string[]): void {
    using database = new Database(this.path, { readwrite: true });
    for (const statement of statements) database.run(statement);
  }

  /** Puts something in each column of the tables that are still empty. */
  #fill(): void {
    using database = new Database(this.path, { readwrite: true });
    database.run(
      `INSERT INTO user_tokens VALUES (3, 'digest', 'client', 1, 'ats_1', 'app', 9000000000000), (${FORGOTTEN_ID}, 'gone', '', 1, '', 'app', 1)`,
    );
    database.run(`DELETE FROM user_tokens WHERE id = ${FORGOTTEN_ID}`);
    for (const { name, columns } of TABLES) {
      if (database.query(`SELECT 1 FROM "${name}" LIMIT 1`).get()) continue;
      const list = columns.map((column) => `"${column.name}"`).join(", ");
      const values = columns.map((_, n) => `?${n + 1}`).join(", ");
      const insert = database.query(`INSERT INTO "${name}" (${list}) VALUES (${values})`);
      for (const n of [1, 2]) {
        const cells = columns.map(({ dataType, name: column }) =>
          dataType === "string"
            ? `${column} ${n} "quoted" 'é' \\ {"a":[1]}\n微信🔑`
            : dataType === "boolean"
              ? n % 2
              : Number.MAX_SAFE_INTEGER - n,
        );
        insert.run(...(cells as [string]));
      }
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
