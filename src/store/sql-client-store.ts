import { and, eq, gt, isNull, lt, or, sql } from "drizzle-orm";
import { outdated } from "../apps/app-administration.ts";
import type { AuditEntry } from "../audit/audit-entry.ts";
import {
  type AccessSettings,
  ANY_APP,
  type ApiKeyRecord,
  type Client,
  CLIENT_NAME,
  type ClientStore,
  DELIVERIES,
  readGrants,
  tokenApps,
} from "../access/client.ts";
import { ALLOW_NONE, isUnrestricted, readPolicy } from "../access/api-policy.ts";
import { noSuchKey } from "../access/client-administration.ts";
import { isWebOrigin } from "../access/origin.ts";
import { Networks } from "../access/networks.ts";
import { ServiceError } from "../errors.ts";
import type { AuditChain } from "./audit-chain.ts";
import { inLockOrder, type Queries, type SqlDatabase } from "./sql.ts";
import { checkRow, type DamageReports } from "./damaged-rows.ts";
import { cutOffTokens } from "./rejected-tokens.ts";
import { type OwnChanges, raiseEpoch } from "./epochs.ts";
import { apiKeys, clients, consoleLinks, settings } from "./schema.ts";
import { haveEnvironment } from "./sql-environment-store.ts";

type Row = typeof clients.$inferSelect;

/** The name of a setting. */
const CORS_ORIGINS = "cors_origins";
/** In the place of a client's name that can't be read; no client is called so. */
const NO_NAME = "(damaged)";
const PREFIX = /^ats_[0-9A-Za-z]{8}$/;
const DIGEST = /^[0-9a-f]{64}$/;

/** Clients and the digests of their keys in a SQL database. */
export class SqlClientStore implements ClientStore {
  readonly #database: SqlDatabase;
  readonly #audit: AuditChain;
  readonly #changes: OwnChanges;

  readonly #damage: DamageReports;
  /** The clients that were read last, and the rows that they were: most are as they were when all are read again. */
  #read = new Map<string, { readonly row: Row; readonly client: Client }>();

  constructor(database: SqlDatabase, audit: AuditChain, changes: OwnChanges, damage: DamageReports) {
    this.#database = database;
    this.#audit = audit;
    this.#changes = changes;
    this.#damage = damage;
  }

