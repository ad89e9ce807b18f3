import { and, desc, eq, gt, inArray, like, lt, lte, not, or, type SQL, sql } from "drizzle-orm";
import type { AuditEntry } from "../audit/audit-entry.ts";
import type { Clock } from "../clock.ts";
import { type Backoff, MAX_SKEW_MS, readFailure, REMEMBERED_MS } from "../credentials/backoff.ts";
import {
  type BlockingUse,
  type Budget,
  MAX_PENDING_MS,
  type PacingStore,
  type UseAnswer,
  type UseRequest,
} from "../credentials/pacing-store.ts";
import type { Piece } from "../audit/call-counts.ts";
import type { Queries, SqlDatabase } from "./sql.ts";
import type { AuditChain } from "./audit-chain.ts";
import { checkRow, type DamageReports, MAX_NUMBER } from "./damaged-rows.ts";
import { type OwnChanges, raiseEpoch } from "./epochs.ts";
import { pacing } from "./schema.ts";

const PRUNE_EVERY_MS = 60_000;
/** So many backoffs of secrets that we don't hold are kept: callers can make up more. */
const MAX_FOREIGN = 500;
/** No backoff is longer than a day, and an hour for what a clock was off. */
const MAX_BACKOFF_MS = 25 * 3_600_000;

const isUse = inArray(pacing.reason, ["used", "pending"]);

/** What a `SqlPacingStore` is made of. */
export interface SqlPacingStoreParts {
  readonly database: SqlDatabase;
  readonly clock: Clock;
  readonly audit: AuditChain;
  readonly damage: DamageReports;
  readonly changes: OwnChanges;
}

/** Backoffs and budgets in a SQL database. What they hold is what WeChat said of us, and nothing secret. */
export class SqlPacingStore implements PacingStore {
  readonly #database: SqlDatabase;
  readonly #clock: Clock;
  readonly #audit: AuditChain;
  readonly #damage: DamageReports;
  readonly #changes: OwnChanges;
  #prunedAt = Number.NEGATIVE_INFINITY;
  #writes = 0;

  constructor({ database, clock, audit, damage, changes }: SqlPacingStoreParts) {
    this.#database = database;
    this.#clock = clock;
    this.#audit = audit;
    this.#damage = damage;
    this.#changes = changes;
  }

  find(keys: readonly string[]): Promise<Backoff[]> {
    return this.#read(inArray(pacing.key, [...keys]));
  }

  listRefusals(now: number): Promise<Backoff[]> {
    return this.#read(and(inArray(pacing.reason, ["circuit_open", "quota"]), gt(pacing.until, now)));
  }

  async page(after = "", limit: number): Promise<Piece<Backoff>> {
    const isBehind = and(gt(pacing.key, after), not(isUse));
    const rows = await this.#database.read((queries) =>
      queries.select().from(pacing).where(isBehind).orderBy(pacing.key).limit(limit),
    );
    return { items: this.#toBackoffs(rows), next: rows.length < limit ? undefined : rows.at(-1)?.key };
  }

