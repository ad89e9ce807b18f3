import { and, eq, isNotNull } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import type { SlotName } from "../../apps/app.ts";
import type { Clock } from "../../clock.ts";
import type {
  CredentialFacts,
  CredentialFactsStore,
  IssuedToken,
  IssuedTokenIndex,
  StandingLife,
} from "../../credentials/credential-store.ts";
import { CREDENTIAL_KINDS } from "../../credentials/kinds.ts";
import { credentials } from "./schema.ts";
import { countRejected } from "./rejected-tokens.ts";
import { runStatement } from "./statement.ts";
import type { Database, Statement } from "bun:sqlite";
import type { Secret } from "../../secret.ts";
import type { SealedCredentials } from "./credential-rows.ts";

const COLUMNS = {
  kind: credentials.kind,
  generation: credentials.generation,
  issuedAt: credentials.issuedAt,
  expiresAt: credentials.expiresAt,
  renewBeforeMs: credentials.renewBeforeMs,
  isRejected: credentials.isRejected,
  usedAt: credentials.usedAt,
  renewAt: credentials.renewAt,
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

  countRejected(slot: SlotName, now: number): Promise<number> {
    return runStatement(this.#clock, () => countRejected(this.#database, slot, now));
  }
}

/** The facts in a row; none for a kind that this version does not know. */
function toFacts(row: Row): CredentialFacts[] {
  const kind = CREDENTIAL_KINDS.find((each) => each === row.kind);
  if (!kind) return [];
  const { issuedAt, expiresAt, renewBeforeMs, diedEarlyAt, diedEarlyMs } = row;
  const isThere = issuedAt !== null && expiresAt !== null && !row.isRejected;
  const hasDiedEarly = diedEarlyAt !== null && diedEarlyMs !== null;
  return [
    {
      kind,
      generation: row.generation ?? 0,
      life: isThere
        ? { issuedAt, expiresAt, ...(renewBeforeMs === null ? {} : { renewBeforeMs }) }
        : undefined,
      usedAt: row.usedAt ?? undefined,
      renewAt: row.renewAt ?? undefined,
      leaseExpiresAt: row.leaseExpiresAt ?? undefined,
      revokedEarly: hasDiedEarly ? { at: diedEarlyAt, earlyMs: diedEarlyMs } : undefined,
    },
  ];
}

/** Every credential that stands in SQLite and may be handed out, with its end, by one query. Nothing is unsealed. */
export async function listStandingLives(database: BunSQLiteDatabase, clock: Clock): Promise<StandingLife[]> {
  const { platform, appId, slot, kind, expiresAt } = credentials;
  const stands = and(isNotNull(credentials.value), eq(credentials.isRejected, false));
  const rows = await runStatement(clock, () =>
    database.select({ platform, appId, slot, kind, expiresAt }).from(credentials).where(stands).all(),
  );
  return rows.flatMap((row) => {
    const known = CREDENTIAL_KINDS.find((each) => each === row.kind);
    if (!known || row.expiresAt === null) return [];
    const platformName = row.platform === "wecom" ? ("wecom" as const) : ("weixin" as const);
    const name = { slot: { platform: platformName, appId: row.appId, name: row.slot }, kind: known };
    return [{ name, expiresAt: row.expiresAt }];
  });
}

interface Found {
  readonly platform: string;
  readonly appId: string;
  readonly slot: string;
  readonly until: number;
  readonly isRejected: number;
}

/**
 * Where an app was asked for with a secret before that secret was ours, both slots may have the same token: then it is
 * the app's own. One that is current again although it was rejected once is current. Written by hand and prepared once, because whoever sends made-up tokens makes us look each time.
 */
const FIND = `
  SELECT platform, app_id AS appId, slot, expires_at AS until, slot LIKE '~%' AS isForeign, 0 AS isRejected
  FROM credentials
  WHERE value_digest = $digest AND value IS NOT NULL AND is_rejected = 0 AND expires_at > $now
  UNION ALL
  SELECT platform, app_id, slot, previous_until, slot LIKE '~%', 0 FROM credentials
  WHERE previous_digest = $digest AND previous_until > $now
  UNION ALL
  SELECT platform, app_id, slot, until, 0, 1 FROM rejected_tokens AS rejected
  WHERE digest = $digest AND until > $now AND NOT EXISTS (
    SELECT 1 FROM token_cutoffs WHERE app IN (rejected.app, '*') AND number > rejected.cutoff
  )
  ORDER BY isForeign, isRejected LIMIT 1`;

/** Finds the slot of an access token in SQLite by its digest. Nothing is unsealed. */
export class SqliteIssuedTokenIndex implements IssuedTokenIndex {
  readonly #find: Statement<Found, [{ $digest: string; $now: number }]>;
  readonly #sealed: Pick<SealedCredentials, "digest">;
  readonly #clock: Clock;

  constructor(database: Database, sealed: Pick<SealedCredentials, "digest">, clock: Clock) {
    this.#find = database.query(FIND);
    this.#sealed = sealed;
    this.#clock = clock;
  }

  async findIssued(token: Secret, now: number): Promise<IssuedToken | undefined> {
    const $digest = this.#sealed.digest(token);
    const found = await runStatement(this.#clock, () => this.#find.get({ $digest, $now: now }));
    if (!found) return undefined;
    const { appId, slot: name, until } = found;
    const platform = found.platform === "wecom" ? "wecom" : "weixin";
    return { slot: { platform, appId, name }, until, isRejected: found.isRejected === 1 };
  }
}
