import type { Database } from "bun:sqlite";
import { drizzle } from "drizzle-orm/bun-sqlite";
import type { Clock } from "../../clock.ts";
import type { CredentialName } from "../../credentials/credential.ts";
import { type ErrorCode, ServiceError } from "../../errors.ts";
import { Secret } from "../../secret.ts";
import { Keyring, type SealedPlace } from "../keyring.ts";
import { createKeyFile, parseMasterKey, readKeyFile } from "../master-key.ts";
import type { Store } from "../store.ts";
import { migrate } from "./migrations.ts";
import { type DatabaseInspection, inspectDatabase, openDatabase } from "./open-database.ts";
import { keyring as keyringTable } from "./schema.ts";
import { SealedCredentials } from "./sealed-credentials.ts";
import { AuditChain } from "./audit-chain.ts";
import { Revisions } from "./revisions.ts";
import { SqliteAppStore } from "./sqlite-app-store.ts";
import { SqliteClientStore } from "./sqlite-client-store.ts";
import { SqliteAuditStore } from "./sqlite-audit-store.ts";
import { SqliteCredentialFacts } from "./sqlite-credential-facts.ts";
import { listStandingLives } from "./sqlite-credential-lives.ts";
import { SqliteCredentialStore } from "./sqlite-credential-store.ts";
import { SqliteForcedRefreshes } from "./sqlite-forced-refreshes.ts";
import { SqliteLoginAnswerStore } from "./sqlite-login-answer-store.ts";
import { probeDatabase } from "./sqlite-probe.ts";
import { SqliteUsageStore } from "./sqlite-usage-store.ts";
import { SqlitePauseStore } from "./sqlite-pause-store.ts";
import { runStatement } from "./statement.ts";

/** Where the database is and what seals it. */
export interface SqliteStoreOptions {
  readonly path: string;
  /** The master key itself; wins over the file. */
  readonly masterKey: Secret | undefined;
  readonly masterKeyFile: string;
  readonly clock: Clock;
  /** Called once a new master key has been made, with its path: losing it loses the data. */
  readonly onKeyCreated: (path: string) => void;
  /** Called when a credential's sealed value can't be opened; the store goes on as if there were none. */
  readonly onDamaged?: (name: CredentialName) => void;
  /** Called when an audit entry could not be written, and with it what it was about. */
  readonly onAuditFailed?: (code: ErrorCode) => void;
}

const PROOF = new Secret("accesstoken-service");

/**
 * Opens the database, or makes it. Several processes may do so at the same moment.
 *
 * The database and the key are looked at before anything is written, so that a wrong key, a damaged file or one from
 * a newer version is left as it is.
 *
 * @throws {ServiceError} `store_unusable` with the next step.
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const { path, clock } = options;
  const inspection = await runStatement(clock, () => inspectDatabase(path));
  const keyring = unlock(options, inspection);
  const database = await runStatement(clock, () => openDatabase(path));
  try {
    await runStatement(clock, () => migrate(database, clock.now()));
    await runStatement(clock, () => proveKey(database, keyring, clock));
    const orm = drizzle({ client: database });
    const audit = new AuditChain({ key: keyring.auditKey(), clock, onFailed: options.onAuditFailed });
    const revisions = new Revisions(database);
    const sealed = new SealedCredentials(keyring, options.onDamaged ?? (() => undefined));
    return {
      apps: new SqliteAppStore({ database: orm, keyring, clock, audit, revisions }),
      clients: new SqliteClientStore({ database: orm, clock, audit, revisions }),
      credentials: new SqliteCredentialStore(database, sealed, clock, audit),
      credentialFacts: new SqliteCredentialFacts(orm, clock),
      pauses: new SqlitePauseStore(orm, clock, audit),
      usage: new SqliteUsageStore(orm, clock),
      audit: new SqliteAuditStore(orm, audit, clock),
      loginAnswers: new SqliteLoginAnswerStore(orm, keyring, clock),
      forcedRefreshes: new SqliteForcedRefreshes(orm, clock),
      digest: (platform, appId, secret) => keyring.digest(platform, appId, secret),
      probe: () => probeDatabase(database, () => isKeyProven(database, keyring), clock),
      listLives: () => listStandingLives(orm, clock),
      close: () => closeDatabase(database),
    };
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Moves the log into the database file, so that a copy of that one file is a whole backup, and lets go of it. */
function closeDatabase(database: Database): void {
  try {
    database.run("PRAGMA wal_checkpoint(TRUNCATE)");
  } catch {
    // What is committed is safe in the log as well; the next start moves it.
  }
  database.close();
}

/** The keyring of this database. Makes a key file when the database is new and there is none. */
function unlock(options: SqliteStoreOptions, { key }: DatabaseInspection): Keyring {
  const { masterKey, masterKeyFile } = options;
  const origin = masterKey ? "MASTER_KEY" : `MASTER_KEY_FILE ${masterKeyFile}`;
  let text = masterKey ?? secretOf(readKeyFile(masterKeyFile));
  if (!text) {
    if (key) {
      throw new ServiceError(
        "store_unusable",
        `${origin}: 主密钥不存在，而数据库已加密；请放回原来的主密钥文件 (missing, but the database is sealed; put the original key file back)`,
      );
    }
    text = secretOf(createKeyFile(masterKeyFile));
    options.onKeyCreated(masterKeyFile);
  }
  const bytes = text && parseMasterKey(text);
  if (!bytes) {
    throw new ServiceError(
      "store_unusable",
      `${origin}: 不是有效的主密钥，应为64位十六进制或base64的32字节 (not a master key: 32 bytes as 64 hex digits or base64)`,
    );
  }
  const keyring = new Keyring(bytes);
  if (key && key.keyId !== keyring.keyId) {
    throw new ServiceError(
      "store_unusable",
      `${origin}: 与数据库不匹配，请使用创建该数据库时的主密钥 (does not open this database; use the key that it was made with)`,
    );
  }
  if (key) keyring.open(key.proof, proofPlace(keyring));
  return keyring;
}

/** Writes down, once, which key seals this database; a process that came second with another key is turned away. */
function proveKey(database: Database, keyring: Keyring, clock: Clock): void {
  const orm = drizzle({ client: database });
  orm.transaction(
    (transaction) => {
      const standing = transaction.select().from(keyringTable).get();
      if (standing && standing.keyId !== keyring.keyId) {
        throw new ServiceError(
          "store_unusable",
          "数据库已由另一主密钥加密 (the database is sealed under another master key)",
        );
      }
      if (standing) return;
      const proof = keyring.seal(PROOF, proofPlace(keyring));
      transaction.insert(keyringTable).values({ keyId: keyring.keyId, proof, createdAt: clock.now() }).run();
    },
    { behavior: "immediate" },
  );
}

/** Whether the database still has its proof, and the key in memory opens it. */
function isKeyProven(database: Database, keyring: Keyring): boolean {
  const standing = drizzle({ client: database }).select().from(keyringTable).get();
  return standing !== undefined && keyring.open(standing.proof, proofPlace(keyring)).equals(PROOF);
}

function proofPlace(keyring: Keyring): SealedPlace {
  return { table: "keyring", row: keyring.keyId, column: "proof" };
}

function secretOf(text: string | undefined): Secret | undefined {
  return text === undefined ? undefined : new Secret(text);
}