  async load(): Promise<{ clients: Client[]; keys: ApiKeyRecord[]; settings: AccessSettings }> {
    const loaded = await this.#database.snapshot(async (queries) => ({
      clients: this.#toClients(await queries.select().from(clients)),
      keys: (await queries.select().from(apiKeys)).map(toKey),
      settings: toSettings(await queries.select().from(settings)),
    }));
    for (const { name, damaged = [] } of loaded.clients)
      this.#damage.note(`clients:${damaged.includes("name") ? "?" : name}`, damaged);
    for (const { prefix, isDamaged } of loaded.keys)
      this.#damage.note(`api_keys:${PREFIX.test(prefix) ? prefix : "?"}`, isDamaged ? ["key"] : []);
    return loaded;
  }

  async saveSettings(change: Partial<AccessSettings>, entry: AuditEntry): Promise<void> {
    const { isAnonymousOn, corsOrigins } = change;
    await this.#change(entry, async (queries) => {
      if (isAnonymousOn !== undefined) await putSetting(queries, "anonymous", isAnonymousOn ? "on" : "off");
      if (corsOrigins) await putSetting(queries, CORS_ORIGINS, corsOrigins.join(","));
      else if ("corsOrigins" in change) await queries.delete(settings).where(eq(settings.name, CORS_ORIGINS));
    });
  }

  async lastUsesOf(client: string): Promise<{ prefix: string; usedAt: number }[]> {
    const columns = { prefix: apiKeys.prefix, usedAt: apiKeys.lastUsedAt };
    const isOfClient = eq(apiKeys.client, client);
    const rows = await this.#database.read((queries) =>
      queries.select(columns).from(apiKeys).where(isOfClient),
    );
    return rows.flatMap(({ prefix, usedAt }) =>
      usedAt !== null && Number.isSafeInteger(usedAt) ? { prefix, usedAt } : [],
    );
  }

  async create(client: Omit<Client, "version">, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries, version) => {
      const { name, createdAt } = client;
      const values = { name, ...toColumns(client), createdAt, version };
      const written = await queries
        .insert(clients)
        .values(values)
        .onConflictDoNothing()
        .returning({ name: clients.name })
        .get();
      if (!written) throw new ServiceError("conflict", "该客户端已存在 (the client exists)");
      return haveEnvironment(queries, client.environment, createdAt, entry);
    });
  }

  async update(client: Client, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries, epoch) => {
      const { name, createdAt } = client;
      const before = await find(queries, name);
      if (before?.version !== client.version - 1) throw outdated();
      await cutOffTokens(queries, lostApps(before, client));
      // Where the version was damaged, no former ETag may fit the next.
      const version = before.damaged ? epoch : client.version;
      await queries
        .update(clients)
        .set({ ...toColumns(client), createdAt, version })
        .where(eq(clients.name, name));
      return client.environment === before.environment
        ? entry
        : haveEnvironment(queries, client.environment, client.updatedAt, entry);
    });
  }

  async remove(name: string, version: number, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries) => {
      const before = await find(queries, name);
      if (before?.version !== version) throw outdated();
      await cutOff(queries, before);
      await queries.delete(clients).where(eq(clients.name, name));
      await queries.delete(apiKeys).where(eq(apiKeys.client, name));
      // It would sign in whoever is called so next.
      await queries.delete(consoleLinks).where(eq(consoleLinks.client, name));
    });
  }

  async addKey(key: ApiKeyRecord, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries) => {
      const isTaken = and(
        eq(apiKeys.client, key.client),
        eq(apiKeys.label, key.label),
        isNull(apiKeys.revokedAt),
        or(isNull(apiKeys.expiresAt), gt(apiKeys.expiresAt, key.createdAt)),
      );
      if (await queries.select().from(apiKeys).where(isTaken).get()) throw labelTaken();
      await insertKey(queries, key);
    });
  }

  async rollKey(prefix: string, endsAt: number, next: ApiKeyRecord, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries) => {
      const isLive = and(
        eq(apiKeys.prefix, prefix),
        eq(apiKeys.client, next.client),
        isNull(apiKeys.revokedAt),
      );
      const expiresAt = earlier(endsAt);
      const old = await queries
        .update(apiKeys)
        .set({ expiresAt, replacedBy: next.prefix })
        .where(isLive)
        .returning()
        .get();
      if (!old) throw noSuchKey();
      await cutOff(queries, await find(queries, next.client));
      await insertKey(queries, next);
    });
  }

  async revokeKey(client: string, prefix: string, at: number, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries) => {
      const isLive = and(eq(apiKeys.prefix, prefix), eq(apiKeys.client, client), isNull(apiKeys.revokedAt));
      // Ended twice over, so that no single damaged cell makes it valid again.
      const expiresAt = earlier(at);
      const set = { revokedAt: at, expiresAt };
      const revoked = await queries.update(apiKeys).set(set).where(isLive).returning().get();
      if (!revoked) throw noSuchKey();
      await cutOff(queries, await find(queries, client));
    });
  }

  async touchKeys(uses: readonly { prefix: string; usedAt: number }[]): Promise<void> {
    await this.#database.transact(
      async (queries) => {
        for (const { prefix, usedAt } of inLockOrder(uses, (use) => use.prefix)) {
          const isOlder = or(isNull(apiKeys.lastUsedAt), lt(apiKeys.lastUsedAt, usedAt));
          await queries
            .update(apiKeys)
            .set({ lastUsedAt: usedAt })
            .where(and(eq(apiKeys.prefix, prefix), isOlder));
        }
      },
      { isIndependent: true },
    );
  }

  /** The very objects of the last time where nothing has changed. */
  #toClients(rows: readonly Row[]): Client[] {
    const read = rows.map((row) => {
      const before = this.#read.get(row.name);
      return before && isSame(row, before.row) ? before : { row, client: toClient(row) };
    });
    this.#read = new Map(read.map((each) => [each.row.name, each]));
    return read.map(({ client }) => client);
  }

  /** Raises the epoch, does a change, which is given it, and writes its entry, all or nothing. */
  /** Does `work` and audits it by `entry`, or by the fuller one that it resolves with. */
  async #change(
    entry: AuditEntry,
    work: (queries: Queries, epoch: number) => Promise<AuditEntry | void>,
  ): Promise<void> {
    await this.#database.transact(async (queries) => {
      const fuller = await work(queries, await raiseEpoch(queries, "clients"));
      await this.#audit.append(queries, fuller ?? entry, "clients");
    });
    await this.#changes.expire();
  }
}

/** What is missing or can't be read must not open anything. */
function toSettings(rows: readonly (typeof settings.$inferSelect)[]): AccessSettings {
  const valueOf = (name: string) => rows.find((row) => row.name === name)?.value;
  const origins = valueOf(CORS_ORIGINS)?.split(",").filter(Boolean);
  return {
    isAnonymousOn: valueOf("anonymous") === "on",
    corsOrigins: origins?.every(isWebOrigin) === false ? [] : origins,
  };
}

async function putSetting(queries: Queries, name: string, value: string): Promise<void> {
  await queries
    .insert(settings)
    .values({ name, value })
    .onConflictDoUpdate({ target: settings.name, set: { value } });
}

async function find(queries: Queries, name: string): Promise<Client | undefined> {
  const [row] = await queries.select().from(clients).where(eq(clients.name, name));
  return row && toClient(row);
}

/** Ends the rejected tokens of all apps whose real tokens the client may have been given. */
async function cutOff(queries: Queries, client: Client | undefined): Promise<void> {
  if (client) await cutOffTokens(queries, tokenApps(client));
}

