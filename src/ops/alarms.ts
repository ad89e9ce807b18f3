import { setImmediate as nextTurn } from "node:timers/promises";
import { type Clock, Rounds } from "../clock.ts";
import type { EventBus } from "../events.ts";
import {
  afterSeen,
  afterUnseen,
  alarmKey,
  alarmOf,
  type AlarmRecord,
  ended,
  type Finding,
  severityOf,
  type Step,
} from "./alarm-state.ts";
import type { AlarmChange, AlarmStore, Hearer } from "./alarm-store.ts";
import type { ChannelDirectory } from "./channels.ts";
import { type FindingParts, findingsOf } from "./findings.ts";
import { isTold, toldAt } from "./message-content.ts";
import type { KeyAddresses } from "./key-addresses.ts";
import type { MilestoneStore } from "./milestones.ts";
import type { ProcessWatch } from "./process-watch.ts";

/** How often it is looked for what is wrong; less often where nobody would be told. */
const ROUND_MS = 10_000;
const IDLE_ROUND_MS = 30_000;
/** By so much later than it is due a process takes a round that another has had before, which has the index in memory. */
const LATER_MS = 3000;
const PRUNE_MS = 3_600_000;
/** So many changes are made at once; in between others have their turn, and the database's other writers theirs. */
const PIECE = 50;

/** What alarms work with. */
export interface AlarmParts {
  readonly store: AlarmStore;
  readonly milestones: Pick<MilestoneStore, "claim">;
  readonly channels: Pick<ChannelDirectory, "list" | "settingOf" | "start" | "stop">;
  readonly findings: FindingParts;
  readonly watch: ProcessWatch;
  readonly addresses: Pick<KeyAddresses, "look">;
  readonly clock: Clock;
  readonly events: EventBus;
}

/**
 * Raises and ends alarms, and has channels told of each by exactly one of all processes.
 *
 * What the store knows is looked at by one process at a time, what only a process can see by that one. Each step of an alarm
 * is made by whoever raises its version first, with what is to be told of it in the same transaction.
 */
export class Alarms {
  readonly #parts: AlarmParts;
  readonly #rounds = new Rounds(() => this.tick(), ROUND_MS);

  constructor(parts: AlarmParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#parts.channels.start();
    this.#rounds.start();
  }

  async stop(): Promise<void> {
    this.#parts.channels.stop();
    await this.#rounds.stop();
  }

  /** Looks for what is wrong, as far as this process is to. Resolves with how long it is until it should look again. Never throws. */
  async tick(): Promise<number> {
    const { channels, milestones, store, clock, watch, addresses } = this.#parts;
    const everyMs = channels.list().some(({ isEnabled }) => isEnabled) ? ROUND_MS : IDLE_ROUND_MS;
    await watch.look((found) => this.#observe(found));
    try {
      await addresses.look((changes) => this.#makeAll(changes));
      const waitMs = await milestones.claim("alarms", everyMs);
      if (waitMs > 0) return Math.min(waitMs + LATER_MS, everyMs);
      await this.#round();
      if ((await milestones.claim("alarms pruned", PRUNE_MS)) === 0) await store.prune(clock.now());
    } catch {
      // The watch tells of a database that can't be used.
    }
    return everyMs;
  }

  async #round(): Promise<void> {
    const { store, findings, channels, clock } = this.#parts;
    const standing = (await store.list()).filter(({ state }) => state !== "resolved");
    const { found, unknown, lapsed } = await findingsOf(findings, standing);
    await this.#observe(found, standing);
    const now = clock.now();
    const seen = new Set(found.map(alarmKey));
    const steps = standing.flatMap((record): AlarmChange[] => {
      if (seen.has(alarmKey(record))) return [];
      const { isOn } = channels.settingOf(record.condition);
      if (isOn && unknown.has(record.condition)) return [];
      const step = isOn ? afterUnseen(record, now) : ended(record, now);
      if (!step) return [];
      // Nobody is told that what he does not want to know has ended, nor that all is well where it is not.
      const isTold = isOn && !lapsed.has(alarmKey(record));
      return [this.#changeOf(record.version, { ...step, news: isTold ? step.news : undefined }, now)];
    });
    await this.#apply(steps, now);
  }

  /** Takes note of what is wrong; `standing` is what is known of it. Throws what the store throws. */
  async #observe(found: readonly Finding[], standing: readonly AlarmRecord[] = []): Promise<void> {
    const { store, channels, clock } = this.#parts;
    const wanted = found.filter(({ condition }) => channels.settingOf(condition).isOn);
    if (wanted.length === 0) return;
    const records = new Map(standing.map((record) => [alarmKey(record), record]));
    const others = await store.find(wanted.filter((finding) => !records.has(alarmKey(finding))));
    for (const record of others) records.set(alarmKey(record), record);
    const now = clock.now();
    const changes = new Map<string, AlarmChange>();
    for (const finding of wanted) {
      const record = records.get(alarmKey(finding));
      const step = afterSeen(record, finding, now);
      if (step) changes.set(alarmKey(finding), this.#changeOf(record?.version ?? 0, step, now));
    }
    await this.#apply([...changes.values()], now);
  }

  async #apply(changes: readonly AlarmChange[], now: number): Promise<void> {
    const { store, events } = this.#parts;
    for (let start = 0; start < changes.length; start += PIECE) {
      if (start > 0) await nextTurn();
      for (const { news, to } of await store.apply(changes.slice(start, start + PIECE), now)) {
        const { condition, subject, since } = to;
        const about = { condition, subject, severity: severityOf(to) };
        if (news === "firing") events.emit({ type: "alarm.fired", ...about });
        if (news === "resolved") events.emit({ type: "alarm.resolved", ...about, lastedMs: now - since });
      }
    }
  }

  async #makeAll(changes: readonly (Step & { readonly from: number })[]): Promise<void> {
    const now = this.#parts.clock.now();
    await this.#apply(
      changes.map(({ from, ...step }) => this.#changeOf(from, step, now)),
      now,
    );
  }

  #changeOf(from: number, step: Step, now: number): AlarmChange {
    const { news, to } = step;
    return {
      from,
      ...step,
      hearers: news === undefined ? [] : hearersOf(this.#parts.channels.list(), news, to, now),
    };
  }
}

/** Which channels hear of a step, and when. */
function hearersOf(
  channels: ReturnType<ChannelDirectory["list"]>,
  news: NonNullable<Step["news"]>,
  record: AlarmRecord,
  now: number,
): Hearer[] {
  const alarm = alarmOf(record);
  return channels
    .filter(({ isEnabled }) => isEnabled)
    .map(({ name, rules }) => ({
      ...{ channel: name, isTold: isTold(rules, news, alarm), dueAt: toldAt(rules, alarm, now) },
    }));
}
