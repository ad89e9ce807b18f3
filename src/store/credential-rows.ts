import { and, eq, sql } from "drizzle-orm";
import { credentialKey, type CredentialName, type CredentialRecord } from "../credentials/credential.ts";
import { CREDENTIAL_KINDS, KINDS } from "../credentials/kinds.ts";
import type { Secret } from "../secret.ts";
import type { Keyring } from "./keyring.ts";
import type { SealedPlace } from "./sealing-key.ts";
import type { Queries } from "./sql.ts";
import { checkRow, raised } from "./damaged-rows.ts";
import { credentials, revisions } from "./schema.ts";

/** The columns of a credential whose texts are sealed. */
export type SealedColumn = "value" | "dead_value";

/** What says nothing of the value. */
const FACTS_FOR_PEOPLE: ReadonlySet<string> = new Set([
  "died_early_at",
  "died_early_ms",
  "used_at",
  "renew_at",
]);

/**
 * Seals the values of credentials and opens their rows.
 *
 * A value that can't be decrypted counts as none: it can be obtained again, and the next save replaces it.
 */
export class SealedCredentials {
  readonly #keyring: Keyring;
  readonly #onDamaged: (name: CredentialName) => void;
  /** By place, the text that was told of: one that stays is not told of at each read. */
  readonly #damaged = new Map<string, string>();

  /** `onDamaged` is called when a text can't be opened, once for each text in the life of this object. */
  constructor(keyring: Keyring, onDamaged: (name: CredentialName) => void) {
    this.#keyring = keyring;
    this.#onDamaged = onDamaged;
  }

  /** The text that a transaction is to store in a column of the credential's row. Throws as `Keyring.sealingKey`. */
  async seal(
    transaction: Queries,
    name: CredentialName,
    column: SealedColumn,
    secret: Secret,
  ): Promise<string> {
    return (await this.#keyring.sealingKey(transaction)).seal(secret, place(name, column));
  }

  /** The digest by which an access token is known again; see `Keyring.tokenDigest`. */
  digest(token: Secret): string {
    return this.#keyring.tokenDigest(token);
  }

  /** What a row says. */
  async toRecord(name: CredentialName, stored: typeof credentials.$inferSelect): Promise<CredentialRecord> {
    const { row, damaged } = checkRow(credentials, stored);
    const isWhole = damaged.every((column) => FACTS_FOR_PEOPLE.has(column));
    if (damaged.length > 0) this.#note(name, "row", damaged.join());
    const { generation, issuedAt, expiresAt, renewBeforeMs, isRejected } = row;
    const value = await this.#open(name, "value", row.value);
    const isThere = isWhole && value !== undefined && issuedAt !== null && expiresAt !== null;
    const renewal = renewBeforeMs === null ? {} : { renewBeforeMs };
    return {
      generation,
      credential: isThere ? { value, issuedAt, expiresAt, ...renewal } : undefined,
      isRejected,
      revoked: await this.#open(name, "dead_value", row.deadValue),
      wasSaved: row.firstSavedAt !== null,
      usedAt: row.usedAt ?? undefined,
      epoch: row.epoch,
    };
  }

  async #open(name: CredentialName, column: SealedColumn, text: string | null): Promise<Secret | undefined> {
    if (text === null) return undefined;
    const secret = await this.#keyring.tryOpen(text, place(name, column));
    if (!secret) this.#note(name, column, text);
    return secret;
  }

  /** Tells of what can't be read in a place, unless it was told of the same before. */
  #note(name: CredentialName, what: SealedColumn | "row", damage: string): void {
    const key = `${credentialKey(name)} ${what}`;
    if (this.#damaged.get(key) === damage) return;
    this.#damaged.set(key, damage);
    this.#onDamaged(name);
  }
}

function place(name: CredentialName, column: SealedColumn): SealedPlace {
  return { table: "credentials", row: credentialKey(name), column };
}

type Row = typeof credentials.$inferSelect;
/** What a save changes of a row's digests. */
export type Digests = Partial<Pick<Row, "valueDigest" | "previousDigest" | "previousUntil">>;

