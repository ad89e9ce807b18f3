import type { Database } from "bun:sqlite";
import { drizzle } from "drizzle-orm/bun-sqlite";
import type { AuditEntry } from "../../audit/audit-entry.ts";
import { ServiceError } from "../../errors.ts";
import type { Keyring } from "../keyring.ts";
import { chooseNewKey, requireNewKey } from "../new-key.ts";
import { backupKey, removeTempFiles, replaceKey } from "../key-file.ts";
import { type SealedPlace, SealingKey } from "../sealing-key.ts";
import { AuditChain } from "./audit-chain.ts";
import { inspectDatabase } from "./open-database.ts";
import { Resealing, SEALED_COLUMNS } from "./resealing.ts";
import { runStatement, type Transaction } from "./statement.ts";
import { dropPredecessor, insertSuccessor } from "./sqlite-key-table.ts";
import { closeDatabase, unlockDatabase, type UnlockOptions } from "./unlock.ts";

/**
 * For so long every running process has the chance to learn of the new key before the old one is put out of use: even
 * an idle one looks every 200 ms. Milliseconds.
 */
const LEARNING_MS = 3000;
/** Between two batches others get their turn to write. */
const BREATH_MS = 5;
/** So often what was written meanwhile is sealed anew, before it is said that somebody does not know the new key. */
const MAX_PASSES = 20;
const MAX_PURGES = 20;

/** Which database's key is changed, and how. */
export interface RotationOptions extends Omit<UnlockOptions, "onKeyCreated"> {
  /** Where the new key is, or is put, when the old one is in the environment. */
  readonly newKeyFile: string | undefined;
  /** Called after each step and each batch. */
  readonly onProgress?: (progress: RotationProgress) => void;
  /** Default `LEARNING_MS`. */
  readonly learningMs?: number;
}

/** How far a rotation is. */
export interface RotationProgress {
  readonly step: "begun" | "resealed" | "learnt" | "sealed" | "ended";
  /** Texts that this run has sealed anew so far. */
  readonly resealed: number;
}

/** What a rotation has done. */
export interface RotationReport {
  readonly oldKeyId: string;
  readonly newKeyId: string;
  /** Whether an earlier run had begun it. */
  readonly isResumed: boolean;
  /** Texts that this run has sealed anew. */
  readonly resealed: number;
  /** What could not be opened even before, and was cleared. */
  readonly damaged: readonly SealedPlace[];
  /** Where the old key is kept; undefined when it came from the environment. */
  readonly oldKeyFile: string | undefined;
}

/** The key that goes and the one that comes. */
interface Pair {
  readonly old: SealingKey;
  readonly new: SealingKey;
  readonly isResumed: boolean;
}

/**
 * Changes the master key of a database while services run on it, and seals everything under the new one.
 *
 * It may be killed at any moment: the key that the processes are given opens the database at all times, and the next
 * run goes on with the new key that the first has begun with. Several at once do no harm.
 *
 * @throws {ServiceError} `invalid_parameter` when `newKeyFile` is missing or makes no sense; `store_unusable` when
 * something does not open or a file can't be written. Nothing is lost then, and it can be run again.
 */
export async function rotateMasterKey(options: RotationOptions): Promise<RotationReport> {
  const { path, clock } = options;
  const { isMigrated, keys } = await runStatement(clock, () => inspectDatabase(path));
  if (!isMigrated || keys.length === 0) throw notReady(path);
  const { database, keyring } = await unlockDatabase({ ...options, onKeyCreated: () => undefined });
  try {
    return await new Rotation(database, keyring, options).run();
  } finally {
    closeDatabase(database);
  }
}

class Rotation {
  readonly #database: Database;
  readonly #keyring: Keyring;
  readonly #options: RotationOptions;
  readonly #resealing: Resealing;
  readonly #audit: AuditChain;
  readonly #damaged: SealedPlace[] = [];
  #resealed = 0;

  constructor(database: Database, keyring: Keyring, options: RotationOptions) {
    this.#database = database;
    this.#keyring = keyring;
    this.#options = options;
    this.#resealing = new Resealing(database, keyring);
    this.#audit = new AuditChain({ key: keyring.auditKey(), clock: options.clock });
  }

