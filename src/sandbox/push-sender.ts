import { createCipheriv, createDecipheriv, createHash, randomBytes, randomInt } from "node:crypto";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Clock } from "../clock.ts";

/** Who sends a push, where to, and how the console is set. */
export interface PushEndpoint {
  readonly platform: "weixin" | "wecom";
  /** The callback URL; a query of its own stays in front. */
  readonly url: string;
  readonly token: string;
  /** 43 characters; not needed in plain mode. */
  readonly encodingAesKey?: string;
  /** WeCom has `secure` alone. */
  readonly mode: "plain" | "compat" | "secure";
  readonly format: "xml" | "json";
  /** Whom an encrypted push names at its end: the AppID or the CorpID. */
  readonly receiveId: string;
  /** Nothing but `success` will do, as for the events of a third-party platform; the attempt's detail is the body. */
  readonly onlySuccess?: boolean;
  /** Whom the clear part names, where that is neither the message's ToUserName nor the receiveId. */
  readonly toUserName?: string;
}

/** The elements of a message, in order. A `bigint` is a number that JSON.parse can't hold, as a MsgId is. */
export type PushedMessage = Readonly<Record<string, string | number | bigint>>;

/** How one attempt ended. */
export interface PushAttempt {
  readonly status?: number;
  readonly durationMs: number;
  /**
   * `reply`: a passive reply that the platform accepts. `accepted`: `success`, or nothing at all. `wrong`: anything else.
   * `late`: no answer in time. `unreachable`: no connection, or one that broke.
   */
  readonly verdict: "reply" | "accepted" | "wrong" | "late" | "unreachable";
  /** The reply, decrypted; of a wrong answer why it is wrong. */
  readonly detail?: string;
  /**
   * Whether an encrypted reply has a nonce of its own. WeChat's page repeats the push's; an SDK that doesn't has worked for
   * years, so it is reported and accepted.
   */
  readonly hasOwnNonce?: boolean;
}

/** What is unusual about a push. */
export interface PushOptions {
  /** How often it is sent at most; default 3. */
  readonly attempts?: number;
  /** After how long the connection is cut, in milliseconds; default 5000. */
  readonly timeoutMs?: number;
  /** The same timestamp, nonce and bytes in every attempt, and no end with the first that is accepted; default false. */
  readonly isReplayed?: boolean;
  /** Only `success` is accepted, as of the answer to a ticket or an authorization; default false. */
  readonly needsSuccess?: boolean;
}

const ATTEMPTS = 3;
const TIMEOUT_MS = 5000;
const BLOCK = 32;
const CONTENT_TYPES = { xml: "text/xml", json: "application/json" } as const;
/** More than any reply has. */
const MAX_ANSWER_BYTES = 1_048_576;

/**
 * Sends pushes as WeChat and WeCom do: with their signatures and their encryption, cut after five seconds, three times in
 * all, each reply checked. A second reading of the protocol, which shares no code with the service's own.
 * https://developers.weixin.qq.com/doc/service/guide/product/message/Receiving_standard_messages
 * https://developer.work.weixin.qq.com/document/path/90930
 */
