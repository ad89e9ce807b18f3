import type { Clock } from "../../clock.ts";
import { VIRTUAL_LIFE_MS } from "../../credentials/virtual-tokens.ts";
import { ServiceError } from "../../errors.ts";
import { isLive, type Node } from "../../ops/nodes.ts";
import { AuditChain } from "../audit-chain.ts";
import { replaceVirtualTokenKey } from "../data-keys.ts";
import type { Keyring } from "../keyring.ts";
import { createNextKey, type KeyFiles, NextKey, nextKeyIn } from "../next-key.ts";
import { Resealing, rotationEntry, type RotationReport, SEALED_COLUMNS } from "../resealing.ts";
import type { SealingKey } from "../sealing-key.ts";
import { patiently, type Queries, type Sql, SqlDatabase } from "../sql.ts";
import { SqlAuditStore } from "../sql-audit-store.ts";
import { replaceKeys, SqlKeyTable } from "../sql-key-table.ts";
import { placeOf } from "./address.ts";
import { ClusterClock } from "./cluster-clock.ts";
import { isMigrated } from "./migrations.ts";
import { type PostgresAddress, PostgresEngine } from "./postgres-engine.ts";
import { listNodes } from "./postgres-nodes.ts";
import { reach, unlock } from "./postgres-store.ts";

/**
 * A node that is cut from the database signs virtual tokens for so long by what it had, where `CUT_OFF_AFTER` is its default.
 * What it signs later, where that is longer or off, may be refused before it expires. Milliseconds.
 */
const LEARN_MS = 300_000;
/** For so long the only node is waited for, which looks for the next key with its heartbeat. Milliseconds. */
const NOTICE_MS = 10_000;
const LOOK_MS = 200;

/** Which database's key is changed, and how. */
export interface CommitOptions extends KeyFiles {
  readonly address: PostgresAddress;
  readonly clock: Clock;
  /** Who does it, for the audit. */
  readonly user: string;
  /** Whether virtual tokens that are out are refused from now on, and not after `VIRTUAL_LIFE_MS`. */
  readonly revokesVirtualTokens: boolean;
  /** Whether nodes may lack the next key that have not been heard of for a while. */
  readonly ignoresGone: boolean;
  /** Called with what an operator must do about a key file. */
  readonly onKeyFault: (message: string) => void;
}

/** An open database whose key is about to be changed. */
interface Open {
  readonly engine: PostgresEngine;
  readonly sql: SqlDatabase;
  readonly clock: Clock;
}

/**
 * Puts the key in `nextKeyFile` in the place of the master key of a PostgreSQL, while nodes run on it which all have both.
 *
 * One transaction does all of it: before it the old key opens the database and the new one nothing, after it the other way
 * round. It keeps every other writer out, and each of those asks under the same lock which key it has to use (see
 * `Keyring.sealingKey`): so nothing comes in under the old key later. Each node takes the next key for the current one as
 * soon as it learns of it, and puts it into its key file by itself (see `NextKey`).
 *
 * It may be killed at any moment, and run again: then it finds that it is done, or does it.
 *
 * @throws {ServiceError} `conflict` when there is no next key, or a node lacks it; `store_unusable` when something does not
 * open. Nothing was changed then.
 */
export function commitMasterKey(options: CommitOptions): Promise<RotationReport> {
  return withDatabase(options, (open) => commit(open, options));
}

/**
 * The same in one step, where one node or none is live: makes the next key where there is none yet, and waits until that
 * node has noticed it.
 *
 * @throws {ServiceError} `conflict` when more nodes are live, or the one is on another machine. Throws as `commitMasterKey`.
 */
export function rotateSoleNode(options: CommitOptions): Promise<RotationReport> {
  return withDatabase(options, async (open) => {
    const live = async () => (await listNodes(open.engine.reads)).filter(isLive);
    const nodes = await live();
    if (nodes.length > 1) throw severalNodes(nodes);
    const keyId = nextKeyIn(options)?.keyId ?? createNextKey(options);
    const isNoticed = async () => (await live()).every(({ keyIds }) => keyIds.includes(keyId));
    for (const end = open.clock.monotonic() + NOTICE_MS; open.clock.monotonic() < end;) {
      if (await isNoticed()) break;
      await open.clock.sleep(LOOK_MS);
    }
    return commit(open, options);
  });
}

async function withDatabase<T>(options: CommitOptions, work: (open: Open) => Promise<T>): Promise<T> {
  const engine = new PostgresEngine(options.address);
  try {
    await reach(engine, options);
    if (!(await isMigrated(engine.reads))) throw notReady(options.address);
    const clock = new ClusterClock(options.clock);
    const askedAt = clock.monotonic();
    const [row] = await engine.look("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint");
    clock.measure(Number(row?.[0]), askedAt);
    return await work({ engine, sql: new SqlDatabase(engine), clock });
  } finally {
    engine.close();
  }
}

async function commit({ engine, sql, clock }: Open, options: CommitOptions): Promise<RotationReport> {
  const rows = await new SqlKeyTable(sql).rows();
  if (rows.length === 0) throw notReady(options.address);
  const next = nextKeyIn(options);
  if (!next) throw notPrepared(options.nextKeyFile, rows.map(({ keyId }) => keyId).join(", "));
  const keyring = await unlock(sql, { ...options, clock, onKeyCreated: () => undefined }, false);
  const resealing = new Resealing(keyring, next);
  if (keyring.current?.keyId !== next.keyId) {
    requireNext(await listNodes(engine.reads), next, options);
    const query: Sql["query"] = (text, parameters) => sql.rows(text, parameters);
    for (const column of SEALED_COLUMNS) await resealing.prepare({ query }, column);
  }
  const audit = new AuditChain({ key: keyring.auditKey(), clock, keepsNul: false });
  await new SqlAuditStore(sql, audit, clock).begin();
  const report = await patiently(
    () =>
      sql.transact((queries, own) =>
        changeKey(queries, own, { keyring, next, resealing, audit, now: clock.now() }, options),
      ),
    { clock },
  );
  new NextKey(options, keyring, options).look();
  return report;
}

