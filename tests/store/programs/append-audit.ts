import { systemClock } from "../../../src/clock.ts";
import { ServiceError } from "../../../src/errors.ts";
import { openSqliteStore } from "../../../src/store/sqlite/sqlite-store.ts";
import { entryOf } from "../../support/audit-entries.ts";

/**
 * A program that opens the database and writes audit entries as a client, one after the other.
 *
 * Its arguments: the database, the key file, the client's name, and how many entries.
 */
export const APPEND_AUDIT = import.meta.path;

async function appendAudit([path = "", masterKeyFile = "", client = "", count]: string[]): Promise<void> {
  const store = await patiently(() =>
    openSqliteStore({
      path,
      masterKey: undefined,
      masterKeyFile,
      clock: systemClock,
      onKeyCreated: () => {},
    }),
  );
  for (let number = 1; number <= Number(count); number++) {
    await patiently(() => store.audit.append(entryOf({ client, detail: { number } })));
  }
  store.close();
}

/** Tries again while other processes keep the database to themselves, as on a slow machine they may for seconds. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ServiceError && error.code === "unavailable")) throw error;
    }
  }
}

if (import.meta.main) await appendAudit(process.argv.slice(2));
