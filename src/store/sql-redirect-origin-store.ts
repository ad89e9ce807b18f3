import { and, asc, eq, ne, or } from "drizzle-orm";
import { noSuchEnvironment } from "../access/environments.ts";
import { outdated } from "../apps/app-administration.ts";
import type { AuditEntry } from "../audit/audit-entry.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import type { OwnedRedirectOrigin, RedirectOrigin, RedirectOriginStore } from "../oauth/redirect-origins.ts";
import type { VerifyFile, VerifyFileStore } from "../oauth/verify-files.ts";
import type { AuditChain } from "./audit-chain.ts";
import { checkRow, type DamageReports, raised, readable } from "./damaged-rows.ts";
import { type OwnChanges, raiseEpoch } from "./epochs.ts";
import { environments, redirectOrigins, verifyFiles } from "./schema.ts";
import type { Queries, SqlDatabase } from "./sql.ts";

/** What the store of redirect origins works with. */
export interface RedirectOriginStoreParts {
  readonly database: SqlDatabase;
  readonly audit: AuditChain;
  readonly changes: OwnChanges;
  readonly clock: Clock;
  readonly damage: DamageReports;
}

/** Where the web logins of apps return to, and the files that prove a domain to be ours. */
export class SqlRedirectOriginStore implements RedirectOriginStore, VerifyFileStore {
  readonly #database: SqlDatabase;
  readonly #audit: AuditChain;
  readonly #changes: OwnChanges;
  readonly #clock: Clock;
  readonly #damage: DamageReports;

  constructor({ database, audit, changes, clock, damage }: RedirectOriginStoreParts) {
    this.#database = database;
    this.#audit = audit;
    this.#changes = changes;
    this.#clock = clock;
    this.#damage = damage;
  }

  async loadOrigins(): Promise<OwnedRedirectOrigin[]> {
    const { app, environment, origin, path } = redirectOrigins;
    const rows = await this.#database.read((queries) =>
      queries
        .select({ app, environment, origin, path })
        .from(redirectOrigins)
        .orderBy(asc(app), asc(environment), asc(origin), asc(path)),
    );
    // What can't be read allows nothing.
    return rows.filter((row) => checkRow(redirectOrigins, row).damaged.length === 0);
  }

  async replace(
    { app, environment }: Pick<OwnedRedirectOrigin, "app" | "environment">,
    origins: readonly RedirectOrigin[],
    version: number | undefined,
    entry: AuditEntry,
  ): Promise<void> {
    const now = this.#clock.now();
    await this.#change(entry, async (queries) => {
      await touchEnvironment(queries, environment, version, now);
      const isTaken = origins.map(({ origin, path }) =>
        and(eq(redirectOrigins.origin, origin), eq(redirectOrigins.path, path)),
      );
      const isOfOther = and(
        eq(redirectOrigins.app, app),
        ne(redirectOrigins.environment, environment),
        or(...isTaken),
      );
      if (origins.length > 0 && (await queries.select().from(redirectOrigins).where(isOfOther).get()))
        throw taken();
      const isOwn = and(eq(redirectOrigins.app, app), eq(redirectOrigins.environment, environment));
      await queries.delete(redirectOrigins).where(isOwn);
      for (const each of origins)
        await queries
          .insert(redirectOrigins)
          .values({ app, environment, ...each, createdAt: now })
          .onConflictDoNothing();
    });
  }

  async listFiles(): Promise<VerifyFile[]> {
    const rows = await this.#database.read((queries) =>
      queries.select().from(verifyFiles).orderBy(asc(verifyFiles.name)),
    );
    return rows.flatMap((stored) => {
      const { row, damaged } = checkRow(verifyFiles, stored);
      this.#damage.note(`verify_files:${damaged.includes("name") ? "?" : row.name}`, damaged);
      return damaged.includes("name") || damaged.includes("content") ? [] : [row];
    });
  }

  async putFile({ name, content }: VerifyFile, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries) => {
      await queries
        .insert(verifyFiles)
        .values({ name, content, createdAt: this.#clock.now() })
        .onConflictDoUpdate({ target: verifyFiles.name, set: { content } });
    });
  }

  async removeFile(name: string, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries) => {
      const gone = await queries.delete(verifyFiles).where(eq(verifyFiles.name, name)).returning().get();
      if (!gone) throw new ServiceError("not_found", "没有该文件 (no such file)");
    });
  }

  /** Raises the epoch, does a change and writes its entry, all or nothing. */
  async #change(entry: AuditEntry, work: (queries: Queries) => Promise<void>): Promise<void> {
    await this.#database.transact(async (queries) => {
      await raiseEpoch(queries, "environments");
      await work(queries);
      await this.#audit.append(queries, entry);
    });
    await this.#changes.expire();
  }
}

/** Raises the version of an environment. */
async function touchEnvironment(
  queries: Queries,
  name: string,
  version: number | undefined,
  now: number,
): Promise<void> {
  const isIt = eq(environments.name, name);
  const columns = { version: readable(environments.version) };
  const [current] = await queries.select(columns).from(environments).where(isIt);
  if (!current) throw noSuchEnvironment();
  if (version !== undefined && version !== current.version) throw outdated();
  const set = { version: raised(environments.version), updatedAt: now };
  await queries.update(environments).set(set).where(isIt);
}

function taken(): ServiceError {
  return new ServiceError(
    "conflict",
    "该来源已属于该应用的另一环境，请先在那里移除 (another environment of the app has this origin: remove it there first)",
  );
}
