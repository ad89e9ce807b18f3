import { type Changes, Mirror } from "../changes.ts";
import type { Clock } from "../clock.ts";
import type { CredentialName } from "../credentials/credential.ts";
import type { ServiceError } from "../errors.ts";
import { AuditChain, type AuditChainParts } from "./audit-chain.ts";
import { SealedCredentials } from "./credential-rows.ts";
import { DamageReports } from "./damaged-rows.ts";
import { readDataKeys } from "./data-keys.ts";
import { backfillTokenDigests } from "./digest-standing-tokens.ts";
import type { OwnChanges } from "./epochs.ts";
import type { Keyring } from "./keyring.ts";
import type { SqlDatabase } from "./sql.ts";
import { SqlAlarmStore } from "./sql-alarm-store.ts";
import { SqlAppStore } from "./sql-app-store.ts";
import { SqlAuditStore } from "./sql-audit-store.ts";
import { SqlAuthorizationCodeStore, SqlAuthorizationLinkStore } from "./sql-authorization-store.ts";
import { SqlChannelStore } from "./sql-channel-store.ts";
import { SqlClientStore } from "./sql-client-store.ts";
import { SqlConsoleSessionStore } from "./sql-console-session-store.ts";
import { SqlCallbackSettingsStore } from "./sql-callback-settings-store.ts";
import { SqlCallCountStore } from "./sql-counts.ts";
import { listStandingLives, SqlCredentialFacts, SqlIssuedTokenIndex } from "./sql-credential-facts.ts";
import { SqlCredentialStore } from "./sql-credential-store.ts";
import { SqlDeliveryStore } from "./sql-delivery-store.ts";
import { SqlIdempotencyStore } from "./sql-login-answer-store.ts";
import { SqlMilestoneStore } from "./sql-milestone-store.ts";
import { SqlNotificationQueue } from "./sql-notification-queue.ts";
import { SqlPacingStore } from "./sql-pacing-store.ts";
import { SqlEnvironmentStore } from "./sql-environment-store.ts";
import { SqlRefreshLogStore } from "./sql-refresh-log-store.ts";
import { SqlRedirectOriginStore } from "./sql-redirect-origin-store.ts";
import { SqlWebLoginStore } from "./sql-web-login-store.ts";
import { SqlUserTokenStore } from "./sql-user-token-store.ts";
import type { Store } from "./store.ts";

/** Who is told of what happens in a store. */
export interface StoreListeners {
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

/** An open database of either engine, unlocked. */
export interface OpenSql extends Pick<AuditChainParts, "remembered" | "keepsNul"> {
  readonly sql: SqlDatabase;
  readonly keyring: Keyring;
  readonly changes: Changes & OwnChanges;
  readonly clock: Clock;
  /** The number of the migration from which on a process knows third-party platforms. */
  readonly platformsFrom: number;
}

/** The stores over an open database, and what only the engine's own store goes on to use. */
export interface SqlStores {
  readonly stores: Omit<Store, "nodes" | "awayMs" | "isListening" | "probe" | "close">;
  readonly auditStore: SqlAuditStore;
  /** Ends what runs in the background. */
  readonly stop: () => void;
}

/** Builds every store over `open`, and begins what they need in the database. Throws what the database throws. */
export async function openSqlStores(open: OpenSql, listeners: StoreListeners): Promise<SqlStores> {
  const { sql, keyring, changes, clock, platformsFrom, remembered, keepsNul } = open;
  // A process that neither reads nor writes must learn of a new master key while the old one still opens it.
  const keys = new Mirror(changes, "keys", () =>
    sql.snapshot(async (queries) => {
      await keyring.refresh(queries);
      keyring.use(await readDataKeys(queries, keyring));
    }),
  );
  keys.start();
  try {
    const onFailed = listeners.onAuditFailed;
    const audit = new AuditChain({ key: keyring.auditKey(), clock, remembered, keepsNul, onFailed });
    const auditStore = new SqlAuditStore(sql, audit, clock);
    const damage = new DamageReports(listeners.onDamagedRow);
    const sealed = new SealedCredentials(keyring, listeners.onDamaged ?? (() => undefined));
    await auditStore.begin();
    await backfillTokenDigests(sql, sealed, clock);
    const onDamaged = listeners.onDamagedApp;
    const stores = {
      changes,
      apps: new SqlAppStore({ database: sql, keyring, clock, audit, changes, platformsFrom, onDamaged }),
      clients: new SqlClientStore(sql, audit, changes, damage),
      consoleSessions: new SqlConsoleSessionStore(sql, audit, changes),
      environments: new SqlEnvironmentStore(sql, audit, changes, damage),
      credentials: new SqlCredentialStore(sql, sealed, clock, audit, changes),
      issuedTokens: new SqlIssuedTokenIndex(sql, sealed),
      virtualTokenKeys: { keys: () => keyring.virtualTokenKeys(), refresh: () => keys.refresh() },
      virtualGrantKey: () => keyring.virtualGrantKey(),
      credentialFacts: new SqlCredentialFacts(sql),
      pacing: new SqlPacingStore({ database: sql, clock, audit, damage, changes }),
      callCounts: new SqlCallCountStore(sql),
      refreshLog: new SqlRefreshLogStore(sql, clock),
      audit: auditStore,
      loginAnswers: new SqlIdempotencyStore(sql, keyring),
      userTokens: new SqlUserTokenStore(sql, sealed),
      redirectOrigins: new SqlRedirectOriginStore({ database: sql, audit, changes, clock, damage }),
      webLogins: new SqlWebLoginStore(sql, keyring),
      callbackSettings: new SqlCallbackSettingsStore({
        ...{ database: sql, keyring, audit, changes, damage },
        now: () => clock.now(),
      }),
      deliveries: new SqlDeliveryStore({ database: sql, keyring, audit, damage }),
      authorizationCodes: new SqlAuthorizationCodeStore(sql, keyring),
      authorizationLinks: new SqlAuthorizationLinkStore(sql, keyring),
      milestones: new SqlMilestoneStore(sql, clock, damage),
      alarms: new SqlAlarmStore(sql, changes, damage),
      notifications: new SqlNotificationQueue(sql, audit, changes),
      channels: new SqlChannelStore({
        ...{ database: sql, keyring, audit, changes, damage },
        now: () => clock.now(),
      }),
      digest: keyring.digest.bind(keyring),
      listLives: () => listStandingLives(sql),
    };
    return { stores, auditStore, stop: () => keys.stop() };
  } catch (error) {
    keys.stop();
    throw error;
  }
}
