import { and, eq, gt, isNull, lt, or, sql } from "drizzle-orm";
import { outdated } from "../../apps/app-administration.ts";
import type { AuditEntry } from "../../audit/audit-entry.ts";
import {
  ACTIONS,
  ANY_APP,
  type ApiKeyRecord,
  type Client,
  type ClientStore,
  type Grant,
  tokenApps,
} from "../../access/client.ts";
import { isUnrestricted, readPolicy } from "../../access/api-policy.ts";
import { noSuchKey } from "../../access/client-administration.ts";
import { ServiceError } from "../../errors.ts";
import type { AuditChain } from "./audit-chain.ts";
import type { Queries, SqlDatabase } from "../sql.ts";
import { cutOffTokens } from "./rejected-tokens.ts";
import { raiseEpochIn, type SqliteChanges } from "./sqlite-changes.ts";
import { apiKeys, clients } from "./schema.ts";

/** Clients and the digests of their keys in a SQL database. */
export class SqliteClientStore implements ClientStore {
  readonly #database: SqlDatabase;
  readonly #audit: AuditChain;
  readonly #changes: Pick<SqliteChanges, "expire">;

  constructor(database: SqlDatabase, audit: AuditChain, changes: Pick<SqliteChanges, "expire">) {
    this.#database = database;
    this.#audit = audit;
    this.#changes = changes;
  }

  load(): Promise<{ clients: Client[]; keys: ApiKeyRecord[] }> {
    return this.#database.snapshot(async (queries) => ({
      clients: (await queries.select().from(clients)).map(toClient),
      keys: (await queries.select().from(apiKeys)).map(toKey),
    }));
  }

  async lastUsesOf(client: string): Promise<{ prefix: string; usedAt: number }[]> {
    const columns = { prefix: apiKeys.prefix, usedAt: apiKeys.lastUsedAt };
    const isOfClient = eq(apiKeys.client, client);
    const rows = await this.#database.read((queries) =>
      queries.select(columns).from(apiKeys).where(isOfClient),
    );
    return rows.flatMap(({ prefix, usedAt }) => (usedAt === null ? [] : { prefix, usedAt }));
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
    });
  }

  async update(client: Client, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries) => {
      const isStanding = and(eq(clients.name, client.name), eq(clients.version, client.version - 1));
      const before = await find(queries, client.name);
      if (before) await cutOffTokens(queries, lostApps(before, client));
      const written = await queries
        .update(clients)
        .set({ ...toColumns(client), version: client.version })
        .where(isStanding)
        .returning({ name: clients.name })
        .get();
      if (!written) throw outdated();
    });
  }

  async remove(name: string, version: number, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries) => {
      const isStanding = and(eq(clients.name, name), eq(clients.version, version));
      await cutOff(queries, await find(queries, name));
      const gone = await queries.delete(clients).where(isStanding).returning({ name: clients.name }).get();
      if (!gone) throw outdated();
      await queries.delete(apiKeys).where(eq(apiKeys.client, name));
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
      const expiresAt = sql<number>`min(coalesce(${apiKeys.expiresAt}, ${endsAt}), ${endsAt})`;
      const old = await queries.update(apiKeys).set({ expiresAt }).where(isLive).returning().get();
      if (!old) throw noSuchKey();
      await cutOff(queries, await find(queries, next.client));
      await insertKey(queries, next);
    });
  }

  async revokeKey(client: string, prefix: string, at: number, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries) => {
      const isLive = and(eq(apiKeys.prefix, prefix), eq(apiKeys.client, client), isNull(apiKeys.revokedAt));
      const revoked = await queries.update(apiKeys).set({ revokedAt: at }).where(isLive).returning().get();
      if (!revoked) throw noSuchKey();
      await cutOff(queries, await find(queries, client));
    });
  }

  async touchKeys(uses: readonly { prefix: string; usedAt: number }[]): Promise<void> {
    await this.#database.transact(async (queries) => {
      for (const { prefix, usedAt } of uses) {
        const isOlder = or(isNull(apiKeys.lastUsedAt), lt(apiKeys.lastUsedAt, usedAt));
        await queries
          .update(apiKeys)
          .set({ lastUsedAt: usedAt })
          .where(and(eq(apiKeys.prefix, prefix), isOlder));
      }
    });
  }

  /** Raises the epoch, does a change, which is given it, and writes its entry, all or nothing. */
  async #change(entry: AuditEntry, work: (queries: Queries, epoch: number) => Promise<void>): Promise<void> {
    await this.#database.transact(async (queries) => {
      await work(queries, await raiseEpochIn(queries, "clients"));
      await this.#audit.appendTo(queries, entry);
    });
    this.#changes.expire();
  }
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

function labelTaken(): ServiceError {
  return new ServiceError(
    "conflict",
    "该客户端已有同名密钥，请换一个label，或滚动、吊销旧密钥 (the client has a key of that label; choose another, or roll or revoke the old one)",
  );
}

function toColumns(client: Omit<Client, "version">) {
  const { environment, grants, networks, expiresAt, rateLimit, concurrency, ...rest } = client;
  return {
    environment,
    grants: JSON.stringify(grants),
    networks: networks.join(","),
    expiresAt: expiresAt ?? null,
    rateLimit: rateLimit ?? null,
    concurrency: concurrency ?? null,
    delivery: rest.delivery,
    policy: JSON.stringify(rest.policy),
    updatedAt: rest.updatedAt,
  };
}

function toClient(row: typeof clients.$inferSelect): Client {
  const { grants, networks, expiresAt, rateLimit, concurrency, delivery, ...rest } = row;
  const policy = readPolicy(rest.policy);
  return {
    ...rest,
    grants: readGrants(grants),
    networks: networks === "" ? [] : networks.split(","),
    expiresAt: expiresAt ?? undefined,
    rateLimit: rateLimit ?? undefined,
    concurrency: concurrency ?? undefined,
    // What can't be read, or has become more than the policy allows, hands out no real token.
    delivery: delivery === "real" && isUnrestricted(policy) ? "real" : "virtual",
    policy,
  };
}

/** An action that this version does not know is not granted. */
function readGrants(text: string): Grant[] {
  const known: ReadonlySet<string> = new Set(ACTIONS);
  const stored = JSON.parse(text) as Grant[];
  return stored.map(({ apps, actions }) => ({
    apps,
    actions: actions.filter((action) => known.has(action)),
  }));
}

function toKey({ expiresAt, revokedAt, lastUsedAt, ...row }: typeof apiKeys.$inferSelect): ApiKeyRecord {
  return {
    ...row,
    expiresAt: expiresAt ?? undefined,
    revokedAt: revokedAt ?? undefined,
    lastUsedAt: lastUsedAt ?? undefined,
  };
}
