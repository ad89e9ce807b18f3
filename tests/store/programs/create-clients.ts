import type { Client } from "../../../src/access/client.ts";
import { systemClock } from "../../../src/clock.ts";
import { openSqliteStore } from "../../../src/store/sqlite/sqlite-store.ts";
import { entryOf } from "../../support/audit-entries.ts";

/**
 * A program that opens the database and creates clients, one after the other, until it is killed. It prints the name of
 * each that was acknowledged.
 *
 * Its arguments: the database, the key file, and how the clients' names begin.
 */
export const CREATE_CLIENTS = import.meta.path;

async function createClients([path = "", masterKeyFile = "", prefix]: string[]): Promise<void> {
  const { clients } = await openSqliteStore({
    path,
    masterKey: undefined,
    masterKeyFile,
    clock: systemClock,
    onKeyCreated: () => {},
  });
  const limits = { networks: [], expiresAt: undefined, rateLimit: undefined, concurrency: undefined };
  const reach = { delivery: "real", policy: { preset: "all", allow: [], deny: [] } } as const;
  for (let number = 1; ; number++) {
    const name = `${prefix}-${number}`;
    const made = { createdAt: number, updatedAt: number, version: 1 };
    const client: Client = { name, environment: "prod", grants: [], ...limits, ...reach, ...made };
    await clients.create(client, entryOf({ action: "client.created", detail: { client: name } }));
    process.stdout.write(`created ${name}\n`);
  }
}

if (import.meta.main) await createClients(process.argv.slice(2));
