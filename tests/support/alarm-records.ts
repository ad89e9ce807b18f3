import type { AuditEntry } from "../../src/audit/audit-entry.ts";
import type { AlarmRecord, Finding } from "../../src/ops/alarm-state.ts";
import type { AlarmChange, Hearer } from "../../src/ops/alarm-store.ts";
import type { ConditionId } from "../../src/ops/conditions.ts";
import type { ChannelAddress, ChannelSender, Message, SendOutcome } from "../../src/ops/notifications.ts";
import { Secret } from "../../src/secret.ts";

/** An alarm as it is kept, firing for a moment; only what is given differs. */
export function newAlarm(given: Partial<AlarmRecord> & Pick<AlarmRecord, "since">): AlarmRecord {
  return {
    ...{ condition: "app_blocked", subject: "wx1", state: "firing", version: 1 },
    ...{ seenAt: given.since, toldAt: given.since, resolvedAt: undefined },
    detail: { message: "invalid ip" },
    ...given,
  };
}

/** Something that is wrong. */
export function newFinding(condition: ConditionId, subject = "wx1", more: Partial<Finding> = {}): Finding {
  return { condition, subject, detail: { message: `${condition} 出错 (wrong)` }, ...more };
}

/** The first firing of an alarm, of which the channels are told. */
export function firingChange(to: AlarmRecord, hearers: readonly Hearer[]): AlarmChange {
  return { from: to.version - 1, to, news: "firing", hearers };
}

/** An entry of the audit for a change of the operator's. */
export function entryFor(action: AuditEntry["action"]): AuditEntry {
  const actor = { client: "admin", environment: "", address: "127.0.0.1", traceId: "t" };
  return { ...actor, action, app: "", outcome: "ok", tokenDigest: "", detail: {} };
}

/** A channel to be saved. */
export function newChannel(name = "ops", given: { readonly isEnabled?: boolean } = {}) {
  return {
    ...{ name, kind: "feishu" as const, isEnabled: true, secret: new Secret("signing-secret-0123456789") },
    url: new Secret(`https://open.feishu.cn/open-apis/bot/v2/hook/${name}-0123456789abcdef`),
    rules: { minSeverity: "info" as const, mention: [], tellsResolved: true },
    ...given,
  };
}

/** A sender that notes what it is to send, and answers as it is told: the next of `outcomes`, or that all is well. */
export class NotedSender implements ChannelSender {
  readonly sent: { readonly address: ChannelAddress; readonly message: Message }[] = [];
  readonly outcomes: SendOutcome[] = [];

  async send(address: ChannelAddress, message: Message): Promise<SendOutcome> {
    this.sent.push({ address, message });
    return this.outcomes.shift() ?? { ok: true, answer: "0 ok" };
  }

  /** What was told, in short: the kind of each message, and the conditions in it. */
  get told(): string[] {
    return this.sent.map(({ message: { kind, alarms, omitted } }) =>
      [
        kind,
        ...alarms.map(({ condition, subject }) => `${condition}:${subject}`),
        ...(omitted ? [`+${omitted}`] : []),
      ].join(" "),
    );
  }
}
