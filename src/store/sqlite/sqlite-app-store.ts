import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import { and, eq, inArray, sql } from "drizzle-orm";
import type { App } from "../../apps/app.ts";
import type { AppStore } from "../../apps/app-store.ts";
import type { SlotName } from "../../apps/slot.ts";
import type { Clock } from "../../clock.ts";
import { pauseKeysOfApp } from "../../credentials/pause.ts";
import type { Keyring, SealedPlace } from "../keyring.ts";
import { apps, credentials, pauses } from "./schema.ts";
import { runStatement } from "./statement.ts";

type Row = typeof apps.$inferSelect;

/** As after a clear: the value is gone, and who began before must not bring it back. */
const FORGOTTEN = {
  value: null,
  issuedAt: null,
  expiresAt: null,
  renewLeftMs: null,
  isRejected: false,
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
    const kept = wanted.map(toColumns).map((columns) => {
      const row = byKey.get(rowKey(columns));
      const hasSecret =
        row !== undefined && this.#keyring.open(row.secret, place(row)).equals(columns.secret);
      return { columns, hasSecret, isUnchanged: hasSecret && row.tokenMode === columns.tokenMode };
    });
    const keptKeys = new Set(kept.map(({ columns }) => rowKey(columns)));
    const gone = stored.filter((row) => !keptKeys.has(rowKey(row)));
    // A row that does not open under its name is a damaged one, and then nothing may be written.
    for (const row of gone) this.#keyring.open(row.secret, place(row));
    const changed = kept.filter(({ isUnchanged }) => !isUnchanged);
    if (changed.length === 0 && gone.length === 0) return;
    const reset = [...gone, ...changed.filter(({ hasSecret }) => !hasSecret).map(({ columns }) => columns)];
    await runStatement(this.#clock, () =>
      this.#database.transaction(
        (transaction) => {
          for (const { platform, appId, agent } of gone) {
            const isIt = and(eq(apps.platform, platform), eq(apps.appId, appId), eq(apps.agent, agent));
            transaction.delete(apps).where(isIt).run();
          }
          for (const name of reset) {
            transaction.update(credentials).set(FORGOTTEN).where(isIssuedTo(name)).run();
            transaction
              .delete(pauses)
              .where(inArray(pauses.key, pauseKeysOfApp(slotOf(name))))
              .run();
          }
          for (const { secret, ...columns } of changed.map((each) => each.columns)) {
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

function slotOf({ platform, appId, agent }: RowName): SlotName {
  return { platform: platform === "wecom" ? "wecom" : "weixin", appId, name: agent };
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
