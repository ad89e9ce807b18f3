import type { Platform } from "../errors.ts";
import { Secret } from "../secret.ts";
import { type PushAnswer, SUCCESS } from "./push-reply.ts";
import { type PushRequest, type VerifiedPush, verifyPush } from "./verify-push.ts";

/** A push as it is kept until the last delivery of it has ended: what came, and what it was verified by. */
export interface KeptPush {
  readonly platform: Platform;
  readonly request: Omit<PushRequest, "method"> & { readonly contentType: string };
  readonly push: VerifiedPush;
  /** The AppID or CorpID of whose message it is, where a third-party platform receives it for an account. */
  readonly account?: string | undefined;
}

/** What is written of a push. The key is part of it: a rotation may end before the last delivery does. */
interface Written {
  readonly platform: Platform;
  readonly query: string;
  readonly contentType: string;
  /** Base64. */
  readonly body: string;
  readonly token: string;
  readonly aesKey: string | undefined;
  readonly receiveId: string;
  readonly account?: string | undefined;
}

/** The text of a push, to be sealed. */
export function keepPush({ platform, request, push, account }: KeptPush): Secret {
  const { query, contentType, body } = request;
  const { token, encodingAesKey } = push.key;
  const written: Written = {
    ...{ platform, query, contentType, body: Buffer.from(body).toString("base64") },
    ...{ token: token.reveal(), aesKey: encodingAesKey?.reveal(), receiveId: push.receiveId, account },
  };
  return new Secret(JSON.stringify({ ...written, isEncrypted: push.isEncrypted }));
}

/**
 * The push in a text of `keepPush`.
 *
 * @throws {Error} for any other text. Its message quotes nothing.
 */
export function readKeptPush(text: Secret): KeptPush {
  try {
    const kept = JSON.parse(text.reveal()) as Written & { readonly isEncrypted: boolean };
    const { platform, query, contentType, receiveId, aesKey, account } = kept;
    const key = { token: new Secret(kept.token), ...(aesKey && { encodingAesKey: new Secret(aesKey) }) };
    const body = Buffer.from(kept.body, "base64");
    const mode = kept.isEncrypted ? "secure" : "plain";
    const settings = { platform, mode, keys: [key], receiveIds: [receiveId] } as const;
    const push = verifyPush(settings, { method: "POST", query, body }, 0);
    if (push.kind === "push") return { platform, request: { query, contentType, body }, push, account };
  } catch {
    // Whatever it says might quote a push.
  }
  throw new Error("no kept push");
}

/** The text of an answer, to be sealed. */
export function keepAnswer({ isReply, body, contentType }: PushAnswer): Secret {
  return new Secret(
    isReply ? JSON.stringify({ contentType, body: Buffer.from(body).toString("base64") }) : "",
  );
}

/** The answer in a text of `keepAnswer`; `success` for any other. */
export function readKeptAnswer(text: Secret): PushAnswer {
  try {
    if (text.reveal() === "") return SUCCESS;
    const { contentType, body } = JSON.parse(text.reveal()) as {
      readonly contentType: string;
      readonly body: string;
    };
    return { isReply: true, contentType, body: Buffer.from(body, "base64") };
  } catch {
    return SUCCESS;
  }
}
