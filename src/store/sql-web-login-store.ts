import { and, asc, count, eq, gt, inArray, isNull, lte } from "drizzle-orm";
import type { SlotName } from "../apps/app.ts";
import type { KnownCode, LoginCodeStore } from "../oauth/login-codes.ts";
import type { LoginReturn, WaitingLogin, WebLoginStore } from "../oauth/web-logins.ts";
import { Secret } from "../secret.ts";
import { checkRow } from "./damaged-rows.ts";
import { claimDueWork } from "./due-work.ts";
import { GroupCommit } from "./group-commit.ts";
import type { Keyring } from "./keyring.ts";
import { loginCodes, waitingLogins } from "./schema.ts";
import type { SealedPlace } from "./sealing-key.ts";
import { BACKGROUND_ATTEMPTS, type Queries, type SqlDatabase } from "./sql.ts";

/** How many logins wait at most; the oldest go first. */
const MAX_LOGINS = 200_000;
/** How many are added in one transaction. */
const MAX_GROUP = 500;
/** How many expired ones are dropped at once: others must not wait for it. */
const PIECE = 1000;
const PRUNING = "web login pruning";

/** Web logins in a SQL database: sealed, and their codes by keyed digests. */
export class SqlWebLoginStore implements WebLoginStore, LoginCodeStore {
  readonly #database: SqlDatabase;
  readonly #keyring: Keyring;
  readonly #most: number;
  readonly #adding: GroupCommit<WaitingLogin, number>;
  /** How many were added since they were last counted: to count them all at each login would cost more than the login. */
  #added = Infinity;

  constructor(database: SqlDatabase, keyring: Keyring, most = MAX_LOGINS) {
    this.#database = database;
    this.#keyring = keyring;
    this.#most = most;
    this.#adding = new GroupCommit((logins) => this.#add(logins), MAX_GROUP);
  }

  add(login: WaitingLogin): Promise<number> {
    return this.#adding.add(login);
  }

  async find(state: string, now: number): Promise<WaitingLogin | undefined> {
    const isIt = and(eq(waitingLogins.state, state), gt(waitingLogins.expiresAt, now));
    const [row] = await this.#database.read((queries) => queries.select().from(waitingLogins).where(isIt));
    if (!row || checkRow(waitingLogins, row).damaged.length > 0) return undefined;
    const { app, environment, expiresAt } = row;
    // What does not open is as good as unknown: its user logs in again.
    const request = await this.#keyring.tryOpen(row.request, requestPlace(state));
    return request && { state, app, environment, request, expiresAt };
  }

