import { type AuditEntry, AuditFailure, SERVICE } from "../audit/audit-entry.ts";
import type { Changes } from "../changes.ts";
import { type Clock, Rounds } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { NotificationEnd, NotificationQueue, TakenNotification } from "./alarm-store.ts";
import { type ChannelDirectory, noSuchChannel } from "./channels.ts";
import { type Content, isTold, messageOf } from "./message-content.ts";
import type { Channel, ChannelSender, SendOutcome } from "./notifications.ts";

/** How long to wait after the first, second, … attempt; one more, and the next channel has its turn. Milliseconds. */
const AGAIN_MS = [2000, 15_000, 60_000, 300_000];
const MAX_ATTEMPTS = AGAIN_MS.length + 1;
/** The same without the store. */
const REPEATED_MS = AGAIN_MS.slice(0, 2);
/** How long to sleep while nothing is due, and at the least. */
const MAX_SLEEP_MS = 30_000;
const MIN_SLEEP_MS = 100;
const MAX_ANSWER = 500;

/** What messages are sent with. */
export interface NotifierParts {
  readonly queue: NotificationQueue;
  readonly channels: Pick<ChannelDirectory, "find" | "list" | "refresh">;
  readonly sender: ChannelSender;
  readonly changes: Pick<Changes, "subscribe">;
  readonly clock: Clock;
  readonly events: EventBus;
  /** The name of this machine. */
  readonly node: string;
  readonly consoleUrl: string | undefined;
}

/**
 * Sends what waits for channels: each message is taken by one of all processes, and tried five times.
 *
 * A process that is killed between an attempt and its outcome loses nothing: half a minute later another sends the message,
 * perhaps for the second time.
 */
export class Notifier {
  readonly #parts: NotifierParts;
  readonly #rounds = new Rounds(() => this.tick(), MIN_SLEEP_MS);
  #unsubscribe: (() => void) | undefined;
  /** Outcomes are written one after the other: each is to know what has become of the other channels' messages. */
  #ending: Promise<void> = Promise.resolve();
  /** How often this was stopped: what was begun before goes no further. */
  #stops = 0;

  constructor(parts: NotifierParts) {
    this.#parts = parts;
  }

  start(): void {
    // What is to be sent is news of an alarm.
    this.#unsubscribe = this.#parts.changes.subscribe("alarms", () => this.#rounds.wake());
    this.#rounds.start();
  }

  async stop(): Promise<void> {
    this.#stops += 1;
    this.#unsubscribe?.();
    await this.#rounds.stop();
  }

