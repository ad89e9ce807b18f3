import { randomInt } from "node:crypto";
import type { Platform } from "../errors.ts";
import {
  decryptPush,
  encryptPush,
  isPushSignature,
  type PushKey,
  PushRefused,
  signPush,
} from "./push-crypto.ts";
import { cdata, type PushFields, type PushFormat, readPushFields } from "./push-fields.ts";
import { type PushMessage, readPushMessage } from "./push-message.ts";
import type { VerifiedPush } from "./verify-push.ts";

/** What WeChat is answered. */
export interface PushAnswer {
  /** Whether it is a passive reply, and not the mere `success`. */
  readonly isReply: boolean;
  readonly body: Uint8Array;
  readonly contentType: string;
}

/** A request as WeChat would send it. */
export interface PushCopy {
  /** Without `?`. */
  readonly query: string;
  readonly body: string;
  readonly contentType: string;
}

const CONTENT_TYPES = {
  xml: "text/xml; charset=utf-8",
  json: "application/json; charset=utf-8",
} as const satisfies Record<PushFormat, string>;

/** The answer that accepts a push without a reply; command events of WeCom need this very word. */
export const SUCCESS: PushAnswer = {
  isReply: false,
  body: Buffer.from("success"),
  contentType: "text/plain; charset=utf-8",
};

/**
 * What WeChat is answered when a target answers `body` to `push`: the target's reply, unchanged where it is already
 * what WeChat expects, else encrypted as WeChat expects it. An empty body is `SUCCESS` too.
 *
 * `targetKey` is what the target encrypts with: `push.key` if it received the original bytes. A reply in clear is taken
 * from every target.
 *
 * Undefined: neither a reply nor `success`, or an encrypted reply that is not signed with `targetKey`. WeChat would
 * show its user an error for it.
 *
 * @param now Milliseconds since the epoch.
 */
export function answerOf(
  push: VerifiedPush,
  body: Uint8Array,
  targetKey: PushKey,
  now: number,
): PushAnswer | undefined {
  try {
    if (isSuccess(body)) return SUCCESS;
    const { format, fields } = readPushFields(body);
    if (format !== push.format) return undefined;
    const pushed = readPushMessage(push);
    const given = { isReply: true, body, contentType: CONTENT_TYPES[format] };
    const envelope = new Map([...fields].map(([name, value]) => [name.toLowerCase(), value]));
    if (!envelope.has("encrypt")) {
      if (!isReply(fields, pushed)) return undefined;
      return push.isEncrypted ? encryptReply(push, body, now) : given;
    }
    const { message, receiveId } = openReply(envelope, targetKey);
    if (isSuccess(message)) return SUCCESS;
    const inner = readPushFields(message);
    if (inner.format !== format || !isReply(inner.fields, pushed)) return undefined;
    if (!push.isEncrypted) return { ...given, body: message };
    const isAsExpected =
      fields.has("MsgSignature") && receiveId === push.receiveId && isSameKey(targetKey, push.key);
    return isAsExpected ? given : encryptReply(push, message, now);
  } catch (error) {
    if (error instanceof PushRefused) return undefined;
    throw error;
  }
}

/**
 * A passive reply, encrypted with the key that the push came with, under the push's own nonce.
 *
 * @param now Milliseconds since the epoch.
 * @param random 16 bytes, for tests.
 * @throws {PushRefused} `undecryptable` where that key has no EncodingAESKey.
 */
export function encryptReply(
  { key, nonce, receiveId, format }: Pick<VerifiedPush, "key" | "nonce" | "receiveId" | "format">,
  message: Uint8Array | string,
  now: number,
  random?: Uint8Array,
): PushAnswer {
  const timestamp = Math.floor(now / 1000);
  const encrypted = encryptPush(message, receiveId, key, random);
  const signature = signPush(key, String(timestamp), nonce, encrypted);
  const body =
    format === "json"
      ? JSON.stringify({ Encrypt: encrypted, MsgSignature: signature, TimeStamp: timestamp, Nonce: nonce })
      : `<xml><Encrypt>${cdata(encrypted)}</Encrypt><MsgSignature>${cdata(signature)}</MsgSignature>` +
        `<TimeStamp>${timestamp}</TimeStamp><Nonce>${cdata(nonce)}</Nonce></xml>`;
  return { isReply: true, body: Buffer.from(body), contentType: CONTENT_TYPES[format] };
}

function isSuccess(body: Uint8Array): boolean {
  return body.length < 32 && /^(success)?$/.test(Buffer.from(body).toString().trim());
}

/**
 * Every passive reply, of WeChat and of WeCom, has these four. Some events ask for another one, as virtual payment does.
 * What a web framework answers, `{"code":0}` or `{"Message":"…"}`, is none.
 */
function isReply(fields: PushFields["fields"], { msgType }: PushMessage): boolean {
  if (["ToUserName", "FromUserName", "CreateTime", "MsgType"].every((name) => fields.get(name))) return true;
  const names = [...fields.keys()];
  return msgType === "event" && names.length > 0 && names.every((name) => EVENT_REPLY.has(name));
}

