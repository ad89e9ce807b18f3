import { SqlDatabase } from "../../src/store/sql.ts";
import { createDatabase, migrate, openDatabase } from "../../src/store/sqlite/open-database.ts";
import { SqliteEngine } from "../../src/store/sqlite/sqlite-engine.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { StoreFolder } from "../support/store-folder.ts";
import { alarmStoreContract } from "./contract/alarm-store.ts";
import { appStoreContract } from "./contract/app-store.ts";
import { auditStoreContract } from "./contract/audit-store.ts";
import { authorizationStoreContract } from "./contract/authorization-store.ts";
import { callCountsContract } from "./contract/call-counts.ts";
import { changesContract } from "./contract/changes.ts";
import { callbackSettingsStoreContract } from "./contract/callback-settings-store.ts";
import { clientStoreContract } from "./contract/client-store.ts";
import { consoleSessionStoreContract } from "./contract/console-session-store.ts";
import { credentialLeaseContract } from "./contract/credential-lease.ts";
import { credentialStoreContract } from "./contract/credential-store.ts";
import { environmentStoreContract } from "./contract/environment-store.ts";
import { issuedTokenIndexContract } from "./contract/issued-token-index.ts";
import { loginAnswerStoreContract } from "./contract/login-answer-store.ts";
import { deliveryStoreContract } from "./contract/delivery-store.ts";
import { dueCredentialsContract } from "./contract/due-credentials.ts";
import { keyringContract, type OpenTables } from "./contract/keyring.ts";
import type { OpenStore } from "./contract/open-store.ts";
import { milestoneStoreContract } from "./contract/milestone-store.ts";
import { pacingStoreContract } from "./contract/pacing-store.ts";
import { refreshLogStoreContract } from "./contract/refresh-log-store.ts";
import { redirectOriginStoreContract } from "./contract/redirect-origin-store.ts";
import { webLoginStoreContract } from "./contract/web-login-store.ts";
import { userTokenStoreContract } from "./contract/user-token-store.ts";

/** After this, what another process has changed is known. */
const KNOWLEDGE_MS = 25;

const openSqlite: OpenStore = async () => {
  const clock = new ManualClock();
  const folder = new StoreFolder(clock);
  const store = await folder.open();
  const reopen = () => {
    folder.close();
    return folder.open();
  };
  const learn = async () => clock.advance(KNOWLEDGE_MS);
  const dispose = () => folder[Symbol.dispose]();
  return { store, clock, beside: () => folder.open(), reopen, learn, dispose };
};

const openTables: OpenTables = async () => {
  const folder = new StoreFolder();
  createDatabase(folder.path, true);
  const reader = openDatabase(folder.path);
  migrate(reader, 1);
  const engine = new SqliteEngine(folder.path, reader, folder.clock, () => undefined);
  const dispose = () => {
    engine.close();
    reader.close();
    folder[Symbol.dispose]();
  };
  return { database: new SqlDatabase(engine), dispose };
};

keyringContract("SQLite", openTables);
credentialStoreContract("SQLite", openSqlite);
credentialLeaseContract("SQLite", openSqlite);
dueCredentialsContract("SQLite", openSqlite);
appStoreContract("SQLite", openSqlite);
issuedTokenIndexContract("SQLite", openSqlite);
clientStoreContract("SQLite", openSqlite);
environmentStoreContract("SQLite", openSqlite);
consoleSessionStoreContract("SQLite", openSqlite);
alarmStoreContract("SQLite", openSqlite);
milestoneStoreContract("SQLite", openSqlite);
pacingStoreContract("SQLite", openSqlite);
loginAnswerStoreContract("SQLite", openSqlite);
userTokenStoreContract("SQLite", openSqlite);
redirectOriginStoreContract("SQLite", openSqlite);
webLoginStoreContract("SQLite", openSqlite);
authorizationStoreContract("SQLite", openSqlite);
callbackSettingsStoreContract("SQLite", openSqlite);
auditStoreContract("SQLite", openSqlite);
callCountsContract("SQLite", openSqlite);
changesContract("SQLite", openSqlite);
deliveryStoreContract("SQLite", openSqlite);
refreshLogStoreContract("SQLite", openSqlite);
