import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { callOf, route } from "./face.ts";
import { answersOf } from "./v1-apps-schema.ts";
import type { Access } from "../access/access.ts";
import { ANY_APP } from "../access/client.ts";
import type { AppAdministration } from "../apps/app-administration.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { appName } from "../apps/app.ts";
import type { AuditStore } from "../audit/audit-store.ts";
import type { Clock } from "../clock.ts";
import type { AppIndex } from "../credentials/app-index.ts";
import { CREDENTIAL_KINDS } from "../credentials/kinds.ts";
import { type AppStatus, CREDENTIAL_STATES, type CredentialStates } from "../credentials/status.ts";
import type { BackupState } from "../ops/backups.ts";
import { type Need, NEEDS, needsOf, type NeedsParts } from "../ops/needs-you.ts";
import { isLive } from "../ops/nodes.ts";
import { VERSION } from "../version.ts";
import { reasonOf } from "./v1-apps.ts";

const MINUTE_MS = 60_000;
const MINUTES = 60;
const MAX_LIVES = 20;
const MAX_QUOTAS = 10;

/** What the route of `/v1/overview` works with. */
export interface OverviewRouteParts extends Omit<NeedsParts, "index" | "notReady" | "backups"> {
  readonly access: Access;
  readonly administration: Pick<AppAdministration, "refresh">;
  readonly directory: AppDirectory;
  readonly states: CredentialStates;
  readonly index: Pick<AppIndex, keyof NeedsParts["index"] | "counts" | "shortestLives">;
  readonly auditStore: Pick<AuditStore, "sumMinutes">;
  readonly ops: Pick<NeedsParts, "notReady" | "backups">;
  /** `SQLite` or `PostgreSQL`. */
  readonly database: string;
  readonly clock: Clock;
}

const instant = (description: string) => Type.Integer({ description: `${description}（毫秒时间戳）` });
const count = Type.Integer();

const backup = Type.Object(
  {
    last_at: Type.Optional(instant("When the last one was made. 最近一次的时间")),
    bytes: Type.Optional(count),
    file: Type.Optional(Type.String()),
    folder: Type.Optional(Type.String({ description: "Where the service puts them. 服务存放备份的目录。" })),
    every: Type.Optional(Type.Integer({ description: "How often, in seconds. 间隔秒数。" })),
    failed_at: Type.Optional(instant("When it failed since. 此后失败的时间")),
    reason: Type.Optional(Type.String({ description: "Why. 失败原因。" })),
    stale: Type.Boolean({ description: "Whether there should be a newer one. 是否早该有新的备份。" }),
  },
  {
    description:
      "Backups of the database; missing where the service makes none and nobody has made one. 数据库备份；服务不自动备份且从未备份过时不出现。",
  },
);

