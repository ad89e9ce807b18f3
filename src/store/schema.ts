import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";

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
    /** `environment` for those that the configuration names, `managed` for those that an administrator registered. */
    source: text().notNull().default("environment"),
    /** What people call it. */
    title: text(),
    isDisabled: integer("is_disabled", { mode: "boolean" }).notNull().default(false),
    /** Grows with each change; its ETag. */
    version: integer().notNull().default(1),
  },
  (table) => [primaryKey({ columns: [table.platform, table.appId, table.agent] })],
);

/** Keyed digests of what was last written whole, so that the same again is known without opening any of it. */
export const fingerprints = sqliteTable("fingerprints", {
  /** `environment`: the apps that the environment names. */
  name: text().primaryKey(),
  digest: text().notNull(),
});

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
    /** `Credential.renewBeforeMs`. */
    renewBeforeMs: integer("renew_left_ms"),
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
    /** When its renewal is due; null where none is. */
    renewAt: integer("renew_at"),
    /** Keyed digest of an access token's value, by which a caller's token is known again; null where none stands. */
    valueDigest: text("value_digest"),
    /** The same of the access token before, and until when it may still be used. */
    previousDigest: text("previous_digest"),
    previousUntil: integer("previous_until"),
    /** The epoch of `credentials` in which what may be handed out changed last. */
    epoch: integer().notNull().default(0),
    /** The number of the last cutoff of any app when the value was issued; null where that was not noted. */
    cutoff: integer(),
  },
  (table) => [
    primaryKey({ columns: [table.platform, table.appId, table.slot, table.kind] }),
    index("credentials_value_digest").on(table.valueDigest),
    index("credentials_previous_digest").on(table.previousDigest),
    index("credentials_epoch").on(table.epoch),
    index("credentials_renew_at").on(table.renewAt),
  ],
);

/** Access tokens that were rejected before their end, by which calls of their holders are still healed. */
export const rejectedTokens = sqliteTable("rejected_tokens", {
  /** Keyed digest of the token. */
  digest: text().primaryKey(),
  platform: text().notNull(),
  appId: text("app_id").notNull(),
  slot: text().notNull(),
  /** The app's public name. */
  app: text().notNull(),
  /** As of the credential. */
  cutoff: integer().notNull(),
  /** It maps to no app from then on. */
  until: integer().notNull(),
});

/**
 * The last time that an app's rejected tokens were ended: none that was issued before is known again. Numbered, because
 * clocks can be set back, and two things can happen in one millisecond.
 */
export const tokenCutoffs = sqliteTable(
  "token_cutoffs",
  {
    /** The app's public name, or `*` for every app. */
    app: text().primaryKey(),
    number: integer().notNull(),
  },
  (table) => [index("token_cutoffs_number").on(table.number)],
);

/** When WeChat and WeCom may not be asked, and why: backoffs, and the uses of budgets. */
export const pacing = sqliteTable(
  "pacing",
  {
    /** Of a backoff: a credential's, a slot's or a corp's key. Of a use: its budget's, `#`, and an id. */
    key: text().primaryKey(),
    /** `exponential`, `circuit_open`, `quota`; or `used` and `pending`. */
    reason: text().notNull(),
    /** JSON of a `StoredFailure`; of a use, what it was for. */
    detail: text(),
    count: integer().notNull(),
    since: integer().notNull(),
    until: integer().notNull(),
  },
  (table) => [index("pacing_until").on(table.until)],
);

