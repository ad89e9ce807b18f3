import type { NodesData } from "../api/v1-nodes-schema.ts";
import { bilingual, type CommandSpec } from "./arguments.ts";
import { managingCommand } from "./managing.ts";
import { localTime, textTable } from "./terminal.ts";

/** `accesstoken nodes`: the processes that share the database. */
export const NODE_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["nodes"],
    meaning: bilingual(
      "The processes of all machines on one PostgreSQL",
      "列出共用一个PostgreSQL的所有机器上的进程",
    ),
    notes: [
      bilingual(
        "With SQLite only a running service can be asked, by --url: it lists itself.",
        "使用SQLite时只能用 --url 访问运行中的服务，它只列出自身。",
      ),
    ],
    run: async ({ api, show }) => {
      const data = await api.get<NodesData>("/v1/nodes");
      await show(data, () => nodesText(data));
    },
  }),
];

function nodesText({ nodes }: NodesData): string {
  return textTable(nodes, {
    HOST: ({ host }) => shortened(host),
    PID: ({ pid }) => String(pid),
    VERSION: ({ version }) => version,
    STATE: ({ state }) => state,
    SEEN: ({ seen_at }) => localTime(seen_at),
    OFFSET: ({ clock_offset_ms }) => `${(clock_offset_ms / 1000).toFixed(1)}s`,
    CHANGES: ({ changes }) => changes,
    KEYS: ({ key_ids }) => key_ids.join(","),
  });
}

/** Names of containers and of machines in clouds are long; `--json` has them whole. */
function shortened(host: string): string {
  return host.length > 20 ? `${host.slice(0, 19)}…` : host;
}
