import type { Platform } from "../errors.ts";
import {
  decryptPush,
  isPushSignature,
  type PushKey,
  PushRefused,
  type PushRefusalReason,
} from "./push-crypto.ts";
import { type PushFormat, readEncrypted, readPushFields } from "./push-fields.ts";

/** The longest body that is accepted: far above what WeChat sends. */
export const MAX_PUSH_BYTES = 1_048_576;
const MAX_QUERY_LENGTH = 8192;
/** From here on a timestamp is far off: WeChat signs when it sends, and its retries follow within seconds. */
const MAX_SKEW_MS = 300_000;

/**
 * How WeChat's console is set. `secure`: encrypted only. `compat`: clear and encrypted in one body, of which only the
 * encrypted part is trusted. `plain`: nothing protects the body.
 */
export type PushMode = "secure" | "compat" | "plain";

/** What a callback URL accepts. */
export interface PushSettings {
  readonly platform: Platform;
  /** Of WeChat alone; WeCom's pushes are always encrypted. */
  readonly mode: PushMode;
  /** The current one first; then the previous one, while WeChat may still use it. */
  readonly keys: readonly PushKey[];
  /**
   * Whom an encrypted push may be meant for: the AppID, the CorpID, the component's AppID, the suite's id. Empty text is
   * one too (WeCom's individual developers). An empty list accepts none.
   */
  readonly receiveIds: readonly string[];
  /** The same for WeCom's GET check, where it differs: a suite's names the provider's CorpID. */
  readonly checkReceiveIds?: readonly string[] | undefined;
  /** Whom else an encrypted push may be meant for, where they are too many to list: the corps that have a suite. */
  readonly isReceiver?: ((receiveId: string) => boolean) | undefined;
}

/** A request to a callback URL, as it came. The Content-Type decides nothing. */
export interface PushRequest {
  readonly method: "GET" | "POST";
  /** The raw query, without `?`. */
  readonly query: string;
  readonly body: Uint8Array;
}

interface Verified {
  /** The one of the settings that the request was signed, and encrypted, with. */
  readonly key: PushKey;
  /** Its place in the settings: 0 for the current key. */
  readonly keyIndex: number;
  readonly nonce: string;
  /** Seconds since the epoch. */
  readonly timestamp: number;
  /** Whether the timestamp is more than five minutes off: an old request that somebody repeats, or a wrong clock. */
  readonly isSkewed: boolean;
}

/** WeChat or WeCom asks whether this URL is ours. */
export interface VerifiedCheck extends Verified {
  readonly kind: "check";
  /** The whole body of the answer. Visible ASCII. */
  readonly echo: string;
}

/** A push that WeChat or WeCom has sent. */
export interface VerifiedPush extends Verified {
  readonly kind: "push";
  /** What was decrypted; of a plain push its body. */
  readonly message: Uint8Array;
  /** Of the body that came: the reply is written in the same. */
  readonly format: PushFormat;
  /** False only in plain mode, where nothing proves that WeChat wrote this body. */
  readonly isEncrypted: boolean;
  /** Whom it is meant for, as it says; of a plain push the first that the settings accept. */
  readonly receiveId: string;
}

/**
 * Verifies a request to a callback URL. Only what this returns may be answered or passed on.
 *
 * The signature over the body counts wherever pushes are encrypted, `signature` never does there: it does not cover the
 * body. A plain endpoint verifies an encrypted push as one, so that the mode can be changed without losing any. A
 * timestamp that is far off is reported and accepted, because whether WeChat's retries sign anew is not documented.
 * https://developers.weixin.qq.com/miniprogram/dev/framework/server-ability/message-push.html
 * https://developer.work.weixin.qq.com/document/path/90930
 *
 * @param now Milliseconds since the epoch.
 * @throws {PushRefused} And nothing else, whatever was sent.
 */
export function verifyPush(
  settings: PushSettings,
  request: PushRequest,
  now: number,
): VerifiedCheck | VerifiedPush {
  const query = readQuery(request.query, now);
  if (request.method === "GET") return PLATFORMS[settings.platform].check(settings, query);
  const { body } = request;
  if (body.length > MAX_PUSH_BYTES) throw new PushRefused("too_large");
  const isPlainAllowed = settings.mode === "plain" && PLATFORMS[settings.platform].hasPlainMode;
  if (isPlainAllowed && query.find("encrypt_type") !== "aes") return verifyPlain(settings, query, body);
  if (query.find("msg_signature") === undefined) throw new PushRefused("not_encrypted");
  const { format, encrypted } = readEncrypted(body);
  if (encrypted === undefined) throw new PushRefused("not_encrypted");
  return {
    kind: "push",
    ...openSigned(settings, settings.receiveIds, query, encrypted),
    format,
    isEncrypted: true,
  };
}