const EVENT_REPLY: ReadonlySet<string> = new Set(["ErrCode", "ErrMsg"]);

/** Some SDKs write the names of the JSON envelope in lower case, which WeChat does not document. */
function openReply(envelope: ReadonlyMap<string, string>, key: PushKey): ReturnType<typeof decryptPush> {
  const [encrypted = "", signature = "", timestamp = "", nonce = ""] = [
    "encrypt",
    "msgsignature",
    "timestamp",
    "nonce",
  ].map((name) => envelope.get(name));
  if (!isPushSignature(signature, key, timestamp, nonce, encrypted)) throw new PushRefused("wrong_signature");
  return decryptPush(encrypted, key);
}

function isSameKey(one: PushKey, other: PushKey): boolean {
  const [a, b] = [one.encodingAesKey, other.encodingAesKey];
  return one.token.equals(other.token) && a !== undefined && b !== undefined && a.equals(b);
}

/** What is left to chance in a request; given in tests alone. */
interface Chance {
  readonly nonce?: string | undefined;
  /** 16 bytes. */
  readonly random?: Uint8Array | undefined;
}

/**
 * A push as WeChat or WeCom would send it in secure mode to a callback URL with this `key`: for a target that does not
 * hold the app's own.
 *
 * @param now Milliseconds since the epoch.
 * @throws {PushRefused} `undecryptable` where `key` has no EncodingAESKey.
 */
export function encryptedCopy(
  platform: Platform,
  push: Pick<VerifiedPush, "message" | "format" | "receiveId">,
  key: PushKey,
  now: number,
  { nonce = randomNonce(), random }: Chance = {},
): PushCopy {
  const { message, format, receiveId } = push;
  const { toUserName, fromUserName, agentId } = readPushMessage(push);
  const encrypted = encryptPush(message, receiveId, key, random);
  const copy = { key, timestamp: String(Math.floor(now / 1000)), nonce, encrypted };
  const { pushQuery, unnamed } = PLATFORMS[platform];
  const envelope = {
    [toUserName === undefined ? unnamed : "ToUserName"]: toUserName ?? receiveId,
    Encrypt: encrypted,
    ...(agentId === undefined ? {} : { AgentID: agentId }),
  };
  const elements = Object.entries(envelope).map(([name, value]) => `<${name}>${cdata(value)}</${name}>`);
  return {
    query: new URLSearchParams(pushQuery({ ...copy, openId: fromUserName })).toString(),
    body: format === "json" ? JSON.stringify(envelope) : `<xml>${elements.join("")}</xml>`,
    contentType: CONTENT_TYPES[format],
  };
}

/**
 * The query of the GET with which WeChat or WeCom checks a callback URL with this `key`. Its owner has to answer `echo`.
 *
 * @param now Milliseconds since the epoch.
 * @throws {PushRefused} `undecryptable` for WeCom where `key` has no EncodingAESKey.
 */
export function checkQuery(
  platform: Platform,
  { key, receiveId, echo }: { readonly key: PushKey; readonly receiveId: string; readonly echo: string },
  now: number,
  { nonce = randomNonce(), random }: Chance = {},
): string {
  const timestamp = String(Math.floor(now / 1000));
  const { isCheckEncrypted, checkQuery: query } = PLATFORMS[platform];
  const echostr = isCheckEncrypted ? encryptPush(echo, receiveId, key, random) : echo;
  return new URLSearchParams({ ...query({ key, timestamp, nonce, encrypted: echostr }), echostr }).toString();
}

/**
 * The address of a request with this query to `url`: the target's own query stays before it, a fragment goes.
 *
 * @param query As it came, or of a copy; not decoded, because the target verifies it.
 */
export function withQuery(url: string, query: string): string {
  const [address = ""] = url.split("#", 1);
  return `${address}${address.includes("?") ? "&" : "?"}${query}`;
}

const randomNonce = (): string => String(randomInt(1_000_000_000, 10_000_000_000));

interface Signable {
  readonly key: PushKey;
  readonly timestamp: string;
  readonly nonce: string;
  readonly encrypted: string;
  readonly openId?: string | undefined;
}

/** How the two platforms sign a request. */
const PLATFORMS = {
  weixin: {
    /** The root's name for whom a push is meant, where the message does not say it: a third-party platform. */
    unnamed: "AppId",
    pushQuery: (push: Signable): Record<string, string> => ({
      ...clearQuery(push),
      ...(push.openId === undefined ? {} : { openid: push.openId }),
      encrypt_type: "aes",
      msg_signature: encryptedQuery(push).msg_signature,
    }),
    isCheckEncrypted: false,
    checkQuery: clearQuery,
  },
  wecom: {
    unnamed: "ToUserName",
    pushQuery: encryptedQuery,
    isCheckEncrypted: true,
    checkQuery: encryptedQuery,
  },
} satisfies Record<Platform, object>;

function clearQuery({ key, timestamp, nonce }: Signable) {
  return { signature: signPush(key, timestamp, nonce), timestamp, nonce };
}

function encryptedQuery({ key, timestamp, nonce, encrypted }: Signable) {
  return { msg_signature: signPush(key, timestamp, nonce, encrypted), timestamp, nonce };
}
