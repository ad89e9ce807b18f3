import { Elysia } from "elysia";
import { callOf } from "./face.ts";
import { answersOf } from "./v1-apps-schema.ts";
import { EXAMPLE, type NodesData, nodesData } from "./v1-nodes-schema.ts";
import type { Access } from "../access/access.ts";
import { isLive, type Node } from "../ops/nodes.ts";

/** What the route of `/v1/nodes` works with. */
export interface NodeRouteParts {
  readonly access: Access;
  /** Every process that was there in the last day. */
  readonly listNodes: () => Promise<readonly Node[]>;
}

/** `/v1/nodes`: the processes that share the database; for administrators. */
export function nodeRoutes({ access, listNodes }: NodeRouteParts) {
  return new Elysia({ prefix: "/v1/nodes" })
    .derive(({ request }) => ({ actor: access.admin(callOf(request)) }))
    .get("", async () => ({ nodes: (await listNodes()).map(shown) }), {
      detail: {
        summary: "The processes of all machines · 查看所有机器上的进程",
        description:
          "For administrators. On SQLite the process that answers, alone. 仅限管理员。使用SQLite时只列出应答的进程本身。",
        tags: ["Service"],
        responses: answersOf("The processes. 进程列表。", nodesData, EXAMPLE),
      },
    });
}

function shown(node: Node): NodesData["nodes"][number] {
  const { id, host, pid, version, startedAt, seenAt, offsetMs, isListening, keyIds } = node;
  return {
    node: id,
    host,
    pid,
    version,
    state: isLive(node) ? "live" : "gone",
    started_at: startedAt,
    seen_at: seenAt,
    clock_offset_ms: offsetMs,
    changes: isListening ? "listening" : "polling",
    key_ids: [...keyIds],
  };
}
