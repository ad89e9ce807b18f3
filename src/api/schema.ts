import type { Permit } from "../access/permits.ts";
import type { CredentialRef } from "../credentials/credential.ts";
import type { GetNotes } from "../credentials/manager.ts";
import { tokenKindOf } from "../credentials/kinds.ts";
import type { DeliveredToken, TokenDelivery } from "../credentials/virtual-tokens.ts";
import { Reply } from "./face.ts";
import { type TSchema, Type } from "@sinclair/typebox";
import type { DocumentDecoration } from "elysia";
import { ServiceError } from "../errors.ts";

const PRINTABLE = "^[\\x21-\\x7e]+$";

const text = (pattern: string, maxLength: number, description: string, example: string) =>
  Type.String({ minLength: 1, maxLength, pattern, description, examples: [example] });

/** The parameters of the documented protocol. What they look like is checked here, what they mean elsewhere. */
export const appId = text(
  "^[A-Za-z0-9_-]+$",
  64,
  "AppID of the Official Account or Mini Program. 公众号或小程序的AppID。",
  "wx0000000000000001",
);
export const corpId = text("^[A-Za-z0-9_-]+$", 64, "CorpID. 企业微信的企业ID。", "ww0000000000000001");
export const agentId = text(
  "^[A-Za-z0-9]+$",
  64,
  "Which application of the corp, as configured. 应用标识，与配置一致。",
  "1000002",
);
/** The secrets of the demo's apps. */
export const EXAMPLE_SECRETS = {
  weixin: "00000000000000000000000000000001",
  wecom: "sample-wecom-secret-00000000000000000000001",
} as const;
const secretOf = (example: string) =>
  text(
    PRINTABLE,
    512,
    "The app's secret, or an API key; optional when the service holds the secret. 应用的secret，或API密钥；服务已配置secret时可省略。",
    example,
  );
export const secret = secretOf(EXAMPLE_SECRETS.weixin);
export const wecomSecret = secretOf(EXAMPLE_SECRETS.wecom);
export const accessToken = text(
  PRINTABLE,
  2048,
  "Clear only while this is the current value. 仅当它仍是当前值时才清除。",
  "70_exampleToken",
);
export const code = text(PRINTABLE, 512, "The user's one-time code. 用户的一次性code。", "sandbox-code-1");
export const url = Type.String({
  minLength: 1,
  maxLength: 8192,
  description:
    "The page's address, absolute; what follows # is not signed. 页面的完整地址；#之后的部分不参与签名。",
  examples: ["https://example.com/page?id=1"],
});
/** The address that was signed, in an answer. */
export const signedUrl = Type.String({ description: "What was signed. 参与签名的地址。" });

/** A moment in an answer, in epoch milliseconds. */
export const instant = (description: string) => Type.Integer({ description: `${description}（毫秒时间戳）` });

/** The least life that a caller wants, in seconds as text. */
export const minTtl = Type.String({
  pattern: "^(?:\\d|[1-9]\\d|1\\d\\d|2[0-3]\\d|240)$",
  description:
    "Wait for a longer life when fewer seconds than this are left, 0 to 240, default 0. 剩余秒数少于该值时等待新凭证，0到240，默认0。",
  examples: ["60"],
});

/** What `minTtl` says, in milliseconds. */
export function minTtlMs(text: string | undefined): number {
  return Number(text ?? 0) * 1000;
}

/** The remaining life of a credential in whole seconds, at least one; without a margin. */
export function secondsLeft(credential: { remainingMs(): number }): number {
  return Math.max(1, Math.floor(credential.remainingMs() / 1000));
}

/**
 * An access token, or a third-party platform's, for a caller with that permit, with the fields of `toData`: at once while one is cached, else after a
 * read of the store or a refresh. Throws what `TokenDelivery.get` throws.
 */
export function tokenReply(
  delivery: TokenDelivery,
  permit: Permit,
  { minTtlMs = 0 }: { readonly minTtlMs?: number },
  toData: (token: DeliveredToken) => object,
): Reply | Promise<Reply> {
  const ref: CredentialRef = { slot: permit.slot, kind: tokenKindOf(permit.slot) };
  const cached = delivery.peek(permit, ref, minTtlMs);
  if (cached) return new Reply(toData(cached), { permit, result: "hit" });
  const notes: GetNotes = {};
  const obtained = delivery.get(permit, ref, { minTtlMs, notes });
  return obtained.then((token) => new Reply(toData(token), { permit, result: notes.result }));
}

/** An answer as the OpenAPI document shows it: `data` inside the envelope, with an example. */
export function envelopeOf(description: string, data: TSchema, example: object) {
  const schema = Type.Object({
    code: Type.Integer({
      description:
        "0 for success; WeChat's errcode when WeChat refused; else 1, 401, 403, 404, 405, 409, 412, 413, 415, 429, 500, 502, 503, 504. 0为成功；微信拒绝时为微信的errcode；其余为本服务的错误码。",
    }),
    msg: Type.String({ description: "`success`, or what is wrong. `success` 或错误说明。" }),
    data,
    trace_id: Type.String({ description: "Also in the header trace-id. 与响应头trace-id相同。" }),
    hint: Type.Optional(Type.String({ description: "What to do next. 处理建议。" })),
  });
  const envelope = {
    code: 0,
    msg: "success",
    data: example,
    trace_id: "6f1c4a3b-e0d9-4f6f-9f8e-9a5d2f5c7b10",
  };
  // TypeBox writes JSON Schema, which the types of OpenAPI 3.0 know only in part.
  const answer: unknown = {
    200: { description, content: { "application/json": { schema, example: envelope } } },
  };
  return answer as NonNullable<DocumentDecoration["responses"]>;
}

/** Which version of something that administrators change this is. */
export const version = Type.Integer({ description: "Also in the ETag. 与ETag相同。" });

/** What the store says of everything that administrators change; `unread` says what it means that some can't be read. */
export function recordFields(unread: string) {
  return {
    created_at: Type.Integer(),
    updated_at: Type.Integer(),
    version,
    damaged: Type.Optional(
      Type.Array(Type.String(), { description: `What can't be read in the database: ${unread}` }),
    ),
  };
}

/** The ETag of a version of something that administrators change. */
export function etagOf(version: number): string {
  return `"${version}"`;
}

/**
 * The one version that a change is meant for, by `If-Match`; undefined when any will do.
 *
 * @throws {ServiceError} `precondition_failed` for what is none of our ETags: nothing of ours matches it.
 */
export function versionIn(headers: Headers): number | undefined {
  const given = headers.get("if-match")?.trim();
  if (given === undefined || given === "*") return undefined;
  const version = /^"(\d{1,15})"$/.exec(given)?.[1];
  if (version !== undefined) return Number(version);
  throw new ServiceError(
    "precondition_failed",
    "If-Match不是本服务给出的ETag (If-Match is not an ETag of this service)",
  );
}
