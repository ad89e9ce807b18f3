import type { Static } from "@sinclair/typebox";
import type { nodesData } from "../api/v1-nodes.ts";
import { bilingual, type CommandSpec } from "./arguments.ts";
import { managingCommand } from "./managing.ts";
import { localTime, textTable } from "./terminal.ts";

type Nodes = Static<typeof nodesData>;

/** `accesstoken nodes`: who serves from this database. */
export const NODE_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["nodes"],
    meaning: bilingual(
      "The processes that serve from this PostgreSQL, and how far their clocks are off",
      "列出共用该PostgreSQL的进程及其时钟偏差",
    ),
    run: async ({ api, show }) => {
      const data = await api.get<Nodes>("/v1/nodes");
      await show(data, () =>
        textTable(data.nodes, {
          HOST: ({ host }) => host,
          VERSION: ({ version }) => version,
          STARTED: (node) => localTime(node.started_at),
          SEEN: (node) => localTime(node.seen_at),
          "CLOCK OFFSET": (node) => `${node.clock_offset} s`,
          CHANGES: ({ changes }) => changes,
        }),
      );
    },
  }),
];