/** What stands on the first page of the console. */
const overviewData = Type.Object({
  counts: Type.Object(
    {
      ...{ fresh: count, expiring: count, failing: count, blocked: count, none: count, disabled: count },
      total: count,
    },
    { description: "Apps by the state of their worst credential. 按最差凭证的状态统计的应用数。" },
  ),
  needs_you: Type.Array(
    Type.Object({
      type: Type.Union(NEEDS.map((need) => Type.Literal(need))),
      app: Type.Optional(Type.String()),
      title: Type.Optional(Type.String({ description: "The app's. 应用的名称。" })),
      client: Type.Optional(Type.String()),
      at: Type.Optional(instant("Since when, or until when for a key. 起始时间；密钥为到期时间")),
      message: Type.String({ description: "In both languages. 中英文。" }),
      action: Type.Union(
        (["unblock", "app", "client", "pushes", "audit", "settings"] as const).map((each) =>
          Type.Literal(each),
        ),
        { description: "unblock, or the page that helps. unblock，或可处理的页面。" },
      ),
    }),
    { maxItems: 20, description: "What somebody has to look after. 需要处理的事项。" },
  ),
  lives: Type.Array(
    Type.Object({
      app: Type.String(),
      title: Type.Optional(Type.String()),
      kind: Type.Union(CREDENTIAL_KINDS.map((kind) => Type.Literal(kind))),
      state: Type.Union(CREDENTIAL_STATES.map((state) => Type.Literal(state))),
      issued_at: instant("When it was requested. 获取时间"),
      expires_at: instant("When it expires. 到期时间"),
      renew_at: Type.Optional(instant("When it is renewed. 续期时间")),
    }),
    { maxItems: MAX_LIVES, description: "The credentials with the least life left. 剩余有效期最短的凭证。" },
  ),
  quota: Type.Array(
    Type.Object({
      app: Type.String(),
      title: Type.Optional(Type.String()),
      endpoint: Type.String(),
      calls: count,
      limit: count,
    }),
    { maxItems: MAX_QUOTAS, description: "The daily quotas of which most is used. 当日用量占比最高的额度。" },
  ),
  service: Type.Optional(
    Type.Object(
      {
        traffic: Type.Array(Type.Tuple([Type.Integer(), count, count]), {
          description:
            "For each of the last 60 minutes in which there was any: when it began, what was handed out or called, and what was denied, by all processes. 最近60分钟内有请求的每一分钟：起点、发放与调用次数、拒绝次数，所有进程合计。",
        }),
        version: Type.String(),
        nodes: Type.Integer({ description: "Processes that are there. 在线进程数。" }),
        database: Type.String(),
        backup: Type.Optional(backup),
      },
      {
        description:
          "For administrators, and clients that may `view` every app. 仅管理员及可查看全部应用的客户端。",
      },
    ),
  ),
});

/** The same as a type. */
export type OverviewData = Static<typeof overviewData>;

const EXAMPLE: OverviewData = {
  counts: { fresh: 1, expiring: 0, failing: 0, blocked: 0, none: 0, disabled: 0, total: 1 },
  needs_you: [],
  lives: [
    {
      app: "wx0000000000000001",
      kind: "access_token",
      state: "fresh",
      issued_at: 1_795_320_000_000,
      expires_at: 1_795_327_200_000,
      renew_at: 1_795_326_915_000,
    },
  ],
  quota: [{ app: "wx0000000000000001", endpoint: "/cgi-bin/stable_token", calls: 3, limit: 500_000 }],
  service: {
    traffic: [[1_795_320_000_000, 410, 0]],
    version: "0.1.0",
    nodes: 1,
    database: "SQLite",
    backup: {
      last_at: 1_795_320_000_000,
      bytes: 48_128,
      file: "accesstoken-20261122T024000Z-3f9c21ab.tar.gz",
      folder: "/var/backups/accesstoken",
      every: 86_400,
      stale: false,
    },
  },
};

