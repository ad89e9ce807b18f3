import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { callOf, route, type RouteRules } from "./face.ts";
import { answersOf } from "./v1-apps-schema.ts";
import type { Access } from "../access/access.ts";
import { type ClientAdministration, stateOf } from "../access/client-administration.ts";
import type { ClientDirectory } from "../access/client-directory.ts";
import { ANONYMOUS } from "../access/principal.ts";
import type { AuditStore } from "../audit/audit-store.ts";
import type { Clock } from "../clock.ts";

const DAY_MS = 86_400_000;

/** What the routes of `/v1/settings` work with. */
export interface SettingRouteParts {
  readonly access: Access;
  readonly clients: ClientDirectory;
  readonly clientAdministration: ClientAdministration;
  readonly auditStore: Pick<AuditStore, "sumUsage">;
  readonly clock: Clock;
  /** What the environment says; undefined for nothing. */
  readonly environment: {
    readonly anonymous: boolean | undefined;
    readonly corsOrigins: readonly string[];
  };
}

const anonymous = Type.Union([Type.Literal("on"), Type.Literal("off")], {
  description:
    "Whether callers from TRUSTED_NETWORKS are answered without a key. 是否应答可信网络内没有密钥的调用方。",
  examples: ["off"],
});
const by = Type.Union([Type.Literal("environment"), Type.Literal("database")], {
  description:
    "Where that is said; the environment wins. 由环境变量还是数据库决定；设置了环境变量时以其为准。",
});

const origins = Type.Array(Type.String({ maxLength: 300 }), {
  maxItems: 100,
  description:
    "Origins whose pages may call the signature routes from the browser. 允许其网页在浏览器中调用签名接口的源。",
  examples: [["https://www.example.com"]],
});

/** The settings as they are shown. */
export const settingsData = Type.Object({
  anonymous,
  anonymous_by: by,
  cors_origins: origins,
  cors_origins_by: Type.Union(by.anyOf, {
    description:
      "Where they are listed; the database takes the place of CORS_ORIGINS. 由何处列出；数据库中的列表取代CORS_ORIGINS。",
  }),
});

const settingsBody = Type.Object(
  {
    anonymous: Type.Optional(anonymous),
    cors_origins: Type.Optional(
      Type.Union([origins, Type.Null()], {
        description:
          "A list in the place of CORS_ORIGINS; null for CORS_ORIGINS. 取代CORS_ORIGINS的列表；null恢复为CORS_ORIGINS。",
        examples: [["https://www.example.com"]],
      }),
    ),
  },
  { additionalProperties: false },
);

/** Callers without a key as they are shown. */
export const callersData = Type.Object({
  since: Type.Integer({ description: "Epoch milliseconds. 毫秒时间戳。" }),
  callers: Type.Array(
    Type.Object({
      caller: Type.String({
        description:
          "`(anonymous 10.0.0.8)`, the address of the caller; `(anonymous)` for what was not counted by address. 调用方地址；未按地址统计的合计在 `(anonymous)` 下。",
      }),
      app: Type.String(),
      count: Type.Integer(),
    }),
  ),
});

const EXAMPLE = {
  anonymous: "off",
  anonymous_by: "database",
  cors_origins: ["https://www.example.com"],
  cors_origins_by: "database",
} as const;
/** A search through a day's counts may take longer than the idle time-out. */
const LONG: RouteRules = { seconds: 0 };

/** `/v1/settings`: what holds for all processes and can be changed while they run; for administrators. */
export function settingRoutes(parts: SettingRouteParts) {
  const { access, clients, clientAdministration: administration, auditStore, clock, environment } = parts;
  const rules: RouteRules = { guard: (call) => access.admin(call), isClosed: true };
  const show = (): typeof settingsData.static => ({
    anonymous: stateOf(access.isAnonymousOn),
    anonymous_by: environment.anonymous === undefined ? "database" : "environment",
    cors_origins: [...(clients.settings.corsOrigins ?? environment.corsOrigins)],
    cors_origins_by: clients.settings.corsOrigins ? "database" : "environment",
  });
  return (
    new Elysia({ prefix: "/v1/settings" })
      // Before validation: only administrators learn what is wrong with a request.
      .derive(async ({ request }) => {
        const actor = access.admin(callOf(request));
        await clients.refresh();
        return { actor };
      })
      .get("", show, {
        detail: {
          summary: "The settings · 查看设置",
          description: "For administrators. 仅限管理员。",
          tags: ["clients"],
          responses: answersOf("The settings. 设置。", settingsData, EXAMPLE),
        },
      })
      .patch(
        "",
        async ({ body, actor }) => {
          const { anonymous: state, cors_origins: list } = body;
          const change = {
            ...(state === undefined ? {} : { isAnonymousOn: state === "on" }),
            ...(list === undefined ? {} : { corsOrigins: list ?? undefined }),
          };
          await administration.changeSettings(change, { actor });
          return show();
        },
        route(rules, {
          body: settingsBody,
          detail: {
            summary: "Change settings · 修改设置",
            description:
              "In effect in every process within a second. While ANONYMOUS is set, it wins; `cors_origins` takes the place of CORS_ORIGINS. 各进程在一秒内生效；设置了环境变量ANONYMOUS时以其为准；`cors_origins` 取代CORS_ORIGINS。",
            tags: ["clients"],
            responses: answersOf("The settings. 设置。", settingsData, EXAMPLE),
          },
        }),
      )
      .get(
        "/anonymous-callers",
        async () => {
          const since = clock.now() - DAY_MS;
          const sums = await auditStore.sumUsage({ client: ANONYMOUS.identity.client, since });
          return { since, callers: sums.map(({ client, ...rest }) => ({ caller: client, ...rest })) };
        },
        route(LONG, {
          detail: {
            summary: "The last day's callers without a key · 最近一天没有密钥的调用方",
            description:
              "For administrators: whom it would cut off to end anonymous access. By address and app, up to 1,000 addresses a day and process. 仅限管理员：关闭匿名访问将影响的调用方，按地址和应用统计；每个进程每天最多1000个地址。",
            tags: ["clients"],
            responses: answersOf("The callers. 调用方。", callersData, {
              since: 1_795_320_000_000,
              callers: [{ caller: "(anonymous 10.0.0.8)", app: "wx0000000000000001", count: 42 }],
            }),
          },
        }),
      )
  );
}