  async #read(where: SQL | undefined): Promise<Backoff[]> {
    return this.#toBackoffs(
      await this.#database.read((queries) => queries.select().from(pacing).where(where)),
    );
  }

  #toBackoffs(rows: readonly (typeof pacing.$inferSelect)[]): Backoff[] {
    return rows.flatMap((stored) => {
      const { row, damaged } = checkRow(pacing, stored);
      const { detail, reason, ...backoff } = row;
      const failure = readFailure(detail ?? "");
      const isLong = backoff.until - backoff.since > MAX_BACKOFF_MS;
      this.#damage.note(`pacing:${stored.key}`, failure && !isLong ? damaged : ["detail"]);
      // One that can't be read counts as none: the next failure takes its place.
      if (!failure || isLong || damaged.length > 0) return [];
      return [
        {
          ...backoff,
          failure,
          reason: reason === "circuit_open" || reason === "quota" ? reason : "exponential",
        },
      ];
    });
  }

  async put({ failure, ...backoff }: Backoff): Promise<void> {
    const row = { ...backoff, detail: JSON.stringify(failure) };
    await this.#database.transact(async (queries) => {
      await queries.insert(pacing).values(row).onConflictDoUpdate({ target: pacing.key, set: row });
      await this.#prune(queries);
      await tellOf(queries, [row]);
    });
    await this.#changes.expire();
  }

  async remove(seen: readonly Backoff[]): Promise<void> {
    const isSeen = seen.map(({ key, since, until }) =>
      and(eq(pacing.key, key), eq(pacing.since, since), eq(pacing.until, until)),
    );
    if (isSeen.length === 0) return;
    await this.#database.transact(
      async (queries) => {
        await removeBackoffs(queries, [or(...isSeen)]);
      },
      { isIndependent: true },
    );
    await this.#changes.expire();
  }

  async unblock(keys: readonly string[], entry: AuditEntry): Promise<void> {
    await this.#database.transact(async (queries) => {
      await removeBackoffs(queries, [inArray(pacing.key, [...keys])]);
      await this.#audit.append(queries, entry);
    });
    await this.#changes.expire();
  }

  use({ limits, now, until, isPending, note }: UseRequest): Promise<UseAnswer> {
    return this.#database.transact(async (queries): Promise<UseAnswer> => {
      const blocked: BlockingUse[] = [];
      for (const [limit, { most, ...budget }] of limits.entries()) {
        const isUseOfKey = isUseOf(budget, now);
        const found = await queries.select().from(pacing).where(isUseOfKey).orderBy(pacing.since);
        const rows = found.map((row) => checkRow(pacing, row).row);
        const blocking = blockingUse(rows, most, now);
        if (blocking) blocked.push({ limit, ...blocking });
      }
      if (blocked.length > 0) return { blocked };
      const id = crypto.randomUUID();
      const uses = [...new Set(limits.map(({ key }) => `${key}#${id}`))];
      const row = { reason: isPending ? "pending" : "used", detail: note, count: 1, since: now, until };
      if (uses.length > 0) await queries.insert(pacing).values(uses.map((key) => ({ key, ...row })));
      await this.#prune(queries);
      return { uses };
    });
  }

  async settle(uses: readonly string[]): Promise<void> {
    const isOne = inArray(pacing.key, [...uses]);
    await this.#database.transact(
      async (queries) => {
        await queries.update(pacing).set({ reason: "used" }).where(isOne);
      },
      { isIndependent: true },
    );
  }

  async giveBack(uses: readonly string[]): Promise<void> {
    const isOne = inArray(pacing.key, [...uses]);
    await this.#database.transact(
      async (queries) => {
        await queries.delete(pacing).where(isOne);
      },
      { isIndependent: true },
    );
  }

  async countUses(keys: readonly string[], from: number, now: number): Promise<number[]> {
    const [first = "", ...others] = keys.toSorted();
    // A page of apps lies side by side.
    const isBetween = and(gt(pacing.key, `${first}#`), lt(pacing.key, `${others.at(-1) ?? first}$`));
    const rows = await this.#database.read((queries) =>
      queries
        .select()
        .from(pacing)
        .where(and(isBetween, isUse, isSince(from, now))),
    );
    const byKey = Map.groupBy(rows, ({ key }) => key.slice(0, key.lastIndexOf("#")));
    return keys.map((key) => totalOf(byKey.get(key) ?? []));
  }

  async countUsesUnder(prefix: string, from: number, now: number): Promise<ReadonlyMap<string, number>> {
    // A semicolon is what comes next after a colon.
    const isBetween = and(gt(pacing.key, prefix), lt(pacing.key, `${prefix.slice(0, -1)};`));
    const rows = await this.#database.read((queries) =>
      queries
        .select()
        .from(pacing)
        .where(and(isBetween, isUse, isSince(from, now))),
    );
    const byKey = Map.groupBy(rows, ({ key }) => key.slice(0, key.lastIndexOf("#")));
    return new Map([...byKey].map(([key, uses]) => [key, totalOf(uses)]));
  }

  /** Deletes what counts for nothing any more, once a minute, and in between when there may be too much. */
  async #prune(queries: Queries): Promise<void> {
    if (this.#clock.monotonic() < this.#prunedAt + PRUNE_EVERY_MS && ++this.#writes < MAX_FOREIGN) return;
    this.#prunedAt = this.#clock.monotonic();
    this.#writes = 0;
    const now = this.#clock.now();
    const isForgotten = or(lt(pacing.until, now - REMEMBERED_MS), and(isUse, lt(pacing.until, now)));
    await queries.delete(pacing).where(isForgotten);
    // Those that end last have something to say: a secret that was refused, and how often in a row.
    const isForeign = and(like(pacing.key, "%:~%"), not(isUse));
    const { until } = pacing;
    const foreign = queries.select({ until }).from(pacing).where(isForeign).orderBy(desc(until));
    const [excess] = await foreign.limit(1).offset(MAX_FOREIGN);
    if (excess) await queries.delete(pacing).where(and(isForeign, lte(until, excess.until)));
  }
}

