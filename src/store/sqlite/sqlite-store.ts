import type { Clock } from "../../clock.ts";
import type { Node, NodeStore } from "../../ops/nodes.ts";
import type { Keyring } from "../keyring.ts";
import type { Store } from "../store.ts";
import { openSqlStores, type StoreListeners } from "../sql-store.ts";
import { PLATFORMS_MIGRATION, probeDatabase } from "./open-database.ts";
import { SqliteChanges } from "./sqlite-changes.ts";
import { REMEMBERED_ENTRY } from "./statement.ts";
import { unlockDatabase, type UnlockOptions } from "./unlock.ts";

/** Where the database is, what seals it, and who is told of what happens there. */
export interface SqliteStoreOptions extends UnlockOptions, StoreListeners {}

/**
 * Opens the database, or makes it. Several processes may do so at the same moment.
 *
 * The database and the key are looked at before anything is written, so that a wrong key, a damaged file or one from
 * a newer version is left as it is.
 *
 * @throws {ServiceError} `store_unusable` with the next step.
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const { clock } = options;
  const { database, files, sql, keyring, close } = await unlockDatabase(options);
  const changes = new SqliteChanges(database, clock, () => options.onOutdated?.());
  const closeAll = () => {
    changes.close();
    close();
  };
  try {
    const open = {
      ...{ sql, keyring, changes, clock, remembered: REMEMBERED_ENTRY },
      platformsFrom: PLATFORMS_MIGRATION,
    };
    const { stores, auditStore, stop } = await openSqlStores(open, options);
    return {
      ...stores,
      nodes: soleNode(keyring, clock),
      awayMs: () => 0,
      isListening: () => undefined,
      probe: () =>
        probeDatabase(
          { database, files, sql },
          { proveKey: () => keyring.isProven(), writeAudit: () => auditStore.probe() },
          clock,
        ),
      close: () => {
        stop();
        closeAll();
      },
    };
  } catch (error) {
    closeAll();
    throw error;
  }
}

/** A file is of one machine: its processes know each other by their supervisor, and each lists itself alone. */
function soleNode(keyring: Keyring, clock: Clock): NodeStore {
  let own: Node | undefined;
  const list = async () => (own ? [own] : []);
  return {
    beat: (beat) => {
      const now = clock.now();
      const { startedAt } = own ?? { startedAt: now };
      own = { ...beat, keyIds: keyring.keyIds, isListening: false, startedAt, seenAt: now, silentMs: 0 };
      return list();
    },
    list,
    remove: async () => void (own = undefined),
  };
}
