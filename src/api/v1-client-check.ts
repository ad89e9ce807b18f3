import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { type Call, callOf, route, type RouteRules } from "./face.ts";
import { answersOf } from "./v1-apps-schema.ts";
import { changeOf } from "./v1-clients.ts";
import { callAnswer, callBody, client } from "./v1-clients-schema.ts";
import type { WechatFace } from "./wechat.ts";
import type { Access } from "../access/access.ts";
import { pathFamily, recipientFields } from "../access/api-policy.ts";
import type { ClientAdministration } from "../access/client-administration.ts";
import { type ClientDirectory, supposedCaller } from "../access/client-directory.ts";
import type { AppAdministration } from "../apps/app-administration.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { ServiceError } from "../errors.ts";

/** What the question about a call works with. */
export interface ClientCheckParts {
  readonly access: Access;
  readonly clients: ClientDirectory;
  readonly clientAdministration: Pick<ClientAdministration, "preview">;
  readonly directory: Pick<AppDirectory, "slotOfApp">;
  readonly administration: Pick<AppAdministration, "refresh">;
  /** What decides about such calls. */
  readonly checkCall: WechatFace["check"];
}

/** `POST /v1/clients/:client/check`: whether a client may make a call, as it is or as it would be; for administrators. */
export function clientCheckRoute(parts: ClientCheckParts) {
  const { access, clients, clientAdministration, directory, administration, checkCall } = parts;
  const rules: RouteRules = { guard: (call) => access.admin(call), isClosed: true };
  const check = ({ origin, traceId }: Call, name: string, asked: (typeof callBody)["static"]) => {
    const { method, path, change } = asked;
    const supposed = clientAdministration.preview(name, change ? changeOf(change) : {});
    const principal = supposedCaller(supposed);
    const slot = directory.slotOfApp(access.nameFor(principal, "api:call", asked.app));
    const { policy } = supposed;
    const about = { family: pathFamily(path), preset: policy.preset };
    try {
      access.assertValid(principal);
      const { action, isDropin } = checkCall({ principal, origin, traceId }, slot, { method, path });
      const recipients = isDropin ? undefined : recipientFields(policy, slot.platform, path);
      const by = isDropin ? "service" : "upstream";
      return { allowed: true, ...about, action, answered_by: by, recipients };
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code === "internal") throw error;
      return { allowed: false, ...about, reason: error.message, hint: error.hint };
    }
  };
  return (
    new Elysia({ prefix: "/v1/clients" })
      // As for clients.
      .derive(async ({ request }) => {
        access.admin(callOf(request));
        await Promise.all([clients.refresh(), administration.refresh()]);
      })
      .post(
        "/:client/check",
        ({ params, body, request }) => check(callOf(request), params.client, body),
        route(rules, {
          params: Type.Object({ client }),
          body: callBody,
          detail: {
            summary: "Whether a client may make a call · 检查客户端能否调用某接口",
            description:
              "Decided by what decides about its calls: expiry, grants, the app's state, paths that the gateway blocks, and the policy. `change` asks as if the client had been changed so. Nothing is sent, counted or changed. Its networks and limits are not looked at, nor what is in the query and body of a call. 判断依据与实际调用相同：有效期、授权、应用状态、网关禁止的接口及接口策略。`change` 用于预先检查尚未保存的修改。不会发出请求，不计数，也不做修改。不检查来源网段、限流，以及调用的查询参数与请求体。",
            tags: ["clients"],
            responses: answersOf("Whether it may. 能否调用。", callAnswer, {
              allowed: false,
              family: "/cgi-bin/message",
              preset: "safe",
              reason:
                "禁止访问：该客户端的接口策略（safe）不允许调用 /cgi-bin/message/**，可由管理员修改策略 (the client's policy (safe) does not allow /cgi-bin/message/**; an administrator can change it)",
            }),
          },
        }),
      )
  );
}
