import { and, desc, eq, inArray, lt, ne, notInArray, or, type SQL } from "drizzle-orm";
import { alarmKey, alarmOf, type AlarmRecord } from "../ops/alarm-state.ts";
import type { AlarmChange, AlarmStore, Hearer } from "../ops/alarm-store.ts";
import { CONDITION_IDS, type ConditionId } from "../ops/conditions.ts";
import { type Content, readContent, withNews } from "../ops/message-content.ts";
import type { AlarmDetail } from "../ops/notifications.ts";
import { checkRow, type DamageReports } from "./damaged-rows.ts";
import { type OwnChanges, raiseEpoch } from "./epochs.ts";
import { alarms, notifications } from "./schema.ts";
import { BACKGROUND_ATTEMPTS, type Queries, type SqlDatabase } from "./sql.ts";

const DAY_MS = 86_400_000;
const KEPT_MS = 14 * DAY_MS;
const ADDRESS_KEPT_MS = 90 * DAY_MS;
/** No more of a condition are read: the last that were seen. */
const MAX_LISTED = 5000;
/** So many are looked up by one query. */
const MAX_ASKED = 500;
const STATES = ["pending", "firing", "resolved"] as const;

/** Alarms in a SQL database. */
export class SqlAlarmStore implements AlarmStore {
  readonly #database: SqlDatabase;
  readonly #changes: OwnChanges;
  readonly #damage: DamageReports;

  constructor(database: SqlDatabase, changes: OwnChanges, damage: DamageReports) {
    this.#database = database;
    this.#changes = changes;
    this.#damage = damage;
  }

  async list(condition?: ConditionId): Promise<AlarmRecord[]> {
    const { condition: name, seenAt, state } = alarms;
    const rows = await this.#database.read((queries) => {
      const all = queries.select().from(alarms);
      if (condition === undefined) return all.where(and(ne(name, "new_address"), ne(state, "resolved")));
      return all.where(eq(name, condition)).orderBy(desc(seenAt)).limit(MAX_LISTED);
    });
    return rows.flatMap((row) => this.#toRecord(row) ?? []);
  }

  async find(wanted: readonly Pick<AlarmRecord, "condition" | "subject">[]): Promise<AlarmRecord[]> {
    const records: AlarmRecord[] = [];
    for (const [condition, ofOne] of Map.groupBy(wanted, (each) => each.condition))
      for (let start = 0; start < ofOne.length; start += MAX_ASKED) {
        const subjects = ofOne.slice(start, start + MAX_ASKED).map(({ subject }) => subject);
        const isWanted = and(eq(alarms.condition, condition), inArray(alarms.subject, subjects));
        const rows = await this.#database.read((queries) => queries.select().from(alarms).where(isWanted));
        records.push(...rows.flatMap((row) => this.#toRecord(row) ?? []));
      }
    return records;
  }

  async apply(changes: readonly AlarmChange[], now: number): Promise<AlarmChange[]> {
    if (changes.length === 0) return [];
    const made = await this.#database.transact(
      async (queries) => {
        const done: AlarmChange[] = [];
        for (const change of changes) if (await write(queries, change)) done.push(change);
        await tellAll(queries, done, now);
        if (done.some(({ from, to }) => to.version !== from)) await raiseEpoch(queries, "alarms");
        return done;
      },
      { maxAttempts: BACKGROUND_ATTEMPTS },
    );
    await this.#changes.expire();
    return made;
  }

  async prune(now: number): Promise<void> {
    const isOver = eq(alarms.state, "resolved");
    const isOfKey = eq(alarms.condition, "new_address");
    await this.#database.transact(
      async (queries) => {
        // One whose condition a former or a later version knows is no more seen, so it goes by when it was.
        const isOld = lt(alarms.seenAt, now - KEPT_MS);
        const isUnknown = notInArray(alarms.condition, [...CONDITION_IDS]);
        const isForgotten = and(isOfKey, lt(alarms.seenAt, now - ADDRESS_KEPT_MS));
        const isPast = and(ne(alarms.condition, "new_address"), or(isOver, isUnknown), isOld);
        await queries.delete(alarms).where(or(isPast, isForgotten));
        const isSent = and(ne(notifications.state, "waiting"), lt(notifications.createdAt, now - KEPT_MS));
        await queries.delete(notifications).where(isSent);
      },
      { maxAttempts: BACKGROUND_ATTEMPTS },
    );
  }

  #toRecord(stored: typeof alarms.$inferSelect): AlarmRecord | undefined {
    const { row, damaged } = checkRow(alarms, stored);
    const condition = CONDITION_IDS.find((each) => each === row.condition);
    const state = STATES.find((each) => each === row.state);
    const detail = readDetail(row.detail);
    const unread = [...damaged, ...(state ? [] : ["state"]), ...(detail ? [] : ["detail"])];
    if (!condition) return undefined;
    const { subject, since, seenAt, toldAt, resolvedAt, version } = row;
    this.#damage.note(`alarms:${alarmKey({ condition, subject })}`, unread);
    return {
      // What can't be read has ended: it begins anew if it lasts.
      ...{ condition, subject, since, seenAt, version, state: state ?? "resolved" },
      ...{ toldAt: toldAt ?? undefined, resolvedAt: resolvedAt ?? undefined },
      detail: detail ?? { message: "" },
    };
  }
}

