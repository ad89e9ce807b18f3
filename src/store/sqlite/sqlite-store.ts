import { Mirror } from "../../changes.ts";
import type { CredentialName } from "../../credentials/credential.ts";
import type { ServiceError } from "../../errors.ts";
import type { Store } from "../store.ts";
import { DamageReports } from "../damaged-rows.ts";
import { SealedCredentials } from "../credential-rows.ts";
import { AuditChain } from "../audit-chain.ts";
import { readDataKeys } from "../data-keys.ts";
import { SqlAppStore } from "../sql-app-store.ts";
import { SqliteChanges } from "./sqlite-changes.ts";
import { SqlClientStore } from "../sql-client-store.ts";
import { SqlAuditStore } from "../sql-audit-store.ts";
import { listStandingLives, SqlCredentialFacts, SqlIssuedTokenIndex } from "../sql-credential-facts.ts";
import { SqlCredentialStore } from "../sql-credential-store.ts";
import { SqlCallCountStore } from "../sql-counts.ts";
import { SqlPacingStore } from "../sql-pacing-store.ts";
import { SqlIdempotencyStore } from "../sql-login-answer-store.ts";
import { SqlUserTokenStore } from "../sql-user-token-store.ts";
import { probeDatabase } from "./open-database.ts";
import { backfillTokenDigests } from "../digest-standing-tokens.ts";
import { unlockDatabase, type UnlockOptions } from "./unlock.ts";

/** Where the database is, what seals it, and who is told of what happens there. */
export interface SqliteStoreOptions extends UnlockOptions {
  /** Called when a credential's sealed value can't be opened; the store goes on as if there were none. */
  readonly onDamaged?: (name: CredentialName) => void;
  /** Called when a registered app's secret can't be opened, with the app's name in the store. */
  readonly onDamagedApp?: (row: string) => void;
  /** Called when any other row can't be read whole, with what names it. */
  readonly onDamagedRow?: (key: string) => void;
  /** Called when a newer version has changed the database so that this one would answer wrongly. */
  readonly onOutdated?: () => void;
  /** Called when an audit entry could not be written, and with it what it was about. */
  readonly onAuditFailed?: (failure: ServiceError) => void;
}

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
  // A process that neither reads nor writes must learn of a new master key while the old one still opens it.
  const keys = new Mirror(changes, "keys", () =>
    sql.snapshot(async (queries) => {
      await keyring.refresh(queries);
      keyring.use(await readDataKeys(queries, keyring));
    }),
  );
  keys.start();
  const stop = () => {
    keys.stop();
    changes.close();
  };
  try {
    const audit = new AuditChain({ key: keyring.auditKey(), clock, onFailed: options.onAuditFailed });
    const auditStore = new SqlAuditStore(sql, audit, clock);
    const damage = new DamageReports(options.onDamagedRow);
    const sealed = new SealedCredentials(keyring, options.onDamaged ?? (() => undefined));
    await auditStore.begin();
    await backfillTokenDigests(sql, sealed, clock);
    return {
      changes,
      apps: new SqlAppStore({
        database: sql,
        keyring,
        clock,
        audit,
        changes,
        onDamaged: options.onDamagedApp,
      }),
      clients: new SqlClientStore(sql, audit, changes, damage),
      credentials: new SqlCredentialStore(sql, sealed, clock, audit, changes),
      issuedTokens: new SqlIssuedTokenIndex(sql, sealed),
      virtualTokenKeys: { keys: () => keyring.virtualTokenKeys(), refresh: () => keys.refresh() },
      credentialFacts: new SqlCredentialFacts(sql),
      pacing: new SqlPacingStore(sql, clock, audit, damage),
      callCounts: new SqlCallCountStore(sql),
      audit: auditStore,
      loginAnswers: new SqlIdempotencyStore(sql, keyring),
      userTokens: new SqlUserTokenStore(sql, sealed),
      digest: (platform, appId, secret) => keyring.digest(platform, appId, secret),
      probe: () =>
        probeDatabase(
          { database, files, sql },
          { proveKey: () => keyring.isProven(), writeAudit: () => auditStore.probe() },
          clock,
        ),
      listLives: () => listStandingLives(sql),
      close: () => {
        stop();
        close();
      },
    };
  } catch (error) {
    stop();
    close();
    throw error;
  }
}
