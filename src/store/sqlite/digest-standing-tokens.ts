import { and, asc, eq, gt, isNotNull, isNull, sql } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import type { Clock } from "../../clock.ts";
import type { CredentialName } from "../../credentials/credential.ts";
import { credentials } from "./schema.ts";
import type { SealedCredentials } from "./credential-rows.ts";
import { runStatement } from "./statement.ts";

/** So many tokens get their digest in one transaction: a few milliseconds for which other processes wait. */
const MAX_BATCH = 100;

/**
 * Gives the living access tokens a digest that were saved before there were any, so that they are known again at once and
 * not when they are replaced. What does not open stays without. Other processes may do the same meanwhile.
 */
export async function backfillTokenDigests(
  database: BunSQLiteDatabase,
  sealed: SealedCredentials,
  clock: Clock,
): Promise<void> {
  const { kind, value, valueDigest, expiresAt } = credentials;
  const rowId = sql<number>`rowid`;
  const isWithout = and(
    eq(kind, "access_token"),
    isNotNull(value),
    isNull(valueDigest),
    gt(expiresAt, clock.now()),
  );
  const list = (after: number) =>
    database
      .select({ id: rowId, row: credentials })
      .from(credentials)
      .where(and(isWithout, gt(rowId, after)))
      .orderBy(asc(rowId))
      .limit(MAX_BATCH)
      .all();
  /** Gives back behind which row to go on; undefined when there are no more. */
  const digest = (after: number): number | undefined =>
    database.transaction(
      (transaction) => {
        const found = list(after);
        for (const { id, row } of found) {
          const { credential, revoked } = sealed.toRecord(nameOf(row), row);
          if (!credential || revoked?.equals(credential.value)) continue;
          const set = { valueDigest: sealed.digest(credential.value) };
          transaction.update(credentials).set(set).where(eq(rowId, id)).run();
        }
        return found.length < MAX_BATCH ? undefined : found.at(-1)?.id;
      },
      { behavior: "immediate" },
    );
  if ((await runStatement(clock, () => list(0))).length === 0) return;
  for (let after: number | undefined = 0; after !== undefined;) {
    const from: number = after;
    after = await runStatement(clock, () => digest(from));
  }
}

function nameOf({ platform, appId, slot: name }: typeof credentials.$inferSelect): CredentialName {
  return { slot: { platform: platform === "wecom" ? "wecom" : "weixin", appId, name }, kind: "access_token" };
}