/** Writes an alarm, if the version stands that the change was made from. */
async function write(queries: Queries, { from, to }: AlarmChange): Promise<boolean> {
  const { toldAt = null, resolvedAt = null, detail, ...rest } = to;
  const row = { ...rest, toldAt, resolvedAt, detail: JSON.stringify(detail) };
  const key = { condition: alarms.condition };
  if (from === 0)
    return (
      (await queries.insert(alarms).values(row).onConflictDoNothing().returning(key).get()) !== undefined
    );
  const isIt = and(isAlarm(to), eq(alarms.version, from));
  return (await queries.update(alarms).set(row).where(isIt).returning(key).get()) !== undefined;
}

/** A message that waits; undefined where nothing is left to tell, without an id where it is not stored yet. */
interface Waiting {
  readonly id: number | undefined;
  readonly content: Content | undefined;
  readonly dueAt: number;
  readonly isChanged: boolean;
}

/** Puts alarms into what waits for channels: of each channel it is read and written once, however many there are. */
async function tellAll(queries: Queries, changes: readonly AlarmChange[], now: number): Promise<void> {
  const told = changes.flatMap((change) => change.hearers.map((hearer) => ({ change, hearer })));
  for (const [channel, ofChannel] of Map.groupBy(told, ({ hearer }) => hearer.channel)) {
    let waiting = await waitingFor(queries, channel);
    for (const { change, hearer } of ofChannel) waiting = withChange(waiting, change, hearer);
    for (const { id, content: kept, dueAt, isChanged } of waiting) {
      if (!isChanged) continue;
      const content = JSON.stringify(kept);
      const isRow = id === undefined ? undefined : eq(notifications.id, id);
      if (kept && !isRow) await enqueue(queries, { channel, content, createdAt: now, dueAt });
      else if (kept) await queries.update(notifications).set({ content, dueAt }).where(isRow);
      else if (isRow) await queries.delete(notifications).where(isRow);
    }
  }
}

/** What waits for a channel, the first due first, with an alarm put into it. */
function withChange(
  waiting: readonly Waiting[],
  { news, to }: AlarmChange,
  { isTold, dueAt }: Hearer,
): readonly Waiting[] {
  if (news === undefined) return waiting;
  // What waits because there was too much takes in what comes meanwhile.
  const first = waiting.find(
    ({ content, ...each }) => content && (each.dueAt <= dueAt || content.isDigest === true),
  );
  const holder = waiting.find(({ content }) =>
    content?.items.some(({ alarm }) => alarmKey(alarm) === alarmKey(to)),
  );
  // What a channel is not told may be in what waits for it all the same, and then goes.
  const row = holder ?? (isTold ? first : undefined);
  const content = withNews(row?.content, { news, alarm: alarmOf(to) }, isTold);
  if (!row && !content) return waiting;
  const isSooner = isTold && !content?.isDigest && dueAt < (row?.dueAt ?? Infinity);
  const changed = { id: row?.id, content, dueAt: isSooner ? dueAt : (row?.dueAt ?? dueAt), isChanged: true };
  return [...waiting.filter((each) => each !== row), changed].toSorted((a, b) => a.dueAt - b.dueAt);
}

/** What waits for a channel and was not tried yet; the first due first. What is being sent is left alone. */
async function waitingFor(queries: Queries, channel: string): Promise<readonly Waiting[]> {
  const isOpen = and(
    eq(notifications.channel, channel),
    eq(notifications.state, "waiting"),
    eq(notifications.attempts, 0),
  );
  const rows = await queries.select().from(notifications).where(isOpen).orderBy(notifications.dueAt);
  return rows.flatMap((row) => {
    const content = readContent(row.content);
    return content ? [{ id: row.id, dueAt: row.dueAt, content, isChanged: false }] : [];
  });
}

/** Adds a message that waits. */
export async function enqueue(
  queries: Queries,
  row: Pick<typeof notifications.$inferInsert, "channel" | "content" | "createdAt" | "dueAt">,
): Promise<void> {
  await queries.insert(notifications).values({ ...row, state: "waiting", attempts: 0 });
}

function isAlarm({ condition, subject }: AlarmRecord): SQL | undefined {
  return and(eq(alarms.condition, condition), eq(alarms.subject, subject));
}

function readDetail(text: string): AlarmDetail | undefined {
  try {
    const detail = JSON.parse(text) as AlarmDetail;
    return typeof detail.message === "string" ? detail : undefined;
  } catch {
    return undefined;
  }
}
