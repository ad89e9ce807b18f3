import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { answersOf, app } from "./v1-apps-schema.ts";
import type { Access } from "../access/access.ts";
import { onBehalf, type Permit } from "../access/permits.ts";
import { actorOf, denied, forbidden } from "../access/principal.ts";
import { roleOf } from "../apps/app.ts";
import type { ServiceError } from "../errors.ts";
import { dropEmpty } from "./body.ts";
import { type Call, callOf, immediate, Reply, route, type Validated } from "./face.ts";
import type { Action } from "../access/client.ts";
import { minTtl, minTtlMs, secondsLeft } from "./schema.ts";
import type { RequestResult } from "../events.ts";
import { Secret } from "../secret.ts";
import { credentialKey, type CredentialRef, credentialRef } from "../credentials/credential.ts";
import type { CredentialWaits, Look } from "../credentials/credential-waits.ts";
import { CREDENTIAL_KINDS, type CredentialKind, KINDS } from "../credentials/kinds.ts";
import type { CredentialManager, GetNotes } from "../credentials/manager.ts";
import type { DeliveredToken, TokenDelivery } from "../credentials/virtual-tokens.ts";

/** Longer than the longest wait and a refresh after it. */
const WAIT_SECONDS = 65;

/** What the routes of one credential work with. */
export interface CredentialRouteParts {
  readonly access: Access;
  readonly credentials: Pick<CredentialManager, "clear">;
  readonly delivery: TokenDelivery;
  readonly waits: Pick<CredentialWaits, "until">;
}