/** A client that was removed a moment ago must not come back by a key. */
async function insertKey(queries: Queries, key: ApiKeyRecord): Promise<void> {
  if (!(await find(queries, key.client)))
    throw new ServiceError("not_found", "没有该客户端 (no such client)");
  const { expiresAt = null, revokedAt = null, lastUsedAt = null, ...rest } = key;
  await queries.insert(apiKeys).values({ ...rest, expiresAt, revokedAt, lastUsedAt });
}

/** Whose real tokens a client may no longer be given after a change, or not for so long. */
function lostApps(before: Client, after: Client): string[] {
  const isShorter = (after.expiresAt ?? Infinity) < (before.expiresAt ?? Infinity);
  const left = isShorter ? [] : tokenApps(after);
  return tokenApps(before).filter((app) => !left.includes(app) && !left.includes(ANY_APP));
}

/** The end of a key, or `at` if that is earlier. */
function earlier(at: number) {
  const { expiresAt } = apiKeys;
  return sql<number>`case when ${expiresAt} < ${at} then ${expiresAt} else ${at} end`;
}

function labelTaken(): ServiceError {
  return new ServiceError(
    "conflict",
    "该客户端已有同名密钥，请换一个label，或轮换、吊销旧密钥 (the client has a key of that label; choose another, or roll or revoke the old one)",
  );
}

function toColumns(client: Omit<Client, "version">) {
  const { environment, grants, networks, expiresAt, rateLimit, concurrency, ...rest } = client;
  return {
    environment,
    grants: JSON.stringify(grants),
    networks: networks.join(","),
    origins: rest.origins?.join(",") ?? "",
    expiresAt: expiresAt ?? null,
    rateLimit: rateLimit ?? null,
    concurrency: concurrency ?? null,
    delivery: rest.delivery,
    policy: JSON.stringify(rest.policy),
    updatedAt: rest.updatedAt,
  };
}

function isSame(row: Row, other: Row): boolean {
  for (const column in row) if (row[column as keyof Row] !== other[column as keyof Row]) return false;
  return true;
}

/** A client as far as its row can be read. */
function toClient(stored: Row): Client {
  const { row, damaged } = checkRow(clients, stored);
  const policy = readPolicy(row.policy);
  const grants = readGrants(row.grants);
  const networks = row.networks === "" ? [] : row.networks.split(",");
  const delivery = DELIVERIES.find((each) => each === row.delivery);
  const { expiresAt, rateLimit, concurrency } = row;
  const unread = {
    name: CLIENT_NAME.test(row.name),
    grants: grants !== undefined,
    networks: networks.every(isNetwork),
    origins: row.origins === "" || row.origins.split(",").every(isWebOrigin),
    rate_limit: rateLimit === null || rateLimit > 0,
    concurrency: concurrency === null || concurrency > 0,
    delivery: delivery !== undefined,
    policy: policy !== ALLOW_NONE,
  };
  const failed = Object.entries(unread).flatMap(([name, isRead]) => (isRead ? [] : [name]));
  const all = [...new Set([...damaged, ...failed])];
  return {
    name: row.name || NO_NAME,
    environment: row.environment,
    grants: grants ?? [],
    networks: unread.networks ? networks : [],
    origins: unread.origins && row.origins !== "" ? row.origins.split(",") : undefined,
    expiresAt: expiresAt ?? undefined,
    rateLimit: unread.rate_limit ? (rateLimit ?? undefined) : undefined,
    concurrency: unread.concurrency ? (concurrency ?? undefined) : undefined,
    // What has become more than the policy allows hands out no real token.
    delivery: delivery === "real" && isUnrestricted(policy) ? "real" : "virtual",
    policy,
    createdAt: row.createdAt,
    updatedAt: row.updatedAt,
    version: row.version,
    ...(all.length > 0 ? { damaged: all } : {}),
  };
}

function isNetwork(text: string): boolean {
  try {
    return !new Networks(text).isEmpty;
  } catch {
    return false;
  }
}

function toKey(stored: typeof apiKeys.$inferSelect): ApiKeyRecord {
  const { row, damaged } = checkRow(apiKeys, stored);
  const { prefix, client, digest, label, createdAt, expiresAt, revokedAt, replacedBy, lastUsedAt } = row;
  // When it was last used, and what replaced it, is for people alone.
  const isWhole =
    damaged.every((name) => name === "last_used_at" || name === "replaced_by") &&
    DIGEST.test(digest) &&
    PREFIX.test(prefix);
  return {
    ...{ prefix, client, digest, label, createdAt },
    expiresAt: expiresAt ?? undefined,
    // Whatever stands there, it was revoked.
    revokedAt: stored.revokedAt === null ? undefined : (revokedAt ?? 0),
    replacedBy: replacedBy ?? undefined,
    lastUsedAt: lastUsedAt ?? undefined,
    ...(isWhole ? {} : { isDamaged: true }),
  };
}