/** How often each endpoint was called for an app on a day. */
export const callCounts = sqliteTable(
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

/** Users' tokens that were issued through us, so that whoever has one may bring it from anywhere. */
export const userTokens = sqliteTable(
  "user_tokens",
  {
    /** Grows: the oldest have to go when there are too many. */
    id: integer().primaryKey({ autoIncrement: true }),
    /** Keyed digest of the token. */
    digest: text().notNull().unique(),
    /** Who exchanged the code: a client, which one of that name, and by which key; all empty for an app's secret. */
    client: text().notNull(),
    clientCreatedAt: integer("client_created_at").notNull(),
    keyPrefix: text("key_prefix").notNull(),
    /** The app's public name. */
    app: text().notNull(),
    until: integer().notNull(),
  },
  (table) => [index("user_tokens_until").on(table.until)],
);

/** Which master key this database is sealed under; two while one takes the place of the other. */
export const keyring = sqliteTable("keyring", {
  keyId: text("key_id").primaryKey(),
  /** A known text, sealed: it opens under the right key only. */
  proof: text().notNull(),
  /** Epoch milliseconds. */
  createdAt: integer("created_at").notNull(),
  /** While two are there: this key, sealed under the other, so that whoever has one has both. */
  wrapped: text(),
});

/**
 * Keys beside the master key. `digest` and `audit` outlive a change of it, because what they made must stay comparable;
 * the key of virtual tokens changes with it, and its former ones stay until the instant in their names.
 */
export const dataKeys = sqliteTable("data_keys", {
  /** `digest`, `audit`, `virtual_token`, or `virtual_token until` and epoch milliseconds. */
  name: text().primaryKey(),
  /** Sealed. */
  value: text().notNull(),
});

/** Programs that may ask, each of one environment. */
export const clients = sqliteTable("clients", {
  name: text().primaryKey(),
  environment: text().notNull(),
  /** JSON of `Grant[]`. */
  grants: text().notNull(),
  /** CIDR blocks, comma-separated; empty for anywhere. */
  networks: text().notNull(),
  /** Origins of pages, comma-separated; empty for any. */
  origins: text().notNull().default(""),
  expiresAt: integer("expires_at"),
  /** Requests a second; null for no limit. */
  rateLimit: integer("rate_limit"),
  /** Requests under way at once through the gateway; null for the default of `Concurrency`. */
  concurrency: integer(),
  /** `real` or `virtual`: which access tokens it is given. */
  delivery: text().notNull().default("real"),
  /** JSON of an `ApiPolicy`: which of WeChat's paths it may call. */
  policy: text().notNull().default('{"preset":"all","allow":[],"deny":[]}'),
  createdAt: integer("created_at").notNull(),
  updatedAt: integer("updated_at").notNull(),
  /** Grows with each change; its ETag. */
  version: integer().notNull(),
});

/** What clients prove themselves with. The key itself is nowhere: only its digest. */
export const apiKeys = sqliteTable(
  "api_keys",
  {
    /** The public beginning of the key. */
    prefix: text().primaryKey(),
    client: text().notNull(),
    /** SHA-256 of the whole key, hex. */
    digest: text().notNull().unique(),
    label: text().notNull(),
    createdAt: integer("created_at").notNull(),
    expiresAt: integer("expires_at"),
    revokedAt: integer("revoked_at"),
    /** The prefix of the key that was made in its place; null where none was. */
    replacedBy: text("replaced_by"),
    /** To the minute. */
    lastUsedAt: integer("last_used_at"),
  },
  (table) => [index("api_keys_of_client").on(table.client)],
);

/** What an administrator has decided for all processes. */
export const settings = sqliteTable("settings", {
  /**
   * `anonymous`: `on`, or anything else where anonymous access is ended, as without the row. `cors_origins`: what takes the
   * place of `CORS_ORIGINS`, comma-separated.
   */
  name: text().primaryKey(),
  value: text().notNull(),
});

/**
 * The epochs of the topics in `Changes`, numbers that grow with every change; as `audit`, the id of the last entry; and as
 * `compatible_from` the number of the oldest migration that a process must know.
 */
export const revisions = sqliteTable("revisions", {
  name: text().primaryKey(),
  number: integer().notNull(),
  /** When it was raised, by the database's clock; of PostgreSQL alone, whose trigger sets it. */
  raisedAt: integer("raised_at"),
});

/** Who did what, each entry chained to the one before. */
export const auditEntries = sqliteTable(
  "audit_entries",
  {
    id: integer().primaryKey({ autoIncrement: true }),
    at: integer().notNull(),
    client: text().notNull(),
    environment: text().notNull(),
    address: text().notNull(),
    action: text().notNull(),
    /** Its public name; empty where none is concerned. */
    app: text().notNull(),
    outcome: text().notNull(),
    traceId: text("trace_id").notNull(),
    /** Of the token concerned; empty where none is. */
    tokenDigest: text("token_digest").notNull(),
    /** JSON of what changed; nothing secret. */
    detail: text().notNull(),
    /** Keyed digest of the hash before and of this entry, hex. */
    hash: text().notNull(),
  },
  (table) => [index("audit_entries_at").on(table.at)],
);

/** Both ends of the chain, so that entries cut off at one of them are missed, and what ties it to the rest of the database. */
export const auditEnds = sqliteTable("audit_ends", {
  /** `first`: the entry before the first that is kept; `last`: the last one; `tie`: the last that was written with a tie. */
  name: text().primaryKey(),
  entryId: integer("entry_id").notNull(),
  hash: text().notNull(),
  /** Keyed digest of this row, hex; of `tie` behind the epochs of clients and apps, which it covers: `3.1.9f…`. */
  mac: text().notNull(),
});

/** What is too frequent to be written one by one, counted per minute. */
export const counts = sqliteTable(
  "counts",
  {
    /** Counts up as minutes go by; the order of pages. */
    id: integer().primaryKey(),
    /** Epoch milliseconds at which the minute began. */
    minute: integer().notNull(),
    /** `usage` or `denial`. */
    kind: text().notNull(),
    /** The joined names: see `AuditCounts`. */
    key: text().notNull(),
    n: integer().notNull(),
  },
  (table) => [
    uniqueIndex("counts_of_minute").on(table.kind, table.minute, table.key),
    index("counts_of_kind").on(table.kind, table.id),
  ],
);

/**
 * When work that any process may do is due again; whoever moves the time does it. As `audit clock since` and `audit clock
 * noted`: since when the clock has gone on without a jump, and when that was seen last.
 */
export const dueWork = sqliteTable("due_work", {
  name: text().primaryKey(),
  /** Epoch milliseconds. */
  dueAt: integer("due_at").notNull(),
});

/** The processes that serve, of every machine. On SQLite, which is of one machine, nobody writes it. */
export const nodes = sqliteTable("nodes", {
  /** Another at each start. */
  id: text().primaryKey(),
  /** Its machine's name, and its number there. */
  host: text().notNull(),
  pid: integer().notNull(),
  version: text().notNull(),
  /** The ids of the master keys that it has, comma-separated. */
  keyIds: text("key_ids").notNull(),
  startedAt: integer("started_at").notNull(),
  /** Its last heartbeat, by the database's clock. */
  seenAt: integer("seen_at").notNull(),
  /** By how much the database's clock is ahead of its own. */
  offsetMs: integer("offset_ms").notNull(),
  /** Whether notifications of changes reach it. */
  isListening: integer("is_listening", { mode: "boolean" }).notNull(),
});
