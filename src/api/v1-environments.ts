import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { callOf, Reply, route, type RouteRules } from "./face.ts";
import { etagOf, versionIn } from "./schema.ts";
import { answersOf } from "./v1-apps-schema.ts";
import { environment } from "./v1-clients-schema.ts";
import { environmentBody, environmentData } from "./v1-environments-schema.ts";
import type { Access } from "../access/access.ts";
import {
  type Environment,
  type EnvironmentAdministration,
  type EnvironmentDirectory,
  noSuchEnvironment,
} from "../access/environments.ts";

/** What the routes of `/v1/environments` work with. */
export interface EnvironmentRouteParts {
  readonly access: Access;
  readonly environments: EnvironmentDirectory;
  readonly environmentAdministration: EnvironmentAdministration;
}

const EXAMPLE = {
  environment: "dev",
  production: false,
  codes: "relay",
  created_at: 1_795_320_000_000,
  updated_at: 1_795_320_000_000,
  version: 1,
};

/** One that no example of a client is of. */
const params = Type.Object({ environment: Type.String({ ...environment, examples: ["st"] }) });

/** `/v1/environments`: where programs run; for administrators, and for whoever has `oauth:manage` on every app. */
export function environmentRoutes({
  access,
  environments,
  environmentAdministration: administration,
}: EnvironmentRouteParts) {
  const rules: RouteRules = { guard: (call) => access.manager(call, "oauth:manage"), isClosed: true };
  const adminRules: RouteRules = { guard: (call) => access.admin(call), isClosed: true };
  const show = (name: string, status = 200) => {
    const found = environments.find(name);
    if (!found) throw noSuchEnvironment();
    return new Reply(fieldsOf(found), { status, headers: { etag: etagOf(found.version) } });
  };
  return (
    new Elysia({ prefix: "/v1/environments" })
      // Before validation: only who may come here learns what is wrong with a request.
      .derive(async ({ request }) => {
        const manager = access.manager(callOf(request), "oauth:manage");
        await environments.refresh();
        return manager;
      })
      .get("", () => ({ environments: environments.list().map(fieldsOf) }), {
        detail: {
          summary: "Every environment · 全部环境",
          description: "Sorted by name. 按名称排序。",
          tags: ["clients"],
          responses: answersOf(
            "The environments. 环境列表。",
            Type.Object({ environments: Type.Array(environmentData) }),
            { environments: [EXAMPLE] },
          ),
        },
      })
      .get("/:environment", ({ params: { environment: name } }) => show(name), {
        params,
        detail: {
          summary: "One environment · 单个环境",
          description: "The header ETag names its version. 响应头ETag为其版本。",
          tags: ["clients"],
          responses: answersOf("The environment. 环境。", environmentData, EXAMPLE),
        },
      })
      .put(
        "/:environment",
        async ({ params: { environment: name }, body, actor, isAdmin, request }) => {
          const settings = {
            ...(body.production === undefined ? {} : { isProduction: body.production }),
            ...(body.codes === undefined ? {} : { codes: body.codes }),
          };
          const options = { actor, isAdmin, version: versionIn(request.headers) };
          return show(name, (await administration.put(name, settings, options)) ? 201 : 200);
        },
        route(rules, {
          params,
          body: environmentBody,
          detail: {
            summary: "Make or change an environment · 新建或修改环境",
            description:
              "201 when it is new. Fields that are left out keep their values, and have their defaults in a new one; one that is production no more gets `relay`, unless codes are given. Who has `oauth:manage` alone may change the codes of one that is there. With If-Match, 412 for any other version. 新建返回201。未给出的字段不变，新建时为默认值；由生产环境改为非生产环境时，未给出codes则改为 `relay`。仅有 `oauth:manage` 者只能修改已有环境的codes。带If-Match时版本不符返回412。",
            tags: ["clients"],
            responses: answersOf("The environment. 环境。", environmentData, EXAMPLE),
          },
        }),
      )
      .delete(
        "/:environment",
        async ({ params: { environment: name }, actor, request }) => {
          await administration.remove(name, { actor, version: versionIn(request.headers) });
          return {};
        },
        route(adminRules, {
          params,
          detail: {
            summary: "Remove an environment · 删除环境",
            description:
              "409 while clients, redirect origins or targets of pushes are of it. Takes no body. 仍有客户端、回调来源或推送目标属于它时返回409；无请求体。",
            tags: ["clients"],
            responses: answersOf("Removed. 已删除。", Type.Object({}), {}),
          },
        }),
      )
  );
}

function fieldsOf({ name, isProduction, codes: given, ...rest }: Environment) {
  return {
    environment: name,
    production: isProduction,
    codes: given,
    created_at: rest.createdAt,
    updated_at: rest.updatedAt,
    version: rest.version,
    damaged: rest.damaged,
  };
}