/** `/v1/overview`: how the apps that the caller may see are, and what needs somebody. */
export function overviewRoutes(parts: OverviewRouteParts) {
  const { access, administration, index, clock } = parts;
  return new Elysia({ prefix: "/v1/overview" }).get(
    "",
    async ({ request }): Promise<OverviewData> => {
      const call = callOf(request);
      const isVisible = access.visibleApps(call);
      const seesAll = access.appsFor(call, "view")(ANY_APP);
      const isAdmin = access.appsFor(call, "admin")(ANY_APP);
      await administration.refresh().catch(() => undefined);
      const counts = await index.counts(isVisible);
      const needs = await needsOf({ ...parts, ...parts.ops }, { isVisible, seesAll, isAdmin });
      const shortest = await index.shortestLives(isVisible, MAX_LIVES);
      const quotas = (await index.fullestQuotas(isVisible, MAX_QUOTAS)).filter(({ calls }) => calls > 0);
      const blocked = needs.flatMap(({ type, app }) =>
        type === "blocked" && app !== undefined ? [app] : [],
      );
      const statuses = await statusesOf(parts, [...blocked, ...shortest.map(({ name }) => name)]);
      return {
        counts: { ...counts, total: Object.values(counts).reduce((sum, n) => sum + n, 0) },
        needs_you: needs.map((need) => ({
          ...need,
          ...titleOf(parts, need.app),
          ...toldOf(parts, need, statuses),
        })),
        lives: shortest.flatMap(({ name, kind }) => {
          const credential = statuses.get(name)?.credentials.find((each) => each.kind === kind);
          if (!credential?.life) return [];
          const { issuedAt, expiresAt } = credential.life;
          const times = { issued_at: issuedAt, expires_at: expiresAt };
          const renewAt = credential.nextAttemptAt;
          const { state } = credential;
          return [
            {
              app: name,
              ...titleOf(parts, name),
              kind,
              state,
              ...times,
              ...(renewAt === undefined ? {} : { renew_at: renewAt }),
            },
          ];
        }),
        quota: quotas.map(({ name, endpoint, calls, limit }) => ({
          ...{ app: name, ...titleOf(parts, name), endpoint, calls, limit },
        })),
        ...(seesAll ? { service: await serviceOf(parts, clock.now()) } : {}),
      };
    },
    route(
      { guard: (call) => access.checkKnown(call) },
      {
        detail: {
          summary: "How all apps are, and what needs somebody · 总览",
          description:
            "Of the apps that the caller has any grant for; what is of the service alone is for administrators, and clients that may `view` every app. 只包含调用方有权限的应用；服务本身的信息仅限管理员及可查看全部应用的客户端。",
          tags: ["v1"],
          responses: answersOf("The overview. 总览。", overviewData, EXAMPLE),
        },
      },
    ),
  );
}

type Statuses = ReadonlyMap<string, AppStatus>;

async function statusesOf(
  { directory, states }: OverviewRouteParts,
  names: readonly string[],
): Promise<Statuses> {
  const slots = [...new Set(names)].flatMap((name) => directory.findSlot(name) ?? []);
  return new Map((await states.ofApps(slots)).map((status) => [appName(status.slot), status]));
}

function titleOf({ directory }: OverviewRouteParts, name = ""): { readonly title?: string } {
  const title = directory.find(name)?.managed?.title;
  return title === undefined ? {} : { title };
}

/** Why an app is blocked, and since when. */
function toldOf({ directory }: OverviewRouteParts, { type, app = "" }: Need, statuses: Statuses) {
  if (type !== "blocked") return {};
  const worst = statuses.get(app)?.worst;
  const reason = reasonOf(directory.find(app), worst);
  const at = worst?.lastFailure?.at;
  return { ...(reason === undefined ? {} : { message: reason }), ...(at === undefined ? {} : { at }) };
}

async function serviceOf({ auditStore, listNodes, database, ops }: OverviewRouteParts, now: number) {
  const nodes = (await listNodes()).filter(isLive).length;
  const since = now - (now % MINUTE_MS) - (MINUTES - 1) * MINUTE_MS;
  const traffic = (await auditStore.sumMinutes(since)).map(
    ({ minute, usage, denials }): [number, number, number] => [minute, usage, denials],
  );
  const state = await ops.backups();
  const hasBackups = state.folder !== undefined || state.last !== undefined;
  return {
    traffic,
    version: VERSION,
    nodes: Math.max(1, nodes),
    database,
    ...(hasBackups ? { backup: backupOf(state) } : {}),
  };
}

function backupOf({ last, failed, folder, everyMs, isStale }: BackupState): Static<typeof backup> {
  return {
    ...(last && { last_at: last.at, bytes: last.bytes, file: last.file }),
    ...(folder !== undefined && { folder }),
    ...(everyMs !== undefined && { every: everyMs / 1000 }),
    ...(failed && { failed_at: failed.at, reason: failed.message }),
    stale: isStale,
  };
}
