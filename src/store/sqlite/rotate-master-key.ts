import { VIRTUAL_LIFE_MS } from "../../credentials/virtual-tokens.ts";
import { ServiceError } from "../../errors.ts";
import type { Keyring } from "../keyring.ts";
import { chooseNewKey, requireNewKey } from "../new-key.ts";
import { backupKey, removeTempFiles, replaceKey } from "../key-file.ts";
import type { SealingKey } from "../sealing-key.ts";
import type { Queries, Sql } from "../sql.ts";
import { AuditChain } from "../audit-chain.ts";
import { replaceVirtualTokenKey } from "../data-keys.ts";
import { inspectDatabase } from "./open-database.ts";
import {
  type Resealed,
  Resealing,
  rotationEntry,
  type RotationReport,
  SEALED_COLUMNS,
} from "../resealing.ts";
import { REMEMBERED_ENTRY, runStatement } from "./statement.ts";
import { SqlAuditStore } from "../sql-audit-store.ts";
import { dropPredecessor, insertSuccessor } from "../sql-key-table.ts";
import { type UnlockedDatabase, unlockDatabase, type UnlockOptions } from "./unlock.ts";

/** For so long the old key leads to the new one: even an idle process looks several times in it. Milliseconds. */
const GRACE_MS = 1000;
/** Readers of a moment ago keep the log from being emptied. */
const PURGE_PAUSE_MS = 5;
const MAX_PURGES = 20;

/** Which database's key is changed, and how. */
export interface RotationOptions extends Omit<UnlockOptions, "onKeyCreated"> {
  /** Where the new key is, or is put, when the old one is in the environment. */
  readonly newKeyFile: string | undefined;
  /** Whether virtual tokens that are out are refused from now on, and not after `VIRTUAL_LIFE_MS`. Default false. */
  readonly revokesVirtualTokens?: boolean;
  /** Called after each step, and now and then while texts are encrypted. */
  readonly onProgress?: (progress: RotationProgress) => void;
  /** Who does it, for the audit. */
  readonly user?: string;
  /** Default `GRACE_MS`. */
  readonly graceMs?: number;
}

/** How far a rotation is: texts are encrypted, everything is written, the old key is about to go, the old key is gone. */
export interface RotationProgress {
  readonly step: "encrypting" | "written" | "ending" | "ended";
  /** Texts that this run has encrypted so far. */
  readonly resealed: number;
}

type Transaction = [queries: Queries, sql: Sql];

/** The key that goes and the one that comes. */
interface Pair {
  readonly old: SealingKey;
  readonly new: SealingKey;
  readonly isResumed: boolean;
}

/**
 * Changes the master key of a database while services run on it.
 *
 * One transaction writes everything under the new key, and both keys, each encrypted under the other: from then on
 * either of them opens the database, whichever the key file holds. After a moment in which every running process
 * learns of the new key, a short second transaction replaces the key file and puts the old key out of use. So it may be
 * killed at any moment: the key that processes are given opens the database, and the next run completes what was
 * begun. Several at once do no harm.
 *
 * The key of virtual tokens is changed by the second one: while the old master key leads to the new one, whoever has
 * the old one would have the key of virtual tokens too.
 *
 * @throws {ServiceError} `invalid_parameter` when `newKeyFile` is missing or makes no sense; `store_unusable` when
 * something does not open or a file can't be written. Nothing is lost then, and it can be run again.
 */
export async function rotateMasterKey(options: RotationOptions): Promise<RotationReport> {
  const { path, clock } = options;
  const { pending, keys } = await runStatement(clock, () => inspectDatabase(path));
  if (pending.length > 0 || keys.length === 0) throw notReady(path);
  const unlocked = await unlockDatabase({ ...options, onKeyCreated: () => undefined });
  try {
    return await new Rotation(unlocked, options).run();
  } finally {
    unlocked.close();
  }
}

class Rotation {
  readonly #unlocked: UnlockedDatabase;
  readonly #keyring: Keyring;
  readonly #options: RotationOptions;
  readonly #audit: AuditChain;

