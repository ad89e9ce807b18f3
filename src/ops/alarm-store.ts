import type { AuditEntry } from "../audit/audit-entry.ts";
import type { AlarmRecord, Step } from "./alarm-state.ts";
import type { ConditionId } from "./conditions.ts";
import type { Content } from "./message-content.ts";
import type { Channel } from "./notifications.ts";

/** A channel that hears of an alarm: whether it is told, and when at the latest; otherwise what waits is put right. */
export interface Hearer {
  readonly channel: string;
  readonly isTold: boolean;
  /** Epoch milliseconds. */
  readonly dueAt: number;
}

/** A step of an alarm, of the version that it was made from: 0 for none. */
export interface AlarmChange extends Step {
  readonly from: number;
  readonly hearers: readonly Hearer[];
}

/** Alarms of all processes, and what channels are to be told of them. Each method throws as the store does. */
export interface AlarmStore {
  /**
   * Those that have not ended, of every condition but `new_address`, which has no end; with a condition those of it that were
   * seen last, also what has ended.
   */
  list(condition?: ConditionId): Promise<AlarmRecord[]>;
  /** Those of these that there are, also what has ended. */
  find(wanted: readonly Pick<AlarmRecord, "condition" | "subject">[]): Promise<AlarmRecord[]>;
  /**
   * Makes the changes whose alarms still have the version that they were made from, each with what channels are told of it,
   * in one transaction. Resolves with those that were made. Raises `alarms` when a state changes.
   */
  apply(changes: readonly AlarmChange[], now: number): Promise<AlarmChange[]>;
  /** Forgets what ended two weeks ago, and the messages of that time; the addresses of keys after three months. */
  prune(now: number): Promise<void>;
}

/** A message that this process is to send. */
export interface TakenNotification {
  readonly id: number;
  readonly channel: string;
  readonly content: Content;
  /** This one included. */
  readonly attempts: number;
}

/** How an attempt has ended. */
export interface NotificationEnd extends Pick<TakenNotification, "id" | "attempts"> {
  readonly state: "sent" | "failed" | "waiting";
  readonly at: number;
  /** When it is tried again. */
  readonly dueAt?: number;
  readonly answer: string;
  /** Which other channel is told in its place. */
  readonly next?: { readonly channel: string; readonly content: Content };
}

/** A message as it is listed. */
export interface Notification extends Omit<TakenNotification, "content"> {
  /** Undefined where it can't be read. */
  readonly content: Content | undefined;
  readonly state: NotificationEnd["state"];
  readonly createdAt: number;
  readonly dueAt: number;
  readonly endedAt: number | undefined;
  readonly answer: string | undefined;
}

/** Messages that wait for channels, and those of the last 14 days. Each method throws as the store does. */
export interface NotificationQueue {
  /** When the next is due; undefined for none. */
  nextDueAt(): Promise<number | undefined>;
  /**
   * Takes what is due. A message that is taken and not ended is due again after half a minute: if its process was killed, another
   * sends it, perhaps a second time. What is tried again tells no more of what has ended since. A channel that has been told `MAX_PER_MINUTE` times waits, and more is added to what waits.
   */
  take(now: number): Promise<TakenNotification[]>;
  /** Adds a message that this process sends at once; undefined when the channel has been told too often. */
  begin(channel: string, content: Content, now: number): Promise<TakenNotification | undefined>;
  /** Writes down how an attempt has ended, with its entry where it is not tried again. Nothing, where another has taken it since. */
  end(end: NotificationEnd, entry: AuditEntry | undefined): Promise<void>;
  /** The newest first; with ids below `before`. */
  page(filter: {
    readonly channel?: string | undefined;
    readonly before?: number | undefined;
    readonly limit: number;
  }): Promise<Notification[]>;
}

/** So often a channel is told within a minute at most, by all processes. */
export const MAX_PER_MINUTE = 6;

/** What an administrator has decided of a condition. */
export interface ConditionChoice {
  readonly isOn?: boolean;
  readonly threshold?: number;
}

/** The same of all of them; the version is its ETag, 0 where nobody has decided anything. */
export interface ConditionChoices {
  readonly version: number;
  readonly of: Readonly<Partial<Record<ConditionId, ConditionChoice>>>;
}

/** Where channels and choices are kept. Each change writes its audit entry in the same transaction, and raises `alarms`. */
export interface ChannelStore {
  load(): Promise<{ readonly channels: readonly Channel[]; readonly choices: ConditionChoices }>;
  /** Adds or replaces one; `version` is the one that stands, 0 for none, undefined for any. Throws `precondition_failed`. */
  save(
    channel: Omit<Channel, "version" | "damaged" | "createdAt" | "updatedAt">,
    version: number | undefined,
    entry: AuditEntry,
  ): Promise<void>;
  /** Removes one, and what waits for it. Throws `precondition_failed`. */
  remove(name: string, version: number | undefined, entry: AuditEntry): Promise<void>;
  /** Throws `precondition_failed`. */
  saveChoices(choices: ConditionChoices["of"], version: number | undefined, entry: AuditEntry): Promise<void>;
}
