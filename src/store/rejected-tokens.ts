import { and, count, eq, gt, inArray, isNotNull, lte, notExists, or } from "drizzle-orm";
import { appName, type SlotName } from "../apps/app.ts";
import { ANY_APP, type Grant, readGrants, tokenApps } from "../access/client.ts";
import { apiKeys, clients, credentials, rejectedTokens, tokenCutoffs } from "./schema.ts";
import type { Queries } from "./sql.ts";
import { highest } from "./damaged-rows.ts";

const ANY_GRANT: readonly Grant[] = [{ apps: [ANY_APP], actions: ["token:read"] }];

type Row = typeof credentials.$inferSelect;

/**
 * Remembers the token that stands in `row` as rejected, so that calls of its holders are still healed until its own end,
 * or until a client or key expires that may have been given it.
 */
export async function rememberRejected(queries: Queries, row: Row, now: number): Promise<void> {
  const { kind, valueDigest: digest, issuedAt, expiresAt, appId, slot, cutoff } = row;
  if (!mayBeRemembered({ slot: { name: slot }, kind }) || digest === null) return;
  if (issuedAt === null || expiresAt === null || cutoff === null) return;
  await queries.delete(rejectedTokens).where(lte(rejectedTokens.until, now));
  const platform = row.platform === "wecom" ? "wecom" : "weixin";
  const app = appName({ platform, appId, name: slot });
  const until = Math.min(expiresAt, await firstExpiry(queries, app, issuedAt));
  if (until <= now) return;
  const values = { digest, platform, appId, slot, app, cutoff, until };
  await queries
    .insert(rejectedTokens)
    .values(values)
    .onConflictDoUpdate({ target: rejectedTokens.digest, set: values });
}

/** Whether it is a token that we can replace: for another there is nothing to heal. */
export function mayBeRemembered(of: {
  readonly slot: Pick<SlotName, "name">;
  readonly kind: string;
}): boolean {
  return of.kind === "access_token" && !of.slot.name.startsWith("~");
}

/** A token that was rejected turned out to be valid, and is current again. */
export async function unrememberRejected(queries: Queries, digest: string): Promise<void> {
  await queries.delete(rejectedTokens).where(eq(rejectedTokens.digest, digest));
}

/**
 * From now on nothing that was issued until now for these apps (public names, or `ANY_APP`) is known again once it is
 * rejected. What is current stays known.
 */
export async function cutOffTokens(queries: Queries, apps: readonly string[]): Promise<void> {
  if (apps.length === 0) return;
  const number = (await lastCutoff(queries)) + 1;
  for (const app of apps) {
    await queries
      .insert(tokenCutoffs)
      .values({ app, number })
      .onConflictDoUpdate({ target: tokenCutoffs.app, set: { number } });
  }
}

/** The number of the last cutoff of any app; 0 when there has been none. */
export async function lastCutoff(queries: Queries): Promise<number> {
  const [found] = await queries.select({ number: highest(tokenCutoffs.number) }).from(tokenCutoffs);
  return found?.number ?? 0;
}

/** For each of the slots, how many rejected tokens of its app are still known. */
export async function countRejected(
  queries: Queries,
  slots: readonly SlotName[],
  now: number,
): Promise<number[]> {
  const { app } = rejectedTokens;
  const cutoffs = queries
    .select({ app: tokenCutoffs.app })
    .from(tokenCutoffs)
    .where(
      and(
        or(eq(tokenCutoffs.app, app), eq(tokenCutoffs.app, ANY_APP)),
        gt(tokenCutoffs.number, rejectedTokens.cutoff),
      ),
    );
  const found = await queries
    .select({ app, count: count() })
    .from(rejectedTokens)
    .where(and(inArray(app, slots.map(appName)), gt(rejectedTokens.until, now), notExists(cutoffs)))
    .groupBy(app);
  const counts = new Map(found.map((row) => [row.app, row.count]));
  return slots.map((slot) => counts.get(appName(slot)) ?? 0);
}

/** When the first client or key expires, or has, that may have been given a token of the app which was issued at `issuedAt`. */
async function firstExpiry(queries: Queries, app: string, issuedAt: number): Promise<number> {
  const rows = await queries
    .select({
      grants: clients.grants,
      delivery: clients.delivery,
      ofClient: clients.expiresAt,
      ofKey: apiKeys.expiresAt,
    })
    .from(clients)
    .leftJoin(apiKeys, eq(apiKeys.client, clients.name))
    .where(or(isNotNull(clients.expiresAt), isNotNull(apiKeys.expiresAt)));
  const instants = rows
    .filter(({ grants, delivery }) => {
      const read = readGrants(grants);
      // One that can't be read may have been on any app.
      const apps =
        read && delivery === "virtual" ? [] : tokenApps({ grants: read ?? ANY_GRANT, delivery: "real" });
      return apps.includes(app) || apps.includes(ANY_APP);
    })
    .flatMap(({ ofClient, ofKey }) => [ofClient ?? Infinity, ofKey ?? Infinity]);
  return Math.min(...instants.filter((at) => at > issuedAt), Infinity);
}