/** Where the two platforms differ. */
const PLATFORMS = {
  weixin: { hasPlainMode: true, check: checkInClear },
  wecom: { hasPlainMode: false, check: checkEncrypted },
} satisfies Record<Platform, object>;

function verifyPlain(settings: PushSettings, query: Query, body: Uint8Array): VerifiedPush {
  const signed = findSigner(settings.keys, query);
  const { format } = readPushFields(body);
  const receiveId = settings.receiveIds[0] ?? "";
  return { kind: "push", ...signed, message: body, format, isEncrypted: false, receiveId };
}

/** WeChat's check is the same in every mode: the echostr is clear and not signed. */
function checkInClear({ keys }: PushSettings, query: Query): VerifiedCheck {
  return { kind: "check", ...findSigner(keys, query), echo: echoOf(query.get("echostr")) };
}

function checkEncrypted(settings: PushSettings, query: Query): VerifiedCheck {
  // In base64 a blank was a plus sign, before some proxy decoded the query as a form.
  const encrypted = query.get("echostr").replaceAll(" ", "+");
  const accepted = settings.checkReceiveIds ?? settings.receiveIds;
  const { message, receiveId: _, ...signed } = openSigned(settings, accepted, query, encrypted);
  return { kind: "check", ...signed, echo: echoOf(Buffer.from(message).toString()) };
}

function echoOf(text: string): string {
  if (!/^[\x20-\x7e]{1,1024}$/.test(text)) throw new PushRefused("bad_query");
  return text;
}

function findSigner(keys: readonly PushKey[], query: Query): Verified {
  const signature = query.get("signature");
  const keyIndex = keys.findIndex((key) => isPushSignature(signature, key, ...query.signed));
  const key = keys[keyIndex];
  if (key === undefined) throw new PushRefused("wrong_signature");
  return { ...query.stated, key, keyIndex };
}

/** Decrypts what a key of ours has signed. The AES key may have changed without the Token: each key is tried. */
function openSigned(
  { keys, isReceiver }: PushSettings,
  accepted: readonly string[],
  query: Query,
  encrypted: string,
): Verified & Pick<VerifiedPush, "message" | "receiveId"> {
  const signature = query.get("msg_signature");
  let reason: PushRefusalReason = "wrong_signature";
  for (const [keyIndex, key] of keys.entries()) {
    if (!isPushSignature(signature, key, ...query.signed, encrypted)) continue;
    try {
      const opened = decryptPush(encrypted, key);
      if (accepted.includes(opened.receiveId) || isReceiver?.(opened.receiveId))
        return { ...query.stated, ...opened, key, keyIndex };
      reason = "wrong_receive_id";
    } catch (error) {
      if (!(error instanceof PushRefused)) throw error;
      if (reason === "wrong_signature") reason = error.reason;
    }
  }
  throw new PushRefused(reason);
}

const PARAMETER_NAMES = [
  "signature",
  "msg_signature",
  "timestamp",
  "nonce",
  "echostr",
  "encrypt_type",
] as const;
type ParameterName = (typeof PARAMETER_NAMES)[number];

interface Query {
  readonly stated: Pick<Verified, "nonce" | "timestamp" | "isSkewed">;
  /** Timestamp and nonce as they came. */
  readonly signed: readonly [string, string];
  /** @throws {PushRefused} `bad_query` where it is missing. */
  get(name: ParameterName): string;
  find(name: ParameterName): string | undefined;
}

function readQuery(text: string, now: number): Query {
  if (text.length > MAX_QUERY_LENGTH) throw new PushRefused("bad_query");
  // A plus sign is itself, as in the base64 of an echostr, not a form's blank.
  const all = new URLSearchParams(text.replaceAll("+", "%2B"));
  // Whoever is behind us might take the other one.
  if (PARAMETER_NAMES.some((name) => all.getAll(name).length > 1)) throw new PushRefused("bad_query");
  const find = (name: ParameterName): string | undefined => all.get(name) ?? undefined;
  const get = (name: ParameterName): string => {
    const value = find(name);
    if (value === undefined) throw new PushRefused("bad_query");
    return value;
  };
  const [timestamp, nonce] = [get("timestamp"), get("nonce")];
  if (!/^\d{1,15}$/.test(timestamp) || !/^[\x21-\x7e]{1,128}$/.test(nonce))
    throw new PushRefused("bad_query");
  const seconds = Number(timestamp);
  const isSkewed = Math.abs(seconds * 1000 - now) > MAX_SKEW_MS;
  return { stated: { nonce, timestamp: seconds, isSkewed }, signed: [timestamp, nonce], get, find };
}
