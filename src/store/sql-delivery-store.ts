import { and, asc, eq, gt, inArray, isNull, lt, not, or } from "drizzle-orm";
import type { AuditEntry } from "../audit/audit-entry.ts";
import type {
  Accepted,
  AttemptEnd,
  Delivery,
  DeliveryFigures,
  DeliveryFilter,
  DeliveryLease,
  DeliveryStore,
  NewDelivery,
  NewPush,
  OpenDelivery,
  PulledTarget,
  PushName,
  TargetLoad,
} from "../callbacks/delivery-store.ts";
import { LIFE_MS } from "../callbacks/deliveries.ts";
import { Secret } from "../secret.ts";
import { type Arrival, DeliveryCommits, type End, KNOWN_MS } from "./delivery-commits.ts";
import { chooseDue } from "./due-deliveries.ts";
import { GroupCommit } from "./group-commit.ts";
import type { Keyring } from "./keyring.ts";
import {
  delivered,
  END_OF_PUSH,
  type DeliveryRow,
  isDeliveryOf,
  isFree,
  isPush,
  isWaiting,
  keepUntil,
  lend,
  openDelivery,
  openSealed,
  placeOf,
  selectDeliveries,
  toDelivery,
} from "./delivery-rows.ts";
import { callbackTargets, deliveries, pushes } from "./schema.ts";
import type { Queries, Sql, SqlDatabase } from "./sql.ts";
import { DeliveryLists, type DeliveryListParts } from "./sql-delivery-lists.ts";

/** How long a dead delivery can be replayed. */
const DEAD_MS = 7 * LIFE_MS;
/** Longer than this nothing is put off, but what is pulled. */
const MAX_AHEAD_MS = 900_000;
/** So many go into one commit. */
const MAX_GROUP = 64;
const INDEPENDENT = { isIndependent: true };

/** Pushes and deliveries in a SQL database. */
export class SqlDeliveryStore implements DeliveryStore {
  readonly #database: SqlDatabase;
  readonly #keyring: Keyring;
  readonly #parts: DeliveryListParts;
  readonly #lists: DeliveryLists;
  readonly #group: GroupCommit<Arrival | End, Accepted>;

  constructor(parts: DeliveryListParts) {
    this.#parts = parts;
    this.#database = parts.database;
    this.#keyring = parts.keyring;
    this.#lists = new DeliveryLists(parts);
    const commits = new DeliveryCommits(parts);
    this.#group = new GroupCommit((items) => commits.commit(items), MAX_GROUP);
  }

  accept(push: NewPush, wanted: readonly NewDelivery[], holder: string): Promise<Accepted> {
    return this.#group.add({ push, deliveries: wanted, holder });
  }

  async end(ended: AttemptEnd, answered?: PushName & { readonly answer: Secret }): Promise<void> {
    await this.#group.add({ ended, answered });
  }

  async answer(push: PushName, answer: Secret): Promise<Secret> {
    const standing = await this.#database.transact(async (queries) => {
      const sealed = (await this.#keyring.sealingKey(queries)).seal(answer, placeOf(push, "answer"));
      const isOpen = and(isPush(push), isNull(pushes.answer));
      await queries.update(pushes).set({ answer: sealed }).where(isOpen);
      const [row] = await queries.select({ answer: pushes.answer }).from(pushes).where(isPush(push));
      return row?.answer ?? sealed;
    });
    return (await this.#open(standing, push)) ?? answer;
  }

