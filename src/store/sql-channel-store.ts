import { and, asc, eq } from "drizzle-orm";
import { outdated } from "../apps/app-administration.ts";
import type { AuditEntry } from "../audit/audit-entry.ts";
import type { ChannelStore, ConditionChoices } from "../ops/alarm-store.ts";
import { choicesIn, rulesIn } from "../ops/channels.ts";
import { type Channel, CHANNEL_KINDS } from "../ops/notifications.ts";
import type { Secret } from "../secret.ts";
import type { AuditChain } from "./audit-chain.ts";
import { checkRow, type DamageReports, readable } from "./damaged-rows.ts";
import { type OwnChanges, raiseEpoch } from "./epochs.ts";
import type { Keyring } from "./keyring.ts";
import { notificationChannels, notifications, settings } from "./schema.ts";
import { tryOpen } from "./sealing-key.ts";
import type { Queries, SqlDatabase } from "./sql.ts";

/** What a store of channels works with. */
export interface ChannelStoreParts {
  readonly database: SqlDatabase;
  readonly keyring: Keyring;
  readonly audit: AuditChain;
  readonly changes: OwnChanges;
  readonly damage: DamageReports;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

const TABLE = "notification_channels";
/** The setting that holds what was decided of the conditions. */
const CHOICES = "alarm_conditions";

/** Channels in a SQL database. */
export class SqlChannelStore implements ChannelStore {
  readonly #parts: ChannelStoreParts;

  constructor(parts: ChannelStoreParts) {
    this.#parts = parts;
  }

  async load(): Promise<{ channels: Channel[]; choices: ConditionChoices }> {
    const { database, keyring } = this.#parts;
    const { rows, choices } = await database.snapshot(async (queries) => {
      await keyring.refresh(queries);
      const all = queries.select().from(notificationChannels);
      return { rows: await all.orderBy(asc(notificationChannels.name)), choices: await findChoices(queries) };
    });
    return { channels: rows.map((row) => this.#toChannel(row)), choices };
  }

  async save(
    channel: Parameters<ChannelStore["save"]>[0],
    version: number | undefined,
    entry: AuditEntry,
  ): Promise<void> {
    const { name, kind, url, secret, isEnabled, rules } = channel;
    if (!url) throw new Error("a channel without an address");
    await this.#change(entry, async (queries, epoch) => {
      const current = await standing(queries, name, version);
      const now = this.#parts.now();
      const key = await this.#parts.keyring.sealingKey(queries);
      const columns = {
        url: key.seal(url, { table: TABLE, row: name, column: "url" }),
        secret: secret ? key.seal(secret, { table: TABLE, row: name, column: "secret" }) : null,
        ...{ kind, isEnabled, rules: JSON.stringify(rules), updatedAt: now, version: epoch },
      };
      if (current)
        await queries.update(notificationChannels).set(columns).where(eq(notificationChannels.name, name));
      else await queries.insert(notificationChannels).values({ name, ...columns, createdAt: now });
    });
  }

  async remove(name: string, version: number | undefined, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries) => {
      if (!(await standing(queries, name, version))) throw outdated();
      await queries.delete(notificationChannels).where(eq(notificationChannels.name, name));
      const isLeft = and(eq(notifications.channel, name), eq(notifications.state, "waiting"));
      await queries.delete(notifications).where(isLeft);
    });
  }

  async saveChoices(
    choices: ConditionChoices["of"],
    version: number | undefined,
    entry: AuditEntry,
  ): Promise<void> {
    await this.#change(entry, async (queries, epoch) => {
      if (version !== undefined && (await findChoices(queries)).version !== version) throw outdated();
      const value = JSON.stringify({ version: epoch, of: choices });
      await queries
        .insert(settings)
        .values({ name: CHOICES, value })
        .onConflictDoUpdate({ target: settings.name, set: { value } });
    });
  }

  /** Raises the epoch, does a change, which is given it, and writes its entry, all or nothing. */
  async #change(entry: AuditEntry, work: (queries: Queries, epoch: number) => Promise<void>): Promise<void> {
    const { database, audit, changes } = this.#parts;
    await database.transact(async (queries) => {
      await work(queries, await raiseEpoch(queries, "alarms"));
      await audit.append(queries, entry);
    });
    await changes.expire();
  }

  #toChannel(stored: typeof notificationChannels.$inferSelect): Channel {
    const { row, damaged } = checkRow(notificationChannels, stored);
    const { name, isEnabled, createdAt, updatedAt, version } = row;
    const unread = new Set(damaged);
    const open = (column: "url" | "secret", text: string | null): Secret | undefined => {
      if (text === null || unread.has(column)) return undefined;
      const secret = tryOpen(this.#parts.keyring.opener(text, { table: TABLE, row: name, column }));
      if (!secret) unread.add(column);
      return secret;
    };
    const [url, secret] = [open("url", row.url), open("secret", row.secret)];
    const kind = CHANNEL_KINDS.find((each) => each === row.kind);
    if (!kind) unread.add("kind");
    const rules = rulesIn(row.rules);
    if (!rules) unread.add("rules");
    this.#parts.damage.note(`${TABLE}:${name}`, [...unread]);
    return {
      ...{ name, url, secret, createdAt, updatedAt, version, damaged: [...unread] },
      kind: kind ?? "webhook",
      // What can't be read whole sends nothing, until it is set again.
      isEnabled: isEnabled && unread.size === 0,
      rules: rules ?? { minSeverity: "info", mention: [], tellsResolved: true },
    };
  }
}

/** Whether there is one of that name. Throws `precondition_failed` when it is of another version. */
async function standing(queries: Queries, name: string, version: number | undefined): Promise<boolean> {
  const columns = { version: readable(notificationChannels.version) };
  const isIt = eq(notificationChannels.name, name);
  const [row] = await queries.select(columns).from(notificationChannels).where(isIt);
  if (version !== undefined && (row?.version ?? 0) !== version) throw outdated();
  return row !== undefined;
}

async function findChoices(queries: Queries): Promise<ConditionChoices> {
  const [row] = await queries.select().from(settings).where(eq(settings.name, CHOICES));
  return choicesIn(row?.value);
}
