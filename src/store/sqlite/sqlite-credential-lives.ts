import { and, eq, isNotNull } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import type { Clock } from "../../clock.ts";
import { CREDENTIAL_KINDS } from "../../credentials/credential.ts";
import type { StandingLife } from "../store.ts";
import { credentials } from "./schema.ts";
import { runStatement } from "./statement.ts";

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