  async finish(
    { state, code, appId, issued }: LoginReturn,
    { now, repeatUntil, codesUntil }: { now: number; repeatUntil: number; codesUntil: number },
  ): Promise<"first" | "again" | "used"> {
    const digest = this.#keyring.tokenDigest(new Secret(`return\n${state}\n${code.reveal()}`));
    const look = async (queries: Queries) => {
      const [row] = await queries.select().from(waitingLogins).where(eq(waitingLogins.state, state));
      const isReadable = row && checkRow(waitingLogins, row).damaged.length === 0;
      if (!isReadable || row.expiresAt <= now) return "used";
      if (row.codeDigest === null) return row;
      return row.codeDigest === digest && (row.repeatUntil ?? 0) > now ? "again" : "used";
    };
    // Anybody may repeat a return, so that alone must not write.
    const seen = await this.#database.read(look);
    if (typeof seen === "string") return seen;
    return this.#database.transact(async (queries) => {
      const row = await look(queries);
      if (typeof row === "string") return row;
      const { app, environment } = row;
      const expiresAt = Math.max(row.expiresAt, repeatUntil);
      const isOpen = and(eq(waitingLogins.state, state), isNull(waitingLogins.codeDigest));
      const taken = await queries
        .update(waitingLogins)
        .set({ codeDigest: digest, repeatUntil, expiresAt })
        .where(isOpen)
        .returning()
        .get();
      if (!taken) return "used";
      const sealingKey = await this.#keyring.sealingKey(queries);
      for (const each of issued) {
        const codeDigest = this.#digest(appId, each.code);
        const behind = each.behind ? sealingKey.seal(each.behind, codePlace(codeDigest)) : null;
        // A code that is known belongs to who had it first.
        await queries
          .insert(loginCodes)
          .values({ digest: codeDigest, app, environment, code: behind, expiresAt: codesUntil })
          .onConflictDoNothing();
      }
      return "first";
    });
  }

  async findCode(
    { appId }: Pick<SlotName, "appId">,
    code: Secret,
    now: number,
  ): Promise<KnownCode | undefined> {
    const digest = this.#digest(appId, code);
    const isIt = and(eq(loginCodes.digest, digest), gt(loginCodes.expiresAt, now));
    const [row] = await this.#database.read((queries) => queries.select().from(loginCodes).where(isIt));
    if (!row) return undefined;
    // Of which environment it is can't be said, so it is of none.
    if (checkRow(loginCodes, row).damaged.length > 0) return { environment: "", behind: undefined };
    const { environment } = row;
    if (row.code === null) return { environment, behind: undefined };
    const behind = await this.#keyring.tryOpen(row.code, codePlace(digest));
    return behind && { environment, behind };
  }

  async count(now: number): Promise<number> {
    const isWaiting = and(isNull(waitingLogins.codeDigest), gt(waitingLogins.expiresAt, now));
    const [all] = await this.#database.read((queries) =>
      queries.select({ n: count() }).from(waitingLogins).where(isWaiting),
    );
    return all?.n ?? 0;
  }

  async prune(now: number, everyMs: number): Promise<void> {
    const inBackground = { maxAttempts: BACKGROUND_ATTEMPTS };
    const waitMs = await this.#database.transact(
      (queries) => claimDueWork(queries, PRUNING, now, everyMs),
      inBackground,
    );
    if (waitMs > 0) return;
    let gone = PIECE;
    while (gone === PIECE)
      gone = await this.#database.transact((queries) => dropExpired(queries, now), inBackground);
  }

  async #add(logins: readonly WaitingLogin[]): Promise<number[]> {
    const isDue = this.#added >= this.#most / 500;
    const evicted = await this.#database.transact(async (queries) => {
      const sealingKey = await this.#keyring.sealingKey(queries);
      const rows = logins.map(({ state, app, environment, request, expiresAt }) => ({
        ...{ state, app, environment, expiresAt },
        request: sealingKey.seal(request, requestPlace(state)),
      }));
      await queries.insert(waitingLogins).values(rows);
      return isDue ? this.#evict(queries) : 0;
    });
    this.#added = (isDue ? 0 : this.#added) + logins.length;
    return logins.map((_, n) => (n === 0 ? evicted : 0));
  }

  /** All applications of a corp share its users' codes. */
  #digest(appId: string, code: Secret): string {
    return this.#keyring.tokenDigest(new Secret(`code\n${appId}\n${code.reveal()}`));
  }

  /** Leaves room for what other processes add before they count. */
  async #evict(queries: Queries): Promise<number> {
    const [all] = await queries.select({ n: count() }).from(waitingLogins);
    const excess = Math.ceil((all?.n ?? 0) - this.#most * 0.99);
    if (excess <= 0) return 0;
    const oldest = queries
      .select({ state: waitingLogins.state })
      .from(waitingLogins)
      .orderBy(asc(waitingLogins.expiresAt))
      .limit(excess);
    await queries.delete(waitingLogins).where(inArray(waitingLogins.state, oldest));
    return excess;
  }
}

/** Drops at most a piece of each table; resolves with the larger number. */
async function dropExpired(queries: Queries, now: number): Promise<number> {
  const logins = await queries
    .select({ key: waitingLogins.state })
    .from(waitingLogins)
    .where(lte(waitingLogins.expiresAt, now))
    .limit(PIECE);
  const codes = await queries
    .select({ key: loginCodes.digest })
    .from(loginCodes)
    .where(lte(loginCodes.expiresAt, now))
    .limit(PIECE);
  const keys = (rows: readonly { readonly key: string }[]) => rows.map(({ key }) => key);
  if (logins.length > 0)
    await queries.delete(waitingLogins).where(inArray(waitingLogins.state, keys(logins)));
  if (codes.length > 0) await queries.delete(loginCodes).where(inArray(loginCodes.digest, keys(codes)));
  return Math.max(logins.length, codes.length);
}

function requestPlace(state: string): SealedPlace {
  return { table: "waiting_logins", row: state, column: "request" };
}

function codePlace(digest: string): SealedPlace {
  return { table: "login_codes", row: digest, column: "code" };
}
