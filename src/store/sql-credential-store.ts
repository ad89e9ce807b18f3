import { and, eq, gt, isNull, lt, lte, or, sql } from "drizzle-orm";
import { appName } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type {
  Clear,
  CredentialStore,
  DueRequest,
  LeaseAnswer,
  LeaseRequest,
  Lost,
  RejectAnswer,
  Rejection,
  SaveOptions,
} from "../credentials/credential-store.ts";
import {
  type Credential,
  credentialKey,
  type CredentialName,
  type CredentialRecord,
  NO_RECORD,
} from "../credentials/credential.ts";
import { KINDS } from "../credentials/kinds.ts";
import type { Platform } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { inLockOrder, type Queries, type SqlDatabase } from "./sql.ts";
import type { AuditChain } from "./audit-chain.ts";
import {
  CLEARED,
  columns,
  CUTOFF_OF_CLEARED,
  type Digests,
  digestsAfter,
  digestsWithout,
  forgotten,
  isNamed,
  isRow,
  nextGeneration,
  NEXT_EPOCH,
  NO_VALUE,
  type SealedCredentials,
  toName,
} from "./credential-rows.ts";
import {
  countRejected,
  cutOffTokens,
  lastCutoff,
  mayBeRemembered,
  rememberRejected,
  unrememberRejected,
} from "./rejected-tokens.ts";
import { type OwnChanges, raiseEpoch } from "./epochs.ts";
import { credentials } from "./schema.ts";
import { addUses, countUses } from "./sql-pacing-store.ts";

type Row = typeof credentials.$inferSelect;

/** So many due rows are looked at in one transaction; after a long stop most of them are idle. */
const MAX_LOOKED_AT = 1000;

const TARGET = [credentials.platform, credentials.appId, credentials.slot, credentials.kind];

const INDEPENDENT = { isIndependent: true };

/** What changes a row: of which credential, and what it stores. */
type Change = Pick<Clear, "name" | "entry"> & { readonly credential?: Credential };

/** Credentials and their leases in a SQL database. Each method is one transaction, and is on the disk when it resolves. */
export class SqlCredentialStore implements CredentialStore {
  readonly #database: SqlDatabase;
  readonly #sealed: SealedCredentials;
  readonly #clock: Clock;
  readonly #audit: AuditChain;
  readonly #changes: OwnChanges;

  constructor(
    database: SqlDatabase,
    sealed: SealedCredentials,
    clock: Clock,
    audit: AuditChain,
    changes: OwnChanges,
  ) {
    this.#database = database;
    this.#sealed = sealed;
    this.#clock = clock;
    this.#audit = audit;
    this.#changes = changes;
  }