/**
 * Removes backoffs in a transaction, and then tells of them; `each` says which, a part at a time.
 *
 * The epoch is raised last, as whoever else changes backoffs does: the other way round two would wait for each other.
 */
export async function removeBackoffs(queries: Queries, each: readonly (SQL | undefined)[]): Promise<void> {
  const removed: { readonly key: string }[] = [];
  for (const isOne of each) {
    const { key } = pacing;
    removed.push(...(await queries.delete(pacing).where(isOne).returning({ key })));
  }
  await tellOf(queries, removed);
}

/** Tells of backoffs that were written or removed, unless all are of secrets that we don't hold: callers make those up. */
async function tellOf(queries: Queries, rows: readonly { readonly key: string }[]): Promise<void> {
  if (rows.some(({ key }) => !key.includes(":~"))) await raiseEpoch(queries, "backoffs");
}

/** How often a budget was used, in a transaction or not. */
export async function countUses(
  queries: Queries,
  budget: Omit<Budget, "most">,
  now: number,
): Promise<number> {
  const { count: uses } = pacing;
  const count = sql<
    number | null
  >`cast(sum(case when ${uses} between 1 and ${MAX_NUMBER} then ${uses} else 1 end) as bigint)`;
  const [row] = await queries.select({ count }).from(pacing).where(isUseOf(budget, now));
  return row?.count ?? 0;
}

/** Notes `count` uses of a budget at `now`, in a transaction, and drops those that count no more. */
export async function addUses(queries: Queries, budget: Budget, count: number, now: number): Promise<void> {
  const { key, from } = budget;
  await queries.delete(pacing).where(and(isOfBudget(key), lte(pacing.since, from)));
  const row = { key: `${key}#${crypto.randomUUID()}`, reason: "used", count, since: now };
  await queries.insert(pacing).values({ ...row, until: now + (now - from) });
}

function isOfBudget(key: string) {
  return and(gt(pacing.key, `${key}#`), lt(pacing.key, `${key}$`));
}

/** The rows of a budget's uses; one from the future was written under a clock that was set back since. */
function isUseOf({ key, from }: Omit<Budget, "most">, now: number) {
  return and(isOfBudget(key), isSince(from, now));
}

function isSince(from: number, now: number) {
  return and(gt(pacing.since, from), lte(pacing.since, now + MAX_SKEW_MS));
}

/** The use of `rows`, oldest first, that must leave the window before another fits; undefined when one fits now. */
function blockingUse(
  rows: readonly (typeof pacing.$inferSelect)[],
  most: number,
  now: number,
): Omit<BlockingUse, "limit"> | undefined {
  const excess = totalOf(rows) - most;
  if (excess < 0) return undefined;
  let left = 0;
  const blocking = rows.find((row) => (left += totalOf([row])) > excess);
  const isFinal = ({ reason, since }: (typeof rows)[number]) =>
    reason === "used" || since <= now - MAX_PENDING_MS;
  return {
    since: blocking?.since ?? now,
    note: blocking?.detail ?? undefined,
    isPending: totalOf(rows.filter(isFinal)) < most,
  };
}

/** How many uses the rows are. One whose number can't be read is one. */
function totalOf(rows: readonly (typeof pacing.$inferSelect)[]): number {
  return rows.reduce((sum, row) => sum + (checkRow(pacing, row).row.count || 1), 0);
}