/** `/v1/apps/:app/credentials/:kind`: get, refresh, replace and clear one credential of an app that we hold. */
export function credentialRoutes(parts: CredentialRouteParts) {
  const { access, credentials, delivery } = parts;
  /** A platform's ticket is good for one thing alone, which is done here, and nobody can fetch it. Throws `forbidden`. */
  const refOf = (permit: Permit, kind: CredentialKind, refusal = withheld) => {
    const ref = credentialRef(permit.slot, kind);
    if (roleOf(permit.slot) && KINDS.get(ref).obtainedBy === "pushed")
      throw denied(permit.principal, refusal());
    return ref;
  };
  const permitFor = (
    call: Call,
    action: Action,
    { app, kind }: { app: string; kind: CredentialKind },
    refusal?: () => ServiceError,
  ) => {
    const permit = access.slotOfApp(call, action, app);
    return { permit, ref: refOf(permit, kind, refusal), actor: actorOf(permit.principal, call) };
  };
  return new Elysia({ prefix: "/v1/apps/:app/credentials/:kind" })
    .onTransform(({ query }) => dropEmpty(query))
    .get(
      "",
      immediate(({ params, query, request }: Validated<typeof readQuery, typeof credentialParams>) => {
        const call = callOf(request);
        const permit = access.slotOfApp(call, readingOf(params.kind), params.app);
        const ref = refOf(permit, params.kind);
        const minMs = minTtlMs(query.min_ttl);
        const answer = (token: DeliveredToken, result: RequestResult | undefined) => {
          const known = request.headers.get("if-none-match");
          if (known === null || !isNamed(known, token)) return replyWith(token, { permit, result });
          const waitMs = Number(query.wait ?? 0) * 1000;
          if (waitMs === 0) return notModified(token);
          const next = nextOne(parts, call, ref, { ...params, minMs, known, waitMs });
          return next.then((reply) => reply ?? notModified(token));
        };
        const cached = delivery.peek(permit, ref, minMs);
        if (cached) return answer(cached, "hit");
        const notes: GetNotes = {};
        return delivery
          .get(permit, ref, { minTtlMs: minMs, notes })
          .then((token) => answer(token, notes.result));
      }),
      route(
        { guard: (call, { app = "", kind = "" }) => access.checkGrant(call, readingOf(kind), app) },
        {
          params: credentialParams,
          query: readQuery,
          detail: {
            summary: "The current credential · 获取当前凭证",
            description:
              "At once while one is valid; expires_in is the whole remaining life. A client with virtual tokens gets a virtual access token, valid for 7200 s. With the ETag in If-None-Match 304 while it is unchanged, and with `wait` only after so many seconds without a change. 有可用凭证时立即返回；expires_in为真实剩余时间。使用虚拟token的客户端得到虚拟token，有效期7200秒。If-None-Match带上ETag时，未变化返回304；再带 `wait` 则等到有变化立即返回，超时未变化才返回304。",
            tags: ["v1"],
            responses: answersOf("The credential. 凭证。", credentialData, CREDENTIAL_EXAMPLE),
          },
        },
      ),
    )
    .post(
      "/refresh",
      async ({ params, body, request }) => {
        const { permit, ref, actor } = permitFor(callOf(request), "token:refresh", params);
        const got = await delivery.refresh(permit, ref, { force: body.force ?? false, actor });
        return new Reply(credentialFields(got), { permit, result: "refresh" });
      },
      route(
        { guard: (call, { app = "" }) => access.checkGrant(call, "token:refresh", app) },
        {
          params: credentialParams,
          body: refreshBody,
          detail: {
            summary: "Refresh now · 立即向微信获取",
            description:
              "A manual refresh, at most once in 10 s. WeChat may return the same value while it is valid; `force` issues a new stable token. A classic token is always a new one. Forced refreshes and manual ones of classic and third-party platforms' tokens: 20 a day, 30 s apart; beyond that 503 with retry_after. 手动刷新，10秒内一次；有效期内微信可能返回同一值；`force` 强制生成新的稳定版token；强制刷新，以及普通方式和第三方平台token的手动刷新，每日20次、间隔30秒，超出返回503及retry_after。",
            tags: ["v1"],
            responses: answersOf("The current credential. 当前凭证。", credentialData, CREDENTIAL_EXAMPLE),
          },
        },
      ),
    )
    .post(
      "/replace",
      async ({ params, body, request }) => {
        const { permit, ref, actor } = permitFor(callOf(request), "token:refresh", params);
        const got = await delivery.replace(permit, ref, new Secret(body.rejected), actor);
        return new Reply(credentialFields(got), { permit });
      },
      route(
        { guard: (call, { app = "" }) => access.checkGrant(call, "token:refresh", app) },
        {
          params: credentialParams,
          body: replaceBody,
          detail: {
            summary: "Replace a rejected credential · 更换被微信拒绝的凭证",
            description:
              "If it has already been replaced, the newer one, without an upstream request. Otherwise WeChat is asked first whether it is revoked; a valid one is returned unchanged. 503 with retry_after when it is revoked and no other is available. 若已被替换则直接返回新值；否则先向微信核实，仍有效则原样返回；确已失效且暂无新值时返回503及retry_after。",
            tags: ["v1"],
            responses: answersOf("A valid credential. 可用的凭证。", credentialData, CREDENTIAL_EXAMPLE),
          },
        },
      ),
    )
    .delete(
      "",
      async ({ params, request }) => {
        const { permit, ref, actor } = permitFor(callOf(request), "token:clear", params, irreplaceable);
        await onBehalf(permit, credentials.clear(ref, { actor }));
        return new Reply({}, { permit });
      },
      route(
        { guard: (call, { app = "" }) => access.checkGrant(call, "token:clear", app) },
        {
          params: credentialParams,
          detail: {
            summary: "Clear the credential · 清除凭证",
            description:
              "The next get asks WeChat, which may return the same value while it is valid. At most once in 10 s. Takes no body. 下次获取时重新请求微信，有效期内可能得到同一值；10秒内一次；无请求体。",
            tags: ["v1"],
            responses: answersOf("Cleared, or there was none. 已清除或本无凭证。", Type.Object({}), {}),
          },
        },
      ),
    );
}

function withheld(): ServiceError {
  return forbidden(
    "第三方平台的ticket只用于换取平台的token，不对外提供；请直接读取平台的token",
    "a platform's ticket is good for its token alone and not given out: read the platform's token instead",
  );
}

function irreplaceable(): ServiceError {
  return forbidden(
    "第三方平台的ticket由微信推送，清除后无法主动获取，平台将在下一次推送前无法获取token，故不可清除",
    "a platform's ticket is pushed: once cleared nobody could fetch it, and the platform would have no token until the next push",
  );
}

/** A token gives more than a ticket does, so each is granted for itself. */
function readingOf(kind: string): Action {
  // Those of third-party platforms are tokens, too.
  return kind.endsWith("access_token") ? "token:read" : "ticket:read";
}

