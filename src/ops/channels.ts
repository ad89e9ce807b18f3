import { type Changes, Mirror } from "../changes.ts";
import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import type { ChannelStore, ConditionChoice, ConditionChoices } from "./alarm-store.ts";
import { CONDITION_IDS, type ConditionId, conditionOf, SEVERITIES } from "./conditions.ts";
import type { Channel, ChannelRules } from "./notifications.ts";

/** The name of a channel. */
export const CHANNEL_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/;

const MAX_MENTIONED = 20;
const MINUTES_OF_DAY = 1440;

/** Channels and choices in this process's memory. While the store can't be read, the last copy stays in use. */
export class ChannelDirectory {
  readonly #mirror: Mirror;
  #channels: readonly Channel[] = [];
  #choices: ConditionChoices = { version: 0, of: {} };

  constructor(store: Pick<ChannelStore, "load">, changes: Changes) {
    this.#mirror = new Mirror(changes, "alarms", async () => {
      const { channels, choices } = await store.load();
      this.#channels = channels;
      this.#choices = choices;
    });
  }

  find(name: string): Channel | undefined {
    return this.#channels.find((each) => each.name === name);
  }

  /** In the order of their names. */
  list(): readonly Channel[] {
    return this.#channels;
  }

  get choices(): ConditionChoices {
    return this.#choices;
  }

  /** Whether it is told of, and from how many on where it has a threshold. */
  settingOf(id: ConditionId): { readonly isOn: boolean; readonly threshold: number } {
    const { isOn, threshold } = conditionOf(id);
    const choice = this.#choices.of[id];
    return { isOn: choice?.isOn ?? isOn, threshold: choice?.threshold ?? threshold?.value ?? 0 };
  }

  /** Rereads everything if something has changed. Throws what the store throws; then the last copy stays in use. */
  refresh(): Promise<void> {
    return this.#mirror.refresh();
  }

  /** Begins to follow changes of other processes. */
  start(): void {
    this.#mirror.start();
  }

  stop(): void {
    this.#mirror.stop();
  }
}

/** Refuses rules that say too much. Throws `invalid_parameter`. */
export function checkRules({ mention, quietHours }: ChannelRules): void {
  if (mention.length > MAX_MENTIONED || !mention.every((each) => /^[\w@.+-]{1,64}$/.test(each)))
    throw invalid(
      `mention最多${MAX_MENTIONED}项，为成员ID、手机号或 @all`,
      `mention has ${MAX_MENTIONED} entries at most: ids of people, mobile numbers or @all`,
    );
  const times = quietHours ? [quietHours.from, quietHours.to] : [];
  if (!times.every((each) => Number.isInteger(each) && each >= 0 && each < MINUTES_OF_DAY))
    throw invalid("静默时段应如 23:00-08:00", "quiet hours must be as 23:00-08:00");
  if (quietHours && quietHours.from === quietHours.to)
    throw invalid("静默时段的起止不能相同", "quiet hours can't end when they begin");
}

/** What was chosen of a condition, if it can be. Throws `invalid_parameter`. */
export function checkedChoice(id: ConditionId, choice: ConditionChoice): ConditionChoice {
  const { threshold } = conditionOf(id);
  const given = choice.threshold;
  if (given === undefined) return choice;
  if (!threshold) throw invalid(`${id} 没有阈值`, `${id} has no threshold`);
  const { least, most } = threshold;
  if (!Number.isInteger(given) || given < least || given > most)
    throw invalid(
      `${id} 的阈值应为 ${least} 到 ${most}`,
      `the threshold of ${id} must be ${least} to ${most}`,
    );
  return choice;
}

/** Reads stored rules; undefined when they can't be read. */
export function rulesIn(text: string): ChannelRules | undefined {
  try {
    const rules = JSON.parse(text) as ChannelRules;
    if (!SEVERITIES.includes(rules.minSeverity) || typeof rules.tellsResolved !== "boolean") return undefined;
    if (!Array.isArray(rules.mention)) return undefined;
    checkRules(rules);
    return rules;
  } catch {
    return undefined;
  }
}

/** Reads stored choices; what can't be read, or is of a condition that there is no more, was not chosen. */
export function choicesIn(text: string | undefined): ConditionChoices {
  try {
    const { version, of } = JSON.parse(text ?? "") as ConditionChoices;
    const read = CONDITION_IDS.flatMap((id) => {
      const choice = of[id];
      return choice ? [[id, checkedChoice(id, choice)] as const] : [];
    });
    return { version: Number.isSafeInteger(version) ? version : 0, of: Object.fromEntries(read) };
  } catch {
    return { version: 0, of: {} };
  }
}

/** The last characters of a secret, by which whoever has it knows it again; of a short one, none. */
export function endOf(secret: Secret | undefined): string | undefined {
  const text = secret?.reveal();
  return text === undefined ? undefined : text.length < 16 ? "…" : `…${text.slice(-4)}`;
}

/** There is no channel of that name. */
export function noSuchChannel(): ServiceError {
  return new ServiceError("not_found", "没有该通知渠道 (no such channel)");
}

/** A parameter that can't be used. */
export function invalid(chinese: string, english: string): ServiceError {
  return new ServiceError("invalid_parameter", `${chinese} (${english})`);
}
