import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";

/** The apps whose secrets we hold. */
export const apps = sqliteTable(
  "apps",
  {
    platform: text().notNull(),
    /** AppID or CorpID. */
    appId: text("app_id").notNull(),
    /**
     * WeCom's agent; empty on WeChat. `@` and its role of a third-party platform; the platform's id of an account or a corp
     * that it has.
     */
    agent: text().notNull(),
    /** `stable` or `classic` on WeChat; empty on WeCom. */
    tokenMode: text("token_mode").notNull(),
    /** Sealed. */
    secret: text().notNull(),
    /** Grows with each secret of an account or a corp that a platform has. */
    secretVersion: integer("secret_version").notNull().default(0),
    /** JSON of what only third-party platforms, and what they have, need; empty for other apps. */
    thirdParty: text("third_party").notNull().default(""),
    /** Epoch milliseconds. */
    updatedAt: integer("updated_at").notNull(),
    /** `environment` for those that the configuration names, `managed` for those that an administrator registered. */
    source: text().notNull().default("environment"),
    /** What people call it. */
    title: text(),
    isDisabled: integer("is_disabled", { mode: "boolean" }).notNull().default(false),
    /** Whether it is a website application, which logs users in and has no access token. */
    isLoginOnly: integer("is_login_only", { mode: "boolean" }).notNull().default(false),
    /** The origin in the URLs that WeChat is given for it; null for `PUBLIC_URL`. */
    publicUrl: text("public_url"),
    /** Hosts whose pages may use the JS-SDK, comma-separated, as WeChat's console has them; empty where nobody said. */
    jsDomains: text("js_domains").notNull().default(""),
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
  (table) => [
    primaryKey({ columns: [table.platform, table.appId, table.endpoint, table.day] }),
    index("usage_of_day").on(table.day, table.platform, table.appId, table.endpoint),
  ],
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
  /** `digest`, `audit`, `virtual_token`, `virtual_grant`, or `virtual_token until` and epoch milliseconds. */
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

/** Where programs run, by the name that their clients carry. */
export const environments = sqliteTable("environments", {
  name: text().primaryKey(),
  /** Whether its programs talk to real users. */
  isProduction: integer("is_production", { mode: "boolean" }).notNull(),
  /** Which codes its web logins bring: `raw` for WeChat's own, `relay` for ours, which it alone can exchange. */
  codes: text().notNull(),
  createdAt: integer("created_at").notNull(),
  updatedAt: integer("updated_at").notNull(),
  /** Grows with each change; its ETag. */
  version: integer().notNull().default(1),
});

/** Where an app's web logins may return to. */
export const redirectOrigins = sqliteTable(
  "redirect_origins",
  {
    /** The app's public name. */
    app: text().notNull(),
    environment: text().notNull(),
    /** As browsers send it; its host may begin with one `*.`. */
    origin: text().notNull(),
    /** What the path must begin with; `/` for any. */
    path: text().notNull(),
    createdAt: integer("created_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.app, table.environment, table.origin, table.path] })],
);

/** Files at the root by which WeChat and WeCom see that a domain is ours. */
export const verifyFiles = sqliteTable("verify_files", {
  /** `MP_verify_….txt` or `WW_verify_….txt`. */
  name: text().primaryKey(),
  content: text().notNull(),
  createdAt: integer("created_at").notNull(),
});

/** Web logins that are with WeChat now. */
export const waitingLogins = sqliteTable(
  "waiting_logins",
  {
    /** The `state` that WeChat was given. */
    state: text().primaryKey(),
    /** The app's public name. */
    app: text().notNull(),
    environment: text().notNull(),
    /** Sealed: JSON of where it returns to, and with which state. */
    request: text().notNull(),
    expiresAt: integer("expires_at").notNull(),
    /** Keyed digest of the code that came back with it; null until then. */
    codeDigest: text("code_digest"),
    /** Until when the same return gets the same answer. */
    repeatUntil: integer("repeat_until"),
  },
  (table) => [index("waiting_logins_expires_at").on(table.expiresAt)],
);

/** Codes of web logins, and which environment may exchange them. */
export const loginCodes = sqliteTable(
  "login_codes",
  {
    /** Keyed digest of the code that the environment was given. */
    digest: text().primaryKey(),
    /** The app's public name. */
    app: text().notNull(),
    environment: text().notNull(),
    /** Sealed: WeChat's code behind ours; null where it is WeChat's own. */
    code: text(),
    expiresAt: integer("expires_at").notNull(),
  },
  (table) => [index("login_codes_expires_at").on(table.expiresAt)],
);

/** How an app's pushes are verified. */
export const callbacks = sqliteTable("callbacks", {
  /** The app's public name. */
  app: text().primaryKey(),
  /** Sealed. */
  token: text().notNull(),
  /** Sealed; null in plain mode without one. */
  aesKey: text("aes_key"),
  /** Sealed: what the current ones take the place of, and what is accepted beside them. */
  previousToken: text("previous_token"),
  previousAesKey: text("previous_aes_key"),
  /** `secure`, `compat` or `plain`. */
  mode: text().notNull(),
  /** `xml` or `json`. */
  format: text().notNull(),
  /** What a push may end with, comma-separated; may be empty for an app of an individual developer. */
  receiveIds: text("receive_ids").notNull(),
  /** When WeChat's GET check was answered last; null where it never was. */
  checkedAt: integer("checked_at"),
  createdAt: integer("created_at").notNull(),
  updatedAt: integer("updated_at").notNull(),
  /** Grows with each change; its ETag. */
  version: integer().notNull().default(1),
});

/** Where an app's pushes go. */
export const callbackTargets = sqliteTable(
  "callback_targets",
  {
    /** The app's public name. */
    app: text().notNull(),
    name: text().notNull(),
    environment: text().notNull(),
    /** Null for one that is pulled. */
    url: text(),
    /** What it is sent: `original`, `reencrypted` or `decrypted`. */
    content: text().notNull(),
    /** Sealed, as the next two: what it verifies a `reencrypted` push by. */
    token: text(),
    aesKey: text("aes_key"),
    /** What it verifies a `decrypted` one by. */
    hmacKey: text("hmac_key"),
    /** How long it may take, in milliseconds; null for the default. */
    timeoutMs: integer("timeout_ms"),
    /** When a program asked for its deliveries last; of one that is pulled. */
    pulledAt: integer("pulled_at"),
    createdAt: integer("created_at").notNull(),
    updatedAt: integer("updated_at").notNull(),
    version: integer().notNull().default(1),
  },
  (table) => [primaryKey({ columns: [table.app, table.name] })],
);

/** Which pushes of an app go to which target, in order. */
export const callbackRoutes = sqliteTable(
  "callback_routes",
  {
    /** The app's public name. */
    app: text().notNull(),
    position: integer().notNull(),
    target: text().notNull(),
    /** `primary` or `copy`. */
    role: text().notNull(),
    /** JSON of a rule: message types, events, event keys and openids. */
    rule: text().notNull(),
  },
  (table) => [primaryKey({ columns: [table.app, table.position] })],
);

/** Pushes of the last day, each once. */
export const pushes = sqliteTable(
  "pushes",
  {
    /** The app's public name. */
    app: text().notNull(),
    /** What WeChat's retries of it have in common. */
    dedupeKey: text("dedupe_key").notNull(),
    receivedAt: integer("received_at").notNull(),
    /** Message type and event, for lists and counts; empty where there is none. */
    type: text().notNull(),
    event: text().notNull(),
    /** Sealed: JSON of the request as it came; null once every delivery has ended. */
    request: text(),
    /** Sealed: the answer that WeChat was given; null until then. */
    answer: text(),
    expiresAt: integer("expires_at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.app, table.dedupeKey] }),
    index("pushes_expires_at").on(table.expiresAt),
  ],
);

/** One push to one target. */
export const deliveries = sqliteTable(
  "deliveries",
  {
    id: integer().primaryKey({ autoIncrement: true }),
    /** The app's public name. */
    app: text().notNull(),
    dedupeKey: text("dedupe_key").notNull(),
    target: text().notNull(),
    /** The target's, as of then. */
    environment: text().notNull(),
    /** `primary` or `copy`. */
    role: text().notNull(),
    /** Keyed digest of the openid: those of one are delivered in order. */
    lane: text().notNull(),
    /** `waiting`, `delivered`, `dead` or `dropped`. */
    state: text().notNull(),
    attempts: integer().notNull(),
    /** When it may be tried next. */
    dueAt: integer("due_at").notNull(),
    createdAt: integer("created_at").notNull(),
    /** It is dead from then on. */
    expiresAt: integer("expires_at").notNull(),
    endedAt: integer("ended_at"),
    /** Why the last attempt failed; never what was answered. */
    error: text(),
    /** Who is trying it, and until when. */
    leaseHolder: text("lease_holder"),
    leaseExpiresAt: integer("lease_expires_at"),
  },
  (table) => [
    index("deliveries_due").on(table.state, table.dueAt),
    index("deliveries_lane").on(table.app, table.target, table.state, table.lane, table.id),
    index("deliveries_push").on(table.app, table.dedupeKey, table.state),
    index("deliveries_listed").on(table.app, table.state, table.id),
  ],
);

/** How each attempt to obtain a credential ended: of the last 14 days, and at most so many as `RefreshLog` says. */
export const refreshLog = sqliteTable(
  "refresh_log",
  {
    id: integer().primaryKey({ autoIncrement: true }),
    at: integer().notNull(),
    /** The app's public name. */
    app: text().notNull(),
    kind: text().notNull(),
    /** Why it was asked for: `ahead`, `on_demand`, `forced`, `replaced` or `pushed`. */
    trigger: text().notNull(),
    /** `ok`, or our code of the failure. */
    outcome: text().notNull(),
    /** WeChat's, where it refused. */
    errcode: integer(),
    durationMs: integer("duration_ms").notNull(),
    /** Of what was stored; null where nothing was. */
    generation: integer(),
    /** The machine that asked. */
    host: text().notNull(),
  },
  (table) => [index("refresh_log_of_app").on(table.app, table.id), index("refresh_log_at").on(table.at)],
);

/** How often something happened to an app in an hour: of the last 90 days. */
export const hourlyCounts = sqliteTable(
  "hourly_counts",
  {
    /** The app's public name. */
    app: text().notNull(),
    /** Epoch milliseconds at which the hour began. */
    hour: integer().notNull(),
    /** What is counted; see `SERIES`. */
    series: text().notNull(),
    n: integer().notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.app, table.hour, table.series] }),
    index("hourly_counts_hour").on(table.hour),
  ],
);

/** Who is signed in to the console. */
export const consoleSessions = sqliteTable(
  "console_sessions",
  {
    /** SHA-256 of the session's id, hex. */
    digest: text().primaryKey(),
    /** Which client, and which of that name. */
    client: text().notNull(),
    clientCreatedAt: integer("client_created_at").notNull(),
    /** The key by which it signed in; empty for a link of the command line. */
    keyPrefix: text("key_prefix").notNull(),
    address: text().notNull(),
    createdAt: integer("created_at").notNull(),
    /** To the minute. */
    usedAt: integer("used_at").notNull(),
    /** The latest instant at which it ends. */
    expiresAt: integer("expires_at").notNull(),
  },
  (table) => [index("console_sessions_expires_at").on(table.expiresAt)],
);

/** Links that sign somebody in to the console once. */
export const consoleLinks = sqliteTable("console_links", {
  /** SHA-256 of the token in the link, hex. */
  digest: text().primaryKey(),
  /** The client that it signs in; empty for the link that makes the first administrator. */
  client: text().notNull(),
  createdAt: integer("created_at").notNull(),
  expiresAt: integer("expires_at").notNull(),
});

/** When something that keeps the service alive was done last, by whichever process: see `Milestones`. */
export const milestones = sqliteTable("milestones", {
  /** `backup`, `backup_failed`, `backup_verified`, `master_key_exported`, and so on. */
  name: text().primaryKey(),
  at: integer().notNull(),
  /** JSON of what there is to say of it; nothing secret. */
  detail: text().notNull(),
});

/** Where alarms are sent. */
export const notificationChannels = sqliteTable("notification_channels", {
  name: text().primaryKey(),
  /** `wecom`, `dingtalk`, `feishu` or `webhook`. */
  kind: text().notNull(),
  /** Sealed: its address holds the key of a bot. */
  url: text().notNull(),
  /** Sealed: what requests are signed with; null where there is none. */
  secret: text(),
  isEnabled: integer("is_enabled", { mode: "boolean" }).notNull(),
  /** JSON of what it is to be told and when: severity, quiet hours, whom to mention. */
  rules: text().notNull(),
  createdAt: integer("created_at").notNull(),
  updatedAt: integer("updated_at").notNull(),
  /** Grows with each change; its ETag. */
  version: integer().notNull().default(1),
});

/** What is wrong, or was a short while ago. */
export const alarms = sqliteTable(
  "alarms",
  {
    /** One of the conditions. */
    condition: text().notNull(),
    /** What it is about: an app, a client, a node; empty for the service. */
    subject: text().notNull(),
    /** `pending`, `firing` or `resolved`. */
    state: text().notNull(),
    /** When it was seen first. */
    since: integer().notNull(),
    /** When it was seen last. */
    seenAt: integer("seen_at").notNull(),
    /** When somebody was told of it last; null until then. */
    toldAt: integer("told_at"),
    /** When it was found to have ended; null until then. */
    resolvedAt: integer("resolved_at"),
    /** JSON of what there is to say of it; nothing secret. */
    detail: text().notNull(),
    /** Grows with each change of its state: whoever raises it tells. */
    version: integer().notNull(),
  },
  (table) => [primaryKey({ columns: [table.condition, table.subject] })],
);

/** Messages to channels, of the last 14 days. */
export const notifications = sqliteTable(
  "notifications",
  {
    id: integer().primaryKey({ autoIncrement: true }),
    channel: text().notNull(),
    /** JSON of what it tells; nothing secret. */
    content: text().notNull(),
    /** `waiting`, `sent` or `failed`. */
    state: text().notNull(),
    attempts: integer().notNull(),
    createdAt: integer("created_at").notNull(),
    /** When it may be sent next; the attempt that raises it is the only one. */
    dueAt: integer("due_at").notNull(),
    /** The last attempt; null until then. */
    triedAt: integer("tried_at"),
    endedAt: integer("ended_at"),
    /** What the channel said to the last attempt. */
    answer: text(),
  },
  (table) => [
    index("notifications_due").on(table.state, table.dueAt),
    index("notifications_of_channel").on(table.channel, table.id),
  ],
);

/** The codes by which accounts and corps authorize third-party platforms: each is exchanged once. */
export const authorizationCodes = sqliteTable(
  "authorization_codes",
  {
    /** Keyed digest of the platform and the code. */
    digest: text().primaryKey(),
    /** The public name of the platform. */
    platformApp: text("platform_app").notNull(),
    /** The AppID or CorpID of whoever gives it; empty where that is not known before the exchange. */
    account: text().notNull(),
    /** Sealed; null once it is of no use any more. */
    code: text(),
    /** `waiting`, `exchanged` or `failed`. */
    state: text().notNull(),
    attempts: integer().notNull(),
    createdAt: integer("created_at").notNull(),
    /** When it may be exchanged next; the attempt that raises it is the only one. */
    dueAt: integer("due_at").notNull(),
    /** It is forgotten from then on. */
    expiresAt: integer("expires_at").notNull(),
    /** Sealed: JSON of what WeChat answered; null until then. */
    answer: text(),
    /** Why the last attempt failed. */
    error: text(),
  },
  (table) => [
    index("authorization_codes_due").on(table.state, table.dueAt),
    index("authorization_codes_expires_at").on(table.expiresAt),
  ],
);

/** Links by which people come to WeChat's and WeCom's consent pages. */
export const authorizationLinks = sqliteTable(
  "authorization_links",
  {
    /** Keyed digest of what stands in the link, and in the `state` that comes back. */
    state: text().primaryKey(),
    /** The public name of the platform. */
    platformApp: text("platform_app").notNull(),
    /** Sealed: JSON of what is asked for, and where the person returns to. */
    request: text().notNull(),
    createdAt: integer("created_at").notNull(),
    expiresAt: integer("expires_at").notNull(),
    /** When a code came back by it last; null until then. */
    returnedAt: integer("returned_at"),
  },
  (table) => [index("authorization_links_expires_at").on(table.expiresAt)],
);