  async look(push: PushName, now: number): ReturnType<DeliveryStore["look"]> {
    const [row] = await this.#database.read((queries) =>
      queries.select({ answer: pushes.answer }).from(pushes).where(isPush(push)),
    );
    const answer = row?.answer ? await this.#open(row.answer, push) : undefined;
    if (answer) return { answer };
    const { id, target, environment, role, state } = deliveries;
    const isPrimary = and(isDeliveryOf(push), eq(role, "primary"), or(not(isWaiting), isFree(now)));
    const [primary] = await this.#database.read((queries) =>
      queries.select({ id, target, environment, state }).from(deliveries).where(isPrimary).limit(1),
    );
    if (!primary) return {};
    return primary.state === "waiting" ? { free: primary } : { isOver: true };
  }

  async extend(id: number, { holder, until }: DeliveryLease): Promise<void> {
    const isHeld = and(eq(deliveries.id, id), eq(deliveries.leaseHolder, holder), isWaiting);
    const set = { leaseExpiresAt: until, dueAt: until };
    await this.#database.transact(
      (queries) => queries.update(deliveries).set(set).where(isHeld),
      INDEPENDENT,
    );
  }

  async nextDueAt(): Promise<number | undefined> {
    // Written by hand, so that it is prepared once: it is polled.
    const [first] = await this.#database.rows(
      "SELECT min(due_at) FROM deliveries WHERE state = 'waiting'",
      [],
    );
    return (first?.[0] as number | null | undefined) ?? undefined;
  }

  async takeDue(
    lease: DeliveryLease,
    limit: number,
    loadOf: (app: string, target: string) => TargetLoad,
  ): Promise<{ taken: OpenDelivery[]; died: Delivery[] }> {
    const { now } = lease;
    // Looked at first without the lock, because there is hardly ever any.
    const firstDueAt = await this.nextDueAt();
    if (firstDueAt === undefined || firstDueAt > now) return { taken: [], died: [] };
    const { taken, died } = await this.#database.transact(async (queries, sql) => {
      const due = await chooseDue(queries, now, limit, loadOf);
      await this.#bury(queries, sql, due.died, now);
      for (const [dueAt, ids] of due.later)
        await queries
          .update(deliveries)
          .set({ dueAt })
          .where(inArray(deliveries.id, [...ids]));
      await lend(queries, due.taken, lease);
      return due;
    });
    return {
      taken: await Promise.all(taken.map((row) => this.#opened(row, lease))),
      died: died.map((row) => ({ ...toDelivery(row), state: "dead" as const, endedAt: now })),
    };
  }

  async hasten(now: number): Promise<void> {
    const { id, dueAt, expiresAt } = deliveries;
    const isAhead = and(isWaiting, gt(dueAt, now + MAX_AHEAD_MS), lt(dueAt, expiresAt));
    // Looked at first without the lock, because there is hardly ever any.
    const [some] = await this.#database.read((queries) =>
      queries.select({ id }).from(deliveries).where(isAhead).limit(1),
    );
    if (!some) return;
    await this.#database.transact((queries) => queries.update(deliveries).set({ dueAt: now }).where(isAhead));
  }

  async take(id: number, lease: DeliveryLease): Promise<OpenDelivery | undefined> {
    const isTaken = and(
      eq(deliveries.id, id),
      isWaiting,
      isFree(lease.now),
      gt(deliveries.expiresAt, lease.now),
    );
    const rows = await this.#database.transact(async (queries) => {
      const found = await selectDeliveries(queries).where(isTaken);
      await lend(queries, found, lease);
      return found;
    });
    return rows[0] && this.#opened(rows[0], lease);
  }

  async pull(
    app: string,
    targets: readonly PulledTarget[],
    lease: DeliveryLease,
    limit: number,
  ): Promise<OpenDelivery[]> {
    const { now } = lease;
    const isOne = targets.map(({ name, environment }) =>
      and(eq(deliveries.target, name), eq(deliveries.environment, environment)),
    );
    const isWanted = and(
      eq(deliveries.app, app),
      or(...isOne),
      isWaiting,
      isFree(now),
      gt(deliveries.expiresAt, now),
    );
    const [some] = await this.#database.read((queries) =>
      queries.select({ id: deliveries.id }).from(deliveries).where(isWanted).limit(1),
    );
    if (!some) return [];
    const rows = await this.#database.transact(async (queries) => {
      const found = await selectDeliveries(queries).where(isWanted).orderBy(asc(deliveries.id)).limit(limit);
      await lend(queries, found, lease, false);
      return found;
    });
    return Promise.all(rows.map((row) => this.#opened(row, lease)));
  }

  async notePull(app: string, targets: readonly string[], now: number): Promise<void> {
    const isOne = and(eq(callbackTargets.app, app), inArray(callbackTargets.name, [...targets]));
    await this.#database.transact(
      (queries) => queries.update(callbackTargets).set({ pulledAt: now }).where(isOne),
      INDEPENDENT,
    );
  }

  acknowledge(
    id: number,
    now: number,
    answered: (PushName & { readonly answer: Secret }) | undefined,
  ): Promise<{ isAnswer: boolean } | undefined> {
    return this.#database.transact(async (queries, sql) => {
      const isIt = and(eq(deliveries.id, id), isWaiting);
      const [row] = await queries.update(deliveries).set(delivered(now)).where(isIt).returning();
      if (!row) return undefined;
      let isAnswer = false;
      if (answered) {
        const sealed = (await this.#keyring.sealingKey(queries)).seal(
          answered.answer,
          placeOf(answered, "answer"),
        );
        const isOpen = and(isPush(answered), isNull(pushes.answer));
        const [taken] = await queries
          .update(pushes)
          .set({ answer: sealed })
          .where(isOpen)
          .returning({ app: pushes.app });
        isAnswer = taken !== undefined;
      }
      await sql.query(END_OF_PUSH, [null, row.app, row.dedupeKey]);
      return { isAnswer };
    });
  }

  find(filter: DeliveryFilter, id: number): Promise<OpenDelivery | undefined> {
    return this.#lists.find(filter, id);
  }

  list(
    filter: DeliveryFilter,
    page: { readonly limit: number; readonly before?: number | undefined },
  ): Promise<Delivery[]> {
    return this.#lists.list(filter, page);
  }

  replay(
    filter: DeliveryFilter,
    which:
      { readonly ids: readonly number[] } | { readonly limit: number; readonly after?: number | undefined },
    pulled: ReadonlySet<string>,
    now: number,
    entry: AuditEntry,
  ): Promise<readonly number[]> {
    return this.#lists.replay(filter, which, { pulled, now, lifeMs: LIFE_MS, knownMs: KNOWN_MS }, entry);
  }

  drop(filter: DeliveryFilter, id: number, now: number, entry: AuditEntry): Promise<boolean> {
    return this.#lists.drop(filter, id, now, entry);
  }

  figures(): Promise<DeliveryFigures> {
    return this.#lists.figures();
  }

  claimPruning(now: number): Promise<number> {
    return this.#lists.claimPruning(now);
  }

  prune(now: number): Promise<boolean> {
    return this.#lists.prune(now);
  }

  async #bury(queries: Queries, sql: Sql, rows: readonly DeliveryRow[], now: number): Promise<void> {
    if (rows.length === 0) return;
    const set = { state: "dead", endedAt: now, leaseHolder: null, leaseExpiresAt: null };
    const ids = rows.map(({ id }) => id);
    await queries.update(deliveries).set(set).where(inArray(deliveries.id, ids));
    for (const push of rows) await keepUntil(sql, push, now + DEAD_MS);
  }

  #opened(row: DeliveryRow, lease: DeliveryLease): Promise<OpenDelivery> {
    return openDelivery({ ...row, attempts: row.attempts + 1, dueAt: lease.until }, this.#parts);
  }

  #open(text: string, push: PushName): Promise<Secret | undefined> {
    return openSealed(this.#parts, text, placeOf(push, "answer"));
  }
}
