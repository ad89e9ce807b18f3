import { sqlFailureOf, type SqlEngine } from "../sql.ts";
import { MIGRATIONS } from "./migrations.ts";
import { connect, failureOf, type PostgresAddress, PostgresEngine } from "./postgres-engine.ts";
import { listNodes } from "./postgres-nodes.ts";
import { isAsynchronous } from "./postgres-store.ts";
import type { Node } from "../../ops/nodes.ts";

/** How long a notification to ourselves may take, in milliseconds. */
const HEARD_MS = 3000;

/** What a server says of itself and of our place in it. */
export interface ServerFacts {
  /** As 150004 for 15.4. */
  readonly version: number;
  /** Whether it follows another, or refuses to write for another reason. */
  readonly isStandby: boolean;
  readonly isReadOnly: boolean;
  /** Whether it has standbys and waits for none of them. */
  readonly isAsynchronous: boolean;
  readonly connectionsLeft: number;
  /** Epoch milliseconds. */
  readonly now: number;
  /** What the role may not do: `CREATE`, or the tables that it may not read and write. */
  readonly missingRights: readonly string[];
}

const FACTS = `SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),
  current_setting('default_transaction_read_only') = 'on',
  current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
  (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
  has_schema_privilege(current_schema(), 'CREATE')`;
const CLOSED_TABLES = `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()
  AND NOT (has_table_privilege(quote_ident(schemaname) || '.' || quote_ident(tablename), 'SELECT')
  AND has_table_privilege(quote_ident(schemaname) || '.' || quote_ident(tablename), 'INSERT')
  AND has_table_privilege(quote_ident(schemaname) || '.' || quote_ident(tablename), 'UPDATE')
  AND has_table_privilege(quote_ident(schemaname) || '.' || quote_ident(tablename), 'DELETE')) ORDER BY 1`;

/** A PostgreSQL that is only read. */
export class PostgresExamination {
  readonly known = MIGRATIONS.map(({ name }) => name);
  readonly #engine: PostgresEngine;

  constructor(address: PostgresAddress) {
    this.#engine = new PostgresEngine(address);
  }

  get engine(): SqlEngine {
    return this.#engine;
  }

  /** The code of what keeps us from asking it anything; undefined when nothing does. */
  async refusal(): Promise<string | undefined> {
    try {
      await this.#engine.look("SELECT 1");
      return undefined;
    } catch (error) {
      const failure = sqlFailureOf(error);
      if (!failure) throw error;
      return failure.code;
    }
  }

  /** The migrations that it has had; undefined where it has tables of another program alone. */
  async applied(): Promise<string[] | undefined> {
    const tables = await this.#engine.look(
      "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()",
    );
    if (!tables.some(([name]) => name === "migrations")) return tables.length === 0 ? [] : undefined;
    return (await this.#engine.look("SELECT name FROM migrations ORDER BY 1")).map(([name]) => String(name));
  }

  async facts(): Promise<ServerFacts> {
    const [row = []] = await this.#engine.look(FACTS);
    const [version, isStandby, isReadOnly, left, now, mayCreate] = row;
    const closed = await this.#engine.look(CLOSED_TABLES);
    return {
      version: Number(version),
      isStandby: isStandby === true,
      isReadOnly: isReadOnly === true,
      isAsynchronous: await isAsynchronous(this.#engine),
      connectionsLeft: Number(left),
      now: Number(now),
      missingRights: [...(mayCreate === true ? [] : ["CREATE"]), ...closed.map(([name]) => String(name))],
    };
  }

  /** See `NodeStore.list`. */
  nodes(): Promise<readonly Node[]> {
    return listNodes({ query: (text, parameters) => this.#engine.look(text, parameters) });
  }

  /** Whether a notification comes back through `listenAddress`; on a channel of its own, which nobody else hears. */
  async hearsItself(listenAddress: PostgresAddress): Promise<boolean> {
    const listener = connect(listenAddress, 1);
    const channel = `accesstoken_doctor_${crypto.randomUUID().replaceAll("-", "")}`;
    try {
      const heard = Promise.withResolvers<boolean>();
      const tell = () => void this.#engine.look("SELECT pg_notify(?, '')", [channel]).catch(heard.reject);
      listener.listen(channel, () => heard.resolve(true), tell).catch(heard.reject);
      const late = Bun.sleep(HEARD_MS).then(() => false);
      return await Promise.race([heard.promise, late]);
    } catch (error) {
      throw failureOf(error);
    } finally {
      void listener.close({ timeout: 0 });
    }
  }

  /** Lets go of it. */
  close(): void {
    this.#engine.close();
  }
}
