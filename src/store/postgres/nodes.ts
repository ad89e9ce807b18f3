import { hostname } from "node:os";
import type { Node } from "../../ops/node.ts";
import { VERSION } from "../../version.ts";
import type { PostgresEngine } from "./postgres-engine.ts";

/** How often a process says that it is here, after how long it counts no more, and when its row goes. Milliseconds. */
const BEAT_MS = 3000;
const LIVE_MS = 8000;
const FORGOTTEN_MS = 3_600_000;

const NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
const BEAT = `WITH gone AS (DELETE FROM nodes WHERE seen_at < ${NOW} - ${FORGOTTEN_MS}),
  own AS (
    INSERT INTO nodes AS n (id, host, version, started_at, seen_at, offset_ms, is_listening)
    VALUES (?, ?, ?, ${NOW}, ${NOW}, ?, ?)
    ON CONFLICT (id) DO UPDATE
      SET seen_at = excluded.seen_at, offset_ms = excluded.offset_ms, is_listening = excluded.is_listening)
  SELECT count(*) FROM nodes WHERE id <> ? AND seen_at > ${NOW} - ${LIVE_MS}`;
const LIST = `SELECT host, version, started_at, seen_at, offset_ms, is_listening FROM nodes
  WHERE seen_at > ${NOW} - ${LIVE_MS} ORDER BY host, started_at`;

/** What a process says of itself. */
export interface NodeState {
  readonly offsetMs: () => number;
  readonly isListening: () => boolean;
}

/** The processes that serve from one database, each of which says every three seconds that it is still here. */
export class Nodes {
  readonly #engine: PostgresEngine;
  readonly #state: NodeState;
  readonly #id = crypto.randomUUID();
  #others = 0;
  #timer: Timer | undefined;

  constructor(engine: PostgresEngine, state: NodeState) {
    this.#engine = engine;
    this.#state = state;
  }

  /** How many there are, this one included. While the database is away, as many as there were. */
  get count(): number {
    return this.#others + 1;
  }

  /** Counts this process among them. */
  join(): void {
    if (this.#timer) return;
    void this.#beat();
    this.#timer = setInterval(() => void this.#beat(), BEAT_MS);
    this.#timer.unref();
  }

  /** Those that are here. Throws what the engine throws. */
  async list(): Promise<Node[]> {
    const rows = await this.#engine.reads.query(LIST, []);
    return rows.map(([host, version, startedAt, seenAt, offsetMs, isListening]) => ({
      host: String(host),
      version: String(version),
      startedAt: Number(startedAt),
      seenAt: Number(seenAt),
      offsetMs: Number(offsetMs),
      isListening: isListening === 1,
    }));
  }

  /** Says nothing more. */
  close(): void {
    clearInterval(this.#timer);
  }

  async #beat(): Promise<void> {
    const { offsetMs, isListening } = this.#state;
    const own = [this.#id, hostname(), VERSION, Math.round(offsetMs()), isListening() ? 1 : 0, this.#id];
    try {
      const [row] = await this.#engine.reads.query(BEAT, own);
      this.#others = Number(row?.[0]);
    } catch {
      // It says so again in three seconds.
    }
  }
}
