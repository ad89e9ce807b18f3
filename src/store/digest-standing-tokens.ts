import { and, asc, eq, gt, isNotNull, isNull, sql } from "drizzle-orm";
import type { Clock } from "../clock.ts";
import type { Queries, SqlDatabase } from "./sql.ts";
import { isNamed, toName, type SealedCredentials } from "./credential-rows.ts";
import { credentials } from "./schema.ts";

/** So many tokens get their digest in one transaction: a few milliseconds for which other processes wait. */
const MAX_BATCH = 100;

type Row = typeof credentials.$inferSelect;

/**
 * Gives the living access tokens a digest that were saved before there were any, so that they are known again at once and
 * not when they are replaced. What does not open stays without. Other processes may do the same meanwhile.
 */
export async function backfillTokenDigests(
  database: SqlDatabase,
  sealed: SealedCredentials,
  clock: Clock,
): Promise<void> {
  const { platform, appId, slot, kind, value, valueDigest, expiresAt } = credentials;
  const isWithout = and(
    eq(kind, "access_token"),
    isNotNull(value),
    isNull(valueDigest),
    gt(expiresAt, clock.now()),
  );
  const list = (queries: Queries, after: Row | undefined) => {
    const isBehind =
      after && sql`(${platform}, ${appId}, ${slot}) > (${after.platform}, ${after.appId}, ${after.slot})`;
    const rows = queries.select().from(credentials).where(and(isWithout, isBehind));
    return rows.orderBy(asc(platform), asc(appId), asc(slot)).limit(MAX_BATCH);
  };
  let batch = await database.read((queries) => list(queries, undefined));
  for (let after: Row | undefined; batch.length > 0; after = batch.at(-1)) {
    batch = await database.transact(async (queries) => {
      const found = await list(queries, after);
      for (const row of found) {
        for (const name of toName(row)) {
          const { credential, revoked } = await sealed.toRecord(name, row);
          if (!credential || revoked?.equals(credential.value)) continue;
          const set = { valueDigest: sealed.digest(credential.value) };
          await queries.update(credentials).set(set).where(isNamed(name));
        }
      }
      return found;
    });
  }
}