  async run(): Promise<RotationReport> {
    const { masterKey, masterKeyFile, newKeyFile, clock, learningMs = LEARNING_MS } = this.#options;
    const keyFile = masterKey ? newKeyFile : masterKeyFile;
    if (keyFile !== undefined) removeTempFiles(keyFile);
    await this.#do(() => this.#resealing.check());
    const pair = await this.#begin();
    const oldKeyFile = masterKey ? undefined : backupKey(masterKeyFile, pair.old);
    this.#tell("begun");
    await this.#resealAll();
    await clock.sleep(learningMs);
    this.#tell("learnt");
    for (let pass = 1; ; pass++) {
      await this.#resealAll();
      this.#tell("sealed");
      if (await this.#do(() => this.#end(pair))) break;
      if (pass >= MAX_PASSES) throw somebodyIsBehind();
    }
    await this.#purge();
    this.#tell("ended");
    return {
      oldKeyId: pair.old.keyId,
      newKeyId: pair.new.keyId,
      isResumed: pair.isResumed,
      resealed: this.#resealed,
      damaged: this.#damaged,
      oldKeyFile,
    };
  }

  /** Has both keys in the database, each sealed under the other. */
  async #begin(): Promise<Pair> {
    const { masterKey, masterKeyFile } = this.#options;
    await this.#do(() => this.#keyring.refresh());
    const candidate = chooseNewKey(this.#keyring, this.#options);
    // Before anything is begun, so that a folder that can't be written stops it here.
    const { current, old } = this.#keyring;
    if (!masterKey && current && !old) backupKey(masterKeyFile, current);
    return this.#do(() => this.#transact((transaction) => this.#insert(transaction, candidate)));
  }

  /** Several may come here at once; the first one's key is everybody's. */
  #insert(transaction: Transaction, candidate: SealingKey): Pair {
    const rows = this.#keyring.reread();
    const { current, old } = this.#keyring;
    if (!current || rows.length !== (old ? 2 : 1)) throw unreadable();
    if (old) {
      requireNewKey(current, this.#options);
      return { old, new: current, isResumed: true };
    }
    // Somebody has ended the very rotation that this one wanted to go on with.
    if (candidate.keyId === current.keyId) throw overMeanwhile();
    insertSuccessor(transaction, current, candidate, this.#options.clock.now());
    this.#keyring.reread();
    return { old: current, new: candidate, isResumed: false };
  }

  async #resealAll(): Promise<void> {
    for (const column of SEALED_COLUMNS) {
      for (let after: number | undefined = 0; after !== undefined;) {
        const from: number = after;
        const batch = await this.#do(() => this.#resealing.run(column, from));
        this.#resealed += batch.resealed;
        this.#damaged.push(...batch.damaged);
        after = batch.reached;
        if (batch.resealed > 0) this.#tell("resealed");
        await this.#options.clock.sleep(BREATH_MS);
      }
    }
  }

  /**
   * Puts the old key out of use. False while something is sealed under it.
   *
   * The key file is changed while nobody else can write to the database: so of two rotations one can't put its key in
   * the place of a newer one. When this is killed between the two, the database still has both keys.
   */
  #end(pair: Pair): boolean {
    return this.#transact((transaction) => {
      const rows = this.#keyring.reread();
      const isExpired = !rows.some(({ keyId }) => keyId === pair.old.keyId);
      if (isExpired) return true;
      if (this.#keyring.current?.keyId !== pair.new.keyId) throw unreadable();
      if (this.#resealing.isAnyLeft()) return false;
      requireNewKey(pair.new, this.#options);
      if (!this.#options.masterKey) replaceKey(this.#options.masterKeyFile, pair.old, pair.new);
      dropPredecessor(transaction, pair.old);
      this.#audit.append(transaction, entryOf(pair, this.#resealed));
      return true;
    });
  }

  /** Empties the log, in which texts that were sealed under the old key still are. What can't be is, with time, overwritten. */
  async #purge(): Promise<void> {
    for (let attempt = 1; attempt <= MAX_PURGES; attempt++) {
      const query = this.#database.query<{ busy: number }, []>("PRAGMA wal_checkpoint(TRUNCATE)");
      if ((await this.#do(() => query.get()))?.busy === 0) return;
      await this.#options.clock.sleep(BREATH_MS);
    }
  }

  #transact<T>(work: (transaction: Transaction) => T): T {
    return drizzle({ client: this.#database }).transaction(work, { behavior: "immediate" });
  }

  #do<T>(work: () => T): Promise<T> {
    return runStatement(this.#options.clock, work);
  }

  #tell(step: RotationProgress["step"]): void {
    this.#options.onProgress?.({ step, resealed: this.#resealed });
  }
}

function entryOf(pair: Pair, resealed: number): AuditEntry {
  return {
    client: "(command line)",
    environment: "",
    address: "",
    traceId: "",
    action: "master_key.rotated",
    app: "",
    outcome: "ok",
    tokenDigest: "",
    detail: { old: pair.old.keyId, new: pair.new.keyId, resealed },
  };
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

function overMeanwhile(): ServiceError {
  return new ServiceError(
    "conflict",
    "另一个轮换刚刚完成，主密钥已是新的 (another rotation has just ended; the master key is new already)",
  );
}

function somebodyIsBehind(): ServiceError {
  return new ServiceError(
    "unavailable",
    "仍有进程用旧的主密钥写入：请停止旧版本的进程，再次执行即可继续，没有丢失任何数据 (some process still writes under the old key: stop processes of older versions and run this again; nothing is lost)",
  );
}
