import { systemClock } from "../../../src/clock.ts";
import { openSqliteStore } from "../../../src/store/sqlite/sqlite-store.ts";
import { entryOf } from "../../support/audit-entries.ts";

/**
 * A program that opens the database and writes audit entries as a client, one after the other.
 *
 * Its arguments: the database, the key file, the client's name, and how many entries.
 */
export const APPEND_AUDIT = import.meta.path;

async function appendAudit([path = "", masterKeyFile = "", client = "", count]: string[]): Promise<void> {
  const store = await openSqliteStore({
    path,
    masterKey: undefined,
    masterKeyFile,
    clock: systemClock,
    onKeyCreated: () => {},
  });
  for (let number = 1; number <= Number(count); number++) {
    await store.audit.append(entryOf({ client, detail: { number } }));
  }
  store.close();
}

if (import.meta.main) await appendAudit(process.argv.slice(2));
