import { createHmac } from "node:crypto";
import { conditionOf } from "../ops/conditions.ts";
import type { ChannelAddress, ChannelKind, Message, SendOutcome } from "../ops/notifications.ts";
import {
  dingtalkMarkdown,
  feishuPost,
  headline,
  MAX_WECOM_TEXT_BYTES,
  plainText,
  wecomMarkdown,
} from "../ops/notification-text.ts";

/** One POST of JSON to a channel. `query` is added to that of its URL. */
export interface ChannelRequest {
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What a channel answered. */
export interface ChannelAnswer {
  readonly status: number;
  readonly body: Uint8Array;
  /** The header of this name. */
  readonly retryAfter: string | null;
}

const MINUTE_MS = 60_000;
const MOBILE = /^\+?[\d-]{6,20}$/;

/**
 * What is sent to a channel for a message, in order: a WeCom bot mentions people in a `text` alone, which follows the
 * message. That something has ended wakes nobody up.
 */
export function requestsFor(address: ChannelAddress, message: Message, now: number): ChannelRequest[] {
  const mention = message.kind === "resolved" ? [] : address.mention;
  const secret = address.secret?.reveal();
  switch (address.kind) {
    case "wecom":
      return wecomRequests(message, mention);
    case "dingtalk":
      return [dingtalkRequest(message, mention, { secret, now })];
    case "feishu":
      return [feishuRequest(message, mention, { secret, now })];
    case "webhook":
      return [webhookRequest(message, { secret, now })];
    default:
      throw new TypeError(address.kind satisfies never);
  }
}

/** @see https://developer.work.weixin.qq.com/document/path/91770 */
function wecomRequests(message: Message, mention: readonly string[]): ChannelRequest[] {
  const first = { msgtype: "markdown", markdown: { content: wecomMarkdown(message) } };
  if (mention.length === 0) return [{ body: JSON.stringify(first) }];
  const text = {
    content: headline(message).slice(0, MAX_WECOM_TEXT_BYTES / 4),
    mentioned_list: mention.filter((each) => !MOBILE.test(each)),
    mentioned_mobile_list: mention.filter((each) => MOBILE.test(each)),
  };
  return [{ body: JSON.stringify(first) }, { body: JSON.stringify({ msgtype: "text", text }) }];
}

interface Signing {
  readonly secret: string | undefined;
  readonly now: number;
}

/** @see https://open.dingtalk.com/document/orgapp/custom-robots-send-group-messages */
function dingtalkRequest(
  message: Message,
  mention: readonly string[],
  { secret, now }: Signing,
): ChannelRequest {
  const isAtAll = mention.includes("@all");
  const others = mention.filter((each) => each !== "@all");
  // Nobody is told whose number does not stand in the text.
  const at = [...(isAtAll ? ["@所有人"] : []), ...others.map((each) => `@${each}`)].join(" ");
  const body = {
    msgtype: "markdown",
    markdown: dingtalkMarkdown(message, at),
    at: {
      atMobiles: others.filter((each) => MOBILE.test(each)),
      atUserIds: others.filter((each) => !MOBILE.test(each)),
      isAtAll,
    },
  };
  const query =
    secret === undefined ? undefined : { timestamp: String(now), sign: dingtalkSign(secret, now) };
  return { ...(query ? { query } : {}), body: JSON.stringify(body) };
}

/** The signature of a request to a DingTalk robot at `now`, in milliseconds. */
export function dingtalkSign(secret: string, now: number): string {
  return createHmac("sha256", secret).update(`${now}\n${secret}`).digest("base64");
}

/** @see https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot */
function feishuRequest(
  message: Message,
  mention: readonly string[],
  { secret, now }: Signing,
): ChannelRequest {
  const seconds = Math.floor(now / 1000);
  const signed =
    secret === undefined ? {} : { timestamp: String(seconds), sign: feishuSign(secret, seconds) };
  const content = { post: { zh_cn: feishuPost(message, mention) } };
  return { body: JSON.stringify({ ...signed, msg_type: "post", content }) };
}

/** The signature of a request to a Feishu bot: of nothing, under a key of the time in seconds and the secret. */
export function feishuSign(secret: string, seconds: number): string {
  return createHmac("sha256", `${seconds}\n${secret}`).digest("base64");
}

function webhookRequest(message: Message, { secret, now }: Signing): ChannelRequest {
  const { kind, node, at, omitted, consoleUrl, alarms } = message;
  const body = JSON.stringify({
    ...{ kind, title: headline(message), text: plainText(message), node, at, omitted },
    ...(consoleUrl === undefined ? {} : { console_url: consoleUrl }),
    alarms: alarms.map(({ condition, subject, severity, state, since, resolvedAt, detail }) => ({
      ...{ condition, subject, severity, state, since, resolved_at: resolvedAt },
      title: conditionOf(condition).title,
      message: detail.message,
      errcode: detail.errcode,
      hint: detail.hint ?? conditionOf(condition).remedy,
      expires_at: detail.expiresAt,
    })),
  });
  const seconds = Math.floor(now / 1000);
  return {
    ...(secret === undefined
      ? {}
      : { headers: { "x-accesstoken-signature": webhookSignature(secret, seconds, body) } }),
    body,
  };
}

/** `t=<seconds>,v1=<HMAC-SHA256 in hex>` over the seconds, a dot and the body: as targets of pushes get it. */
export function webhookSignature(secret: string, seconds: number, body: string): string {
  return `t=${seconds},v1=${createHmac("sha256", secret).update(`${seconds}.${body}`).digest("hex")}`;
}

/** What an answer says: of the three bots what its errcode says, whatever the HTTP status is. */
export function outcomeOf(kind: ChannelKind, { status, body, retryAfter }: ChannelAnswer): SendOutcome {
  if (status >= 300 && status < 400)
    return {
      ...{ ok: false, answer: `HTTP ${status}`, isFinal: true },
      hint: "该地址要求跳转，不跟随；请填写最终地址 (the address redirects, which is not followed: give the final one)",
    };
  if (kind === "webhook") return statusOutcome(status, retryAfter);
  const answer = objectIn(body);
  const code = answer?.["errcode"] ?? answer?.["code"] ?? answer?.["StatusCode"];
  if (answer === undefined || typeof code !== "number" || !Number.isSafeInteger(code))
    return {
      ...{ ok: false, answer: `HTTP ${status}`, isFinal: false },
      hint: "应答不是机器人的，请检查地址和代理 (the answer is not a bot's: check the address and the proxy)",
    };
  const said = [answer["errmsg"], answer["msg"], answer["StatusMessage"]].find(
    (each) => typeof each === "string",
  );
  const text = `errcode ${code}${said === undefined ? "" : `: ${said}`}`;
  if (code === 0) return { ok: true, answer: text };
  const rule = RULES[kind].find(
    ({ codes, says }) => codes.includes(code) && (says === undefined || says.test(text)),
  );
  return {
    ...{ ok: false, answer: text, errcode: code, isFinal: rule !== undefined && rule.waitMs === undefined },
    ...(rule?.waitMs === undefined ? {} : { retryAfterMs: rule.waitMs }),
    ...(rule === undefined ? {} : { hint: rule.hint }),
  };
}

/** What the three bots refuse, and what is to be done. One that passes says after how long. */
interface Rule {
  readonly codes: readonly number[];
  /** Where one code is said of several things. */
  readonly says?: RegExp;
  readonly waitMs?: number;
  readonly hint: string;
}

const TOO_LONG =
  "消息过长，请向我们反馈：本服务应自行截断 (the message is too long, which this service should have prevented: please report it)";
const BAD_KEYWORD =
  "机器人设置了关键词：请在其中加入“告警”，每条消息都含有它 (the bot asks for a keyword: add 告警 to its list, every message has it)";
const BAD_ADDRESS_LIST =
  "请把本服务的出口IP加入机器人的IP白名单 (add this service's outgoing address to the bot's IP allow-list)";
const BAD_SIGN =
  "请检查渠道中的加签密钥，并校准本机时钟 (check the channel's secret, and this machine's clock)";

const RULES: Readonly<Record<Exclude<ChannelKind, "webhook">, readonly Rule[]>> = {
  wecom: [
    {
      codes: [93000],
      hint: "地址中的key无效，或机器人已被移除：请在群里重新复制Webhook地址 (the key in the URL is not valid, or the bot was removed: copy the webhook URL from the group again)",
    },
    {
      codes: [45009],
      waitMs: MINUTE_MS,
      hint: "每个机器人每分钟20条，稍后自动重发；其他程序也在用它时请另建一个 (a bot speaks 20 times a minute; it is sent again; if other programs use the bot, add one for this service)",
    },
    { codes: [40058, 45002], hint: TOO_LONG },
  ],
  dingtalk: [
    { codes: [310000], says: /keyword|关键词/i, hint: BAD_KEYWORD },
    { codes: [310000], says: /\bip\b|白名单/i, hint: BAD_ADDRESS_LIST },
    { codes: [310000], hint: BAD_SIGN },
    {
      codes: [300001, 300005, 400101, 400102, 400013, 40014],
      hint: "access_token无效，或机器人已停用、已移除：请在群里重新复制Webhook地址 (the access_token is not valid, or the robot was disabled or removed: copy the webhook URL from the group again)",
    },
    {
      codes: [130101, 410100, 90030],
      waitMs: 10 * MINUTE_MS,
      hint: "每个机器人每分钟20条，超过后钉钉限流10分钟，之后自动重发；其他程序也在用它时请另建一个 (a robot speaks 20 times a minute, and is then silent for 10; it is sent again after that; if other programs use the robot, add one for this service)",
    },
    { codes: [460101], hint: TOO_LONG },
  ],
  feishu: [
    {
      codes: [19001],
      hint: "地址无效，或机器人已被移除：请在群里重新复制Webhook地址 (the URL is not valid, or the bot was removed: copy the webhook URL from the group again)",
    },
    { codes: [19021], hint: BAD_SIGN },
    { codes: [19022], hint: BAD_ADDRESS_LIST },
    { codes: [19024], hint: BAD_KEYWORD },
    {
      codes: [11232],
      waitMs: MINUTE_MS,
      hint: "飞书限流，稍后自动重发 (Feishu limits how often a bot speaks; it is sent again)",
    },
    {
      codes: [9499],
      says: /too many/i,
      waitMs: MINUTE_MS,
      hint: "飞书限流，稍后自动重发 (Feishu limits how often a bot speaks; it is sent again)",
    },
    {
      codes: [9499],
      hint: "飞书不接受该消息，请向我们反馈 (Feishu does not take the message: please report it)",
    },
  ],
};

function statusOutcome(status: number, retryAfter: string | null): SendOutcome {
  const answer = `HTTP ${status}`;
  if (status >= 200 && status < 300) return { ok: true, answer };
  const seconds = retryAfter !== null && /^\d{1,4}$/.test(retryAfter) ? Number(retryAfter) : undefined;
  const isFinal = status >= 400 && status < 500 && status !== 408 && status !== 429;
  return {
    ...{ ok: false, answer, isFinal },
    ...(seconds === undefined ? {} : { retryAfterMs: seconds * 1000 }),
    hint: isFinal
      ? "接收方拒绝了该消息，请检查地址和签名密钥 (the receiver refuses the message: check the address and the secret)"
      : "接收方暂时无法处理，稍后自动重发 (the receiver can't take it now; it is sent again)",
  };
}

function objectIn(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof parsed === "object" && parsed !== null ? { ...parsed } : undefined;
  } catch {
    return undefined;
  }
}
