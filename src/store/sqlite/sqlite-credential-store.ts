import type { Database } from "bun:sqlite";
import { and, eq, gt, gte, isNotNull, isNull, lte, or } from "drizzle-orm";
import { type BunSQLiteDatabase, drizzle } from "drizzle-orm/bun-sqlite";
import { appName, type SlotName } from "../../apps/app.ts";
import type { AuditEntry } from "../../audit/audit-entry.ts";
import type { Clock } from "../../clock.ts";
import type { CredentialStore, LeaseAnswer, LeaseRequest } from "../../credentials/credential-store.ts";
import {
  type Credential,
  CREDENTIAL_KINDS,
  type CredentialName,
  type CredentialRecord,
  NO_RECORD,
} from "../../credentials/credential.ts";
import type { Platform } from "../../errors.ts";
import type { Secret } from "../../secret.ts";
import type { AuditChain } from "./audit-chain.ts";
import {
  CLEARED,
  type Digests,
  digestsAfter,
  digestsWithout,
  FORGOTTEN,
  NO_VALUE,
  RAISED,
  type SealedCredentials,
} from "./credential-rows.ts";
import { cutOffTokens, lastCutoff, rememberRejected, unrememberRejected } from "./rejected-tokens.ts";
import { runStatement, type Transaction } from "./statement.ts";
import { credentials } from "./schema.ts";

type Row = typeof credentials.$inferSelect;

const TARGET = [credentials.platform, credentials.appId, credentials.slot, credentials.kind];

/** Credentials and their leases in SQLite. Each method is one transaction, and is on the disk when it resolves. */
export class SqliteCredentialStore implements CredentialStore {
  readonly #database: BunSQLiteDatabase;
  readonly #sealed: SealedCredentials;
  readonly #clock: Clock;
  readonly #audit: AuditChain;
  readonly #dataVersion: () => number;

  constructor(database: Database, sealed: SealedCredentials, clock: Clock, audit: AuditChain) {
    this.#database = drizzle({ client: database });
    this.#sealed = sealed;
    this.#clock = clock;
    this.#audit = audit;
    // SQLite raises this number on a connection when, and only when, another connection has committed.
    const pragma = database.query<{ data_version: number }, []>("PRAGMA data_version");
    this.#dataVersion = () => pragma.get()?.data_version ?? 0;
  }

  async find(name: CredentialName): Promise<CredentialRecord> {
    const row = await this.#run(() => this.#database.select().from(credentials).where(isNamed(name)).get());
    return row ? this.#sealed.toRecord(name, row) : NO_RECORD;
  }

