import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../../src/clock.ts";
import { migrate } from "../../src/store/postgres/migrations.ts";
import { PostgresEngine } from "../../src/store/postgres/postgres-engine.ts";
import { openPostgresStore, type PostgresStoreOptions } from "../../src/store/postgres/postgres-store.ts";
import type { Store } from "../../src/store/store.ts";
import { ManualClock } from "./manual-clock.ts";
import { PostgresServer } from "./postgres-server.ts";

async function migrateOnce(url: string): Promise<void> {
  const engine = new PostgresEngine({ url, password: undefined });
  await migrate(engine, 1);
  engine.close();
  // Nobody may be connected to a template.
  await Bun.sleep(100);
}

/** A database of its own on this process's server, and a folder with the master key; gone with `using`. */
export class PostgresFolder {
  readonly clock: Clock;
  readonly url: string;
  readonly folder = mkdtempSync(join(tmpdir(), "accesstoken-store-"));
  readonly keyPath = join(this.folder, "master.key");
  readonly #server: PostgresServer;
  readonly #stores: Store[] = [];

  private constructor(server: PostgresServer, url: string, clock: Clock) {
    this.#server = server;
    this.url = url;
    this.clock = clock;
  }

  static async create(clock: Clock = new ManualClock()): Promise<PostgresFolder> {
    const server = await PostgresServer.shared();
    return new PostgresFolder(server, await server.createPrepared(migrateOnce), clock);
  }

  /** Opens the store, as often as wanted. */
  async open(options: Partial<PostgresStoreOptions> = {}): Promise<Store> {
    const store = await openPostgresStore({
      address: { url: this.url, password: undefined },
      masterKey: undefined,
      masterKeyFile: this.keyPath,
      clock: this.clock,
      waitMs: 0,
      onKeyCreated: () => undefined,
      ...options,
    });
    this.#stores.push(store);
    return store;
  }

  /** Closes every store that is open. */
  close(): void {
    for (const store of this.#stores.splice(0)) store.close();
  }

  [Symbol.dispose](): void {
    this.close();
    this.#server.drop(this.url);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