/** What a change of the key is made with. */
interface ChangeParts {
  readonly keyring: Keyring;
  readonly next: SealingKey;
  readonly resealing: Resealing;
  readonly audit: AuditChain;
  readonly now: number;
}

/** Does what is done in the one transaction. */
async function changeKey(
  queries: Queries,
  sql: Sql,
  { keyring, next, resealing, audit, now }: ChangeParts,
  options: CommitOptions,
): Promise<RotationReport> {
  const { revokesVirtualTokens: revoke, user } = options;
  // What an attempt before has learnt was undone with it.
  const rows = await keyring.reread(queries);
  const isDone = rows.length === 1 && rows[0]?.keyId === next.keyId;
  const ids = { old: keyring.current?.keyId ?? "", new: next.keyId };
  let written: Awaited<ReturnType<Resealing["apply"]>> = { resealed: 0, damaged: [] };
  if (!isDone) {
    requireNext(await listNodes(sql), next, options);
    written = await resealing.apply(sql);
    await replaceKeys(queries, next, now);
    await keyring.reread(queries);
  }
  if (!isDone || revoke)
    await replaceVirtualTokenKey(queries, keyring, {
      now,
      until: now + VIRTUAL_LIFE_MS + LEARN_MS,
      revoke,
    });
  const facts = {
    ...(isDone ? {} : { resealed: written.resealed }),
    ...(revoke ? { virtual_tokens: "revoked" } : {}),
  };
  if (Object.keys(facts).length > 0) await audit.append(queries, rotationEntry(ids, user, facts));
  return {
    oldKeyId: ids.old,
    newKeyId: ids.new,
    isResumed: isDone,
    ...written,
    revokedVirtualTokens: revoke,
    oldKeyFile: undefined,
  };
}

/** Throws unless every node has `next`: one that lacks it would be locked out. */
function requireNext(nodes: readonly Node[], { keyId }: SealingKey, options: CommitOptions): void {
  const lacking = nodes.filter(({ keyIds }) => !keyIds.includes(keyId));
  const live = nodes.filter(isLive);
  const blind = lacking.filter(isLive);
  if (blind.length > 0) throw lackNext(blind, keyId, options.nextKeyFile);
  // One that was started again in its place tells what its machine has now.
  const isBack = ({ host, seenAt }: Node) =>
    live.some((node) => node.host === host && node.startedAt >= seenAt);
  const gone = lacking.filter((node) => !isBack(node));
  if (gone.length > 0 && !options.ignoresGone) throw goneNodes(gone, keyId);
}

function namesOf(nodes: readonly Node[]): string {
  return nodes.map(({ host, pid }) => `${host} (pid ${pid})`).join(", ");
}

function lackNext(nodes: readonly Node[], keyId: string, path: string): ServiceError {
  const names = namesOf(nodes);
  return new ServiceError(
    "conflict",
    `以下节点还没有新密钥 ${keyId}，未作任何改动：${names}；请把 ${path} 放到它们的MASTER_KEY_NEXT_FILE处，几秒后重试 (nothing was changed, because these nodes don't have the next key ${keyId}: ${names}; put ${path} where their MASTER_KEY_NEXT_FILE is, and run this again a few seconds later)`,
  );
}

function goneNodes(nodes: readonly Node[], keyId: string): ServiceError {
  const names = namesOf(nodes);
  return new ServiceError(
    "conflict",
    `以下节点没有心跳，且没有新密钥 ${keyId}，未作任何改动：${names}；请恢复它们并放好新密钥，若不再启用则加 --ignore-gone (nothing was changed, because these nodes have not been heard of and don't have the next key ${keyId}: ${names}; start them with it, or give --ignore-gone where they will not come back)`,
  );
}

function severalNodes(nodes: readonly Node[]): ServiceError {
  return new ServiceError(
    "conflict",
    `有${nodes.length}个节点在运行（${namesOf(nodes)}），不能一步完成；请先执行 accesstoken master-key rotate --prepare，把新密钥放到每台机器上，再执行 --commit (${nodes.length} nodes are live: ${namesOf(nodes)}; begin with accesstoken master-key rotate --prepare, put the next key on every machine, and complete it with --commit)`,
  );
}

function notPrepared(path: string, current: string): ServiceError {
  return new ServiceError(
    "conflict",
    `MASTER_KEY_NEXT_FILE ${path}: 没有新密钥，当前主密钥为 ${current}；请先执行 accesstoken master-key rotate --prepare (there is no next key, and the master key is ${current}; begin with accesstoken master-key rotate --prepare)`,
  );
}

function notReady(address: PostgresAddress): ServiceError {
  return new ServiceError(
    "store_unusable",
    `DATABASE_URL ${placeOf(address)}: 数据库为空，或尚未由本版本启动过；请先以本版本启动服务，再轮换主密钥 (the database is empty, or this version has not been started on it yet; start the service with this version first)`,
  );
}
