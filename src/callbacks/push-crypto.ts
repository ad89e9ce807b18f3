import {
  createCipheriv,
  createDecipheriv,
  createHash,
  randomBytes,
  randomInt,
  timingSafeEqual,
} from "node:crypto";
import { Secret } from "../secret.ts";

/** Why a push was refused. Counted and logged, never told to the sender. */
export type PushRefusalReason =
  /** No app of ours receives pushes there. */
  | "not_configured"
  /** The query is too long, or a parameter that is needed is missing, repeated or of an impossible form. */
  | "bad_query"
  /** A body of more than `MAX_PUSH_BYTES`. */
  | "too_large"
  /** Neither the XML nor the JSON that WeChat sends. */
  | "malformed"
  /** A plain push where only encrypted ones are accepted. */
  | "not_encrypted"
  /** No Token that we hold has signed it. */
  | "wrong_signature"
  /** Signed with our Token, but no EncodingAESKey that we hold opens it. */
  | "undecryptable"
  /** Signed and opened, but meant for another app. */
  | "wrong_receive_id";

/** Something that claims to be a push, a check of the callback URL or a reply, and is none that can be trusted. */
export class PushRefused extends Error {
  readonly reason: PushRefusalReason;

  constructor(reason: PushRefusalReason) {
    super(reason);
    this.name = "PushRefused";
    this.reason = reason;
  }
}

/** What WeChat's console calls Token and EncodingAESKey: the two secrets of one callback URL. */
export interface PushKey {
  readonly token: Secret;
  /** 43 letters and digits. Undefined where pushes are plain. */
  readonly encodingAesKey?: Secret | undefined;
}

const ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** Whether WeChat's and WeCom's consoles accept `text` as a Token: 3 to 32 letters and digits. */
export function isPushToken(text: string): boolean {
  return /^[A-Za-z0-9]{3,32}$/.test(text);
}

/** Whether WeChat's and WeCom's consoles accept `text` as an EncodingAESKey: 43 letters and digits. */
export function isEncodingAesKey(text: string): boolean {
  return /^[A-Za-z0-9]{43}$/.test(text);
}

/** A new Token and EncodingAESKey that both consoles accept. */
export function generatePushKey(): { readonly token: Secret; readonly encodingAesKey: Secret } {
  const text = (length: number): Secret =>
    new Secret(Array.from({ length }, () => ALPHANUMERIC[randomInt(ALPHANUMERIC.length)]).join(""));
  return { token: text(32), encodingAesKey: text(43) };
}

/**
 * The signature of `values` and the Token: SHA-1 in lower-case hex over all of them, sorted by their bytes and joined
 * without anything between.
 *
 * Over timestamp and nonce it is WeChat's `signature`, which says nothing about a body. Over the encrypted text too it
 * is `msg_signature`.
 * https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/message_push.html
 */
export function signPush({ token }: PushKey, ...values: readonly string[]): string {
  const bytes = [token.reveal(), ...values].map((value) => Buffer.from(value));
  return createHash("sha1")
    .update(Buffer.concat(bytes.toSorted((a, b) => Buffer.compare(a, b))))
    .digest("hex");
}

/** Whether `signature` is that of `values`, in a time that does not depend on where it differs. */
export function isPushSignature(signature: string, key: PushKey, ...values: readonly string[]): boolean {
  const [given, right] = [Buffer.from(signature), Buffer.from(signPush(key, ...values))];
  return given.length === right.length && timingSafeEqual(given, right);
}

/** WeChat fills up to multiples of 32 bytes, twice AES's own block. */
const PADDING_BLOCK = 32;
const RANDOM_BYTES = 16;
const LENGTH_BYTES = 4;

/**
 * AES-256-CBC as WeChat and WeCom use it: 16 random bytes, the message's length in bytes, the message, the receiveId,
 * padding.
 *
 * `random` is 16 bytes; by default 16 hex digits, as WeChat's own, because some SDKs read them as text. The answer is
 * base64.
 *
 * @throws {PushRefused} `undecryptable` where the key has no EncodingAESKey, or one that is none.
 */
export function encryptPush(
  message: Uint8Array | string,
  receiveId: string,
  key: PushKey,
  random: Uint8Array = Buffer.from(randomBytes(RANDOM_BYTES / 2).toString("hex")),
): string {
  const aesKey = aesKeyOf(key);
  const bytes = Buffer.from(message);
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(bytes.length);
  const text = Buffer.concat([random, length, bytes, Buffer.from(receiveId)]);
  const padding = PADDING_BLOCK - (text.length % PADDING_BLOCK);
  const cipher = createCipheriv("aes-256-cbc", aesKey, aesKey.subarray(0, 16)).setAutoPadding(false);
  return Buffer.concat([
    cipher.update(text),
    cipher.update(Buffer.alloc(padding, padding)),
    cipher.final(),
  ]).toString("base64");
}

/**
 * The message in `encrypted`, which is base64, and the receiveId after it.
 *
 * It proves nothing about who encrypted it: check `msg_signature` first and the receiveId afterwards.
 *
 * @throws {PushRefused} `undecryptable`.
 */
export function decryptPush(
  encrypted: string,
  key: PushKey,
): { readonly message: Uint8Array; readonly receiveId: string } {
  const aesKey = aesKeyOf(key);
  const bytes = Buffer.from(encrypted, "base64");
  if (bytes.length < PADDING_BLOCK || bytes.length % 16 !== 0) throw new PushRefused("undecryptable");
  const decipher = createDecipheriv("aes-256-cbc", aesKey, aesKey.subarray(0, 16)).setAutoPadding(false);
  const padded = Buffer.concat([decipher.update(bytes), decipher.final()]);
  const padding = padded.at(-1) ?? 0;
  if (padding < 1 || padding > PADDING_BLOCK || padded.subarray(-padding).some((byte) => byte !== padding))
    throw new PushRefused("undecryptable");
  const text = padded.subarray(0, -padding);
  const start = RANDOM_BYTES + LENGTH_BYTES;
  if (text.length < start) throw new PushRefused("undecryptable");
  const end = start + text.readUInt32BE(RANDOM_BYTES);
  if (end > text.length) throw new PushRefused("undecryptable");
  return { message: text.subarray(start, end), receiveId: text.subarray(end).toString() };
}

function aesKeyOf({ encodingAesKey }: PushKey): Buffer {
  const text = encodingAesKey?.reveal() ?? "";
  if (!isEncodingAesKey(text)) throw new PushRefused("undecryptable");
  // The last character has two bits too many, which WeChat does not set to zero: a strict decoder refuses most keys.
  return Buffer.from(text, "base64");
}
