import { SqlDatabase } from "../../src/store/sql.ts";
import { PostgresEngine } from "../../src/store/postgres/postgres-engine.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { PostgresFolder } from "../support/postgres-folder.ts";
import { postgresTest as test } from "../support/postgres-server.ts";
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
import { deliveryStoreContract } from "./contract/delivery-store.ts";
import { dueCredentialsContract } from "./contract/due-credentials.ts";
import { environmentStoreContract } from "./contract/environment-store.ts";
import { issuedTokenIndexContract } from "./contract/issued-token-index.ts";
import { keyringContract, type OpenTables } from "./contract/keyring.ts";
import { loginAnswerStoreContract } from "./contract/login-answer-store.ts";
import type { OpenStore } from "./contract/open-store.ts";
import { milestoneStoreContract } from "./contract/milestone-store.ts";
import { pacingStoreContract } from "./contract/pacing-store.ts";
import { refreshLogStoreContract } from "./contract/refresh-log-store.ts";
import { redirectOriginStoreContract } from "./contract/redirect-origin-store.ts";
import { webLoginStoreContract } from "./contract/web-login-store.ts";
import { userTokenStoreContract } from "./contract/user-token-store.ts";

const openPostgres: OpenStore = async () => {
  const clock = new ManualClock();
  const folder = await PostgresFolder.create(clock);
  const store = await folder.open();
  const reopen = () => {
    folder.close();
    return folder.open();
  };
  const learn = () => store.changes.catchUp();
  const dispose = () => folder[Symbol.dispose]();
  return { store, clock, beside: () => folder.open(), reopen, learn, dispose };
};

const openTables: OpenTables = async () => {
  const folder = await PostgresFolder.create();
  const engine = new PostgresEngine({ url: folder.url, password: undefined });
  const dispose = () => {
    engine.close();
    folder[Symbol.dispose]();
  };
  return { database: new SqlDatabase(engine), dispose };
};

keyringContract("PostgreSQL", openTables, test);
credentialStoreContract("PostgreSQL", openPostgres, test);
credentialLeaseContract("PostgreSQL", openPostgres, test);
dueCredentialsContract("PostgreSQL", openPostgres, test);
appStoreContract("PostgreSQL", openPostgres, test);
issuedTokenIndexContract("PostgreSQL", openPostgres, test);
clientStoreContract("PostgreSQL", openPostgres, test);
environmentStoreContract("PostgreSQL", openPostgres, test);
consoleSessionStoreContract("PostgreSQL", openPostgres, test);
alarmStoreContract("PostgreSQL", openPostgres, test);
milestoneStoreContract("PostgreSQL", openPostgres, test);
pacingStoreContract("PostgreSQL", openPostgres, test);
loginAnswerStoreContract("PostgreSQL", openPostgres, test);
userTokenStoreContract("PostgreSQL", openPostgres, test);
redirectOriginStoreContract("PostgreSQL", openPostgres, test);
webLoginStoreContract("PostgreSQL", openPostgres, test);
authorizationStoreContract("PostgreSQL", openPostgres, test);
callbackSettingsStoreContract("PostgreSQL", openPostgres, test);
auditStoreContract("PostgreSQL", openPostgres, test);
callCountsContract("PostgreSQL", openPostgres, test);
changesContract("PostgreSQL", openPostgres, test);
deliveryStoreContract("PostgreSQL", openPostgres, test);
refreshLogStoreContract("PostgreSQL", openPostgres, test);
