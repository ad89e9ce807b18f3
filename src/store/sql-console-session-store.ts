import { and, asc, eq, gt, inArray, lt, lte, ne } from "drizzle-orm";
import type { ConsoleLink, ConsoleSession, ConsoleSessionStore } from "../access/console-sessions.ts";
import type { AuditEntry } from "../audit/audit-entry.ts";
import type { AuditChain } from "./audit-chain.ts";
import { checkRow } from "./damaged-rows.ts";
import { claimDueWork } from "./due-work.ts";
import { type OwnChanges, raiseEpoch } from "./epochs.ts";
import { consoleLinks, consoleSessions } from "./schema.ts";
import { BACKGROUND_ATTEMPTS, type Queries, type SqlDatabase } from "./sql.ts";

/** How many sessions a client has at most; the oldest go first. */
const MAX_SESSIONS = 50;
const PRUNING = "console session pruning";

/** Sessions and links of the console in a SQL database: by digests alone. */
export class SqlConsoleSessionStore implements ConsoleSessionStore {
  readonly #database: SqlDatabase;
  readonly #audit: AuditChain;
  readonly #changes: OwnChanges;

  constructor(database: SqlDatabase, audit: AuditChain, changes: OwnChanges) {
    this.#database = database;
    this.#audit = audit;
    this.#changes = changes;
  }

  async list(now: number): Promise<ConsoleSession[]> {
    const isThere = gt(consoleSessions.expiresAt, now);
    const rows = await this.#database.read((queries) =>
      queries.select().from(consoleSessions).where(isThere),
    );
    // What can't be read signs nobody in.
    return rows.filter((row) => checkRow(consoleSessions, row).damaged.length === 0);
  }

  async add(session: ConsoleSession, entry: AuditEntry): Promise<void> {
    await this.#change(async (queries) => {
      const isOf = eq(consoleSessions.client, session.client);
      const oldest = await queries
        .select({ digest: consoleSessions.digest })
        .from(consoleSessions)
        .where(isOf)
        .orderBy(asc(consoleSessions.createdAt));
      const gone = oldest.slice(0, Math.max(0, oldest.length + 1 - MAX_SESSIONS));
      if (gone.length > 0) await drop(queries, gone);
      await queries.insert(consoleSessions).values(session);
      await this.#audit.append(queries, entry);
    });
  }

  async remove(digest: string, entry: AuditEntry): Promise<boolean> {
    return this.#change(async (queries) => {
      const isIt = eq(consoleSessions.digest, digest);
      const [row] = await queries.delete(consoleSessions).where(isIt).returning();
      if (row) await this.#audit.append(queries, entry);
      return row !== undefined;
    });
  }

  async touch(uses: readonly Pick<ConsoleSession, "digest" | "usedAt">[]): Promise<void> {
    await this.#change(async (queries) => {
      for (const { digest, usedAt } of uses) {
        const isOlder = and(eq(consoleSessions.digest, digest), lt(consoleSessions.usedAt, usedAt));
        await queries.update(consoleSessions).set({ usedAt }).where(isOlder);
      }
    });
  }

  async addLink(link: ConsoleLink): Promise<void> {
    await this.#database.transact(async (queries) => {
      if (link.client === "") await queries.delete(consoleLinks).where(eq(consoleLinks.client, ""));
      await queries.insert(consoleLinks).values(link);
    });
  }

  async takeLink(
    { digest, isSetup }: { readonly digest: string; readonly isSetup: boolean },
    now: number,
    entry?: AuditEntry,
  ): Promise<ConsoleLink | undefined> {
    const isOfKind = isSetup ? eq(consoleLinks.client, "") : ne(consoleLinks.client, "");
    const isIt = and(eq(consoleLinks.digest, digest), isOfKind, gt(consoleLinks.expiresAt, now));
    // Anybody may try one, so that alone must not write.
    const [seen] = await this.#database.read((queries) => queries.select().from(consoleLinks).where(isIt));
    if (!seen || checkRow(consoleLinks, seen).damaged.length > 0) return undefined;
    return this.#database.transact(async (queries) => {
      const [taken] = await queries.delete(consoleLinks).where(isIt).returning();
      if (taken && entry) await this.#audit.append(queries, entry);
      return taken;
    });
  }

  async prune(now: number, everyMs: number): Promise<void> {
    await this.#database.transact(
      async (queries) => {
        if ((await claimDueWork(queries, PRUNING, now, everyMs)) > 0) return;
        await queries.delete(consoleSessions).where(lte(consoleSessions.expiresAt, now));
        await queries.delete(consoleLinks).where(lte(consoleLinks.expiresAt, now));
      },
      { maxAttempts: BACKGROUND_ATTEMPTS },
    );
  }

  async #change<T>(work: (queries: Queries) => Promise<T>): Promise<T> {
    const done = await this.#database.transact(async (queries) => {
      await raiseEpoch(queries, "sessions");
      return work(queries);
    });
    await this.#changes.expire();
    return done;
  }
}

async function drop(queries: Queries, rows: readonly Pick<ConsoleSession, "digest">[]): Promise<void> {
  const digests = rows.map(({ digest }) => digest);
  await queries.delete(consoleSessions).where(inArray(consoleSessions.digest, digests));
}