export class PushSender {
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Asks the callback URL whether it is its owner's, as the console does when it is saved. Never throws. */
  async check(endpoint: PushEndpoint): Promise<PushAttempt> {
    const echo = String(randomInt(10 ** 14));
    const stamp = this.#stamp();
    const isWecom = endpoint.platform === "wecom";
    const echostr = isWecom ? encrypt(endpoint, echo) : echo;
    const signature = sign(endpoint.token, stamp, ...(isWecom ? [echostr] : []));
    const query = { [isWecom ? "msg_signature" : "signature"]: signature, ...stamp, echostr };
    const answer = await this.#send("GET", withQuery(endpoint.url, query), undefined, {
      timeoutMs: isWecom ? 1000 : TIMEOUT_MS,
    });
    if (!("body" in answer)) return answer;
    const { status, durationMs, body } = answer;
    const isEchoed = status === 200 && body.toString() === echo;
    return isEchoed
      ? { status, durationMs, verdict: "accepted" }
      : { status, durationMs, verdict: "wrong", detail: "not the echostr" };
  }

  /** Sends `message` until it is accepted; every attempt in its order. Never throws. */
  async push(
    endpoint: PushEndpoint,
    message: PushedMessage,
    options: PushOptions = {},
  ): Promise<PushAttempt[]> {
    const { attempts = ATTEMPTS, isReplayed = false } = options;
    const made: PushAttempt[] = [];
    let sent = this.#write(endpoint, message);
    while (made.length < attempts) {
      if (made.length > 0 && !isReplayed) sent = this.#write(endpoint, message);
      const attempt = await this.#attempt(endpoint, sent, options);
      made.push(attempt);
      if (!isReplayed && (attempt.verdict === "reply" || attempt.verdict === "accepted")) break;
    }
    return made;
  }

  #stamp(): Stamp {
    return {
      timestamp: String(Math.floor(this.#clock.now() / 1000)),
      nonce: String(randomInt(10 ** 9, 10 ** 10)),
    };
  }

  #write(endpoint: PushEndpoint, message: PushedMessage): Written {
    const { platform, url, token, mode, format } = endpoint;
    const stamp = this.#stamp();
    const { FromUserName, AgentID } = message;
    const ToUserName = endpoint.toUserName ?? message["ToUserName"] ?? endpoint.receiveId;
    const isWecom = platform === "wecom";
    const isEncrypted = isWecom || mode !== "plain";
    const query: Record<string, string> = isWecom ? {} : { signature: sign(token, stamp) };
    Object.assign(query, stamp);
    if (!isWecom && FromUserName !== undefined) query["openid"] = String(FromUserName);
    let body = message;
    if (isEncrypted) {
      const encrypted = encrypt(endpoint, serialize(message, format));
      if (!isWecom) query["encrypt_type"] = "aes";
      query["msg_signature"] = sign(token, stamp, encrypted);
      const { AppId } = message;
      const named: PushedMessage = AppId === undefined ? { ToUserName } : { AppId };
      const clear = mode === "compat" && !isWecom ? message : named;
      body = {
        ...clear,
        ...(isWecom && AgentID !== undefined ? { AgentID } : {}),
        Encrypt: encrypted,
      };
    }
    return { url: withQuery(url, query), body: serialize(body, format), nonce: stamp.nonce };
  }

  async #attempt(endpoint: PushEndpoint, sent: Written, options: PushOptions): Promise<PushAttempt> {
    const { timeoutMs = TIMEOUT_MS, needsSuccess = false } = options;
    const contentType = CONTENT_TYPES[endpoint.format];
    const answer = await this.#send("POST", sent.url, sent.body, { timeoutMs, contentType });
    if (!("body" in answer)) return answer;
    const { status, durationMs } = answer;
    const body = answer.body.toString();
    if (needsSuccess && status === 200 && body !== "success")
      return { status, durationMs, verdict: "wrong", detail: "not success" };
    return { status, durationMs, ...judge(endpoint, sent, status, body) };
  }

  #send(
    method: "GET" | "POST",
    url: string,
    body: string | undefined,
    { timeoutMs, contentType }: { readonly timeoutMs: number; readonly contentType?: string },
  ): Promise<PushAttempt | Answered> {
    const began = this.#clock.monotonic();
    const { promise, resolve } = Promise.withResolvers<PushAttempt | Answered>();
    const durationMs = () => Math.round(this.#clock.monotonic() - began);
    const send = url.startsWith("https:") ? httpsRequest : httpRequest;
    const headers = {
      "user-agent": "Mozilla/4.0",
      ...(contentType === undefined ? {} : { "content-type": contentType }),
      ...(body === undefined ? {} : { "content-length": Buffer.byteLength(body) }),
    };
    const request = send(url, { method, headers, agent: false }, (response) => {
      const parts: Buffer[] = [];
      let size = 0;
      response.on("data", (part: Buffer) => {
        size += part.length;
        if (size <= MAX_ANSWER_BYTES) parts.push(part);
      });
      response.on("error", () => resolve({ durationMs: durationMs(), verdict: "unreachable" }));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, durationMs: durationMs(), body: Buffer.concat(parts) }),
      );
    });
    const timer = setTimeout(() => {
      resolve({ durationMs: durationMs(), verdict: "late" });
      request.destroy();
    }, timeoutMs);
    request.on("error", () => resolve({ durationMs: durationMs(), verdict: "unreachable" }));
    request.end(body);
    return promise.finally(() => clearTimeout(timer));
  }
}

interface Stamp {
  readonly timestamp: string;
  readonly nonce: string;
}

interface Written {
  readonly url: string;
  readonly body: string;
  readonly nonce: string;
}

interface Answered {
  readonly status: number;
  readonly durationMs: number;
  readonly body: Buffer;
}

function withQuery(url: string, query: Readonly<Record<string, string>>): string {
  return `${url}${url.includes("?") ? "&" : "?"}${new URLSearchParams(query).toString()}`;
}

function sign(token: string, { timestamp, nonce }: Stamp, ...more: string[]): string {
  const sorted = [token, timestamp, nonce, ...more]
    .map((text) => Buffer.from(text))
    .toSorted((a, b) => Buffer.compare(a, b));
  return createHash("sha1").update(Buffer.concat(sorted)).digest("hex");
}

