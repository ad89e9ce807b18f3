import { and, asc, desc, eq, gt, inArray, lte, ne, or, sql } from "drizzle-orm";
import {
  type AuthorizationCodeStore,
  type AuthorizationLink,
  type AuthorizationLinkStore,
  type CodeAnswer,
  type FailedCode,
  type LinkRequest,
  MAX_AHEAD_MS,
  type StoredCode,
  UNNAMED,
} from "../platforms/authorization-store.ts";
import { Secret } from "../secret.ts";
import { checkRow } from "./damaged-rows.ts";
import type { Keyring } from "./keyring.ts";
import { authorizationCodes, authorizationLinks } from "./schema.ts";
import type { SealedPlace } from "./sealing-key.ts";
import { BACKGROUND_ATTEMPTS, type SqlDatabase } from "./sql.ts";

const STATES = ["waiting", "exchanged", "failed"] as const;

type CodeRow = typeof authorizationCodes.$inferSelect;

/** Codes that authorize third-party platforms, in a SQL database: sealed, and named by keyed digests. */
export class SqlAuthorizationCodeStore implements AuthorizationCodeStore {
  readonly #database: SqlDatabase;
  readonly #keyring: Keyring;

  constructor(database: SqlDatabase, keyring: Keyring) {
    this.#database = database;
    this.#keyring = keyring;
  }

  digestOf(platformApp: string, code: Secret): string {
    return this.#keyring.tokenDigest(new Secret(`authorization\n${platformApp}\n${code.reveal()}`));
  }

  async add({
    platformApp,
    account,
    code,
    now,
    expiresAt,
    isAgain = false,
  }: Parameters<AuthorizationCodeStore["add"]>[0]): Promise<boolean> {
    const digest = this.digestOf(platformApp, code);
    return this.#database.transact(async (queries) => {
      const sealingKey = await this.#keyring.sealingKey(queries);
      const added = await queries
        .insert(authorizationCodes)
        .values({
          ...{ digest, platformApp, account, state: "waiting", attempts: 0, createdAt: now, dueAt: now },
          ...{ expiresAt, code: sealingKey.seal(code, placeOf("code", digest)) },
        })
        .onConflictDoNothing()
        .returning({ digest: authorizationCodes.digest })
        .get();
      if (added) return true;
      const isNamed = eq(authorizationCodes.digest, digest);
      const unknown = account === UNNAMED ? [""] : ["", UNNAMED];
      const named =
        account !== "" &&
        (await queries
          .update(authorizationCodes)
          .set({ account })
          .where(and(isNamed, inArray(authorizationCodes.account, unknown)))
          .returning({ digest: authorizationCodes.digest })
          .get());
      if (named || isAgain)
        await queries
          .update(authorizationCodes)
          .set({ state: "waiting", dueAt: now, expiresAt })
          .where(and(isNamed, eq(authorizationCodes.state, "failed")));
      return false;
    });
  }

  async find(digest: string): Promise<StoredCode | undefined> {
    const [row] = await this.#database.read((queries) =>
      queries.select().from(authorizationCodes).where(eq(authorizationCodes.digest, digest)),
    );
    return row && this.#toCode(row);
  }

  async take({
    digest,
    now,
    until,
  }: Parameters<AuthorizationCodeStore["take"]>[0]): Promise<StoredCode | undefined> {
    const { state, dueAt, account } = authorizationCodes;
    const isNamed = digest === undefined ? undefined : eq(authorizationCodes.digest, digest);
    const row = await this.#database.transact(async (queries) => {
      const isDue = or(lte(dueAt, now), gt(dueAt, now + MAX_AHEAD_MS));
      const [first] = await queries
        .select()
        .from(authorizationCodes)
        .where(and(eq(state, "waiting"), isNamed, isDue))
        .orderBy(asc(sql`${account} = ''`), asc(dueAt))
        .limit(1);
      if (!first) return undefined;
      const attempts = first.attempts + 1;
      await queries
        .update(authorizationCodes)
        .set({ attempts, dueAt: until })
        .where(eq(authorizationCodes.digest, first.digest));
      return { ...first, attempts, dueAt: until };
    });
    return row && this.#toCode(row);
  }

  keep(...[digest, answer, times]: Parameters<AuthorizationCodeStore["keep"]>): Promise<void> {
    const { until, expiresAt } = times;
    return this.#setAnswer(digest, answer, { state: "waiting", dueAt: until, expiresAt });
  }

  succeed(digest: string, answer: CodeAnswer, expiresAt: number): Promise<void> {
    return this.#setAnswer(digest, answer, { state: "exchanged", code: null, error: null, expiresAt });
  }

  async fail(...[digest, error, to]: Parameters<AuthorizationCodeStore["fail"]>): Promise<boolean> {
    const { account, answer, state, expiresAt } = authorizationCodes;
    const isWaiting = and(eq(authorizationCodes.digest, digest), eq(state, "waiting"));
    const next = sql<string>`CASE WHEN ${account} = '' AND ${answer} IS NULL THEN 'failed' ELSE 'waiting' END`;
    const set =
      "dueAt" in to
        ? { dueAt: to.dueAt, state: next }
        : {
            ...{ state: "failed", dueAt: to.at },
            expiresAt: sql`CASE WHEN ${account} = '' THEN ${expiresAt} ELSE ${to.expiresAt} END`,
          };
    const failed = await this.#database.transact((queries) =>
      queries
        .update(authorizationCodes)
        .set({ ...set, error })
        .where(isWaiting)
        .returning({ state })
        .get(),
    );
    return failed?.state === "waiting";
  }

  listFailed(now: number): Promise<FailedCode[]> {
    const { platformApp, account, dueAt, error, state, expiresAt } = authorizationCodes;
    const isTold = and(eq(state, "failed"), ne(account, ""), gt(expiresAt, now));
    return this.#database.read(async (queries) => {
      const columns = { platformApp, account, dueAt, error };
      const rows = await queries.select(columns).from(authorizationCodes).where(isTold).orderBy(desc(dueAt));
      return rows.map((row) => ({ ...row, error: row.error ?? undefined }));
    });
  }

  async drop(digest: string): Promise<void> {
    await this.#database.transact((queries) =>
      queries.delete(authorizationCodes).where(eq(authorizationCodes.digest, digest)),
    );
  }

  async nextDueAt(): Promise<number | undefined> {
    // Written by hand, so that it is prepared once: it is polled.
    const text = "SELECT min(due_at) FROM authorization_codes WHERE state = 'waiting'";
    const [first] = await this.#database.rows(text, []);
    return (first?.[0] as number | null | undefined) ?? undefined;
  }

  async prune(now: number): Promise<void> {
    await this.#database.transact(
      (queries) => queries.delete(authorizationCodes).where(lte(authorizationCodes.expiresAt, now)),
      { maxAttempts: BACKGROUND_ATTEMPTS },
    );
  }

  async #setAnswer(
    digest: string,
    { app, text }: CodeAnswer,
    set: Partial<typeof authorizationCodes.$inferInsert>,
  ): Promise<void> {
    const isNamed = eq(authorizationCodes.digest, digest);
    await this.#database.transact(async (queries) => {
      const sealingKey = await this.#keyring.sealingKey(queries);
      const answer = new Secret(JSON.stringify({ app, text: text.reveal() }));
      await queries
        .update(authorizationCodes)
        .set({ ...set, answer: sealingKey.seal(answer, placeOf("answer", digest)) })
        .where(and(isNamed, ne(authorizationCodes.state, "exchanged")));
    });
  }

  async #toCode(stored: CodeRow): Promise<StoredCode> {
    const { row } = checkRow(authorizationCodes, stored);
    const { digest, platformApp, account, attempts, createdAt, dueAt, expiresAt } = row;
    // What does not open is as good as not there.
    const open = async (column: "code" | "answer") => {
      const text = row[column];
      return text === null ? undefined : this.#keyring.tryOpen(text, placeOf(column, digest));
    };
    const answer = await open("answer");
    const state = STATES.find((each) => each === row.state) ?? "failed";
    return {
      ...{ digest, platformApp, account, state, attempts, createdAt, dueAt, expiresAt },
      code: await open("code"),
      answer: answer && readAnswer(answer),
      error: row.error ?? undefined,
    };
  }
}

