import { createHmac } from "node:crypto";
import { type Target, targetUrl } from "./callback-settings.ts";
import type { KeptPush } from "./kept-push.ts";
import type { PushKey } from "./push-crypto.ts";
import { encryptedCopy, withQuery } from "./push-reply.ts";

/** The header with what all deliveries of one push have in common: a receiver recognizes repeats by it. */
export const DELIVERY_HEADER = "x-accesstoken-delivery";
/** The header by which a target verifies a decrypted push. */
export const SIGNATURE_HEADER = "x-accesstoken-signature";

/** What a target receives of a push: a POST with this query and body. */
export interface TargetContents {
  /** Without `?`. */
  readonly query: string;
  readonly body: Uint8Array;
  readonly contentType: string;
  /** Of `decrypted` alone. */
  readonly signature: string | undefined;
  /** What the target encrypts its reply with. */
  readonly replyKey: PushKey;
}

/** A request to a target. */
export interface TargetRequest {
  readonly url: string;
  /** The target's URL as it is configured: requests to one target take turns, whoever's account they are about. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** How long it may take as a whole, in milliseconds. */
  readonly timeoutMs: number;
}

/** Why a target has not taken a push. Shown to operators; nothing of an answer is in it. */
export type TargetFailureReason =
  /** The URL can't be used. */
  | "bad_url"
  /** The name has no address. */
  | "unknown_host"
  /** The address is private, or plain http is asked for, and `CALLBACK_NETWORKS` does not list it. */
  | "address_not_allowed"
  | "unreachable"
  | "bad_certificate"
  | "timeout"
  /** The connection broke off. */
  | "broken_off"
  /** An answer of more than 64 KiB. */
  | "answer_too_large";

/** That a target could not be asked, or has not answered. */
export class TargetFailure extends Error {
  readonly reason: TargetFailureReason;

  constructor(reason: TargetFailureReason) {
    super(reason);
    this.name = "TargetFailure";
    this.reason = reason;
  }
}

/** Sends pushes to targets. */
export interface TargetSender {
  /**
   * The status and the body of the answer, of any status.
   *
   * @throws {TargetFailure} And nothing else.
   */
  send(request: TargetRequest): Promise<{ readonly status: number; readonly body: Uint8Array }>;
}

/**
 * What a target gets of a push, by its `content`; undefined where a secret for it is missing, because the store could not
 * open it.
 *
 * @param now Milliseconds since the epoch.
 */
export function contentsFor(
  target: Pick<Target, "content" | "token" | "aesKey" | "hmacKey">,
  { platform, request, push }: KeptPush,
  now: number,
): TargetContents | undefined {
  const { content, token, aesKey, hmacKey } = target;
  if (content === "original") return { ...request, signature: undefined, replyKey: push.key };
  if (content === "decrypted") {
    if (!hmacKey) return undefined;
    const { message, format } = push;
    const contentType = format === "json" ? "application/json; charset=utf-8" : "text/xml; charset=utf-8";
    const signature = signatureOf(message, hmacKey.reveal(), now);
    return { query: "", body: message, contentType, signature, replyKey: push.key };
  }
  if (!token || !aesKey) return undefined;
  const key = { token, encodingAesKey: aesKey };
  const copy = encryptedCopy(platform, push, key, now);
  return { ...copy, body: Buffer.from(copy.body), signature: undefined, replyKey: key };
}

/**
 * The signature of a decrypted push: `t=<seconds since the epoch>,v1=<HMAC-SHA256 in hex>`, over the seconds, a dot and the
 * body.
 */
function signatureOf(body: Uint8Array, key: string, now: number): string {
  const t = Math.floor(now / 1000);
  return `t=${t},v1=${createHmac("sha256", key).update(`${t}.`).update(body).digest("hex")}`;
}

/** The request that brings `contents` to a target with a URL. */
export function requestTo(
  target: Pick<Target, "url">,
  { query, body, contentType, signature }: TargetContents,
  about: { readonly appId: string; readonly dedupeKey: string; readonly timeoutMs: number },
): TargetRequest {
  const url = targetUrl(target, about.appId) ?? "";
  return {
    url: query === "" ? url : withQuery(url, query),
    target: target.url ?? "",
    headers: {
      ...(contentType === "" ? {} : { "content-type": contentType }),
      [DELIVERY_HEADER]: about.dedupeKey,
      ...(signature === undefined ? {} : { [SIGNATURE_HEADER]: signature }),
    },
    body,
    timeoutMs: about.timeoutMs,
  };
}
