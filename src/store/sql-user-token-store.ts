import { and, asc, count, eq, gt, inArray, lte } from "drizzle-orm";
import type { UserToken, UserTokenOwner, UserTokenStore } from "../login/user-tokens.ts";
import type { Secret } from "../secret.ts";
import type { Queries, SqlDatabase } from "./sql.ts";
import type { SealedCredentials } from "./credential-rows.ts";
import { userTokens } from "./schema.ts";

/** How many users' tokens are kept; the oldest go first. */
const MAX_TOKENS = 500_000;
/** How many expired ones are dropped at once. */
const PIECE = 500;

/** Users' tokens in a SQL database, by keyed digests. */
export class SqlUserTokenStore implements UserTokenStore {
  readonly #database: SqlDatabase;
  readonly #sealed: Pick<SealedCredentials, "digest">;
  readonly #most: number;
  /** How many were added since they were last counted: to count them all at each login would cost more than the login. */
  #added = Infinity;

  constructor(database: SqlDatabase, sealed: Pick<SealedCredentials, "digest">, most = MAX_TOKENS) {
    this.#database = database;
    this.#sealed = sealed;
    this.#most = most;
  }

  async write(added: readonly UserToken[], ended: readonly Secret[], now: number): Promise<number> {
    const isDue = this.#added >= this.#most / 500;
    const evicted = await this.#database.transact(async (queries) => {
      const gone = ended.map((token) => this.#sealed.digest(token));
      if (gone.length > 0) await queries.delete(userTokens).where(inArray(userTokens.digest, gone));
      for (const { token, owner, until } of added) {
        const { client = "", createdAt = 0, keyPrefix = "" } = owner.client ?? {};
        const { app } = owner;
        const values = { client, clientCreatedAt: createdAt, keyPrefix, app, until };
        await queries
          .insert(userTokens)
          .values({ digest: this.#sealed.digest(token), ...values })
          .onConflictDoUpdate({ target: userTokens.digest, set: values });
      }
      const expired = queries
        .select({ id: userTokens.id })
        .from(userTokens)
        .where(lte(userTokens.until, now))
        .limit(PIECE);
      await queries.delete(userTokens).where(inArray(userTokens.id, expired));
      return isDue ? this.#evict(queries) : 0;
    });
    this.#added = (isDue ? 0 : this.#added) + added.length;
    return evicted;
  }

  async find(token: Secret, now: number): Promise<UserTokenOwner | undefined> {
    const isIt = and(eq(userTokens.digest, this.#sealed.digest(token)), gt(userTokens.until, now));
    const [found] = await this.#database.read((queries) => queries.select().from(userTokens).where(isIt));
    if (!found) return undefined;
    const { client, clientCreatedAt: createdAt, keyPrefix, app } = found;
    return { client: client === "" ? undefined : { client, createdAt, keyPrefix }, app };
  }

  /** Leaves room for what other processes add before they count. */
  async #evict(queries: Queries): Promise<number> {
    const [all] = await queries.select({ n: count() }).from(userTokens);
    const excess = (all?.n ?? 0) - this.#most * 0.99;
    if (excess <= 0) return 0;
    const oldest = queries
      .select({ id: userTokens.id })
      .from(userTokens)
      .orderBy(asc(userTokens.id))
      .limit(Math.ceil(excess));
    await queries.delete(userTokens).where(inArray(userTokens.id, oldest));
    return Math.ceil(excess);
  }
}
