import { type Static, Type } from "@sinclair/typebox";
import { CREDENTIAL_KINDS } from "../credentials/kinds.ts";
import { CREDENTIAL_STATES } from "../credentials/status.ts";
import { NEEDS } from "../ops/needs-you.ts";
import { answersOf } from "./v1-apps-schema.ts";
import { instant } from "./schema.ts";

/** So many lives, and quotas, are told at most. */
export const MAX_LIVES = 20;
export const MAX_QUOTAS = 10;

const count = Type.Integer();

/** The backups of the database. */
export const backup = Type.Object(
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

/** What the route answers. */
export const overviewAnswers = answersOf("The overview. 概览。", overviewData, EXAMPLE);
