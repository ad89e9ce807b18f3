import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import { and, eq, inArray, sql } from "drizzle-orm";
import type { App } from "../../apps/app.ts";
import type { AppStore } from "../../apps/app-store.ts";
import type { Clock } from "../../clock.ts";
import type { Secret } from "../../secret.ts";
import type { Keyring, SealedPlace } from "../keyring.ts";
import { apps, credentials } from "./schema.ts";
import { runStatement } from "./statement.ts";

type Row = typeof apps.$inferSelect;

/** As after a clear: the value is gone, and who began before must not bring it back. */
const FORGOTTEN = {
  value: null,
  issuedAt: null,
  expiresAt: null,
  generation: sql`${credentials.generation} + 1`,
};

/** Apps in SQLite. */
export class SqliteAppStore implements AppStore {
  readonly #database: BunSQLiteDatabase;
  readonly #keyring: Keyring;
  readonly #clock: Clock;

  constructor(database: BunSQLiteDatabase, keyring: Keyring, clock: Clock) {
    this.#database = database;
    this.#keyring = keyring;
    this.#clock = clock;
  }

  async list(): Promise<App[]> {
    const rows = await runStatement(this.#clock, () => this.#database.select().from(apps).all());
    return rows.map((row) => this.#toApp(row));
  }

  async replaceAll(wanted: readonly App[]): Promise<void> {
    const stored = await runStatement(this.#clock, () => this.#database.select().from(apps).all());
    const byKey = new Map(stored.map((row) => [rowKey(row), row]));
    const changed = wanted
      .map(toColumns)
      .filter((columns) => !this.#holds(byKey.get(rowKey(columns)), columns));
    const kept = new Set(wanted.map((app) => rowKey(toColumns(app))));
    const gone = stored.filter((row) => !kept.has(rowKey(row)));
    if (changed.length === 0 && gone.length === 0) return;
    await runStatement(this.#clock, () =>
      this.#database.transaction(
        (transaction) => {
          for (const { platform, appId, agent } of gone) {
            const isIt = and(eq(apps.platform, platform), eq(apps.appId, appId), eq(apps.agent, agent));
            transaction.delete(apps).where(isIt).run();
          }
          for (const { secret, ...columns } of changed) {
            if (!this.#hasSecret(byKey.get(rowKey(columns)), secret)) {
              transaction.update(credentials).set(FORGOTTEN).where(isIssuedTo(columns)).run();
            }
            const written = {
              tokenMode: columns.tokenMode,
              secret: this.#keyring.seal(secret, place(columns)),
              updatedAt: this.#clock.now(),
            };
            const target = [apps.platform, apps.appId, apps.agent];
            transaction
              .insert(apps)
              .values({ ...columns, ...written })
              .onConflictDoUpdate({ target, set: written })
              .run();
          }
        },
        { behavior: "immediate" },
      ),
    );
  }

  #holds(row: Row | undefined, wanted: ReturnType<typeof toColumns>): boolean {
    return row?.tokenMode === wanted.tokenMode && this.#hasSecret(row, wanted.secret);
  }

  #hasSecret(row: Row | undefined, secret: Secret): boolean {
    return row !== undefined && this.#keyring.open(row.secret, place(row)).equals(secret);
  }

  #toApp(row: Row): App {
    const secret = this.#keyring.open(row.secret, place(row));
    if (row.platform === "wecom") return { platform: "wecom", id: row.appId, agent: row.agent, secret };
    return {
      platform: "weixin",
      id: row.appId,
      secret,
      tokenMode: row.tokenMode === "classic" ? "classic" : "stable",
    };
  }
}

/** The credentials of an app's own slots: WeCom's is named after the agent, WeChat's after the token modes. */
function isIssuedTo({ platform, appId, agent }: RowName) {
  const slots = platform === "wecom" ? [agent] : ["stable", "classic"];
  return and(
    eq(credentials.platform, platform),
    eq(credentials.appId, appId),
    inArray(credentials.slot, slots),
  );
}

function toColumns(app: App) {
  const { platform, id: appId, secret } = app;
  return app.platform === "wecom"
    ? { platform, appId, agent: app.agent, tokenMode: "", secret }
    : { platform, appId, agent: "", tokenMode: app.tokenMode, secret };
}

type RowName = Pick<Row, "platform" | "appId" | "agent">;

function rowKey({ platform, appId, agent }: RowName): string {
  return `${platform}:${appId}:${agent}`;
}

function place(row: RowName): SealedPlace {
  return { table: "apps", row: rowKey(row), column: "secret" };
}