/** After a clear: neither the value nor the one before is known again. */
const NO_DIGESTS = { valueDigest: null, previousDigest: null, previousUntil: null };

/**
 * The digests of a row once a value with `digest` takes the place of what stood in `before`; null for one that must not
 * be known again.
 *
 * A valid value that is replaced stays valid for as long as its kind says; on WeCom, not at all.
 */
export function digestsAfter(name: CredentialName, before: Row, digest: string | null, now: number): Digests {
  const { valueDigest: standing, expiresAt, isRejected } = before;
  const { predecessorMs = 0 } = KINDS.find(name) ?? {};
  const isLiving = standing !== null && !isRejected && expiresAt !== null && expiresAt > now;
  if (isLiving && standing !== digest && predecessorMs > 0) {
    const previousUntil = Math.min(now + predecessorMs, expiresAt);
    return { valueDigest: digest, previousDigest: standing, previousUntil };
  }
  // A value that came back must not stay known by its former place when it is rejected later.
  const isBack = digest !== null && before.previousDigest === digest;
  return isBack ? { ...NO_DIGESTS, valueDigest: digest } : { valueDigest: digest };
}

/** The digests of a row without that of a value that is dead, wherever it stood. */
export function digestsWithout(dead: string) {
  return {
    valueDigest: sql`nullif(${credentials.valueDigest}, ${dead})`,
    previousDigest: sql`nullif(${credentials.previousDigest}, ${dead})`,
  };
}

/**
 * The next generation of a row: who began before it must not write what he has obtained. The time of day (epoch
 * milliseconds), unless that would be none: then one more, for a database that has lost its last writes must not give the
 * same one twice.
 */
export function nextGeneration(now: number) {
  const next = raised(credentials.generation);
  return sql<number>`CASE WHEN ${next} > ${now} THEN ${next} ELSE ${now} END`;
}

/** For a row that changes: the epoch that the end of the transaction raises `credentials` to. */
export const NEXT_EPOCH = sql`(SELECT coalesce(max(${raised(revisions.number)}), 1) FROM ${revisions} WHERE ${revisions.name} = 'credentials')`;

/** A row whose value is gone; what stood before that may still be known. */
export const NO_VALUE = {
  value: null,
  issuedAt: null,
  expiresAt: null,
  renewBeforeMs: null,
  isRejected: false,
  valueDigest: null,
  epoch: NEXT_EPOCH,
  renewAt: null,
};

/** In the place of a cutoff after a clear: WeChat may repeat the cleared value, which must not pass for one issued later. */
export const CUTOFF_OF_CLEARED = -1;

/** A row after a clear: neither the value nor the one before is known. */
export const CLEARED = { ...NO_VALUE, ...NO_DIGESTS, cutoff: CUTOFF_OF_CLEARED };

/** A clear, at `now`, of a row that is there. */
export function forgotten(now: number) {
  return { ...CLEARED, generation: nextGeneration(now) };
}

/** The columns of a name. */
export function columns({ slot, kind }: CredentialName) {
  return { platform: slot.platform, appId: slot.appId, slot: slot.name, kind };
}

/** The name in a row; none for a platform or kind that this version does not know, or where it is damaged. */
export function toName(row: Pick<Row, "platform" | "appId" | "slot" | "kind">): CredentialName[] {
  const kind = CREDENTIAL_KINDS.find((each) => each === row.kind);
  const { platform } = row;
  if (!kind || (platform !== "weixin" && platform !== "wecom")) return [];
  if (checkRow(credentials, { appId: row.appId, slot: row.slot }).damaged.length > 0) return [];
  return [{ slot: { platform, appId: row.appId, name: row.slot }, kind }];
}

/** The row of that name. */
export function isNamed(name: CredentialName) {
  return isRow(columns(name));
}

/** The row with the same name. */
export function isRow({ platform, appId, slot, kind }: Pick<Row, "platform" | "appId" | "slot" | "kind">) {
  return and(
    eq(credentials.platform, platform),
    eq(credentials.appId, appId),
    eq(credentials.slot, slot),
    eq(credentials.kind, kind),
  );
}
