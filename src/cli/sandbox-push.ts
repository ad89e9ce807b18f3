import { randomInt } from "node:crypto";
import {
  type PushAttempt,
  type PushedMessage,
  type PushEndpoint,
  PushSender,
} from "../sandbox/push-sender.ts";
import { type Arguments, bilingual, type Text, usageError } from "./arguments.ts";
import { findOneOf } from "./argument-values.ts";
import type { ExitCode } from "./exit.ts";
import { readPushKeys } from "./file-arguments.ts";
import { plainText, type Terminal } from "./terminal.ts";

const OPENID = "oSANDBOX0000000000000000001";
const USERID = "sandbox-user";
const MODES = ["secure", "compat", "plain"] as const;
const FORMATS = ["xml", "json"] as const;

/** How each attempt may end. */
const VERDICTS: Readonly<Record<PushAttempt["verdict"], Text>> = {
  reply: bilingual("reply", "已回复"),
  accepted: bilingual("accepted", "已接受"),
  wrong: bilingual("wrong answer", "应答无效"),
  late: bilingual("no answer in time", "超时未应答"),
  unreachable: bilingual("no connection", "无法连接"),
};

/**
 * `accesstoken sandbox push`: sends one push as WeChat or WeCom does, and shows what came back, an attempt a line.
 *
 * Resolves with 3 when it was not accepted. Throws `invalid_parameter` for wrong usage.
 */
export async function runSandboxPush(args: Arguments, terminal: Terminal): Promise<ExitCode> {
  const endpoint = await endpointOf(args, terminal);
  const isReplayed = args.isSet("replay");
  const attempts = args.findNumber("attempts", { min: 1, max: 100 }) ?? 3;
  const sender = new PushSender(terminal.clock);
  if (args.isSet("check")) {
    const checked = await sender.check(endpoint);
    await terminal.print(lineOf("GET", checked, terminal));
    if (checked.verdict !== "accepted") return 3;
  }
  const message = messageOf(args, endpoint, terminal);
  const made = await sender.push(endpoint, message, { attempts, isReplayed });
  for (const [index, attempt] of made.entries())
    await terminal.print(lineOf(String(index + 1), attempt, terminal));
  return made.some(isAccepted) ? 0 : 3;
}

function isAccepted({ verdict }: PushAttempt): boolean {
  return verdict === "accepted" || verdict === "reply";
}

function lineOf(
  name: string,
  { verdict, status, durationMs, detail }: PushAttempt,
  terminal: Terminal,
): string {
  const parts = [
    name,
    VERDICTS[verdict][terminal.language],
    status === undefined ? "" : `HTTP ${status}`,
    `${durationMs} ms`,
    detail === undefined ? "" : plainText(detail),
  ];
  return `${parts.filter((part) => part !== "").join("  ")}\n`;
}

async function endpointOf(args: Arguments, terminal: Terminal): Promise<PushEndpoint> {
  const url = args.get("url");
  if (!/^https?:\/\/[^\s#]+$/.test(url))
    throw usageError("<url>: 应为http或https的地址 (it must be an http or https address)");
  const isWecom = args.isSet("wecom");
  const mode = findOneOf(args, "mode", MODES) ?? MODES[0];
  if (isWecom && mode !== "secure") throw usageError("--mode: 企业微信只有secure (WeCom has secure alone)");
  // Missing ones are told before a file is read.
  for (const needed of mode === "plain" ? ["token-file"] : ["token-file", "aes-key-file"]) args.get(needed);
  const { token = "", aesKey: encodingAesKey } = await readPushKeys(args, terminal);
  const app = args.get("app");
  return {
    platform: isWecom ? "wecom" : "weixin",
    url,
    token: args.isSet("wrong-key") ? `${token.slice(0, -1)}${token.endsWith("x") ? "y" : "x"}` : token,
    ...(encodingAesKey === undefined ? {} : { encodingAesKey }),
    mode,
    format: findOneOf(args, "format", FORMATS) ?? FORMATS[0],
    receiveId: args.isSet("wrong-app") ? `${app}x` : app,
  };
}

function messageOf(args: Arguments, endpoint: PushEndpoint, terminal: Terminal): PushedMessage {
  const isWecom = endpoint.platform === "wecom";
  const event = args.find("event");
  const eventKey = args.find("event-key");
  if (event === undefined && eventKey !== undefined)
    throw usageError("--event-key 需要 --event (--event-key needs --event)");
  if (event !== undefined && args.isSet("text"))
    throw usageError("--text 与 --event 只能给一个 (give --text or --event, not both)");
  return {
    ToUserName: isWecom ? endpoint.receiveId : "gh_000000000001",
    FromUserName: args.find("openid") ?? (isWecom ? USERID : OPENID),
    CreateTime: Math.floor(terminal.clock.now() / 1000),
    ...(event === undefined
      ? { MsgType: "text", Content: args.find("text") ?? "hello", MsgId: messageId(args) }
      : { MsgType: "event", Event: event, ...(eventKey === undefined ? {} : { EventKey: eventKey }) }),
    ...(isWecom ? { AgentID: args.find("agent") ?? "1000002" } : {}),
  };
}

/** As WeChat's, it is above 2^53. */
function messageId(args: Arguments): bigint {
  const text = args.find("message-id");
  if (text === undefined) return BigInt("24000000000000000") + BigInt(randomInt(2 ** 47));
  if (/^\d{1,19}$/.test(text)) return BigInt(text);
  throw usageError("--message-id: 应为1到19位数字 (it must be 1 to 19 digits)");
}
