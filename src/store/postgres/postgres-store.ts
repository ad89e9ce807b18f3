import type { Clock } from "../../clock.ts";
import { ServiceError } from "../../errors.ts";
import type { StoreFault } from "../../ops/readiness.ts";
import { type KeyRow, Keyring, opens } from "../keyring.ts";
import type { SealingKey } from "../sealing-key.ts";
import {
  damagedProof,
  givenKey,
  type KeyOptions,
  makeKey,
  missingKey,
  proveKey,
  readKeyQuietly,
} from "../given-key.ts";
import { removeTempFiles } from "../key-file.ts";
import { type KeyFileListeners, NextKey } from "../next-key.ts";
import {
  BEGIN_RETRY_MS,
  MAX_BEGIN_MS,
  patiently,
  type Queried,
  type QueryObserver,
  SqlDatabase,
  sqlFailureOf,
} from "../sql.ts";
import { SqlKeyTable } from "../sql-key-table.ts";
import { openSqlStores, type StoreListeners } from "../sql-store.ts";
import type { Store } from "../store.ts";
import { isMigrated, migrate, PLATFORMS_MIGRATION } from "./migrations.ts";
import { placeOf } from "./address.ts";
import { type FeedListeners, PostgresChanges } from "./postgres-changes.ts";
import { kindOf, type PostgresAddress, PostgresEngine } from "./postgres-engine.ts";
import { PostgresNodes } from "./postgres-nodes.ts";

/** How long a readiness check may take, in milliseconds. */
const MAX_PROBE_MS = 1500;

/** Where the database is, what seals it, and who is told of what happens there. */
export interface PostgresStoreOptions
  extends KeyOptions, KeyFileListeners, StoreListeners, Partial<Omit<FeedListeners, "onServer">> {
  readonly address: PostgresAddress;
  /** Where notifications can be listened to; default `address`. */
  readonly listenAddress?: PostgresAddress | undefined;
  readonly clock: Clock;
  /** Called after each query. */
  readonly onQueried?: ((queried: Queried) => void) | undefined;
  /** For how long a start waits for a server that can't be reached; default 30,000. */
  readonly waitMs?: number;
  /** Called once a new database has been given its tables. */
  readonly onDatabaseCreated?: (() => void) | undefined;
  /** Called with each server, at the start and after a failover, whose standbys may lack what it has acknowledged. */
  readonly onAsynchronous?: (() => void) | undefined;
}

/**
 * Opens the database, and gives it its tables where it is empty. Any number of processes may do so at the same moment.
 *
 * An empty database that was met with a master key has lost its clients, or never had any: anonymous access begins ended.
 *
 * @throws {ServiceError} `store_unusable` with the next step.
 */
