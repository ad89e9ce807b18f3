import type { SQL } from "drizzle-orm";
import type { VerifyResult } from "../audit/audit-store.ts";
import type { Clock } from "../clock.ts";
import type { Backoff } from "../credentials/backoff.ts";
import { ServiceError } from "../errors.ts";
import type { Milestone, MilestoneName } from "../ops/milestones.ts";
import { AuditChain } from "./audit-chain.ts";
import { verifyChain } from "./audit-verification.ts";
import { DamageReports } from "./damaged-rows.ts";
import { readDataKeys } from "./data-keys.ts";
import {
  damagedProof,
  givenKey,
  type KeyOptions,
  missingKey,
  readKeyQuietly,
  wrongKey,
} from "./given-key.ts";
import { type Keyring, opens } from "./keyring.ts";
import { SEALED_COLUMNS } from "./resealing.ts";
import { SqlDatabase, type SqlEngine } from "./sql.ts";
import { keyringUnder, SqlKeyTable } from "./sql-key-table.ts";
import { SqlMilestoneStore } from "./sql-milestone-store.ts";
import { SqlPacingStore } from "./sql-pacing-store.ts";

/** So many texts are read at once; some have a megabyte. */
const PAGE_SIZE = 100;

/** What the engine's own way of keeping the audit is; see `AuditChainParts`. */
export interface AuditTraits {
  readonly remembered?: SQL;
  readonly keepsNul: boolean;
}

/** How many texts are sealed, and where those are that don't open: `table.column row`. */
export interface SealedTexts {
  readonly sealed: number;
  readonly damaged: readonly string[];
}

/** Opens every sealed text of a database. Throws as `SqlDatabase.read`. */
export async function openSealed(sql: SqlDatabase, keyring: Keyring): Promise<SealedTexts> {
  let sealed = 0;
  const damaged: string[] = [];
  for (const { table, column, key } of SEALED_COLUMNS) {
    const names = key.join(", ");
    const page = `SELECT ${column}, ${names} FROM ${table} WHERE ${column} IS NOT NULL`;
    for (let after: readonly unknown[] = []; ;) {
      const isAfter = after.length === 0 ? "" : ` AND (${names}) > (${key.map(() => "?").join(", ")})`;
      const rows = await sql.rows(`${page}${isAfter} ORDER BY ${names} LIMIT ${PAGE_SIZE}`, after);
      for (const [text, ...row] of rows) {
        const place = { table, row: row.join(":"), column };
        sealed++;
        await keyring.open(String(text), place).catch((error: unknown) => {
          if (!(error instanceof ServiceError)) throw error;
          damaged.push(`${table}.${column} ${place.row}`);
        });
      }
      if (rows.length < PAGE_SIZE) break;
      after = rows.at(-1)?.slice(1) ?? [];
    }
  }
  return { sealed, damaged };
}

/** Reads a database of either engine for a diagnosis, and changes nothing. Each method throws as `SqlDatabase.read`. */
export class Examination {
  readonly #sql: SqlDatabase;
  readonly #clock: Clock;
  readonly #traits: AuditTraits;

  constructor(engine: SqlEngine, clock: Clock, traits: AuditTraits) {
    this.#sql = new SqlDatabase(engine);
    this.#clock = clock;
    this.#traits = traits;
  }

  /** The rows of one statement that reads. */
  rows(text: string, parameters: readonly unknown[] = []): Promise<unknown[][]> {
    return this.#sql.rows(text, parameters);
  }

  /** The ids of the database's master keys. */
  async keyIds(): Promise<string[]> {
    return (await this.rows("SELECT key_id FROM keyring ORDER BY 1")).map(([id]) => String(id));
  }

  /**
   * The keys that the given master key leads to.
   *
   * @throws {ServiceError} `store_unusable` when it is missing, none, unreadable or another database's.
   */
  async unlock(options: KeyOptions): Promise<Keyring> {
    const rows = await new SqlKeyTable(this.#sql).rows();
    const next = options.nextKeyFile === undefined ? undefined : readKeyQuietly(options.nextKeyFile);
    const key = next && opens(next, rows) ? next : givenKey(options);
    if (!key) throw missingKey(options);
    const row = rows.find(({ keyId }) => keyId === key.keyId);
    if (!row) throw rows.length === 0 ? damagedProof(options) : wrongKey(options);
    if (!key.matches(row.proof)) throw damagedProof(options);
    return keyringUnder(this.#sql, key);
  }

  /** See `openSealed`. */
  openAll(keyring: Keyring): Promise<SealedTexts> {
    return openSealed(this.#sql, keyring);
  }

  /** Walks the audit's chain. Throws as `Keyring.open` when its key does not open. */
  async verifyAudit(keyring: Keyring): Promise<VerifyResult> {
    keyring.use(await this.#sql.read((queries) => readDataKeys(queries, keyring)));
    const chain = new AuditChain({ key: keyring.auditKey(), clock: this.#clock, ...this.#traits });
    return verifyChain(this.#sql, chain);
  }

  /** See `MilestoneStore.list`. */
  milestones(): Promise<ReadonlyMap<MilestoneName, Milestone>> {
    return new SqlMilestoneStore(this.#sql, this.#clock, new DamageReports()).list();
  }

  /** The backoffs of apps, also those that have ended and are still remembered. */
  async backoffs(): Promise<readonly Backoff[]> {
    const store = new SqlPacingStore({
      ...{ database: this.#sql, clock: this.#clock, damage: new DamageReports() },
      // Only what writes uses them.
      ...{ audit: undefined as never, changes: undefined as never },
    });
    return (await store.page(undefined, 10_000)).items;
  }
}