  async find(name: CredentialName): Promise<CredentialRecord> {
    const [row] = await this.#database.read((queries) =>
      queries.select().from(credentials).where(isNamed(name)),
    );
    return row ? this.#sealed.toRecord(name, row) : NO_RECORD;
  }

  async listOfApp(platform: Platform, appId: string): Promise<CredentialName[]> {
    const { slot, kind } = credentials;
    const isOfApp = and(eq(credentials.platform, platform), eq(credentials.appId, appId));
    const rows = await this.#database.read((queries) =>
      queries.select({ slot, kind }).from(credentials).where(isOfApp),
    );
    return rows.flatMap((row) => toName({ platform, appId, ...row }));
  }

  async nextDueAt(): Promise<number | undefined> {
    // Written by hand, so that it is prepared once: it is polled.
    const [first] = await this.#database.rows("SELECT min(renew_at) FROM credentials", []);
    return (first?.[0] as number | null | undefined) ?? undefined;
  }

  async takeDue({ now, until, usedSince, budget }: DueRequest): Promise<CredentialName[]> {
    // Looked at first without the lock, because there is hardly ever any.
    const dueAt = await this.nextDueAt();
    if (dueAt === undefined || dueAt > now) return [];
    return this.#database.transact(async (queries) => {
      const { platform, appId, slot, kind, usedAt, renewAt, isRejected } = credentials;
      const first = queries.select({ renewAt }).from(credentials).where(lte(renewAt, now)).orderBy(renewAt);
      const [last] = await first.limit(1).offset(MAX_LOOKED_AT - 1);
      const isLookedAt = lte(renewAt, last?.renewAt ?? now);
      const isIdle = usedSince === undefined ? undefined : or(isNull(usedAt), lt(usedAt, usedSince));
      const isNotRenewed = or(eq(isRejected, true), isIdle);
      await queries.update(credentials).set({ renewAt: null }).where(and(isLookedAt, isNotRenewed));
      const left = budget.most - (await countUses(queries, budget, now));
      const taken = await queries
        .select({ platform, appId, slot, kind })
        .from(credentials)
        .where(isLookedAt)
        .orderBy(renewAt)
        .limit(Math.max(0, left));
      for (const row of taken) await queries.update(credentials).set({ renewAt: until }).where(isRow(row));
      if (taken.length > 0) await addUses(queries, budget, taken.length, now);
      return taken.flatMap(toName);
    });
  }

  async reschedule(name: CredentialName, until: number, renewAt?: number): Promise<void> {
    const isAsTaken = and(isNamed(name), eq(credentials.renewAt, until));
    await this.#database.transact(
      (queries) =>
        queries
          .update(credentials)
          .set({ renewAt: renewAt ?? null })
          .where(isAsTaken),
      INDEPENDENT,
    );
  }

  async lease(name: CredentialName, { holder, now: asked, lifeMs }: LeaseRequest): Promise<LeaseAnswer> {
    // By a clock that was set a moment ago another's lease would seem to have expired.
    const now = (await this.#changes.remeasure?.()) ? this.#clock.now() : asked;
    const lease = { leaseHolder: holder, leaseExpiresAt: now + lifeMs };
    const { leaseHolder, leaseExpiresAt } = credentials;
    // A lease that ends so late was written under a clock that has been set back since. One that merely seems to
    // begin after `now` is good: this request may have waited for the lock while another got its lease.
    const isFree = or(
      isNull(leaseHolder),
      isNull(leaseExpiresAt),
      eq(leaseHolder, holder),
      lte(leaseExpiresAt, now),
      gt(leaseExpiresAt, now + 2 * lifeMs),
    );
    // Looked at first without a lock: whoever waits for a lease asks again and again.
    const [held] = await this.#database.read((queries) =>
      queries
        .select()
        .from(credentials)
        .where(and(isNamed(name), sql`not ${isFree}`)),
    );
    if (held) return { isGranted: false, record: await this.#sealed.toRecord(name, held) };
    const granted = await this.#database.transact(
      (queries) =>
        queries
          .insert(credentials)
          .values({ ...columns(name), ...lease, generation: now })
          .onConflictDoUpdate({
            target: TARGET,
            set: { ...lease, generation: nextGeneration(now) },
            ...(isFree ? { setWhere: isFree } : {}),
          })
          .returning()
          .get(),
      INDEPENDENT,
    );
    if (granted) return { isGranted: true, record: await this.#sealed.toRecord(name, granted) };
    return { isGranted: false, record: await this.find(name) };
  }

  async release(name: CredentialName, holder: string): Promise<void> {
    const isMine = and(isNamed(name), eq(credentials.leaseHolder, holder));
    await this.#database.transact(async (queries) => {
      // A row that a failed first attempt made is dropped, or every wrong secret that is ever tried would leave one.
      // A later one begins with a later generation, because the first generation of a row is the time of day.
      await queries.delete(credentials).where(and(isMine, isNull(credentials.firstSavedAt)));
      await queries.update(credentials).set({ leaseHolder: null, leaseExpiresAt: null }).where(isMine);
    }, INDEPENDENT);
  }

  async save(
    name: CredentialName,
    credential: Credential,
    generation: number,
    { renewAt, endsRejected = false }: SaveOptions = {},
  ): Promise<CredentialRecord> {
    const isStanding = and(isNamed(name), eq(credentials.generation, generation));
    return this.#changeOne({ name, credential }, async (queries) => {
      const [before] = await queries.select().from(credentials).where(isStanding);
      if (!before) return undefined;
      const now = this.#clock.now();
      const digests = await this.#digestsOf(name, before, credential.value, now);
      const { valueDigest } = digests;
      const isRepeated = typeof valueDigest === "string" && valueDigest === before.valueDigest;
      if (isRepeated && before.isRejected) await unrememberRejected(queries, valueDigest);
      if (endsRejected && !isRepeated && mayBeRemembered(name))
        await cutOffTokens(queries, [appName(name.slot)]);
      const mayBeCleared = before.cutoff === CUTOFF_OF_CLEARED && before.firstSavedAt !== null;
      const cutoff = mayBeCleared ? null : await lastCutoff(queries);
      return queries
        .update(credentials)
        .set({
          value: await this.#sealed.seal(queries, name, "value", credential.value),
          issuedAt: credential.issuedAt,
          expiresAt: credential.expiresAt,
          renewBeforeMs: credential.renewBeforeMs ?? null,
          renewAt: renewAt ?? null,
          isRejected: false,
          firstSavedAt: before.firstSavedAt ?? now,
          epoch: NEXT_EPOCH,
          ...digests,
          cutoff: isRepeated ? before.cutoff : cutoff,
        })
        .where(isStanding)
        .returning()
        .get();
    });
  }

  async accept(name: CredentialName, credential: Credential, renewAt?: number): Promise<CredentialRecord> {
    const now = this.#clock.now();
    const { issuedAt } = credentials;
    // One from the future was written under a clock that has been set back since.
    const isOlder = or(isNull(issuedAt), lte(issuedAt, credential.issuedAt), gt(issuedAt, now));
    return this.#changeOne({ name, credential }, async (queries) => {
      const [before] = await queries.select().from(credentials).where(isNamed(name));
      const set = {
        ...(await this.#digestsOf(name, before, credential.value, now)),
        cutoff: before?.cutoff === CUTOFF_OF_CLEARED ? null : await lastCutoff(queries),
        value: await this.#sealed.seal(queries, name, "value", credential.value),
        issuedAt: credential.issuedAt,
        expiresAt: credential.expiresAt,
        renewBeforeMs: null,
        renewAt: renewAt ?? null,
        isRejected: false,
        firstSavedAt: sql`coalesce(${credentials.firstSavedAt}, ${now})`,
        epoch: NEXT_EPOCH,
      };
      return queries
        .insert(credentials)
        .values({ ...columns(name), ...set, firstSavedAt: now, generation: now })
        .onConflictDoUpdate({
          target: TARGET,
          set: { ...set, generation: nextGeneration(now) },
          ...(isOlder ? { setWhere: isOlder } : {}),
        })
        .returning()
        .get();
    });
  }

  async restore(lost: readonly Lost[]): Promise<CredentialRecord[]> {
    const now = this.#clock.now();
    const answers = await this.#change(lost, async (queries, { name, credential, found, renewAt }) => {
      const [before] = await queries.select().from(credentials).where(isNamed(name));
      const { generation, epoch } = before ?? NO_RECORD;
      if (generation !== found.generation || epoch !== found.epoch) return undefined;
      const set = {
        value: await this.#sealed.seal(queries, name, "value", credential.value),
        issuedAt: credential.issuedAt,
        expiresAt: credential.expiresAt,
        renewBeforeMs: credential.renewBeforeMs ?? null,
        renewAt: renewAt ?? null,
        isRejected: false,
        firstSavedAt: before?.firstSavedAt ?? now,
        epoch: NEXT_EPOCH,
        leaseHolder: null,
        leaseExpiresAt: null,
        ...(await this.#digestsOf(name, before, credential.value, now)),
        cutoff: before?.cutoff === CUTOFF_OF_CLEARED ? null : await lastCutoff(queries),
      };
      return queries
        .insert(credentials)
        .values({ ...columns(name), ...set, generation: now })
        .onConflictDoUpdate({ target: TARGET, set: { ...set, generation: nextGeneration(now) } })
        .returning()
        .get();
    });
    return answers.map(({ record }) => record);
  }

  async clear(clears: readonly Clear[]): Promise<CredentialRecord[]> {
    const now = this.#clock.now();
    const answers = await this.#change(clears, async (queries, { name, isCurrent, entry }) => {
      const { slot } = name;
      const hasRejected = async () => ((await countRejected(queries, [slot], now))[0] ?? 0) > 0;
      const endsRejected = mayBeRemembered(name) && (isCurrent || (await hasRejected()));
      if (endsRejected) await cutOffTokens(queries, [appName(slot)]);
      if (isCurrent)
        return queries
          .insert(credentials)
          .values({ ...columns(name), ...CLEARED, generation: now })
          .onConflictDoUpdate({ target: TARGET, set: forgotten(now) })
          .returning()
          .get();
      if (endsRejected && entry) await this.#audit.append(queries, entry);
      return undefined;
    });
    return answers.map(({ record }) => record);
  }

  async reject(rejections: readonly Rejection[]): Promise<RejectAnswer[]> {
    const now = this.#clock.now();
    const set = { isRejected: true, renewAt: null, generation: nextGeneration(now), epoch: NEXT_EPOCH };
    const answers = await this.#change(rejections, async (queries, { name, generation }) => {
      const isStanding = and(isNamed(name), eq(credentials.generation, generation));
      const row = await queries.update(credentials).set(set).where(isStanding).returning().get();
      if (row) await rememberRejected(queries, row, now);
      return row;
    });
    return answers.map(({ isChanged, record }) => ({ isMarked: isChanged, record }));
  }

  async markRevoked(
    name: CredentialName,
    revoked: Secret,
    generation: number,
    { now, earlyMs }: { readonly now: number; readonly earlyMs: number },
  ): Promise<CredentialRecord> {
    const early = earlyMs > 0 ? { diedEarlyAt: now, diedEarlyMs: earlyMs } : {};
    const isStanding = and(isNamed(name), eq(credentials.generation, generation));
    const digest = this.#sealed.digest(revoked);
    return this.#changeOne({ name }, async (queries) => {
      const [before] = await queries.select().from(credentials).where(isNamed(name));
      if (before?.valueDigest === digest) await rememberRejected(queries, before, now);
      await queries.update(credentials).set(NO_VALUE).where(isStanding);
      const digests = digestsWithout(digest);
      const deadValue = await this.#sealed.seal(queries, name, "dead_value", revoked);
      const death = { ...early, ...digests, deadValue, epoch: NEXT_EPOCH };
      return queries.update(credentials).set(death).where(isNamed(name)).returning().get();
    });
  }

  async shorten(
    name: CredentialName,
    standing: Credential,
    life: { readonly expiresAt: number; readonly renewBeforeMs: number },
  ): Promise<CredentialRecord> {
    const { issuedAt, expiresAt, renewAt } = credentials;
    // Sealed values can't be compared, but hardly two of one name have both instants in common.
    const isSame = and(eq(issuedAt, standing.issuedAt), eq(expiresAt, standing.expiresAt));
    return this.#changeOne({ name }, (queries) =>
      queries
        .update(credentials)
        .set({
          ...life,
          epoch: NEXT_EPOCH,
          renewAt: sql`CASE WHEN ${renewAt} IS NULL THEN NULL ELSE ${life.expiresAt - life.renewBeforeMs} END`,
        })
        .where(and(isNamed(name), isSame))
        .returning()
        .get(),
    );
  }

  async touch(uses: readonly { name: CredentialName; usedAt: number }[]): Promise<void> {
    await this.#database.transact(async (queries) => {
      for (const { name, usedAt } of inLockOrder(uses, (use) => credentialKey(use.name))) {
        // Another process may have stored a later one.
        const latest = sql`case when ${credentials.usedAt} > ${usedAt} then ${credentials.usedAt} else ${usedAt} end`;
        await queries.update(credentials).set({ usedAt: latest }).where(isNamed(name));
      }
    }, INDEPENDENT);
  }

  /** How the row's digests are after a save of `value`: a ticket has none, and a value that is dead is not known again. */
  async #digestsOf(
    name: CredentialName,
    before: Row | undefined,
    value: Secret,
    now: number,
  ): Promise<Digests> {
    if (!KINDS.find(name)?.isPresented) return {};
    if (!before) return { valueDigest: this.#sealed.digest(value) };
    const { revoked } = await this.#sealed.toRecord(name, { ...before, value: null });
    const isDead = revoked?.equals(value);
    return digestsAfter(name, before, isDead ? null : this.#sealed.digest(value), now);
  }

  /**
   * As one transaction: changes a row for each of `items`, whose epoch `write` sets to `NEXT_EPOCH`; and where there was
   * one to change, writes the item's audit entry and raises the topic's epoch. Returns that, and the records then, in the
   * same order; of a row that was changed with the item's own `credential`, if it has one.
   */
  async #change<T extends Change>(
    items: readonly T[],
    write: (queries: Queries, item: T) => Promise<Row | undefined>,
  ): Promise<{ readonly isChanged: boolean; readonly record: CredentialRecord }[]> {
    if (items.length === 0) return [];
    const changes = await this.#database.transact(async (queries) => {
      const rows: { item: T; row: Row | undefined }[] = [];
      for (const item of items) {
        const row = await write(queries, item);
        if (row && item.entry) await this.#audit.append(queries, item.entry);
        rows.push({ item, row });
      }
      if (rows.some(({ row }) => row)) await raiseEpoch(queries, "credentials");
      return rows;
    });
    await this.#changes.expire();
    return Promise.all(
      changes.map(async ({ item: { name, credential }, row }) => {
        if (!row) return { isChanged: false, record: await this.find(name) };
        const record = await this.#sealed.toRecord(name, row);
        return { isChanged: true, record: credential ? { ...record, credential } : record };
      }),
    );
  }

  async #changeOne(
    item: Change,
    write: (queries: Queries) => Promise<Row | undefined>,
  ): Promise<CredentialRecord> {
    const [answer] = await this.#change([item], write);
    return answer?.record ?? NO_RECORD;
  }
}