/** Links to consent pages in a SQL database: what they ask for sealed, and named by keyed digests of their states. */
export class SqlAuthorizationLinkStore implements AuthorizationLinkStore {
  readonly #database: SqlDatabase;
  readonly #keyring: Keyring;

  constructor(database: SqlDatabase, keyring: Keyring) {
    this.#database = database;
    this.#keyring = keyring;
  }

  async add({ state, platformApp, request, createdAt, expiresAt }: AuthorizationLink): Promise<void> {
    const digest = this.#digestOf(state);
    await this.#database.transact(async (queries) => {
      const sealingKey = await this.#keyring.sealingKey(queries);
      const sealed = sealingKey.seal(new Secret(JSON.stringify(request)), requestPlace(digest));
      await queries
        .insert(authorizationLinks)
        .values({ state: digest, platformApp, request: sealed, createdAt, expiresAt });
    });
  }

  async find(state: string, now: number): Promise<AuthorizationLink | undefined> {
    const digest = this.#digestOf(state);
    const isIt = and(eq(authorizationLinks.state, digest), gt(authorizationLinks.expiresAt, now));
    const [row] = await this.#database.read((queries) =>
      queries.select().from(authorizationLinks).where(isIt),
    );
    if (!row || checkRow(authorizationLinks, row).damaged.length > 0) return undefined;
    const request = await this.#keyring.tryOpen(row.request, requestPlace(digest));
    if (!request) return undefined;
    const { platformApp, createdAt, expiresAt } = row;
    return { state, platformApp, request: JSON.parse(request.reveal()) as LinkRequest, createdAt, expiresAt };
  }

  async noteReturn(state: string, at: number): Promise<void> {
    const isIt = eq(authorizationLinks.state, this.#digestOf(state));
    await this.#database.transact((queries) =>
      queries.update(authorizationLinks).set({ returnedAt: at }).where(isIt),
    );
  }

  async prune(now: number): Promise<void> {
    await this.#database.transact(
      (queries) => queries.delete(authorizationLinks).where(lte(authorizationLinks.expiresAt, now)),
      { maxAttempts: BACKGROUND_ATTEMPTS },
    );
  }

  /** Whoever reads the database must not come by the links in it. */
  #digestOf(state: string): string {
    return this.#keyring.tokenDigest(new Secret(`authorization link\n${state}`));
  }
}

function readAnswer(stored: Secret): CodeAnswer {
  const { app, text } = JSON.parse(stored.reveal()) as { readonly app: string; readonly text: string };
  return { app, text: new Secret(text) };
}

function placeOf(column: "code" | "answer", digest: string): SealedPlace {
  return { table: "authorization_codes", row: digest, column };
}

function requestPlace(digest: string): SealedPlace {
  return { table: "authorization_links", row: digest, column: "request" };
}