  constructor(unlocked: UnlockedDatabase, options: RotationOptions) {
    this.#unlocked = unlocked;
    this.#keyring = unlocked.keyring;
    this.#options = options;
    this.#audit = new AuditChain({
      key: this.#keyring.auditKey(),
      clock: options.clock,
      remembered: REMEMBERED_ENTRY,
    });
  }

  async run(): Promise<RotationReport> {
    const { newKeyFile, clock, graceMs = GRACE_MS } = this.#options;
    if (newKeyFile !== undefined) removeTempFiles(newKeyFile);
    const { sql } = this.#unlocked;
    // A first start may have been killed before it had tied the audit, which is then still as it was made.
    await new SqlAuditStore(sql, this.#audit, clock).begin();
    await this.#keyring.refresh();
    const candidate = chooseNewKey(this.#keyring, this.#options);
    const prepared = new Resealing(this.#keyring, candidate);
    for (const column of SEALED_COLUMNS) {
      await prepared.prepare({ query: (text, parameters) => sql.rows(text, parameters) }, column);
      this.#report("encrypting", prepared.preparedCount);
    }
    const { pair, written, oldKeyFile } = await sql.transact((...transaction) =>
      this.#begin(transaction, prepared, candidate),
    );
    this.#report("written", written.resealed);
    await clock.sleep(graceMs);
    this.#report("ending", written.resealed);
    const late = await sql.transact((...transaction) => this.#end(transaction, pair));
    await this.#purge();
    const resealed = written.resealed + late.resealed;
    this.#report("ended", resealed);
    return {
      oldKeyId: pair.old.keyId,
      newKeyId: pair.new.keyId,
      isResumed: pair.isResumed,
      resealed,
      damaged: [...written.damaged, ...late.damaged],
      revokedVirtualTokens: this.#options.revokesVirtualTokens ?? false,
      oldKeyFile,
    };
  }

  /** Writes everything under the new key. Several may come here at once; the first one's key is everybody's. */
  async #begin(
    [queries, sql]: Transaction,
    prepared: Resealing,
    candidate: SealingKey,
  ): Promise<{ readonly pair: Pair; readonly written: Resealed; readonly oldKeyFile: string | undefined }> {
    const pair = await this.#pairFor(queries, candidate);
    requireNewKey(pair.new, this.#options);
    const { masterKey, masterKeyFile } = this.#options;
    // First, so that a folder that can't be written stops it before anything has changed.
    const oldKeyFile = masterKey ? undefined : backupKey(masterKeyFile, pair.old);
    const isPrepared = pair.new.keyId === candidate.keyId;
    const resealing = isPrepared ? prepared : new Resealing(this.#keyring, pair.new);
    const written = await resealing.apply(sql);
    if (!pair.isResumed) {
      await insertSuccessor(queries, pair.old, pair.new, this.#options.clock.now());
      await this.#audit.append(
        queries,
        rotationEntry(idsOf(pair), this.#options.user ?? "", { resealed: written.resealed }),
      );
    }
    return { pair, written, oldKeyFile };
  }

  async #pairFor(queries: Queries, candidate: SealingKey): Promise<Pair> {
    const rows = await this.#keyring.reread(queries);
    const { current, old } = this.#keyring;
    // Another run has put the key that this one was given out of use.
    if (!current) throw endedMeanwhile();
    if (rows.length !== (old ? 2 : 1)) throw unreadable();
    if (old) return { old, new: current, isResumed: true };
    // Another run has ended the very rotation that this one wanted to complete.
    if (candidate.keyId === current.keyId) throw endedMeanwhile();
    return { old: current, new: candidate, isResumed: false };
  }

  /**
   * Puts the old key out of use.
   *
   * The key file is replaced while no other process can write to the database: so of two rotations one can't put its
   * key in the place of a newer one. When this is killed between the two, the database still has both keys.
   */
  async #end([queries, sql]: Transaction, pair: Pair): Promise<Resealed> {
    const { masterKey, masterKeyFile, clock, revokesVirtualTokens: revoke = false } = this.#options;
    const rows = await this.#keyring.reread(queries);
    const isEnded = !rows.some(({ keyId }) => keyId === pair.old.keyId);
    let late: Resealed = { resealed: 0, damaged: [] };
    if (!isEnded) {
      if (this.#keyring.current?.keyId !== pair.new.keyId) throw unreadable();
      requireNewKey(pair.new, this.#options);
      // What another process has written meanwhile under the old key would be lost with it.
      late = await new Resealing(this.#keyring, pair.new).apply(sql);
      if (!masterKey) replaceKey(masterKeyFile, pair.old, pair.new);
      await dropPredecessor(queries, pair.old);
      await this.#keyring.reread(queries);
    }
    if (isEnded && !revoke) return late;
    const now = clock.now();
    // Other processes sign with the former key until they have learnt of the new one.
    const until = now + VIRTUAL_LIFE_MS + GRACE_MS;
    await replaceVirtualTokenKey(queries, this.#keyring, { now, until, revoke });
    if (revoke)
      await this.#audit.append(
        queries,
        rotationEntry(idsOf(pair), this.#options.user ?? "", { virtual_tokens: "revoked" }),
      );
    return late;
  }

  /** Empties the log, in which texts under the old key still are. What can't be emptied is, with time, overwritten. */
  async #purge(): Promise<void> {
    for (let attempt = 1; attempt <= MAX_PURGES; attempt++) {
      const query = this.#unlocked.database.query<{ busy: number }, []>("PRAGMA wal_checkpoint(TRUNCATE)");
      if ((await runStatement(this.#options.clock, () => query.get()))?.busy === 0) return;
      await this.#options.clock.sleep(PURGE_PAUSE_MS);
    }
  }

  #report(step: RotationProgress["step"], resealed: number): void {
    this.#options.onProgress?.({ step, resealed });
  }
}

function idsOf({ old, new: next }: Pair) {
  return { old: old.keyId, new: next.keyId };
}

function notReady(path: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `DATABASE_URL file:${path}: 数据库不存在，或尚未由本版本启动过；请先以本版本启动所有服务进程，再轮换主密钥 (there is no database, or this version has not been started on it yet; start every service process with this version first)`,
  );
}

function unreadable(): ServiceError {
  return new ServiceError(
    "store_unusable",
    "数据库中主密钥的记录已损坏，没有作任何改动；请从备份恢复数据库 (the database's record of its master keys is damaged; nothing was changed; restore the database from a backup)",
  );
}

function endedMeanwhile(): ServiceError {
  return new ServiceError(
    "conflict",
    "另一个轮换刚刚完成，主密钥已更换 (another rotation has just completed; the master key is already the new one)",
  );
}
