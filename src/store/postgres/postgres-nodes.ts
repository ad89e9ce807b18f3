import type { Heartbeat, Node, NodeStore } from "../../ops/nodes.ts";
import type { Sql } from "../sql.ts";

const NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
const DAY_MS = 86_400_000;

const BEAT = `WITH forgotten AS (DELETE FROM nodes WHERE id <> ? AND seen_at < ${NOW} - ${DAY_MS})
  INSERT INTO nodes
    (id, host, pid, version, key_ids, offset_ms, is_listening, started_at, seen_at)
  VALUES (?, ?, ?, ?, ?, ?, ?, ${NOW}, ${NOW})
  ON CONFLICT (id) DO UPDATE SET key_ids = excluded.key_ids, offset_ms = excluded.offset_ms,
    is_listening = excluded.is_listening, seen_at = excluded.seen_at`;
const LIST = `SELECT id, host, pid, version, key_ids, offset_ms, is_listening, started_at, seen_at, ${NOW} - seen_at
  FROM nodes WHERE seen_at >= ${NOW} - ${DAY_MS} ORDER BY host, started_at, id`;

/** What a process knows of itself. */
export interface OwnState {
  readonly keyIds: () => readonly string[];
  readonly isListening: () => boolean;
}

/**
 * The list of processes in PostgreSQL. Times are the database's, so that it does not matter what the machines' clocks say.
 *
 * Each statement stands alone and takes no lock that writers wait for: `sql` runs them outside of any transaction.
 */
export class PostgresNodes implements NodeStore {
  readonly #sql: (text: string, parameters: readonly unknown[]) => Promise<unknown[][]>;
  readonly #own: OwnState;

  constructor(sql: Sql["query"], own: OwnState) {
    this.#sql = sql;
    this.#own = own;
  }

  async beat({ id, host, pid, version, offsetMs }: Heartbeat): Promise<readonly Node[]> {
    const { keyIds, isListening } = this.#own;
    const own = [keyIds().join(","), offsetMs, isListening() ? 1 : 0];
    await this.#sql(BEAT, [id, id, host, pid, version, ...own]);
    return this.list();
  }

  list(): Promise<readonly Node[]> {
    return listNodes({ query: this.#sql });
  }

  async remove(id: string): Promise<void> {
    await this.#sql("DELETE FROM nodes WHERE id = ?", [id]);
  }
}

/** As `NodeStore.list`, also as part of a transaction. */
export async function listNodes(sql: Sql): Promise<readonly Node[]> {
  return (await sql.query(LIST, [])).map(nodeOf);
}

function nodeOf(row: unknown[]): Node {
  const [id, host, pid, version, keyIds, offsetMs, isListening, startedAt, seenAt, silentMs] = row;
  return {
    id: String(id),
    host: String(host),
    pid: Number(pid),
    version: String(version),
    keyIds: String(keyIds).split(","),
    offsetMs: Number(offsetMs),
    isListening: Number(isListening) === 1,
    startedAt: Number(startedAt),
    seenAt: Number(seenAt),
    silentMs: Number(silentMs),
  };
}
