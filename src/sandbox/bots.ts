import { createHmac } from "node:crypto";
import {
  type Answer,
  isRecord,
  JSON_TYPE,
  jsonAnswer,
  type SandboxRequest,
  text,
  wecomErrmsg,
} from "./sandbox-request.ts";
import { isListed } from "./sandbox-settings.ts";
import type { SandboxTime } from "./sandbox-time.ts";

/** The group bots that the sandbox has, one of each. */
export const BOT_KINDS = ["wecom", "dingtalk", "feishu"] as const;
export type BotKind = (typeof BOT_KINDS)[number];

/** How a group has set its bot up. */
export interface SandboxBot {
  /** What its URL ends in; whoever has it may send. */
  key: string;
  /** What requests are signed with. Absent: they need not be. WeCom's bot has none. */
  secret?: string | undefined;
  /** One of these words must be in a message. Absent: none needs to be. WeCom's bot has none. */
  keywords?: string[] | undefined;
  /** From where messages are taken. Absent: from everywhere. WeCom's bot has none. */
  ips?: string[] | undefined;
}

/** A message that a bot has put into its group. */
export interface BotMessage {
  /** Epoch milliseconds. */
  readonly at: number;
  readonly body: Record<string, unknown>;
  /** Who is told, by userid, mobile number or open_id; `all` is everybody. */
  readonly mentioned: readonly string[];
}

/** The bots of a sandbox that is not told otherwise. Their keys are no secrets. */
export const defaultBots: Readonly<Record<BotKind, SandboxBot>> = {
  wecom: { key: "00000000-0000-4000-8000-000000000001" },
  dingtalk: { key: `${"d1".repeat(31)}02`, secret: `SEC${"d2".repeat(31)}02` },
  feishu: { key: "00000000-0000-4000-8000-000000000003", secret: "sandbox-feishu-secret3" },
};

const FEISHU_PATH = "/open-apis/bot/v2/hook/";
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const KEPT_MESSAGES = 200;

/** How often a bot speaks, and what it does beyond that. */
const PACES: Readonly<Record<BotKind, { perMinute: number; perSecond: number; silentMs: number }>> = {
  wecom: { perMinute: 20, perSecond: 20, silentMs: 0 },
  dingtalk: { perMinute: 20, perSecond: 20, silentMs: 10 * MINUTE_MS },
  feishu: { perMinute: 100, perSecond: 5, silentMs: 0 },
};

/** A refusal in the form of its bot. */
class BotRefusal extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** One bot: how it is set up, what it was sent, and when. */
interface Bot extends SandboxBot {
  messages: BotMessage[];
  silentUntil: number;
}

/** The group bots of WeCom, DingTalk and Feishu, each with the limits that its platform states, on the server of WeCom. */
export class Bots {
  readonly #time: SandboxTime;
  readonly #bots: Readonly<Record<BotKind, Bot>>;

  constructor(time: SandboxTime) {
    this.#time = time;
    const fresh = (kind: BotKind): Bot => ({ ...defaultBots[kind], messages: [], silentUntil: 0 });
    this.#bots = { wecom: fresh("wecom"), dingtalk: fresh("dingtalk"), feishu: fresh("feishu") };
  }

  /** The bot that has this path; undefined where none has. */
  static at(path: string): BotKind | undefined {
    if (path === "/cgi-bin/webhook/send") return "wecom";
    if (path === "/robot/send") return "dingtalk";
    return path.startsWith(FEISHU_PATH) ? "feishu" : undefined;
  }

  /** The webhook URL of a bot of the server at `origin`. */
  urlOf(kind: BotKind, origin: string): string {
    const { key } = this.#bots[kind];
    if (kind === "wecom") return `${origin}/cgi-bin/webhook/send?key=${key}`;
    return kind === "dingtalk" ? `${origin}/robot/send?access_token=${key}` : `${origin}${FEISHU_PATH}${key}`;
  }