  /** Sends what is due. Resolves with how long it is until more is, in milliseconds. Never throws. */
  async tick(): Promise<number> {
    const { queue, clock } = this.#parts;
    try {
      const dueAt = await queue.nextDueAt();
      if (dueAt === undefined) return MAX_SLEEP_MS;
      // What is due far ahead may have been written under a clock that was set back since: the queue knows.
      const isNear = dueAt > clock.now() && dueAt < clock.now() + MAX_SLEEP_MS;
      if (!isNear) await Promise.all((await queue.take(clock.now())).map((taken) => this.#send(taken)));
      const next = (await queue.nextDueAt()) ?? Number.POSITIVE_INFINITY;
      return Math.min(MAX_SLEEP_MS, Math.max(MIN_SLEEP_MS, next - clock.now()));
    } catch {
      return MAX_SLEEP_MS;
    }
  }

  /**
   * Sends a channel a message of this content now, once. Resolves with what the channel said.
   *
   * @throws {ServiceError} `not_found`; `rate_limited` when it was told too often within a minute; `conflict` for one that
   * can't be read.
   */
  async test(name: string, content: Content): Promise<SendOutcome> {
    const { queue, channels, clock } = this.#parts;
    const channel = channels.find(name);
    if (!channel) throw noSuchChannel();
    const taken = await queue.begin(name, content, clock.now());
    if (!taken)
      throw new ServiceError(
        "rate_limited",
        "该渠道每分钟最多6条消息，请稍后再试 (a channel is sent 6 messages a minute at most; try again later)",
        { retryAfterMs: 60_000 },
      );
    const outcome = await this.#ask(channel, content);
    await this.#end(taken, channel, outcome, true);
    return outcome;
  }

  /** Sends without the store, where that can't be used. Resolves after the first attempt; more are made until `stop`. Never throws. */
  async sendDirectly(name: string, content: Content): Promise<void> {
    const channel = this.#parts.channels.find(name);
    if (!channel) return;
    const outcome = await this.#ask(channel, content);
    if (outcome.ok || outcome.isFinal) this.#report(channel, content, outcome);
    else void this.#repeat(channel, content);
  }

  async #repeat(channel: Channel, content: Content): Promise<void> {
    const stops = this.#stops;
    for (const [n, waitMs] of REPEATED_MS.entries()) {
      await this.#parts.clock.sleep(waitMs);
      if (this.#stops !== stops) return;
      const outcome = await this.#ask(channel, content);
      if (outcome.ok || outcome.isFinal || n === REPEATED_MS.length - 1)
        return this.#report(channel, content, outcome);
    }
  }

  async #send(taken: TakenNotification): Promise<void> {
    const { channels } = this.#parts;
    // Another process may have made the channel just now.
    if (!channels.find(taken.channel)) await channels.refresh().catch(() => undefined);
    const channel = channels.find(taken.channel);
    const isOff = !channel || (!channel.isEnabled && channel.damaged.length === 0);
    const outcome = isOff ? undefined : await this.#ask(channel, taken.content);
    // What can't be written down is sent once more.
    this.#ending = this.#ending
      .then(() => (outcome ? this.#end(taken, channel, outcome, false) : this.#drop(taken)))
      .catch(() => undefined);
    await this.#ending;
  }

  async #ask(channel: Channel, content: Content): Promise<SendOutcome> {
    const { sender, node, consoleUrl, clock } = this.#parts;
    const { kind, url, secret, rules, damaged } = channel;
    if (!url || damaged.length > 0) return DAMAGED;
    const address = { kind, url, ...(secret ? { secret } : {}), mention: rules.mention };
    const facts = { node, at: clock.now(), ...(consoleUrl === undefined ? {} : { consoleUrl }) };
    const outcome = await sender.send(address, messageOf(content, facts));
    return { ...outcome, answer: outcome.answer.slice(0, MAX_ANSWER) };
  }

  /** A channel that was turned off, or removed, is told nothing, as it was meant: that is no failure, and nobody else's message. */
  async #drop({ id, attempts }: TakenNotification): Promise<void> {
    const at = this.#parts.clock.now();
    await this.#parts.queue.end({ id, attempts, at, answer: DROPPED, state: "failed" }, undefined);
  }

  async #end(
    { id, attempts, content, channel: name }: TakenNotification,
    channel: Channel | undefined,
    outcome: SendOutcome,
    isTest: boolean,
  ): Promise<void> {
    const at = this.#parts.clock.now();
    const { answer } = outcome;
    const isOver = outcome.ok || outcome.isFinal || isTest || attempts >= MAX_ATTEMPTS;
    if (!isOver) {
      const waitMs = Math.max(AGAIN_MS[attempts - 1] ?? 0, Math.min(outcome.retryAfterMs ?? 0, 300_000));
      return this.#write({ id, attempts, at, answer, state: "waiting", dueAt: at + waitMs }, undefined);
    }
    const state = outcome.ok ? "sent" : "failed";
    const next = outcome.ok || isTest ? undefined : await this.#nextAfter(name, content);
    const entry: AuditEntry = {
      ...SERVICE,
      ...{ action: `notification.${state}`, app: "", outcome: outcome.ok ? "ok" : "failed", tokenDigest: "" },
      detail: {
        ...{ of: name, conditions: [...new Set(content.items.map(({ alarm }) => alarm.condition))] },
        ...{ alarms: content.items.length + content.omitted, attempts },
        ...(outcome.ok || outcome.errcode === undefined ? {} : { errcode: outcome.errcode }),
        ...(isTest ? { test: true } : {}),
        ...(next ? { passed_on_to: next.channel } : {}),
      },
    };
    await this.#write({ id, attempts, at, answer, state, ...(next ? { next } : {}) }, entry);
    if (channel) this.#report(channel, content, outcome);
  }

  /** Who is told in the place of a channel that could not be: the next by name that its own rules have not told of it, if nobody else was. */
  async #nextAfter(name: string, content: Content): Promise<NotificationEnd["next"]> {
    const failed = [...(content.passedOnBy ?? []), name];
    const others = this.#parts.channels
      .list()
      .filter((each) => each.isEnabled && !failed.includes(each.name));
    const inTurn = [
      ...others.filter((each) => each.name > name),
      ...others.filter((each) => each.name < name),
    ];
    const missed: NonNullable<NotificationEnd["next"]>[] = [];
    for (const { name: channel, rules } of inTurn) {
      const items = content.items.filter(({ news, alarm }) => !isTold(rules, news, alarm));
      if (items.length > 0) missed.push({ channel, content: { ...content, items, passedOnBy: failed } });
      else if (!(await this.#isFailing(channel))) return undefined;
    }
    return missed[0];
  }

  /** Whether the last message to a channel that has ended could not be sent. */
  async #isFailing(channel: string): Promise<boolean> {
    const all = await this.#parts.queue.page({ channel, limit: 20 });
    const last = all.find(({ state }) => state !== "waiting");
    return last?.state === "failed" && last.answer !== DROPPED;
  }

  /** An audit that can't be written must not have the message sent again: what has become of it is written without. */
  async #write(end: NotificationEnd, entry: AuditEntry | undefined): Promise<void> {
    try {
      await this.#parts.queue.end(end, entry);
    } catch (error) {
      if (!(error instanceof AuditFailure)) throw error;
      await this.#parts.queue.end(end, undefined);
    }
  }

  #report({ name, kind }: Channel, content: Content, outcome: SendOutcome): void {
    const { events } = this.#parts;
    const { kind: message } = messageOf(content, { node: "", at: 0 });
    const facts = { channel: name, kind, message };
    if (outcome.ok) events.emit({ type: "notification.sent", ...facts });
    else
      events.emit({
        ...{ type: "notification.failed", ...facts },
        ...(outcome.errcode === undefined ? {} : { errcode: outcome.errcode }),
        ...(outcome.hint === undefined ? {} : { hint: outcome.hint }),
      });
  }
}

/** What is noted of a message to a channel that was turned off. */
const DROPPED = "disabled";

const DAMAGED: SendOutcome = {
  ...{ ok: false, isFinal: true, answer: "damaged" },
  hint: "数据库中的该渠道已损坏，请重新设置 (the channel is damaged in the database: set it again)",
};
