import { and, eq, inArray, isNotNull } from "drizzle-orm";
import { slotKey, type SlotName } from "../apps/app.ts";
import type { Piece } from "../audit/call-counts.ts";
import type {
  CredentialFacts,
  CredentialFactsStore,
  IssuedToken,
  IssuedTokenIndex,
  ListedCredential,
  StandingLife,
} from "../credentials/credential-store.ts";
import { CREDENTIAL_KINDS } from "../credentials/kinds.ts";
import type { Secret } from "../secret.ts";
import type { SqlDatabase } from "./sql.ts";
import { checkRow } from "./damaged-rows.ts";
import { credentials } from "./schema.ts";
import { countRejected } from "./rejected-tokens.ts";
import { type SealedCredentials, toName } from "./credential-rows.ts";

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

/** What a SQL database knows of credentials beside their values, which it does not even read. */
export class SqlCredentialFacts implements CredentialFactsStore {
  readonly #database: SqlDatabase;

  constructor(database: SqlDatabase) {
    this.#database = database;
  }

  async ofSlots(slots: readonly SlotName[]): Promise<CredentialFacts[][]> {
    const { platform, appId, slot } = credentials;
    const ids = [...new Set(slots.map((each) => each.appId))];
    // Both platforms are named, so that the primary key is used.
    const isOne = and(inArray(platform, ["weixin", "wecom"]), inArray(appId, ids));
    const rows = await this.#database.read((queries) =>
      queries
        .select({ ...COLUMNS, platform, appId, slot })
        .from(credentials)
        .where(isOne),
    );
    const bySlot = Map.groupBy(rows, (row) => `${row.platform}:${row.appId}:${row.slot}`);
    return slots.map((each) =>
      (bySlot.get(slotKey(each)) ?? []).flatMap((row) => toFacts(checkRow(credentials, row).row)),
    );
  }

  async page(after: string | undefined, limit: number): Promise<Piece<ListedCredential>> {
    const names = after?.split(" ") ?? ["", "", "", ""];
    const rows = (await this.#database.rows(PAGE, [...names, limit])) as ListedRow[];
    const last = rows.length < limit ? undefined : rows.at(-1);
    return { items: rows.flatMap(toListed), next: last?.slice(0, 4).join(" ") };
  }

  countRejected(slots: readonly SlotName[], now: number): Promise<number[]> {
    return this.#database.read((queries) => countRejected(queries, slots, now));
  }
}

/** Written by hand: a console of very many apps reads all of them, and most of the time of such a query is its columns. */
const PAGE = `
  SELECT platform, app_id, slot, kind, CASE WHEN is_rejected = 0 THEN issued_at END, expires_at, renew_left_ms,
    used_at, died_early_at, died_early_ms
  FROM credentials WHERE (platform, app_id, slot, kind) > (?, ?, ?, ?)
  ORDER BY platform, app_id, slot, kind LIMIT ?`;

type ListedRow = [platform: string, appId: string, name: string, kind: string, ...numbers: unknown[]];

/** What is listed of a row; nothing of a kind that this version does not know. */
function toListed([platform, appId, slot, kind, ...cells]: ListedRow): ListedCredential[] {
  const [named] = toName({ platform, appId, slot, kind });
  if (!named) return [];
  const [issuedAt, expiresAt, renewBeforeMs, usedAt, at, earlyMs] = cells;
  const renewal = isNumber(renewBeforeMs) ? { renewBeforeMs } : {};
  return [
    {
      ...named,
      life: isNumber(issuedAt) && isNumber(expiresAt) ? { issuedAt, expiresAt, ...renewal } : undefined,
      usedAt: isNumber(usedAt) ? usedAt : undefined,
      revokedEarly: isNumber(at) && isNumber(earlyMs) ? { at, earlyMs } : undefined,
    },
  ];
}

function isNumber(cell: unknown): cell is number {
  return Number.isSafeInteger(cell);
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

/** Every credential that stands and may be handed out, with its end, by one query. Nothing is unsealed. */
export async function listStandingLives(database: SqlDatabase): Promise<StandingLife[]> {
  const { platform, appId, slot, kind, expiresAt } = credentials;
  const stands = and(isNotNull(credentials.value), eq(credentials.isRejected, false));
  const rows = await database.read((queries) =>
    queries.select({ platform, appId, slot, kind, expiresAt }).from(credentials).where(stands),
  );
  return rows.flatMap(({ expiresAt: end, ...row }) =>
    end === null || !Number.isSafeInteger(end) ? [] : toName(row).map((name) => ({ name, expiresAt: end })),
  );
}

type Found = [
  platform: string,
  appId: string,
  slot: string,
  until: number,
  isForeign: number,
  isRejected: number,
];

/**
 * Where an app was asked for with a secret before that secret was ours, both slots may have the same token: then it is
 * the app's own. One that is current again although it was rejected once is current. Written by hand, so that it is
 * prepared once: whoever sends made-up tokens makes us look each time.
 */
const FIND = `
  SELECT platform, app_id, slot, expires_at, CASE WHEN slot LIKE '~%' THEN 1 ELSE 0 END AS is_foreign, 0 AS was_rejected
  FROM credentials
  WHERE value_digest = ? AND expires_at > ? AND value IS NOT NULL AND is_rejected = 0
  UNION ALL
  SELECT platform, app_id, slot, previous_until, CASE WHEN slot LIKE '~%' THEN 1 ELSE 0 END, 0 FROM credentials
  WHERE previous_digest = ? AND previous_until > ?
  UNION ALL
  SELECT platform, app_id, slot, until, 0, 1 FROM rejected_tokens AS rejected
  WHERE digest = ? AND until > ? AND NOT EXISTS (
    SELECT 1 FROM token_cutoffs WHERE app IN (rejected.app, '*') AND number > rejected.cutoff
  )
  ORDER BY is_foreign, was_rejected LIMIT 1`;

/** Finds the slot of an access token in a SQL database by its digest. Nothing is unsealed. */
export class SqlIssuedTokenIndex implements IssuedTokenIndex {
  readonly #database: SqlDatabase;
  readonly #sealed: Pick<SealedCredentials, "digest">;

  constructor(database: SqlDatabase, sealed: Pick<SealedCredentials, "digest">) {
    this.#database = database;
    this.#sealed = sealed;
  }

  async findIssued(token: Secret, now: number): Promise<IssuedToken | undefined> {
    const digest = this.#sealed.digest(token);
    const [found] = await this.#database.rows(FIND, [digest, now, digest, now, digest, now]);
    if (!found) return undefined;
    const [platform, appId, name, until, , isRejected] = found as Found;
    // A token without a readable end is not taken for a valid one.
    if (!Number.isSafeInteger(until)) return undefined;
    const slot = { platform: platform === "wecom" ? ("wecom" as const) : ("weixin" as const), appId, name };
    return { slot, until, isRejected: isRejected === 1 };
  }
}
