import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Permit } from "../access/permits.ts";
import {
  type MadeSecrets,
  noSuchTarget,
  notSetUp,
  type TargetChange,
} from "../callbacks/callback-administration.ts";
import type { Target } from "../callbacks/callback-settings.ts";
import { Secret } from "../secret.ts";
import { callOf, Reply, route } from "./face.ts";
import { etagOf } from "./schema.ts";
import { answersOf, app } from "./v1-apps-schema.ts";
import {
  admit,
  type CallbackRouteParts,
  catchUp,
  madeFields,
  managerRules,
  targetFields,
} from "./v1-callbacks.ts";
import {
  MADE_EXAMPLE,
  savedTargetData,
  target,
  TARGET_EXAMPLE,
  targetBody,
  targetData,
} from "./v1-callbacks-schema.ts";

/** `/v1/apps/:app/callbacks/targets/:target`: where an app's pushes go; never a key that stands. */
export function callbackTargetRoutes(parts: CallbackRouteParts) {
  const { callbacks, callbackAdministration: administration } = parts;
  const rules = managerRules(parts);
  const targetOf = (of: string, name: string): Target => {
    const found = callbacks.of(of);
    if (!found) throw notSetUp(of);
    const known = found.targets.find((each) => each.name === name);
    if (!known) throw noSuchTarget(name);
    return known;
  };
  const show = (
    of: string,
    name: string,
    { permit, made = {}, status }: { permit: Permit; made?: MadeSecrets; status?: number },
  ) => {
    const known = targetOf(of, name);
    const data = { ...targetFields(known), ...madeFields(made) };
    return new Reply(data, { permit, status, headers: { etag: etagOf(known.version) } });
  };
  return new Elysia({ prefix: "/v1/apps/:app/callbacks/targets/:target" })
    .get(
      "",
      async ({ params, request }) => {
        const { permit, app: of } = admit(parts, callOf(request), params.app);
        await catchUp(callbacks);
        return show(of.name, params.target, { permit });
      },
      route(rules, {
        params: Type.Object({ app, target }),
        detail: {
          summary: "One target · 单个目标",
          description: "The header ETag names its version. 响应头ETag为其版本。",
          tags: ["Callbacks"],
          responses: answersOf("The target. 目标。", targetData, TARGET_EXAMPLE),
        },
      }),
    )
    .put(
      "",
      async ({ params, body, request }) => {
        const { permit, app: of, options } = admit(parts, callOf(request), params.app);
        await catchUp(callbacks);
        const { isNew, made } = await administration.saveTarget(of, params.target, changeOf(body), options);
        return show(of.name, params.target, { permit, made, status: isNew ? 201 : 200 });
      },
      route(rules, {
        params: Type.Object({ app, target }),
        body: targetBody,
        detail: {
          summary: "Add a target, or change one · 添加或修改目标",
          description:
            "201 when it is new; then `environment` is needed. Fields that are left out keep their values, null clears one. Keys that its content needs and that are not given are made, and shown in this answer only. A route has to lead to it. 新建返回201，此时须给出 `environment`；未给出的字段不变，null为清空。所需而未给出的密钥由服务生成，只在此应答中显示；还须有指向它的路由。",
          tags: ["Callbacks"],
          responses: answersOf("The target. 目标。", savedTargetData, { ...TARGET_EXAMPLE, ...MADE_EXAMPLE }),
        },
      }),
    )
    .delete(
      "",
      async ({ params, request }) => {
        const { app: of, options } = admit(parts, callOf(request), params.app);
        await catchUp(callbacks);
        await administration.removeTarget(of.name, params.target, options);
        return {};
      },
      route(rules, {
        params: Type.Object({ app, target }),
        detail: {
          summary: "Remove a target and the routes to it · 删除目标及指向它的路由",
          description: "Takes no body. 无请求体。",
          tags: ["Callbacks"],
          responses: answersOf("Removed. 已删除。", Type.Object({}), {}),
        },
      }),
    );
}

function changeOf(body: (typeof targetBody)["static"]): TargetChange {
  const { environment, url, content, token, aes_key: aesKey, hmac_key: hmacKey, timeout } = body;
  const secret = (text: string | undefined) => (text === undefined ? undefined : new Secret(text));
  return {
    ...{ environment, url, content, hasNewKeys: body.new_keys },
    ...{ token: secret(token), aesKey: secret(aesKey), hmacKey: secret(hmacKey) },
    timeoutMs: typeof timeout === "number" ? Math.round(timeout * 1000) : timeout,
  };
}
