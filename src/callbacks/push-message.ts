import { createHash } from "node:crypto";
import { readPushFields } from "./push-fields.ts";
import type { VerifiedPush } from "./verify-push.ts";

/** What rules, recognition of repeats and a display need of a push; what a push does not have is undefined. */
export interface PushMessage {
  /** The account's original id (`gh_…`), or the CorpID. */
  readonly toUserName: string | undefined;
  /** The user's openid, WeCom's userid, or `sys`. */
  readonly fromUserName: string | undefined;
  /** Seconds since the epoch, as WeChat wrote them. Not trusted for anything but a display. */
  readonly createTime: number | undefined;
  /** `text`, `event`, … */
  readonly msgType: string | undefined;
  /** `subscribe`, `CLICK`, …, in WeChat's own spelling. */
  readonly event: string | undefined;
  readonly eventKey: string | undefined;
  /** What a text says. */
  readonly content: string | undefined;
  /** As text: the number is above 2^53. Events have none. */
  readonly msgId: string | undefined;
  /** WeCom's alone. */
  readonly agentId: string | undefined;
  /** What a third-party platform is told: `component_verify_ticket`, `suite_ticket`, `authorized`, … */
  readonly infoType: string | undefined;
  /** Which platform that is: the component's AppID, or the suite's id. */
  readonly platformApp: string | undefined;
}

/**
 * Reads a verified message. Of one that is signed and in a form that we can't read, nothing is known: it is WeChat's
 * nevertheless, and goes where messages without a matching rule go.
 */
export function readPushMessage({ message }: Pick<VerifiedPush, "message">): PushMessage {
  const fields = fieldsOf(message);
  const field = (name: string): string | undefined => fields.get(name) || undefined;
  const created = field("CreateTime") ?? field("TimeStamp") ?? "";
  return {
    toUserName: field("ToUserName"),
    fromUserName: field("FromUserName"),
    createTime: /^\d{1,15}$/.test(created) ? Number(created) : undefined,
    msgType: field("MsgType"),
    event: field("Event"),
    eventKey: field("EventKey"),
    content: field("Content"),
    msgId: field("MsgId"),
    agentId: field("AgentID"),
    infoType: field("InfoType"),
    platformApp: field("SuiteId") ?? field("AppId"),
  };
}

function fieldsOf(message: Uint8Array): ReadonlyMap<string, string> {
  try {
    return readPushFields(message).fields;
  } catch {
    return new Map();
  }
}

/**
 * What is the same in every attempt of WeChat at one push, and different for each push of an app: at most 128 visible
 * ASCII characters.
 *
 * That is the MsgId. A push without one is known by its content: bulk changes of WeCom's address book share sender,
 * second and event, so those alone would drop all but one of them. A plain push always carries the digest of its body
 * too, which is not signed: a forged body can't pass for the repeat of a real one.
 */
export function dedupeKeyOf({ message, isEncrypted }: VerifiedPush, { msgId }: PushMessage): string {
  const digest = createHash("sha256").update(message).digest("base64url");
  if (msgId === undefined || !/^[\w.:@-]{1,80}$/.test(msgId)) return `~${digest}`;
  return isEncrypted ? msgId : `${msgId}~${digest}`;
}
