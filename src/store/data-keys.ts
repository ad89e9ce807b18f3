import { inArray } from "drizzle-orm";
import { hkdfSync, randomBytes } from "node:crypto";
import { ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import type { DataKeys, Keyring } from "./keyring.ts";
import { MASTER_KEY_BYTES, type SealedPlace } from "./sealing-key.ts";
import type { Queries } from "./sql.ts";
import { dataKeys } from "./schema.ts";
import { raiseEpoch } from "./epochs.ts";

/** The key under which virtual tokens are signed. */
const VIRTUAL_TOKENS = "virtual_token";
/** Before the instant until which a former one is accepted: as part of its name it is sealed with the key. */
const FORMER = "virtual_token until ";
/** The key under which virtual refresh tokens and permanent codes are signed, once it has been replaced. */
const VIRTUAL_GRANTS = "virtual_grant";

/** The keys that the database holds beside its master keys. Throws as `Keyring.open`. */
export async function readDataKeys(queries: Queries, keyring: Keyring): Promise<DataKeys> {
  const rows = await queries.select().from(dataKeys);
  const open = async (name: string) => {
    const row = rows.find((each) => each.name === name);
    if (!row) throw missing(name);
    return Buffer.from((await keyring.open(row.value, place(name))).reveal(), "hex");
  };
  const former = rows.filter(({ name }) => name.startsWith(FORMER)).map(({ name }) => name);
  const digest = await open("digest");
  return {
    digest,
    audit: await open("audit"),
    virtualTokens: {
      current: await open(VIRTUAL_TOKENS),
      former: await Promise.all(
        former.map(async (name) => ({ key: await open(name), until: untilOf(name) })),
      ),
    },
    virtualGrants: rows.some(({ name }) => name === VIRTUAL_GRANTS)
      ? await open(VIRTUAL_GRANTS)
      : derive(digest, "virtual grant"),
  };
}

/** Makes the keys of a new database, and reads them. Part of a transaction. Throws as `readDataKeys`. */
export async function ensureDataKeys(queries: Queries, keyring: Keyring): Promise<DataKeys> {
  const rows = await queries.select().from(dataKeys);
  if (rows.length === 0) {
    // As it was derived before it was kept, so that what it has named keeps its name.
    const digest = (await keyring.sealingKey(queries)).derive("digest");
    await put(queries, keyring, "digest", digest);
    for (const name of ["audit", VIRTUAL_TOKENS])
      await put(queries, keyring, name, randomBytes(MASTER_KEY_BYTES));
  } else if (!rows.some(({ name }) => name === VIRTUAL_TOKENS)) {
    const digest = rows.find(({ name }) => name === "digest");
    if (!digest) throw missing("digest");
    const key = (await keyring.open(digest.value, place("digest"))).reveal();
    // As it was derived before it was kept, so that tokens that are out stay valid.
    await put(queries, keyring, VIRTUAL_TOKENS, derive(Buffer.from(key, "hex"), "virtual token"));
  }
  return readDataKeys(queries, keyring);
}

/**
 * Puts a new key of virtual tokens in the place of the current one, which is accepted until `until`, and with `revoke`
 * not at all any more, nor are those before it, nor any virtual refresh token or permanent code; these outlive every other
 * change. Instants are epoch milliseconds. Part of a transaction.
 */
export async function replaceVirtualTokenKey(
  queries: Queries,
  keyring: Keyring,
  { now, until, revoke }: { readonly now: number; readonly until: number; readonly revoke: boolean },
): Promise<void> {
  const { virtualTokens } = await readDataKeys(queries, keyring);
  const rows = await queries.select().from(dataKeys);
  const names = rows.map(({ name }) => name).filter((name) => name.startsWith(FORMER));
  const ended = names.filter((name) => revoke || untilOf(name) <= now);
  if (revoke) ended.push(VIRTUAL_GRANTS);
  await queries.delete(dataKeys).where(inArray(dataKeys.name, [...ended, VIRTUAL_TOKENS]));
  await put(queries, keyring, VIRTUAL_TOKENS, randomBytes(MASTER_KEY_BYTES));
  if (revoke) await put(queries, keyring, VIRTUAL_GRANTS, randomBytes(MASTER_KEY_BYTES));
  await raiseEpoch(queries, "keys");
  if (revoke) return;
  let last = until;
  while (names.includes(FORMER + last)) last++;
  await put(queries, keyring, FORMER + last, virtualTokens.current);
}

async function put(queries: Queries, keyring: Keyring, name: string, key: Uint8Array): Promise<void> {
  const sealingKey = await keyring.sealingKey(queries);
  const value = sealingKey.seal(new Secret(Buffer.from(key).toString("hex")), place(name));
  await queries.insert(dataKeys).values({ name, value });
}

function derive(key: Uint8Array, purpose: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", key, "", `accesstoken-service ${purpose}`, MASTER_KEY_BYTES));
}

function untilOf(name: string): number {
  return Number(name.slice(FORMER.length));
}

function place(row: string): SealedPlace {
  return { table: "data_keys", row, column: "value" };
}

function missing(name: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `数据库缺少数据密钥 ${name}，请从备份恢复数据库 (the data key ${name} is missing in the database; restore it from a backup)`,
  );
}
