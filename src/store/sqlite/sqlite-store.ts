import { drizzle } from "drizzle-orm/bun-sqlite";
import type { CredentialName } from "../../credentials/credential.ts";
import type { ErrorCode } from "../../errors.ts";
import type { Keyring } from "../keyring.ts";
import type { Store } from "../store.ts";
import { SealedCredentials } from "./credential-rows.ts";
import { AuditChain } from "./audit-chain.ts";
import { Revisions } from "./statement.ts";
import { SqliteAppStore } from "./sqlite-app-store.ts";
import { SqliteClientStore } from "./sqlite-client-store.ts";
import { SqliteAuditStore } from "./sqlite-audit-store.ts";
import {
  listStandingLives,
  SqliteCredentialFacts,
  SqliteIssuedTokenIndex,
} from "./sqlite-credential-facts.ts";
import { SqliteCredentialStore } from "./sqlite-credential-store.ts";
import { SqliteCallCountStore } from "./sqlite-counts.ts";
import { SqlitePacingStore } from "./sqlite-pacing-store.ts";
import { SqliteIdempotencyStore } from "./sqlite-login-answer-store.ts";
import { probeDatabase } from "./open-database.ts";
import { backfillTokenDigests } from "./digest-standing-tokens.ts";
import { closeDatabase, unlockDatabase, type UnlockOptions } from "./unlock.ts";

/** Where the database is, what seals it, and who is told of what happens there. */
export interface SqliteStoreOptions extends UnlockOptions {
  /** Called when a credential's sealed value can't be opened; the store goes on as if there were none. */
  readonly onDamaged?: (name: CredentialName) => void;
  /** Called when a registered app's secret can't be opened, with the app's name in the store. */
  readonly onDamagedApp?: (row: string) => void;
  /** Called when an audit entry could not be written, and with it what it was about. */
  readonly onAuditFailed?: (code: ErrorCode) => void;
}

/** How often a process looks whether the master key is being changed, in milliseconds. */
const KEYS_POLL_MS = 200;

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
  const { database, keyring } = await unlockDatabase(options);
  const stopFollowing = followKeys(keyring);
  try {
    const orm = drizzle({ client: database });
    const audit = new AuditChain({ key: keyring.auditKey(), clock, onFailed: options.onAuditFailed });
    const auditStore = new SqliteAuditStore(orm, audit, clock);
    const revisions = new Revisions(database);
    const sealed = new SealedCredentials(keyring, options.onDamaged ?? (() => undefined));
    await backfillTokenDigests(orm, sealed, clock);
    return {
      apps: new SqliteAppStore({
        database: orm,
        keyring,
        clock,
        audit,
        revisions,
        onDamaged: options.onDamagedApp,
      }),
      clients: new SqliteClientStore({ database: orm, clock, audit, revisions }),
      credentials: new SqliteCredentialStore(database, sealed, clock, audit),
      issuedTokens: new SqliteIssuedTokenIndex(database, sealed, clock),
      virtualTokenKey: keyring.virtualTokenKey(),
      credentialFacts: new SqliteCredentialFacts(orm, clock),
      pacing: new SqlitePacingStore(orm, clock, audit),
      callCounts: new SqliteCallCountStore(orm, clock),
      audit: auditStore,
      loginAnswers: new SqliteIdempotencyStore(orm, keyring, clock),
      digest: (platform, appId, secret) => keyring.digest(platform, appId, secret),
      probe: () =>
        probeDatabase(
          database,
          { proveKey: () => keyring.isProven(), writeAudit: () => auditStore.probe() },
          clock,
        ),
      listLives: () => listStandingLives(orm, clock),
      close: () => {
        stopFollowing();
        closeDatabase(database);
      },
    };
  } catch (error) {
    stopFollowing();
    database.close();
    throw error;
  }
}

/**
 * Has a process that neither reads nor writes learn of a new master key while whoever has the old one can still open
 * it. Ends with the answer.
 */
function followKeys(keyring: Keyring): () => void {
  const timer = setInterval(() => {
    try {
      keyring.refresh();
    } catch {
      // What keeps it from reading is told by whatever needs the database.
    }
  }, KEYS_POLL_MS);
  timer.unref();
  return () => clearInterval(timer);
}
