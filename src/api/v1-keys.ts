import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { callOf, Reply, route, type RouteRules } from "./face.ts";
import { answersOf } from "./v1-apps-schema.ts";
import { baseUrlOf } from "./v1-clients.ts";
import { BASE_URL_EXAMPLE, client } from "./v1-clients-schema.ts";
import {
  createdKeyData,
  foundKeyData,
  key,
  KEY_EXAMPLE,
  keyData,
  newKeyBody,
  rollBody,
} from "./v1-keys-schema.ts";
import type { Access } from "../access/access.ts";
import {
  type ClientAdministration,
  type CreatedKey,
  isLive,
  noSuchClient,
  noSuchKey,
} from "../access/client-administration.ts";
import type { ClientDirectory } from "../access/client-directory.ts";
import type { ApiKeyRecord } from "../access/client.ts";
import type { Clock } from "../clock.ts";

const OVERLAP_SECONDS = 86_400;

/** What the routes of keys work with. */
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

/** `/v1/clients/:client/keys`: the keys of a client; for administrators. */
export function clientKeyRoutes({
  access,
  clients,
  clientAdministration: administration,
  clock,
}: KeyRouteParts) {
  const rules: RouteRules = { guard: (call) => access.admin(call), isClosed: true };
  const keyFields = (record: ApiKeyRecord) => keyFieldsAt(record, clock.now());
  const created = ({ record, key: made }: CreatedKey, request: Request) =>
    new Reply(
      { ...keyFields(record), api_key: made.reveal(), base_url: baseUrlOf(request) },
      { status: 201 },
    );
  return (
    new Elysia({ prefix: "/v1/clients" })
      // As for clients.
      .derive(async ({ request }) => {
        const actor = access.admin(callOf(request));
        await clients.catchUp();
        return { actor };
      })
      .get(
        "/:client/keys",
        async ({ params }) => {
          if (!clients.find(params.client)) throw noSuchClient();
          // Without the last uses of other processes where they can't be read.
          await clients.readUses(params.client).catch(() => undefined);
          return { keys: clients.keysOf(params.client).map(keyFields) };
        },
        {
          params: Type.Object({ client }),
          detail: {
            summary: "The keys of a client · 客户端的密钥",
            description: "Never a key itself, only its public prefix. 只有公开前缀，不含密钥本身。",
            tags: ["clients"],
            responses: answersOf("The keys. 密钥列表。", Type.Object({ keys: Type.Array(keyData) }), {
              keys: [KEY_EXAMPLE],
            }),
          },
        },
      )
      .post(
        "/:client/keys",
        async ({ params, body, actor, request }) => {
          const options = { label: body.label ?? "default", expiresAt: body.expires_at };
          return created(await administration.createKey(params.client, options, { actor }), request);
        },
        route(rules, {
          params: Type.Object({ client }),
          body: newKeyBody,
          detail: {
            summary: "Create an API key · 创建API密钥",
            description:
              "`api_key` is shown only in this answer. A label that is in use is 409. `api_key` 只在此应答中显示；label重复返回409。",
            tags: ["clients"],
            responses: answersOf("The key (HTTP 201). 密钥（HTTP 201）。", createdKeyData, {
              ...KEY_EXAMPLE,
              api_key: "ats_4fGh7Kq2…",
              base_url: BASE_URL_EXAMPLE,
            }),
          },
        }),
      )
      .post(
        "/:client/keys/:key/roll",
        async ({ params, body, actor, request }) => {
          const overlapMs = (body.overlap ?? OVERLAP_SECONDS) * 1000;
          const made = await administration.rollKey(params.client, params.key, overlapMs, { actor });
          return created(made, request);
        },
        route(rules, {
          params: Type.Object({ client, key }),
          body: rollBody,
          detail: {
            summary: "Roll a key · 轮换密钥",
            description:
              "A new key replaces the old one, which stays valid for `overlap` seconds, so that programs can switch. 旧密钥在 `overlap` 秒内继续有效，便于切换。",
            tags: ["clients"],
            responses: answersOf("The new key (HTTP 201). 新密钥（HTTP 201）。", createdKeyData, {
              ...KEY_EXAMPLE,
              api_key: "ats_4fGh7Kq2…",
              base_url: BASE_URL_EXAMPLE,
            }),
          },
        }),
      )
      .delete(
        "/:client/keys/:key",
        async ({ params, actor }) => {
          await administration.revokeKey(params.client, params.key, { actor });
          return {};
        },
        route(rules, {
          params: Type.Object({ client, key }),
          detail: {
            summary: "Revoke a key · 吊销密钥",
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
function keyFieldsAt(record: ApiKeyRecord, now: number) {
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
