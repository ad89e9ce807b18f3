import { Elysia } from "elysia";
import { callOf, route, type RouteRules } from "./face.ts";
import { answersOf } from "./v1-apps-schema.ts";
import {
  callersData,
  type Configuration,
  CONFIGURATION_EXAMPLE,
  configurationData,
  SETTINGS_EXAMPLE,
  type Settings,
  settingsBody,
  settingsData,
} from "./v1-settings-schema.ts";
import type { Access } from "../access/access.ts";
import { type ClientAdministration, stateOf } from "../access/client-administration.ts";
import type { ClientDirectory } from "../access/client-directory.ts";
import { ANONYMOUS } from "../access/principal.ts";
import type { AuditStore } from "../audit/audit-store.ts";
import type { Clock } from "../clock.ts";
import { VERSION } from "../version.ts";

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
    readonly variables: readonly Configuration["variables"][number][];
    readonly apps: readonly unknown[];
    readonly warnings: readonly string[];
  };
  /** The name of this machine. */
  readonly host: string;
}

/** A search through a day's counts may take longer than the idle time-out. */
const LONG: RouteRules = { seconds: 0 };

/** `/v1/settings`: what holds for all processes and can be changed while they run; for administrators. */
export function settingRoutes(parts: SettingRouteParts) {
  const {
    access,
    clients,
    clientAdministration: administration,
    auditStore,
    clock,
    environment,
    host,
  } = parts;
  const rules: RouteRules = { guard: (call) => access.admin(call), isClosed: true };
  const show = (): Settings => ({
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
          responses: answersOf("The settings. 设置。", settingsData, SETTINGS_EXAMPLE),
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
            responses: answersOf("The settings. 设置。", settingsData, SETTINGS_EXAMPLE),
          },
        }),
      )
      .get(
        "/configuration",
        (): Configuration => {
          const { variables, apps, warnings } = environment;
          const listed = { variables: [...variables], apps: apps.length, warnings: [...warnings] };
          return { host, version: VERSION, ...listed };
        },
        {
          detail: {
            summary: "The configuration in force · 查看生效的配置",
            description:
              "For administrators: each variable of the process that answers, and who sets it. Nothing secret is in it. 仅限管理员：应答进程的每个变量及其来源，不含机密内容。",
            tags: ["clients"],
            responses: answersOf("The configuration. 配置。", configurationData, CONFIGURATION_EXAMPLE),
          },
        },
      )
      .get(
        "/anonymous-callers",
        async () => {
          const since = clock.now() - DAY_MS;
          const sums = await auditStore.sumUsage({ client: ANONYMOUS.identity.client, since });
          return { since, callers: sums.map(({ client, app, count }) => ({ caller: client, app, count })) };
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