function aesKey({ encodingAesKey = "" }: PushEndpoint): Buffer {
  return Buffer.from(`${encodingAesKey}=`, "base64");
}

function encrypt(endpoint: PushEndpoint, text: string): string {
  const key = aesKey(endpoint);
  const message = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(message.length);
  const random = Buffer.from(randomBytes(8).toString("hex"));
  const clear = Buffer.concat([random, length, message, Buffer.from(endpoint.receiveId)]);
  const padding = BLOCK - (clear.length % BLOCK);
  const cipher = createCipheriv("aes-256-cbc", key, key.subarray(0, 16)).setAutoPadding(false);
  const padded = Buffer.concat([clear, Buffer.alloc(padding, padding)]);
  return Buffer.concat([cipher.update(padded), cipher.final()]).toString("base64");
}

/** Throws when it does not open. */
function decrypt(endpoint: PushEndpoint, encrypted: string): { text: string; receiveId: string } {
  const key = aesKey(endpoint);
  const decipher = createDecipheriv("aes-256-cbc", key, key.subarray(0, 16)).setAutoPadding(false);
  const padded = Buffer.concat([decipher.update(encrypted, "base64"), decipher.final()]);
  const clear = padded.subarray(16, padded.length - (padded.at(-1) ?? 0));
  const length = clear.readUInt32BE(0);
  return {
    text: clear.subarray(4, 4 + length).toString(),
    receiveId: clear.subarray(4 + length).toString(),
  };
}

function serialize(message: PushedMessage, format: PushEndpoint["format"]): string {
  const entries = Object.entries(message);
  if (format === "json") {
    const members = entries.map(
      ([name, value]) =>
        `${JSON.stringify(name)}:${typeof value === "string" ? JSON.stringify(value) : String(value)}`,
    );
    return `{${members.join(",")}}`;
  }
  const elements = entries.map(([name, value]) => {
    const text =
      typeof value === "string" ? `<![CDATA[${value.replaceAll("]]>", "]]]]><![CDATA[>")}]]>` : value;
    return `<${name}>${text}</${name}>`;
  });
  return `<xml>${elements.join("")}</xml>`;
}

/** What the platform makes of an answer. A status other than 200 is an error for WeChat, whatever the body. */
function judge(
  endpoint: PushEndpoint,
  { nonce }: Written,
  status: number,
  body: string,
): Pick<PushAttempt, "verdict" | "detail" | "hasOwnNonce"> {
  const wrong = (detail: string) => ({ verdict: "wrong" as const, detail });
  if (endpoint.onlySuccess)
    return status === 200 && body === "success" ? { verdict: "accepted", detail: body } : wrong(body);
  if (status !== 200) return wrong(`status ${status}`);
  if (body === "" || body === "success") return { verdict: "accepted" };
  if (body.startsWith("{") !== (endpoint.format === "json")) return wrong(`not ${endpoint.format}`);
  const isEncrypted = endpoint.platform === "wecom" || endpoint.mode !== "plain";
  const encrypted = field(body, "Encrypt");
  if (encrypted === undefined) {
    const isClearAllowed = !isEncrypted || (endpoint.platform === "weixin" && endpoint.mode === "compat");
    if (!isClearAllowed) return wrong("not encrypted");
    return field(body, "MsgType") === undefined ? wrong("no reply") : { verdict: "reply", detail: body };
  }
  if (!isEncrypted) return wrong("encrypted");
  const stamp = { timestamp: field(body, "TimeStamp") ?? "", nonce: field(body, "Nonce") ?? "" };
  if (sign(endpoint.token, stamp, encrypted) !== field(body, "MsgSignature")) return wrong("wrong signature");
  try {
    const { text, receiveId } = decrypt(endpoint, encrypted);
    if (receiveId !== endpoint.receiveId) return wrong("another receiveId");
    return { verdict: "reply", detail: text, hasOwnNonce: stamp.nonce !== nonce };
  } catch {
    return wrong("does not decrypt");
  }
}

/** The text of a member or an element at the top; enough for the few that a reply has. */
function field(body: string, name: string): string | undefined {
  if (body.startsWith("{")) {
    try {
      const value = (JSON.parse(body) as Record<string, unknown>)[name];
      return typeof value === "string" || typeof value === "number" ? String(value) : undefined;
    } catch {
      return undefined;
    }
  }
  const found = new RegExp(`<${name}>(?:<!\\[CDATA\\[([\\s\\S]*?)\\]\\]>|([^<]*))</${name}>`).exec(body);
  return found?.[1] ?? found?.[2];
}
