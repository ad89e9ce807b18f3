import type { SQL } from "bun";
import type { Clock } from "../../clock.ts";
import { connect, type PostgresAddress, type PostgresEngine } from "./postgres-engine.ts";

const CHANNEL = "accesstoken";
/** How often this process sends itself a message, and how soon it must hear it. Milliseconds. */
const PING_MS = 4000;
const PONG_MS = 2000;
/** After so many unheard messages in a row the way is not one that carries notifications. */
const MAX_UNHEARD = 2;

/** What a listener tells its owner. */
export interface ListenerEvents {
  readonly onMessage: (message: string) => void;
  /** Called when it begins to hear, also again: what was sent before is lost. */
  readonly onListening: () => void;
  /** Called once, when its own messages don't arrive, as behind a pooler that hands out connections by the transaction. */
  readonly onUnheard: () => void;
}

/**
 * Listens to the notifications of a database, on a connection of its own.
 *
 * A dead connection says nothing, and neither does a quiet one: so it sends itself a message every few seconds, and
 * listens anew when that does not arrive.
 */
export class Listener {
  readonly #engine: PostgresEngine;
  readonly #address: PostgresAddress;
  readonly #clock: Clock;
  readonly #tell: ListenerEvents;
  readonly #id = crypto.randomUUID();
  #client: SQL | undefined;
  #isHeard = false;
  #sentAt = Number.NEGATIVE_INFINITY;
  #heardAt = Number.NEGATIVE_INFINITY;
  #unheard = 0;
  #isTold = false;

  constructor(engine: PostgresEngine, address: PostgresAddress, clock: Clock, tell: ListenerEvents) {
    this.#engine = engine;
    this.#address = address;
    this.#clock = clock;
    this.#tell = tell;
  }

  /** Whether the last message to itself arrived. */
  get isListening(): boolean {
    return this.#isHeard;
  }

  /** To be called every second or so while the database can be read. */
  tend(): void {
    const now = this.#clock.monotonic();
    const isWaiting = this.#heardAt < this.#sentAt;
    if (this.#client && isWaiting && now - this.#sentAt > PONG_MS) this.#restart();
    if (!this.#client) this.#listen();
    else if (!isWaiting && now - this.#sentAt >= PING_MS) this.#ping();
  }

  /** Ends it, until `tend` is called again. */
  close(): void {
    this.#isHeard = false;
    void this.#client?.close({ timeout: 0 });
    this.#client = undefined;
  }

  #listen(): void {
    const client = connect(this.#address, 1);
    this.#client = client;
    const onMessage = (message: string) => {
      if (this.#client !== client) return;
      if (!message.startsWith("ping ")) return this.#tell.onMessage(message);
      if (message !== `ping ${this.#id}`) return;
      this.#heardAt = this.#clock.monotonic();
      this.#isHeard = true;
      this.#unheard = 0;
    };
    const onListening = () => {
      if (this.#client !== client) return;
      this.#ping();
      this.#tell.onListening();
    };
    client.listen(CHANNEL, onMessage, onListening).catch(() => {
      if (this.#client === client) this.close();
    });
  }

  #ping(): void {
    this.#sentAt = this.#clock.monotonic();
    // Where it can't be sent, it is not heard.
    this.#engine.look("SELECT pg_notify(?, ?)", [CHANNEL, `ping ${this.#id}`]).catch(() => undefined);
  }

  #restart(): void {
    this.close();
    this.#heardAt = this.#sentAt;
    if (++this.#unheard < MAX_UNHEARD || this.#isTold) return;
    this.#isTold = true;
    this.#tell.onUnheard();
  }
}
