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
    /** Epoch milliseconds. */
    issuedAt: integer("issued_at"),
    /** Epoch milliseconds. */
    expiresAt: integer("expires_at"),
  },
  (table) => [primaryKey({ columns: [table.platform, table.appId, table.slot, table.kind] })],
);

/** Which master key this database is sealed under. */
export const keyring = sqliteTable("keyring", {
  keyId: text("key_id").primaryKey(),
  /** A known text, sealed: it opens under the right key only. */
  proof: text().notNull(),
  /** Epoch milliseconds. */
  createdAt: integer("created_at").notNull(),
});
