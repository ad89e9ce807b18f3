import type { PostgresStoreOptions } from "./postgres/postgres-store.ts";
import { checkKeyCanBeMade } from "./key-file.ts";
import { type KeyOptions, refusedKey } from "./given-key.ts";
import { keyIdOf, type SealingKey } from "./sealing-key.ts";
import { secretPlace } from "./app-rows.ts";
import { checkRoom } from "./sqlite/copy-before-migration.ts";
import { checkDatabaseCanBeMade, openToRead } from "./sqlite/open-database.ts";
import { findKey, type UnlockOptions } from "./sqlite/unlock.ts";

/** What a start would do with a store. */
export interface StartOutlook {
  /** Whether there is no database, or an empty one. */
  readonly isNew: boolean;
  /** Whether there is no master key. */
  readonly makesKey: boolean;
  /** The migrations that a database would be given which is there, in order. */
  readonly pending: readonly string[];
  /** How many apps' secrets were opened. */
  readonly secrets: number;
}

/** How long a server that can't be reached is waited for. */
const WAIT_MS = 5000;
const SECRETS = "SELECT platform, app_id, agent, secret FROM apps";

/**
 * Looks at the SQLite database and the key that a start would use, and opens the secret of every app; makes nothing and
 * changes nothing.
 *
 * @throws {ServiceError} what the start would throw.
 */
export async function checkSqliteStart(options: UnlockOptions): Promise<StartOutlook> {
  const { path } = options;
  const { key, exists, pending } = await findKey(options);
  if (!exists) checkDatabaseCanBeMade(path);
  if (!key) return makingKey(options, { isNew: true, pending: [] });
  if (!exists) return { isNew: true, makesKey: false, pending: [], secrets: 0 };
  if (pending.length > 0) checkRoom(path);
  using database = openToRead(path);
  const keyIds = database.query<{ id: string }, []>("SELECT key_id AS id FROM keyring").all();
  const rows = database.query(SECRETS).values();
  const secrets = openSecrets(rows, key, new Set(keyIds.map(({ id }) => id)));
  return { isNew: false, makesKey: false, pending, secrets };
}

/** The same of a PostgreSQL. */
export async function checkPostgresStart(
  options: Pick<PostgresStoreOptions, "address" | "clock" | keyof KeyOptions>,
): Promise<StartOutlook> {
  // Loaded by whoever uses it.
  const [{ PostgresEngine }, { findKey: findPostgresKey, reach }, { pendingMigrations, MIGRATIONS }] =
    await Promise.all([
      import("./postgres/postgres-engine.ts"),
      import("./postgres/postgres-store.ts"),
      import("./postgres/migrations.ts"),
    ]);
  const engine = new PostgresEngine(options.address);
  try {
    await reach(engine, { ...options, waitMs: WAIT_MS });
    return await engine.transaction(
      async (sql) => {
        const pending = await pendingMigrations(sql);
        const isNew = pending.length === MIGRATIONS.length;
        const rows = isNew ? [] : await sql.query("SELECT key_id, proof FROM keyring", []);
        const keys = rows.map(([keyId, proof]) => ({ keyId: String(keyId), proof: String(proof) }));
        const key = findPostgresKey(keys, options);
        if (!key) return makingKey(options, { isNew, pending: isNew ? [] : pending });
        if (keys.length > 0 && !keys.some(({ keyId }) => keyId === key.keyId)) throw refusedKey(options);
        const found = isNew ? [] : await sql.query(SECRETS, []);
        const secrets = openSecrets(found, key, new Set(keys.map(({ keyId }) => keyId)));
        return { isNew, makesKey: false, pending: isNew ? [] : pending, secrets };
      },
      { isReadOnly: true },
    );
  } finally {
    engine.close();
  }
}

function makingKey(
  { masterKeyFile }: KeyOptions,
  outlook: Pick<StartOutlook, "isNew" | "pending">,
): StartOutlook {
  checkKeyCanBeMade(masterKeyFile);
  return { ...outlook, makesKey: true, secrets: 0 };
}

/** Opens the secret in each row, and tells how many; one of another key of the database is left to who has that. */
function openSecrets(
  rows: readonly (readonly unknown[])[],
  key: SealingKey,
  keyIds: ReadonlySet<string>,
): number {
  let opened = 0;
  for (const [platform, appId, agent, text] of rows) {
    const keyId = keyIdOf(text);
    if (keyId !== key.keyId && keyIds.has(keyId)) continue;
    key.open(
      String(text),
      secretPlace({ platform: String(platform), appId: String(appId), agent: String(agent) }),
    );
    opened += 1;
  }
  return opened;
}