  async listOfApp(platform: Platform, appId: string): Promise<CredentialName[]> {
    const { slot, kind } = credentials;
    const isOfApp = and(eq(credentials.platform, platform), eq(credentials.appId, appId));
    const rows = await this.#run(() =>
      this.#database.select({ slot, kind }).from(credentials).where(isOfApp).all(),
    );
    return rows.flatMap((row) => toName({ platform, appId, ...row }));
  }

  async listUsed(since: number): Promise<{ name: CredentialName; issuedAt: number; expiresAt: number }[]> {
    const { platform, appId, slot, kind, issuedAt, expiresAt } = credentials;
    const isUsed = and(gte(credentials.usedAt, since), isNotNull(credentials.value));
    const rows = await this.#run(() =>
      this.#database
        .select({ platform, appId, slot, kind, issuedAt, expiresAt })
        .from(credentials)
        .where(isUsed)
        .all(),
    );
    return rows.flatMap((row) =>
      toName(row).map((name) => ({ name, issuedAt: row.issuedAt ?? 0, expiresAt: row.expiresAt ?? 0 })),
    );
  }

  async lease(name: CredentialName, { holder, now, lifeMs }: LeaseRequest): Promise<LeaseAnswer> {
    const lease = { leaseHolder: holder, leaseExpiresAt: now + lifeMs };
    const { leaseHolder, leaseExpiresAt } = credentials;
    // A lease that ends so late was written under a clock that has been set back since. One that merely seems to
    // begin after `now` is good: this request may have waited for the lock while another got its lease.
    const isFree = or(
      isNull(leaseHolder),
      eq(leaseHolder, holder),
      lte(leaseExpiresAt, now),
      gt(leaseExpiresAt, now + 2 * lifeMs),
    );
    const granted = await this.#run(() =>
      this.#database
        .insert(credentials)
        .values({ ...columns(name), ...lease, generation: now })
        .onConflictDoUpdate({
          target: TARGET,
          set: { ...lease, generation: RAISED },
          ...(isFree ? { setWhere: isFree } : {}),
        })
        .returning()
        .get(),
    );
    if (granted) return { isGranted: true, record: this.#sealed.toRecord(name, granted) };
    return { isGranted: false, record: await this.find(name) };
  }

  async release(name: CredentialName, holder: string): Promise<void> {
    const isMine = and(isNamed(name), eq(credentials.leaseHolder, holder));
    await this.#run(() => {
      // A row that a failed first attempt made is dropped, or every wrong secret that is ever tried would leave one.
      // A later one begins with a later generation, because the first generation of a row is the time of day.
      const dropped = this.#database
        .delete(credentials)
        .where(and(isMine, isNull(credentials.firstSavedAt)))
        .returning({ kind: credentials.kind })
        .get();
      if (dropped) return;
      this.#database.update(credentials).set({ leaseHolder: null, leaseExpiresAt: null }).where(isMine).run();
    });
  }

  async forgetRejected(slot: SlotName): Promise<void> {
    // Those of a secret that we don't hold are not remembered.
    if (slot.name.startsWith("~")) return;
    await this.#transact((transaction) => cutOffTokens(transaction, [appName(slot)]));
  }

  async save(name: CredentialName, credential: Credential, generation: number): Promise<CredentialRecord> {
    const isStanding = and(isNamed(name), eq(credentials.generation, generation));
    const saved = await this.#transact((transaction) => {
      const before = transaction.select().from(credentials).where(isStanding).get();
      if (!before) return undefined;
      const now = this.#clock.now();
      const digests = this.#digestsOf(name, before, credential.value, now);
      const { valueDigest } = digests;
      const isRepeated = typeof valueDigest === "string" && valueDigest === before.valueDigest;
      if (isRepeated && before.isRejected) unrememberRejected(transaction, valueDigest);
      return transaction
        .update(credentials)
        .set({
          value: this.#sealed.seal(name, "value", credential.value),
          issuedAt: credential.issuedAt,
          expiresAt: credential.expiresAt,
          renewBeforeMs: credential.renewBeforeMs ?? null,
          isRejected: false,
          firstSavedAt: before.firstSavedAt ?? now,
          ...digests,
          cutoff: isRepeated ? before.cutoff : lastCutoff(transaction),
        })
        .where(isStanding)
        .returning()
        .get();
    });
    return saved ? { ...this.#sealed.toRecord(name, saved), credential } : this.find(name);
  }

  async clear(name: CredentialName, generation?: number, entry?: AuditEntry): Promise<CredentialRecord> {
    const set = FORGOTTEN;
    if (generation !== undefined)
      return this.#toRecordOr(name, await this.#update(name, generation, set, entry));
    const values = { ...columns(name), ...CLEARED, generation: this.#clock.now() };
    const cleared = await this.#withEntry(entry, (database) =>
      database
        .insert(credentials)
        .values(values)
        .onConflictDoUpdate({ target: TARGET, set })
        .returning()
        .get(),
    );
    return this.#sealed.toRecord(name, cleared);
  }

  async reject(name: CredentialName, generation: number, entry?: AuditEntry): Promise<CredentialRecord> {
    const set = { isRejected: true, generation: RAISED };
    const isStanding = and(isNamed(name), eq(credentials.generation, generation));
    const rejected = await this.#transact((transaction) => {
      const row = transaction.update(credentials).set(set).where(isStanding).returning().get();
      if (!row) return undefined;
      rememberRejected(transaction, row, this.#clock.now());
      if (entry) this.#audit.append(transaction, entry);
      return row;
    });
    return this.#toRecordOr(name, rejected);
  }

  async bury(
    name: CredentialName,
    dead: Secret,
    generation: number,
    { now, earlyMs }: { readonly now: number; readonly earlyMs: number },
  ): Promise<CredentialRecord> {
    const early = earlyMs > 0 ? { diedEarlyAt: now, diedEarlyMs: earlyMs } : {};
    const isStanding = and(isNamed(name), eq(credentials.generation, generation));
    const digest = this.#sealed.digest(dead);
    const buried = await this.#transact((transaction) => {
      const before = transaction.select().from(credentials).where(isNamed(name)).get();
      if (before?.valueDigest === digest) rememberRejected(transaction, before, now);
      transaction.update(credentials).set(NO_VALUE).where(isStanding).run();
      const death = {
        ...early,
        ...digestsWithout(digest),
        deadValue: this.#sealed.seal(name, "dead_value", dead),
      };
      return transaction.update(credentials).set(death).where(isNamed(name)).returning().get();
    });
    return this.#toRecordOr(name, buried);
  }

  async shorten(
    name: CredentialName,
    standing: Credential,
    life: { readonly expiresAt: number; readonly renewBeforeMs: number },
  ): Promise<CredentialRecord> {
    const { issuedAt, expiresAt } = credentials;
    // Sealed values can't be compared, but hardly two of one name have both instants in common.
    const isSame = and(eq(issuedAt, standing.issuedAt), eq(expiresAt, standing.expiresAt));
    const shortened = await this.#run(() =>
      this.#database
        .update(credentials)
        .set(life)
        .where(and(isNamed(name), isSame))
        .returning()
        .get(),
    );
    return this.#toRecordOr(name, shortened);
  }

  async touch(uses: readonly { name: CredentialName; usedAt: number }[]): Promise<void> {
    await this.#transact((transaction) => {
      for (const { name, usedAt } of uses) {
        transaction.update(credentials).set({ usedAt }).where(isNamed(name)).run();
      }
    });
  }

  version(): number {
    return this.#dataVersion();
  }

  /** How the row's digests are after a save of `value`: a ticket has none, and a value that is dead is not known again. */
  #digestsOf(name: CredentialName, before: Row, value: Secret, now: number): Digests {
    if (name.kind !== "access_token") return {};
    const isDead = this.#sealed.toRecord(name, { ...before, value: null }).dead?.equals(value);
    return digestsAfter(before, isDead ? null : this.#sealed.digest(value), now);
  }

  #run<T>(work: () => T): Promise<T> {
    return runStatement(this.#clock, work);
  }

  /** Runs `work` as one transaction that nobody else writes in; again as a whole while another process writes. */
  #transact<T>(work: (transaction: Transaction) => T): Promise<T> {
    return this.#run(() => this.#database.transaction(work, { behavior: "immediate" }));
  }

  #update(
    name: CredentialName,
    generation: number,
    set: object,
    entry?: AuditEntry,
  ): Promise<Row | undefined> {
    const isStanding = and(isNamed(name), eq(credentials.generation, generation));
    return this.#withEntry(entry, (database) =>
      database.update(credentials).set(set).where(isStanding).returning().get(),
    );
  }

  /** Does one write, and with it writes an audit entry if something was changed. */
  #withEntry<T>(
    entry: AuditEntry | undefined,
    write: (database: Pick<BunSQLiteDatabase, "insert" | "update">) => T,
  ): Promise<T> {
    if (!entry) return this.#run(() => write(this.#database));
    return this.#transact((transaction) => {
      const written = write(transaction);
      if (written) this.#audit.append(transaction, entry);
      return written;
    });
  }

  async #toRecordOr(name: CredentialName, row: Row | undefined): Promise<CredentialRecord> {
    return row ? this.#sealed.toRecord(name, row) : this.find(name);
  }
}

function columns({ slot, kind }: CredentialName) {
  return { platform: slot.platform, appId: slot.appId, slot: slot.name, kind };
}

/** The name in a row; none for a platform or kind that this version does not know. */
function toName(row: Pick<Row, "platform" | "appId" | "slot" | "kind">): CredentialName[] {
  const kind = CREDENTIAL_KINDS.find((each) => each === row.kind);
  const { platform } = row;
  if (!kind || (platform !== "weixin" && platform !== "wecom")) return [];
  return [{ slot: { platform, appId: row.appId, name: row.slot }, kind }];
}

function isNamed({ slot, kind }: CredentialName) {
  return and(
    eq(credentials.platform, slot.platform),
    eq(credentials.appId, slot.appId),
    eq(credentials.slot, slot.name),
    eq(credentials.kind, kind),
  );
}
