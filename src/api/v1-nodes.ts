import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { callOf } from "./face.ts";
import { answersOf } from "./v1-apps-schema.ts";
import type { Access } from "../access/access.ts";
import type { Node } from "../ops/node.ts";
import { VERSION } from "../version.ts";

/** What the routes of `/v1/nodes` work with. */
export interface NodeRouteParts {
  readonly access: Access;
  /** The processes that serve from a database of several machines; none of a file. */
  readonly listNodes: () => Promise<readonly Node[]>;
}

/** Processes as they are shown. */
export const nodesData = Type.Object({
  nodes: Type.Array(
    Type.Object({
      host: Type.String({ description: "The machine's name. 机器名。" }),
      version: Type.String(),
      started_at: Type.Integer({ description: "Epoch milliseconds. 毫秒时间戳。" }),
      seen_at: Type.Integer({ description: "When it was heard of last. 最近一次报到的时间。" }),
      clock_offset: Type.Number({
        description:
          "Seconds by which the database's clock is ahead of its own; the database's counts. 数据库时钟比该机器快多少秒；以数据库的为准。",
      }),
      changes: Type.Union([Type.Literal("listening"), Type.Literal("polling")], {
        description:
          "Whether it hears of changes by notifications, or has to look for them. 靠通知得知变更，还是只能轮询。",
      }),
    }),
  ),
});

const EXAMPLE = {
  nodes: [
    {
      ...{ host: "a", version: VERSION, started_at: 1_795_320_000_000, seen_at: 1_795_323_600_000 },
      ...{ clock_offset: -0.012, changes: "listening" as const },
    },
  ],
};

/** `/v1/nodes`: who serves from this database; for administrators. */
export function nodeRoutes({ access, listNodes }: NodeRouteParts) {
  return new Elysia({ prefix: "/v1/nodes" })
    .derive(({ request }) => ({ actor: access.admin(callOf(request)) }))
    .get(
      "",
      async (): Promise<typeof nodesData.static> => ({
        nodes: (await listNodes()).map(({ host, version, startedAt, seenAt, offsetMs, isListening }) => ({
          ...{ host, version, started_at: startedAt, seen_at: seenAt, clock_offset: offsetMs / 1000 },
          changes: isListening ? "listening" : "polling",
        })),
      }),
      {
        detail: {
          summary: "The processes on this PostgreSQL · 共用该PostgreSQL的进程",
          description:
            "For administrators. Those that were heard of in the last eight seconds; none with SQLite. 仅限管理员。最近八秒内报到过的进程；使用SQLite时为空。",
          tags: ["clients"],
          responses: answersOf("The processes. 各进程。", nodesData, EXAMPLE),
        },
      },
    );
}