/** A credential with its ETag. */
function replyWith(token: DeliveredToken, more: ConstructorParameters<typeof Reply>[1]): Reply {
  return new Reply(credentialFields(token), { ...more, headers: { etag: `"${token.version}"` } });
}

/** Whether one of the ETags of an `If-None-Match` is the credential's. A proxy that compresses makes weak ones of ours. */
function isNamed(known: string, { version }: DeliveredToken): boolean {
  return known.split(",").some((tag) => ["*", `"${version}"`, `W/"${version}"`].includes(tag.trim()));
}

/** The credential once it is another than those `known`; undefined when that does not come to pass in time. */
function nextOne(
  { access, delivery, waits }: CredentialRouteParts,
  call: Call,
  ref: CredentialRef,
  wanted: {
    readonly app: string;
    readonly kind: CredentialKind;
    readonly known: string;
    readonly minMs: number;
    readonly waitMs: number;
  },
): Promise<Reply | undefined> {
  const { app: name, kind, known, minMs, waitMs } = wanted;
  const look = async (): Promise<Look<Reply>> => {
    const { origin, traceId } = call;
    const permit = access.slotOfApp(
      { principal: access.present(call), origin, traceId },
      readingOf(kind),
      name,
    );
    const notes: GetNotes = {};
    const now = credentialRef(permit.slot, kind);
    const token = await delivery.get(permit, now, { minTtlMs: minMs, notes });
    if (!isNamed(known, token)) return { found: replyWith(token, { permit, result: notes.result }) };
    const leftMs = token.remainingMs();
    return { againInMs: leftMs - (leftMs > minMs ? minMs : 0) };
  };
  call.socket.giveTime(WAIT_SECONDS);
  const { signal } = call.request;
  return waits.until(credentialKey(ref), look, {
    waitMs,
    caller: call,
    signal,
    check: () => access.present(call),
  });
}

function notModified({ version }: DeliveredToken): Response {
  return new Response(null, { status: 304, headers: { etag: `"${version}"` } });
}

function credentialFields(held: DeliveredToken) {
  return {
    value: held.value.reveal(),
    expires_in: secondsLeft(held),
    expires_at: held.expiresAt,
    issued_at: held.issuedAt,
  };
}

/** The path of one credential. */
const credentialParams = Type.Object({
  app,
  kind: Type.Union(
    CREDENTIAL_KINDS.map((kind) => Type.Literal(kind)),
    {
      description:
        "access_token, jsapi_ticket, wx_card_ticket, or agent_config_ticket (WeCom only). 凭证种类；agent_config_ticket仅企业微信。",
      examples: ["access_token"],
    },
  ),
});

/** How long a caller waits that has the current credential. */
const wait = Type.String({
  pattern: "^(?:\\d|[1-4]\\d|50)$",
  description:
    "With If-None-Match: how many seconds to wait for another credential, 0 to 50. 与If-None-Match同用：最多等待变化的秒数，0到50。",
  examples: ["30"],
});

/** What a reader asks for. */
const readQuery = Type.Object({ min_ttl: Type.Optional(minTtl), wait: Type.Optional(wait) });

/** The body of a refresh. */
const refreshBody = Type.Object({
  force: Type.Optional(
    Type.Boolean({
      description:
        "Stable tokens: issue a new one now (20 a day, 30 s apart). 稳定版token：立即生成新token（每日20次，间隔30秒）。",
      examples: [true],
    }),
  ),
});

/** The body of a replacement. */
const replaceBody = Type.Object({
  rejected: Type.String({
    minLength: 1,
    maxLength: 2048,
    pattern: "^[\\x21-\\x7e]+$",
    description: "The value that WeChat refused. 被微信拒绝的值。",
    examples: ["70_exampleToken"],
  }),
});

/** A credential as it is returned. */
export const credentialData = Type.Object({
  value: Type.String(),
  expires_in: Type.Integer({ description: "Seconds left. 剩余秒数。" }),
  expires_at: Type.Integer({ description: "When it expires. 到期时间（毫秒时间戳）。" }),
  issued_at: Type.Integer({ description: "When it was requested. 获取时间（毫秒时间戳）。" }),
});

/** A credential for the documentation. */
const CREDENTIAL_EXAMPLE = {
  value: "70_exampleToken",
  expires_in: 7140,
  expires_at: 1795327200000,
  issued_at: 1795320000000,
};