  /** Sets a bot up differently from now on. */
  change(kind: BotKind, change: Partial<SandboxBot>): void {
    Object.assign(this.#bots[kind], change);
  }

  /** What a bot has put into its group, oldest first; the last 200. */
  messages(kind: BotKind): readonly BotMessage[] {
    return this.#bots[kind].messages;
  }

  /** Forgets every message, and with them what the paces count. */
  forget(): void {
    for (const kind of BOT_KINDS) Object.assign(this.#bots[kind], { messages: [], silentUntil: 0 });
  }

  /** The bots as JSON for people: where they are, what they ask for, and what they were sent. */
  state(origin: string): object {
    return BOT_KINDS.map((kind) => {
      const { secret, keywords, ips, messages } = this.#bots[kind];
      return { bot: kind, url: this.urlOf(kind, origin), secret, keywords, ips, messages };
    });
  }

  /** What a bot answers: HTTP 200 for refusals too. */
  answer(kind: BotKind, request: SandboxRequest): Answer {
    try {
      const bot = this.#bots[kind];
      const body = CHECKS[kind](bot, request, this.#time);
      this.#pace(kind, bot);
      const message = { at: Math.round(this.#time.now()), body, mentioned: mentionedIn(kind, body) };
      bot.messages = [...bot.messages, message].slice(-KEPT_MESSAGES);
      return kind === "feishu"
        ? json({ StatusCode: 0, StatusMessage: "success", code: 0, data: {}, msg: "success" })
        : json({ errcode: 0, errmsg: "ok" });
    } catch (error) {
      if (!(error instanceof BotRefusal)) throw error;
      return this.error(kind, request, error.code, error.message);
    }
  }

  /** A refusal as the bot words it. */
  error(kind: BotKind, request: SandboxRequest, code: number | string, stem: string): Answer {
    if (kind === "feishu") return json({ code, data: {}, msg: stem });
    if (kind === "dingtalk") return json({ errcode: code, errmsg: stem });
    return json({ errcode: code, errmsg: wecomErrmsg(stem, this.#time.seconds(), code, request.peerIp) });
  }

  #pace(kind: BotKind, bot: Bot): void {
    const { perMinute, perSecond, silentMs } = PACES[kind];
    const now = this.#time.now();
    const within = (ms: number) => bot.messages.filter(({ at }) => now - at < ms).length;
    if (now >= bot.silentUntil && within(MINUTE_MS) < perMinute && within(1000) < perSecond) return;
    if (now >= bot.silentUntil) bot.silentUntil = now + silentMs;
    if (kind === "wecom") throw new BotRefusal(45009, "api freq out of limit");
    if (kind === "dingtalk") throw new BotRefusal(130101, "send too fast, exceed 20 times per minute");
    throw new BotRefusal(11232, "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]");
  }
}

/** What each bot asks of a request before it speaks; the message, once it is content. */
const CHECKS: Readonly<
  Record<BotKind, (bot: SandboxBot, request: SandboxRequest, time: SandboxTime) => Record<string, unknown>>
> = { wecom: checkWecom, dingtalk: checkDingtalk, feishu: checkFeishu };

/** @see https://developer.work.weixin.qq.com/document/path/91770 */
function checkWecom(bot: SandboxBot, request: SandboxRequest): Record<string, unknown> {
  if (request.query.get("key") !== bot.key) throw new BotRefusal(93000, "invalid webhook url");
  const body = bodyOf(request, () => new BotRefusal(47001, "data format error"));
  const type = text(body["msgtype"]);
  const limit = { text: 2048, markdown: 4096 }[type];
  if (limit === undefined) throw new BotRefusal(40008, "invalid message type");
  const content = text(recordOf(body[type])["content"]);
  if (content === "") throw new BotRefusal(44004, "empty content");
  if (Buffer.byteLength(content) > limit)
    throw new BotRefusal(40058, `${type}.content exceed max length ${limit}. invalid Request Parameter`);
  return body;
}

/** @see https://open.dingtalk.com/document/orgapp/custom-robots-send-group-messages */
function checkDingtalk(bot: SandboxBot, request: SandboxRequest, time: SandboxTime): Record<string, unknown> {
  const { query, headers } = request;
  if (query.get("access_token") !== bot.key) throw new BotRefusal(300005, "token is not exist");
  if (!text(headers["content-type"]).startsWith("application/json"))
    throw new BotRefusal(43004, "无效的HTTP HEADER Content-Type");
  const body = bodyOf(request, () => new BotRefusal(40035, "缺少参数 json"));
  if (request.body.length > 20_000) throw new BotRefusal(460101, "message too long, exceed 20000 bytes");
  if (bot.ips && !isListed(request.peerIp, bot.ips))
    throw new BotRefusal(310000, `ip ${request.peerIp} not in whitelist`);
  if (bot.secret !== undefined) {
    const at = query.get("timestamp") ?? "";
    if (!(Math.abs(Number(at) - time.now()) < HOUR_MS)) throw new BotRefusal(310000, "invalid timestamp");
    const sign = createHmac("sha256", bot.secret).update(`${at}\n${bot.secret}`).digest("base64");
    if (query.get("sign") !== sign) throw new BotRefusal(310000, "sign not match");
  }
  const markdown = recordOf(body["markdown"]);
  const isMarkdown = body["msgtype"] === "markdown" && text(markdown["title"]) !== "";
  const content = text(isMarkdown ? markdown["text"] : recordOf(body["text"])["content"]);
  if (content === "") throw new BotRefusal(40035, "缺少参数 text");
  if (!hasKeyword(bot, `${text(markdown["title"])} ${content}`))
    throw new BotRefusal(310000, "keywords not in content");
  return body;
}

/** @see https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot */
function checkFeishu(bot: SandboxBot, request: SandboxRequest, time: SandboxTime): Record<string, unknown> {
  if (request.path.slice(FEISHU_PATH.length) !== bot.key)
    throw new BotRefusal(19001, "param invalid: incoming webhook access token invalid");
  const body = bodyOf(request, () => new BotRefusal(9499, "Bad Request"));
  if (request.body.length > 20 * 1024) throw new BotRefusal(9499, "Bad Request");
  if (bot.ips && !isListed(request.peerIp, bot.ips)) throw new BotRefusal(19022, "Ip Not Allowed");
  if (bot.secret !== undefined) {
    const at = text(body["timestamp"]);
    const sign = createHmac("sha256", `${at}\n${bot.secret}`).digest("base64");
    if (!(Math.abs(Number(at) * 1000 - time.now()) < HOUR_MS) || body["sign"] !== sign)
      throw new BotRefusal(19021, "sign match fail or timestamp is not within one hour from current time");
  }
  const type = text(body["msg_type"]);
  const content = type === "interactive" ? body["card"] : body["content"];
  if (!["text", "post", "interactive"].includes(type) || !isRecord(content))
    throw new BotRefusal(9499, "Bad Request");
  if (!hasKeyword(bot, JSON.stringify(content))) throw new BotRefusal(19024, "Key Words Not Found");
  return body;
}

function hasKeyword({ keywords }: SandboxBot, content: string): boolean {
  return keywords === undefined || keywords.some((word) => content.includes(word));
}

function bodyOf({ method, body }: SandboxRequest, refusal: () => BotRefusal): Record<string, unknown> {
  try {
    const parsed: unknown = method === "POST" ? JSON.parse(Buffer.from(body).toString()) : undefined;
    if (isRecord(parsed)) return parsed;
  } catch {
    // Falls through: broken JSON and JSON that is no object get the same answer.
  }
  throw refusal();
}

/** Whom the clients of the platform tell: DingTalk's only whose number the text has, WeCom's only in a `text`. */
function mentionedIn(kind: BotKind, body: Record<string, unknown>): string[] {
  if (kind === "wecom") {
    const { mentioned_list: ids, mentioned_mobile_list: mobiles } = recordOf(body["text"]);
    return [...textsOf(ids), ...textsOf(mobiles)].map((each) => (each === "@all" ? "all" : each));
  }
  if (kind === "feishu")
    return [...JSON.stringify(body).matchAll(/"tag":"at","user_id":"([^"]+)"/g)].map(([, id = ""]) => id);
  const { atMobiles, atUserIds, isAtAll } = recordOf(body["at"]);
  const content = text(recordOf(body["markdown"])["text"]) + text(recordOf(body["text"])["content"]);
  const named = [...textsOf(atMobiles), ...textsOf(atUserIds)].filter((each) => content.includes(`@${each}`));
  return isAtAll === true ? ["all", ...named] : named;
}

function recordOf(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {};
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
}

function json(body: object): Answer {
  return jsonAnswer(JSON_TYPE.wecom, body);
}
