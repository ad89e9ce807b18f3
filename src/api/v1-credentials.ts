import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { answersOf, app } from "./v1-apps-schema.ts";
import { type Access, onBehalf } from "../access/access.ts";
import { actorOf } from "../access/principal.ts";
import { dropEmpty } from "./body.ts";
import { type Call, callOf, Reply, route } from "./face.ts";
import type { Action } from "../access/client.ts";
import { minTtl, minTtlMs, secondsLeft } from "./schema.ts";
import { Secret } from "../secret.ts";
import { credentialRef } from "../credentials/credential.ts";
import { CREDENTIAL_KINDS, type CredentialKind } from "../credentials/kinds.ts";
import type { CredentialManager, GetNotes } from "../credentials/manager.ts";
import type { DeliveredToken, TokenDelivery } from "../credentials/virtual-tokens.ts";

/** What the routes of one credential work with. */
export interface CredentialRouteParts {
  readonly access: Access;
  readonly credentials: Pick<CredentialManager, "clear">;
  readonly delivery: TokenDelivery;
}

/** `/v1/apps/:app/credentials/:kind`: get, refresh, replace and clear one credential of an app that we hold. */
export function credentialRoutes({ access, credentials, delivery }: CredentialRouteParts) {
  const permitFor = (call: Call, action: Action, { app, kind }: { app: string; kind: CredentialKind }) => {
    const permit = access.slotOfApp(call, action, app);
    return { permit, ref: credentialRef(permit.slot, kind), actor: actorOf(permit.principal, call) };
  };
  return new Elysia({ prefix: "/v1/apps/:app/credentials/:kind" })
    .onTransform(({ query }) => dropEmpty(query))
    .get(
      "",
      async ({ params, query, request }) => {
        const { permit, ref } = permitFor(callOf(request), readingOf(params.kind), params);
        const notes: GetNotes = {};
        const token = await delivery.get(permit, ref, { minTtlMs: minTtlMs(query.min_ttl), notes });
        return new Reply(credentialFields(token), { permit, result: notes.result });
      },
      route(
        { guard: (call, { app = "", kind = "" }) => access.checkGrant(call, readingOf(kind), app) },
        {
          params: credentialParams,
          query: Type.Object({ min_ttl: Type.Optional(minTtl) }),
          detail: {
            summary: "The current credential · 获取当前凭证",
            description:
              "At once while one is valid; expires_in is the whole remaining life. A client with virtual tokens gets a virtual access token, valid for 7200 s. 有可用凭证时立即返回；expires_in为真实剩余时间。使用虚拟token的客户端得到虚拟token，有效期7200秒。",
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
              "A manual refresh, at most once in 10 s. WeChat may return the same value while it is valid; `force` issues a new stable token. A classic token is always a new one. Forced refreshes and manual classic fetches: 20 a day, 30 s apart; beyond that 503 with retry_after. 手动刷新，10秒内一次；有效期内微信可能返回同一值；`force` 强制生成新的稳定版token；强制刷新每日20次、间隔30秒，超出返回503及retry_after。",
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
        const { permit, ref, actor } = permitFor(callOf(request), "token:clear", params);
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

/** A token gives more than a ticket does, so each is granted for itself. */
function readingOf(kind: string): Action {
  return kind === "access_token" ? "token:read" : "ticket:read";
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
