import { type Static, Type } from "@sinclair/typebox";

const instant = Type.Integer({
  description: "Epoch milliseconds, by the database's clock. 毫秒时间戳，以数据库时钟为准。",
});

/** The processes as they are shown. */
export const nodesData = Type.Object({
  nodes: Type.Array(
    Type.Object({
      node: Type.String({ description: "Another at each start. 每次启动都不同。" }),
      host: Type.String({ description: "The machine's name. 主机名。" }),
      pid: Type.Integer(),
      version: Type.String(),
      state: Type.Union([Type.Literal("live"), Type.Literal("gone")], {
        description:
          "`gone`: not seen for 10 s, and not stopped in an orderly way; shown for a day. 超过10秒没有心跳且未正常停止，保留显示一天。",
      }),
      started_at: instant,
      seen_at: instant,
      clock_offset_ms: Type.Integer({
        description:
          "By how much the database's clock is ahead of the machine's. 数据库时钟比本机快多少毫秒。",
      }),
      changes: Type.Union([Type.Literal("listening"), Type.Literal("polling")], {
        description:
          "How it learns of others' changes: by PostgreSQL's notifications, or by looking. 如何获知其他进程的更改：PostgreSQL通知，或轮询。",
      }),
      key_ids: Type.Array(Type.String(), {
        description:
          "The ids of the master keys that it has; while the key is changed, that of the next one last. 持有的主密钥的ID；轮换期间，新密钥的ID在最后。",
      }),
    }),
  ),
});

/** The processes on the wire. */
export type NodesData = Static<typeof nodesData>;

/** For the documentation. */
export const EXAMPLE = {
  nodes: [
    {
      node: "0c5f5b4e-7f0d-4b5a-9c1e-2f8a6d3b9e10",
      host: "token-a",
      pid: 812,
      version: "0.1.0",
      state: "live",
      started_at: 1_795_320_000_000,
      seen_at: 1_795_323_600_000,
      clock_offset_ms: 4,
      changes: "listening",
      key_ids: ["3f9c0a71"],
    },
  ],
} as const;
