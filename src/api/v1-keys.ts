import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { callOf, route, type RouteRules } from "./face.ts";
import { answersOf } from "./v1-apps-schema.ts";
import { foundKeyData, key, KEY_EXAMPLE } from "./v1-clients-schema.ts";
import type { Access } from "../access/access.ts";
import { type ClientAdministration, isLive, noSuchKey } from "../access/client-administration.ts";
import type { ClientDirectory } from "../access/client-directory.ts";
import type { ApiKeyRecord } from "../access/client.ts";
import type { Clock } from "../clock.ts";

/** What the routes of `/v1/keys` work with. */
export interface KeyRouteParts {
  readonly access: Access;
  readonly clients: ClientDirectory;
  readonly clientAdministration: ClientAdministration;
  readonly clock: Clock;
}

/** `/v1/keys`: keys by their public beginning alone; for administrators. */
export function keyRoutes({ access, clients, clientAdministration: administration, clock }: KeyRouteParts) {
  const rules: RouteRules = { guard: (call) => access.admin(call), isClosed: true };
  const find = (prefix: string) => {
    const record = clients.findKey(prefix);
    if (!record) throw noSuchKey();
    return record;
  };
  return (
    new Elysia({ prefix: "/v1/keys" })
      // As for clients.
      .derive(async ({ request }) => {
        const actor = access.admin(callOf(request));
        await clients.refresh();
        return { actor };
      })
      .get(
        "/:key",
        ({ params }) => {
          const record = find(params.key);
          return { client: record.client, ...keyFieldsAt(record, clock.now()) };
        },
        {
          params: Type.Object({ key }),
          detail: {
            summary: "Whose key it is · 查看密钥属于哪个客户端",
            description:
              "By the first 12 characters of a key, as of one that has leaked. 按密钥的前12个字符查找，如处理泄露的密钥。",
            tags: ["clients"],
            responses: answersOf("The key and its client. 密钥及其客户端。", foundKeyData, {
              client: "order-service",
              ...KEY_EXAMPLE,
            }),
          },
        },
      )
      .delete(
        "/:key",
        async ({ params, actor }) => {
          await administration.revokeKey(find(params.key).client, params.key, { actor });
          return {};
        },
        route(rules, {
          params: Type.Object({ key }),
          detail: {
            summary: "Revoke a key by its beginning alone · 只凭前12个字符吊销密钥",
            description:
              "At once here, within a second in every process. Takes no body. 本进程立即生效，其他进程一秒内生效；无请求体。",
            tags: ["clients"],
            responses: answersOf("Revoked. 已吊销。", Type.Object({}), {}),
          },
        }),
      )
  );
}

/** A key as it is shown at `now` (epoch milliseconds). */
export function keyFieldsAt(record: ApiKeyRecord, now: number) {
  const { prefix, label, createdAt, expiresAt, revokedAt, replacedBy, lastUsedAt } = record;
  const end = revokedAt !== undefined ? "revoked" : record.isDamaged ? "damaged" : "expired";
  return {
    key: prefix,
    label,
    state: isLive(record, now) ? "active" : end,
    created_at: createdAt,
    expires_at: expiresAt,
    revoked_at: revokedAt,
    replaced_by: replacedBy,
    last_used_at: lastUsedAt,
  };
}