export async function openPostgresStore(options: PostgresStoreOptions): Promise<Store> {
  const { clock, address, listenAddress = address } = options;
  const wait = { clock, maxMs: options.waitMs };
  const engine = new PostgresEngine(address);
  const observe: QueryObserver = (operation, durationMs, failure) =>
    options.onQueried?.({ operation, durationMs, failure: failure && kindOf(failure) });
  const changes = new PostgresChanges(engine, listenAddress, clock, {
    onOutdated: () => options.onOutdated?.(),
    onTime: (databaseNow, askedAt) => options.onTime?.(databaseNow, askedAt),
    onUnheard: () => options.onUnheard?.(),
    onSeen: (delayMs) => options.onSeen?.(delayMs),
    onPolled: (durationMs, failure) => observe("poll", durationMs, failure),
    onStandby: () => options.onStandby?.(),
    onServer: () =>
      void isAsynchronous(engine).then((isSo) => (isSo ? options.onAsynchronous?.() : undefined), noop),
    onHistoryLost: (lost) => options.onHistoryLost?.(lost),
  });
  const closeAll = () => {
    changes.close();
    engine.close();
  };
  try {
    await reach(engine, options);
    const isNew = await patiently(() => migrate(engine, clock.now()), wait);
    await changes.catchUp();
    const sql = new SqlDatabase(engine, observe);
    const keyring = await unlock(sql, options, isNew);
    if (isNew) options.onDatabaseCreated?.();
    changes.start();
    const { stores, auditStore, stop } = await patiently(
      () =>
        openSqlStores(
          { sql, keyring, changes, clock, keepsNul: false, platformsFrom: PLATFORMS_MIGRATION },
          options,
        ),
      wait,
    );
    const { masterKey, masterKeyFile, nextKeyFile } = options;
    const files = nextKeyFile === undefined ? undefined : { masterKey, masterKeyFile, nextKeyFile };
    const nextKey = files && new NextKey(files, keyring, options);
    return {
      ...stores,
      nodes: new PostgresNodes((text, parameters) => engine.reads.query(text, parameters), {
        keyIds: () => {
          nextKey?.look();
          return keyring.keyIds;
        },
        isListening: () => changes.isListening,
      }),
      awayMs: () => changes.awayMs,
      isListening: () => changes.isListening,
      probe: () => probe({ engine, changes, keyring, writeAudit: () => auditStore.probe() }),
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

/**
 * Waits until the server answers, and looks whether it can be written.
 *
 * @throws {ServiceError} `store_unusable` when not.
 */
export async function reach(
  engine: PostgresEngine,
  { clock, address, waitMs = MAX_BEGIN_MS }: Pick<PostgresStoreOptions, "clock" | "address" | "waitMs">,
): Promise<void> {
  const since = clock.monotonic();
  for (;;) {
    try {
      const [row] = await engine.look("SELECT pg_is_in_recovery()");
      if (row?.[0] === true) throw standby(address);
      return;
    } catch (error) {
      const failure = sqlFailureOf(error);
      if (!failure) throw error;
      if (!failure.isBusy || clock.monotonic() - since >= waitMs) throw unreachable(address, failure.code);
      await clock.sleep(BEGIN_RETRY_MS);
    }
  }
}

// Logical replication takes copies of rows, and is no standby.
const ASYNCHRONOUS = `SELECT current_setting('synchronous_standby_names') = '' AND EXISTS (
  SELECT 1 FROM pg_stat_replication WHERE coalesce(state, 'streaming') = 'streaming' AND pid NOT IN (
    SELECT active_pid FROM pg_replication_slots WHERE slot_type = 'logical' AND active_pid IS NOT NULL))`;

/** Whether the server has standbys and waits for none of them. */
export async function isAsynchronous(engine: PostgresEngine): Promise<boolean> {
  const [row] = await engine.look(ASYNCHRONOUS);
  return row?.[0] === true;
}

function noop(): void {}

/**
 * Proves the key of a database that has its tables; with `isNew` it was empty a moment ago.
 *
 * @throws {ServiceError} `store_unusable` with the next step.
 */
export async function unlock(
  sql: SqlDatabase,
  options: KeyOptions & Pick<PostgresStoreOptions, "clock" | "waitMs">,
  isNew: boolean,
): Promise<Keyring> {
  const table = new SqlKeyTable(sql);
  const given = findKey(await table.rows(), options);
  const key = given ?? makeKey(options);
  const readKey = () => (options.masterKey ? key : readKeyQuietly(options.masterKeyFile));
  const keyring = new Keyring({ table, key, readKey });
  keyring.hold(nextKeyOf(options));
  const prove = () =>
    sql.transact(async (queries, own) => {
      await proveKey(queries, keyring, options, options.clock.now());
      if (given && isNew) await own.query("UPDATE settings SET value = 'off' WHERE name = 'anonymous'", []);
    });
  await patiently(prove, { clock: options.clock, maxMs: options.waitMs });
  if (!options.masterKey) removeTempFiles(options.masterKeyFile);
  return keyring;
}

/**
 * The key that this process was given, be it none of `rows`; undefined where it is still to be made.
 *
 * @throws {ServiceError} `store_unusable` with the next step.
 */
export function findKey(
  rows: readonly Pick<KeyRow, "keyId" | "proof">[],
  options: KeyOptions,
): SealingKey | undefined {
  const next = nextKeyOf(options);
  // While this process was away the next one may have taken its place.
  const given = next && opens(next, rows) ? next : givenKey(options);
  if (!given && rows.length > 0) throw missingKey(options);
  const row = rows.find(({ keyId }) => keyId === given?.keyId);
  if (row && !given?.matches(row.proof)) throw damagedProof(options);
  return given;
}

function nextKeyOf({ nextKeyFile }: KeyOptions): SealingKey | undefined {
  return nextKeyFile === undefined ? undefined : readKeyQuietly(nextKeyFile);
}

const AWAY =
  "无法访问PostgreSQL，正在重试；未到期的凭证仍可读取，变更会被拒绝 (PostgreSQL can't be reached; it is tried again; credentials that are valid are still handed out, and nothing can be changed)";
const STANDBY =
  "该PostgreSQL是只读备库，请连接主库 (this PostgreSQL is a read-only standby; connect to the primary)";
const NO_KEY =
  "数据库缺少主密钥的记录或与当前主密钥不匹配：若主密钥已更换，请把新密钥放到MASTER_KEY_NEXT_FILE处，否则请从备份恢复数据库或主密钥 (the database's proof of the master key is missing or does not open: if the key was changed, put the new one where MASTER_KEY_NEXT_FILE is; otherwise restore the database or the master key)";
const NOT_MIGRATED =
  "数据库迁移不完整，请从备份恢复，或用本版本重新启动 (migrations are missing; restore a backup, or start again with this version)";
const AUDIT_UNWRITABLE =
  "审计无法写入，变更操作将被拒绝，读取不受影响 (the audit can't be written: nothing can be changed, reads go on)";

/** See `Store.probe`. */
async function probe(parts: {
  readonly engine: PostgresEngine;
  readonly changes: PostgresChanges;
  readonly keyring: Keyring;
  readonly writeAudit: () => Promise<void>;
}): Promise<readonly StoreFault[]> {
  const { engine, changes, keyring, writeAudit } = parts;
  const isAway = () => !changes.isLive || engine.isAway;
  if (changes.isStandby) return [{ part: "database", message: STANDBY }];
  if (isAway()) return [{ part: "database", message: AWAY }];
  const checks: readonly (readonly [StoreFault["part"], string, () => Promise<boolean>])[] = [
    ["key", NO_KEY, () => keyring.isProven()],
    ["migrations", NOT_MIGRATED, () => isMigrated(engine.reads)],
    ["audit", AUDIT_UNWRITABLE, () => writeAudit().then(() => true)],
  ];
  const looking = look(checks);
  // A load balancer asks every other second: it must not wait for a line that is silent.
  const faults = await Promise.race([looking, Bun.sleep(MAX_PROBE_MS)]);
  return !faults || (faults.length > 0 && isAway()) ? [{ part: "database", message: AWAY }] : faults;
}

/** What `checks` find. Never throws. */
async function look(
  checks: readonly (readonly [StoreFault["part"], string, () => Promise<boolean>])[],
): Promise<StoreFault[]> {
  const faults: StoreFault[] = [];
  for (const [part, message, check] of checks) {
    const why = await check().then(
      (isGood) => (isGood ? undefined : message),
      (error: unknown) => messageOf(error, message),
    );
    if (why !== undefined) faults.push({ part, message: why });
  }
  return faults;
}

function messageOf(error: unknown, message: string): string {
  return error instanceof ServiceError ? `${message}：${error.message}` : message;
}

function unreachable(address: PostgresAddress, code: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `DATABASE_URL ${placeOf(address)}: 无法连接，请检查地址、网络、用户名、密码和sslmode (can't connect: ${code}; check address, network, user, password and sslmode)`,
  );
}

function standby(address: PostgresAddress): ServiceError {
  return new ServiceError("store_unusable", `DATABASE_URL ${placeOf(address)}: ${STANDBY}`);
}
