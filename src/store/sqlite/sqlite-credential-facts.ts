import { and, eq } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import type { SlotName } from "../../apps/slot.ts";
import type { Clock } from "../../clock.ts";
import type { CredentialFacts, CredentialFactsStore } from "../../credentials/credential-facts.ts";
import { CREDENTIAL_KINDS } from "../../credentials/credential.ts";
import { credentials } from "./schema.ts";
import { runStatement } from "./statement.ts";

const COLUMNS = {
  kind: credentials.kind,
  generation: credentials.generation,
  issuedAt: credentials.issuedAt,
  expiresAt: credentials.expiresAt,
  renewLeftMs: credentials.renewLeftMs,
  isRejected: credentials.isRejected,
  usedAt: credentials.usedAt,
  leaseExpiresAt: credentials.leaseExpiresAt,
  diedEarlyAt: credentials.diedEarlyAt,
  diedEarlyMs: credentials.diedEarlyMs,
};

type Row = { [Column in keyof typeof COLUMNS]: (typeof COLUMNS)[Column]["_"]["data"] | null };

/** What SQLite knows of credentials beside their values, which it does not even read. */
export class SqliteCredentialFacts implements CredentialFactsStore {
  readonly #database: BunSQLiteDatabase;
  readonly #clock: Clock;

  constructor(database: BunSQLiteDatabase, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  async ofSlot({ platform, appId, name }: SlotName): Promise<CredentialFacts[]> {
    const isOfSlot = and(
      eq(credentials.platform, platform),
      eq(credentials.appId, appId),
      eq(credentials.slot, name),
    );
    const rows = await runStatement(this.#clock, () =>
      this.#database.select(COLUMNS).from(credentials).where(isOfSlot).all(),
    );
    return rows.flatMap(toFacts);
  }
}

/** The facts in a row; none for a kind that this version does not know. */
function toFacts(row: Row): CredentialFacts[] {
  const kind = CREDENTIAL_KINDS.find((each) => each === row.kind);
  if (!kind) return [];
  const { issuedAt, expiresAt, renewLeftMs, diedEarlyAt, diedEarlyMs } = row;
  const isThere = issuedAt !== null && expiresAt !== null && !row.isRejected;
  const hasDiedEarly = diedEarlyAt !== null && diedEarlyMs !== null;
  return [
    {
      kind,
      generation: row.generation ?? 0,
      life: isThere ? { issuedAt, expiresAt, ...(renewLeftMs === null ? {} : { renewLeftMs }) } : undefined,
      usedAt: row.usedAt ?? undefined,
      leaseExpiresAt: row.leaseExpiresAt ?? undefined,
      diedEarly: hasDiedEarly ? { at: diedEarlyAt, earlyMs: diedEarlyMs } : undefined,
    },
  ];
}
