import { integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";

/** The apps whose secrets we hold. */
export const apps = sqliteTable(
  "apps",
  {
    platform: text().notNull(),
    /** AppID or CorpID. */
    appId: text("app_id").notNull(),
    /** WeCom's agent; empty on WeChat. */
    agent: text().notNull(),
    /** `stable` or `classic` on WeChat; empty on WeCom. */
    tokenMode: text("token_mode").notNull(),
    /** Sealed. */
    secret: text().notNull(),
    /** Epoch milliseconds. */
    updatedAt: integer("updated_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.platform, table.appId, table.agent] })],
);

/** What was issued to us. A row stays when its value is cleared, because its generation must never return. */
export const credentials = sqliteTable(
  "credentials",
  {
    platform: text().notNull(),
    appId: text("app_id").notNull(),
    /** `Slot.name`. */
    slot: text().notNull(),
    kind: text().notNull(),
    generation: integer().notNull(),
    /** Sealed; null after a clear, and then the two instants are null too. */
    value: text(),
    /** Epoch milliseconds, as every instant here. */
    issuedAt: integer("issued_at"),
    expiresAt: integer("expires_at"),
    /** `Credential.renewLeftMs`. */
    renewLeftMs: integer("renew_left_ms"),
    isRejected: integer("is_rejected", { mode: "boolean" }).notNull().default(false),
    /** Sealed: the last value that WeChat confirmed to be dead. */
    deadValue: text("dead_value"),
    /** When a value died before its time, and how long before. */
    diedEarlyAt: integer("died_early_at"),
    diedEarlyMs: integer("died_early_ms"),
    /** Who may refresh it, and until when. */
    leaseHolder: text("lease_holder"),
    leaseExpiresAt: integer("lease_expires_at"),
    /** When the first value was saved; null for a row that a lease alone has made. */
    firstSavedAt: integer("first_saved_at"),
    /** The last hand-out that was written down. */
    usedAt: integer("used_at"),
  },
  (table) => [primaryKey({ columns: [table.platform, table.appId, table.slot, table.kind] })],
);

/** Times in which an upstream is left alone, and why. */
export const pauses = sqliteTable("pauses", {
  /** A credential's, a slot's or a corp's key. */
  key: text().primaryKey(),
  reason: text().notNull(),
  /** JSON of a `StoredFailure`. */
  failure: text().notNull(),
  count: integer().notNull(),
  since: integer().notNull(),
  until: integer().notNull(),
});

/** How many forced refreshes an app has had. */
export const forcedRefreshes = sqliteTable("forced_refreshes", {
  appId: text("app_id").primaryKey(),
  /** In Beijing, `YYYY-MM-DD`. */
  day: text().notNull(),
  count: integer().notNull(),
  lastAt: integer("last_at").notNull(),
});

/** How often each endpoint was called for an app on a day. */
export const usage = sqliteTable(
  "usage",
  {
    platform: text().notNull(),
    appId: text("app_id").notNull(),
    endpoint: text().notNull(),
    /** In Beijing, `YYYY-MM-DD`. */
    day: text().notNull(),
    calls: integer().notNull(),
  },
  (table) => [primaryKey({ columns: [table.platform, table.appId, table.endpoint, table.day] })],
);

/** What users' one-time codes were answered with, for the ten seconds in which they may come again. */
export const loginAnswers = sqliteTable("login_answers", {
  /** A digest of caller, app and code. */
  key: text().primaryKey(),
  /** Sealed; null while the exchange is under way. */
  answer: text(),
  expiresAt: integer("expires_at").notNull(),
});

/** Which master key this database is sealed under. */
export const keyring = sqliteTable("keyring", {
  keyId: text("key_id").primaryKey(),
  /** A known text, sealed: it opens under the right key only. */
  proof: text().notNull(),
  /** Epoch milliseconds. */
  createdAt: integer("created_at").notNull(),
});
