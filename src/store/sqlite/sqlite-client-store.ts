import { and, eq, gt, isNull, lt, or, sql } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
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
import type { Clock } from "../../clock.ts";
import { ServiceError } from "../../errors.ts";
import type { AuditChain } from "./audit-chain.ts";
import type { SqliteChanges } from "./sqlite-changes.ts";
import { cutOffTokens } from "./rejected-tokens.ts";
import { runStatement, type Transaction } from "./statement.ts";
import { apiKeys, clients } from "./schema.ts";

/** What the store of clients works with. */
export interface ClientStoreParts {
  readonly database: BunSQLiteDatabase;
  readonly clock: Clock;
  readonly audit: AuditChain;
  readonly changes: SqliteChanges;
}

/** Clients and the digests of their keys in SQLite. */
export class SqliteClientStore implements ClientStore {
  readonly #parts: ClientStoreParts;

  constructor(parts: ClientStoreParts) {
    this.#parts = parts;
  }

  async load(): Promise<{ clients: Client[]; keys: ApiKeyRecord[] }> {
    const { database, clock } = this.#parts;
    return runStatement(clock, () =>
      database.transaction((transaction) => ({
        clients: transaction.select().from(clients).all().map(toClient),
        keys: transaction.select().from(apiKeys).all().map(toKey),
      })),
    );
  }

  async lastUsesOf(client: string): Promise<{ prefix: string; usedAt: number }[]> {
    const { database, clock } = this.#parts;
    const columns = { prefix: apiKeys.prefix, usedAt: apiKeys.lastUsedAt };
    const isOfClient = eq(apiKeys.client, client);
    const rows = await runStatement(clock, () =>
      database.select(columns).from(apiKeys).where(isOfClient).all(),
    );
    return rows.flatMap(({ prefix, usedAt }) => (usedAt === null ? [] : { prefix, usedAt }));
  }

  async create(client: Omit<Client, "version">, entry: AuditEntry): Promise<void> {
    await this.#change(entry, (transaction, version) => {
      const { name, createdAt } = client;
      const values = { name, ...toColumns(client), createdAt, version };
      const written = transaction
        .insert(clients)
        .values(values)
        .onConflictDoNothing()
        .returning({ name: clients.name })
        .get();
      if (!written) throw new ServiceError("conflict", "该客户端已存在 (the client exists)");
    });
  }

  async update(client: Client, entry: AuditEntry): Promise<void> {
    await this.#change(entry, (transaction) => {
      const isStanding = and(eq(clients.name, client.name), eq(clients.version, client.version - 1));
      const before = this.#find(transaction, client.name);
      if (before) cutOffTokens(transaction, lostApps(before, client));
      const written = transaction
        .update(clients)
        .set({ ...toColumns(client), version: client.version })
        .where(isStanding)
        .returning({ name: clients.name })
        .get();
      if (!written) throw outdated();
    });
  }

  async remove(name: string, version: number, entry: AuditEntry): Promise<void> {
    await this.#change(entry, (transaction) => {
      const isStanding = and(eq(clients.name, name), eq(clients.version, version));
      this.#cutOff(transaction, this.#find(transaction, name));
      const gone = transaction.delete(clients).where(isStanding).returning({ name: clients.name }).get();
      if (!gone) throw outdated();
      transaction.delete(apiKeys).where(eq(apiKeys.client, name)).run();
    });
  }

  async addKey(key: ApiKeyRecord, entry: AuditEntry): Promise<void> {
    await this.#change(entry, (transaction) => {
      const isTaken = and(
        eq(apiKeys.client, key.client),
        eq(apiKeys.label, key.label),
        isNull(apiKeys.revokedAt),
        or(isNull(apiKeys.expiresAt), gt(apiKeys.expiresAt, key.createdAt)),
      );
      if (transaction.select().from(apiKeys).where(isTaken).get()) throw labelTaken();
      this.#insertKey(transaction, key);
    });
  }

  async rollKey(prefix: string, endsAt: number, next: ApiKeyRecord, entry: AuditEntry): Promise<void> {
    await this.#change(entry, (transaction) => {
      const isLive = and(
        eq(apiKeys.prefix, prefix),
        eq(apiKeys.client, next.client),
        isNull(apiKeys.revokedAt),
      );
      const expiresAt = sql<number>`min(coalesce(${apiKeys.expiresAt}, ${endsAt}), ${endsAt})`;
      const old = transaction.update(apiKeys).set({ expiresAt }).where(isLive).returning().get();
      if (!old) throw noSuchKey();
      this.#cutOff(transaction, this.#find(transaction, next.client));
      this.#insertKey(transaction, next);
    });
  }

  async revokeKey(client: string, prefix: string, at: number, entry: AuditEntry): Promise<void> {
    await this.#change(entry, (transaction) => {
      const isLive = and(eq(apiKeys.prefix, prefix), eq(apiKeys.client, client), isNull(apiKeys.revokedAt));
      const revoked = transaction.update(apiKeys).set({ revokedAt: at }).where(isLive).returning().get();
      if (!revoked) throw noSuchKey();
      this.#cutOff(transaction, this.#find(transaction, client));
    });
  }

  async touchKeys(uses: readonly { prefix: string; usedAt: number }[]): Promise<void> {
    const { database, clock } = this.#parts;
    await runStatement(clock, () =>
      database.transaction(
        (transaction) => {
          for (const { prefix, usedAt } of uses) {
            const isOlder = or(isNull(apiKeys.lastUsedAt), lt(apiKeys.lastUsedAt, usedAt));
            transaction
              .update(apiKeys)
              .set({ lastUsedAt: usedAt })
              .where(and(eq(apiKeys.prefix, prefix), isOlder))
              .run();
          }
        },
        { behavior: "immediate" },
      ),
    );
  }

  /** Raises the epoch, does a change, which is given it, and writes its entry, all or nothing. */
  async #change(entry: AuditEntry, work: (transaction: Transaction, epoch: number) => void): Promise<void> {
    const { database, clock, audit, changes } = this.#parts;
    await runStatement(clock, () =>
      database.transaction(
        (transaction) => {
          work(transaction, changes.raise(transaction, "clients"));
          audit.append(transaction, entry);
        },
        { behavior: "immediate" },
      ),
    );
  }

  #find(transaction: Transaction, name: string): Client | undefined {
    const row = transaction.select().from(clients).where(eq(clients.name, name)).get();
    return row && toClient(row);
  }

  /** Ends the rejected tokens of all apps whose real tokens the client may have been given. */
  #cutOff(transaction: Transaction, client: Client | undefined): void {
    if (client) cutOffTokens(transaction, tokenApps(client));
  }

  /** A client that was removed a moment ago must not come back by a key. */
  #insertKey(transaction: Transaction, key: ApiKeyRecord): void {
    if (!this.#find(transaction, key.client))
      throw new ServiceError("not_found", "没有该客户端 (no such client)");
    const { expiresAt = null, revokedAt = null, lastUsedAt = null, ...rest } = key;
    transaction
      .insert(apiKeys)
      .values({ ...rest, expiresAt, revokedAt, lastUsedAt })
      .run();
  }
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
