import type { Secret } from "../secret.ts";
import type { ConditionId, Severity } from "./conditions.ts";

/** Where messages go: the group bots of WeCom, DingTalk and Feishu, or a webhook of one's own. */
export const CHANNEL_KINDS = ["wecom", "dingtalk", "feishu", "webhook"] as const;
export type ChannelKind = (typeof CHANNEL_KINDS)[number];

/** What there is to say of an alarm; nothing secret, and nothing that a caller can word. */
export interface AlarmDetail {
  /** What is wrong now: 中文 (English). */
  readonly message: string;
  /** WeChat's or WeCom's, where it refused. */
  readonly errcode?: number;
  /** What to do now, where that is more than the condition's remedy: 中文 (English). */
  readonly hint?: string;
  /** Until when what is there is still handed out; epoch milliseconds. */
  readonly expiresAt?: number;
}

/** Something that is wrong, or has ended. Its title and remedy are the condition's. */
export interface Alarm {
  readonly condition: ConditionId;
  /** The app, client or process that it is about, as the condition's `about` says; empty for the service. */
  readonly subject: string;
  readonly severity: Severity;
  readonly state: "firing" | "resolved";
  /** Epoch milliseconds, both. */
  readonly since: number;
  readonly resolvedAt?: number;
  readonly detail: AlarmDetail;
}

/** Why a message is sent. A digest is what there were too many messages for; all of its alarms may differ in state. */
export const MESSAGE_KINDS = ["firing", "resolved", "reminder", "digest", "test"] as const;
export type MessageKind = (typeof MESSAGE_KINDS)[number];

/** What a channel is told at once. */
export interface Message {
  readonly kind: MessageKind;
  /** At most 15, the worst first. */
  readonly alarms: readonly Alarm[];
  /** How many more there are. */
  readonly omitted: number;
  /** The machine that tells. */
  readonly node: string;
  /** Epoch milliseconds. */
  readonly at: number;
  /** Where the console is, without a trailing slash, if it is known: `https://…/console`. */
  readonly consoleUrl?: string;
}

/** Where a message goes, opened. */
export interface ChannelAddress {
  readonly kind: ChannelKind;
  readonly url: Secret;
  readonly secret?: Secret;
  /** Who is mentioned: user ids of WeCom, mobile numbers of DingTalk, open ids of Feishu; or `@all`. */
  readonly mention: readonly string[];
}

/** What became of a message. `answer`: what the channel said, without a secret, at most 500 characters. */
export type SendOutcome =
  | { readonly ok: true; readonly answer: string }
  | {
      readonly ok: false;
      readonly answer: string;
      readonly errcode?: number;
      readonly retryAfterMs?: number;
      /** Whether the same message would be refused again. */
      readonly isFinal: boolean;
      /** What to do: 中文 (English). */
      readonly hint?: string;
    };

/** Sends messages. Never throws; it takes 5 s at most. */
export interface ChannelSender {
  send(address: ChannelAddress, message: Message): Promise<SendOutcome>;
}

/** From when to when nothing is sent, in minutes of the day in Beijing; it may span midnight. */
export interface QuietHours {
  readonly from: number;
  readonly to: number;
}

/** What a channel is told, and when. */
export interface ChannelRules {
  /** Alarms that are less bad are not told. */
  readonly minSeverity: Severity;
  /** Critical alarms are told in them all the same; what else happens is told when they end, if it still lasts. */
  readonly quietHours?: QuietHours;
  readonly mention: readonly string[];
  /** Whether it is told when an alarm ends. */
  readonly tellsResolved: boolean;
}

/** A channel. Instants are epoch milliseconds. */
export interface Channel {
  /** Unique; `CHANNEL_NAME`. */
  readonly name: string;
  readonly kind: ChannelKind;
  /** Undefined where it can't be read any more: then it must be given again. */
  readonly url: Secret | undefined;
  readonly secret: Secret | undefined;
  readonly isEnabled: boolean;
  readonly rules: ChannelRules;
  readonly createdAt: number;
  readonly updatedAt: number;
  /** Grows with each change; its ETag. */
  readonly version: number;
  /** What of it can't be read, by the names of the columns. */
  readonly damaged: readonly string[];
}
